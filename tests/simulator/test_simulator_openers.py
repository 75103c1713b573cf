"""devices/openers.py: who holds a plain file, asked of the kernel before of all processes."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("werkzeug", reason="the simulator's requirements are not installed")

from storpool_simulator.devices import openers

ASKED = 300


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file of a page, with a second name."""
    made = tmp_path.resolve() / "volume"
    made.write_bytes(bytes(mmap.PAGESIZE))
    os.link(made, made.with_name("other"))
    return made


def test_a_file_that_nobody_has_needs_no_search(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel knows it at once; a file that is not there is nobody's."""

    def search(*_: object, **__: object) -> None:
        raise AssertionError("all processes are looked into")

    if not openers._is_unused(file):
        pytest.skip("this file system gives no leases")
    monkeypatch.setattr(openers, "_processes", search)
    assert openers.of_file(file) == ()


@pytest.mark.parametrize("rights", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
@pytest.mark.parametrize("name", ["volume", "other"])
def test_who_has_it_open_is_found_by_this_name_alone(file: Path, rights: int, name: str) -> None:
    """Whatever the rights; another hard link of it is another attachment."""
    descriptor = os.open(file.with_name(name), rights)
    try:
        found = openers.of_file(file)
    finally:
        os.close(descriptor)
    assert [each.split()[:2] for each in found] == [["pid", str(os.getpid())]] * (name == "volume")
    assert openers.of_file(file) == ()


@pytest.mark.parametrize("access", [mmap.ACCESS_READ, mmap.ACCESS_WRITE, mmap.ACCESS_COPY])
def test_who_has_it_mapped_is_found(file: Path, access: int) -> None:
    """The descriptor may be closed long ago."""
    source = (
        "import ctypes, mmap, os, sys; libc = ctypes.CDLL(None);"
        "descriptor = os.open(sys.argv[1], os.O_RDWR); share, rights = {1: (1, 1), 2: (1, 3),"
        " 3: (2, 3)}[int(sys.argv[2])];"
        "libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3,"
        " ctypes.c_long];"
        "libc.mmap(None, mmap.PAGESIZE, rights, share, descriptor, 0);"
        "os.close(descriptor); print(flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", source, str(file), str(access)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = openers.of_file(file)
        assert [each.split()[:2] for each in found] == [["pid", str(process.pid)]]
        process.communicate()
    assert openers.of_file(file) == ()


@pytest.fixture
def opening(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that opens and closes the file all the time, and ends when told, well if no
    time was wrong."""
    source = (
        "import os, select, sys\n"
        "print(flush=True)\n"
        "while not select.select([sys.stdin], [], [], 0)[0]:\n"
        "    os.close(os.open(sys.argv[1], os.O_RDWR))\n"
    )
    argv = [sys.executable, "-c", source, str(file)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def test_who_opens_it_meanwhile_is_not_disturbed(
    file: Path, opening: subprocess.Popen[bytes]
) -> None:
    """Neither that one nor the simulator notices that both are at it."""
    threads = [
        threading.Thread(target=lambda: [openers._is_unused(file) for _ in range(ASKED)])
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opening.communicate(b"\n")
    assert opening.returncode == 0
