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
    with namespace('mount "$0" "$1"', device, point) as child:
        assert child is not None
        yield


@contextlib.contextmanager
def namespace(script: str, *arguments: Path) -> Iterator[subprocess.Popen[str] | None]:
    """Have another program with a mount namespace of its own in which it has run a script; None
    where that failed, as for whom this machine allows none. It ends with the block, or by `end`."""
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f"{script} && echo ready && read _", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            yield child if child.stdout.readline() == "ready\n" else None
        finally:
            end(child)


def end(child: subprocess.Popen[str]) -> None:
    """Let the program end, and with it its namespace."""
    if child.poll() is None:
        child.communicate("\n", timeout=LIMIT_SECONDS)
