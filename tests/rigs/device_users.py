"""Real processes that have a device open, under the names of the programs that oVirt runs, and who
may see them all."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

from rigs import programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VM_UUID = "0e6d1c44-7f0f-4b6e-9b0e-5a3c6a1f2b77"
VM = ("-name", "guest=web01,debug-threads=on", "-machine", "q35", "-uuid", VM_UUID)

# Opens its last argument, says so, and waits until its stdin is closed.
_SOURCE = """#!{python}
import sys
with open(sys.argv[-1], "rb"):
    print("open", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def using(folder: Path, device: Path, *arguments: str, name: str = "qemu-kvm") -> Iterator[int]:
    """Run a process of this name with this command line that has a device open; give its pid."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    if not program.exists():
        programs.written(program, _SOURCE)
    command = [str(program), *arguments, str(device)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield process.pid
        finally:
            process.kill()


def everything_is_seen() -> bool:
    """Tell whether this user may look into all processes of this machine: not so for an ordinary
    one, or in a jail."""
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        try:
            os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208
            os.readlink(f"/proc/{pid}/ns/mnt")  # noqa: PTH115
        except PermissionError:
            return False
        except OSError:
            continue
    return os.geteuid() == 0
