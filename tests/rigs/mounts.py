"""File systems on devices, mounted where everybody sees it, or in a namespace of their own; root
alone."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_SECONDS = 60


def run(*command: object) -> None:
    """Run a program that has to succeed."""
    words = [str(word) for word in command]
    subprocess.run(words, check=True, capture_output=True, timeout=LIMIT_SECONDS)


@contextlib.contextmanager
def mounted(device: Path, point: Path) -> Iterator[None]:
    """Have a new file system of the device's be mounted in a new folder."""
    run("mkfs.ext4", "-q", device)
    point.mkdir()
    run("mount", device, point)
    try:
        yield
    finally:
        run("umount", point)


@contextlib.contextmanager
def mounted_elsewhere(device: Path, point: Path) -> Iterator[None]:
    """Do the same in a mount namespace of its own, which hides it from the rest of the machine."""
    run("mkfs.ext4", "-q", device)
    point.mkdir()
    script = f"mount {device} {point} && echo mounted && read _"
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "mounted\n"
            yield
        finally:
            child.communicate("\n", timeout=LIMIT_SECONDS)
