"""devices.py: what outlives a run of the API, and what each kind of devices needs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import pytest
from device_rig import (
    BLOCK,
    LIMIT_SECONDS,
    SIZE,
    DeviceRig,
    V,
    W,
    Writer,
    aligned,
    opened,
    put,
)

from rigs.clock import wait_until
from storpool_simulator.devices import devices, storage

if TYPE_CHECKING:
    from collections.abc import Iterator


NOBODY = 65534


# starting again and ending


def test_an_orderly_end_and_a_new_start_keep_the_data(rig: DeviceRig) -> None:
    """After close nothing is left on the hosts; the next start shows the same data again."""
    put(rig.show(1, name="a"), b"kept")
    rig.devices.close()
    assert list(rig.by_id(1).parent.iterdir()) == []
    assert list(rig.by_name(1, "a").parent.iterdir()) == []
    rig.again()
    with rig.show(1).open("rb") as device:
        assert device.read(4) == b"kept"


PREVIOUS_RUN = """
import os, signal, sys
from pathlib import Path
from storpool_simulator.devices import devices

kind, folder, *wanted = sys.argv[1:]
hosts = {n: Path(folder) / f"host{n}" for n in (1, 2, 3)}
run = devices.Devices(kind, Path(folder) / "state", hosts)
run.start(devices.HostConfig("127.0.0.1", 8123, "1234567890", "d.n", "demo"))
for client_id, global_id in (one.split(":") for one in wanted):
    data = Path(folder) / "state" / "data" / global_id
    ids = (global_id, f"{global_id}.new")
    node = devices.Node(global_id, global_id, data, data.stat().st_size, False, ids)
    run.show(int(client_id), node)
print("shown", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def previous_run(rig: DeviceRig, *wanted: str) -> Iterator[None]:
    """Another process is the API; it is killed when this ends."""
    rig.devices.close()
    for global_id in (V, W):
        rig.files.create(global_id, SIZE)
    arguments = [sys.executable, "-c", PREVIOUS_RUN, rig.kind, str(rig.folder), *wanted]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"shown\n"
        yield
        run.kill()


def test_a_writer_does_not_notice_that_the_api_was_killed(rig: DeviceRig) -> None:
    """StorPool's client goes on without its API: no error, no new device, and the next API takes it
    over [kb]."""
    with previous_run(rig, f"1:{V}"):
        target = rig.by_id(1).resolve()
        writer = Writer(rig.by_id(1), direct=rig.kind == "loop")
        writer.__enter__()
    before = writer.count
    wait_until(lambda: writer.count > before, "the writer to go on without an API")
    rig.again()
    before = writer.count
    assert rig.show(1).resolve() == target
    rig.devices.keep([(1, V)])
    wait_until(lambda: writer.count > before, "the writer to go on with the new API")
    assert rig.devices.holders(1, V)[0].startswith(f"pid {os.getpid()} ")
    writer.__exit__()
    assert writer.problem is None


def test_an_api_that_dies_while_it_holds_lets_go(loop: DeviceRig) -> None:
    """A volume is not held for ever because the API was killed in the middle of a snapshot (D3)."""
    script = PREVIOUS_RUN.replace(
        'print("shown"', f'held = run.quiesce(["{V}"]); held.__enter__(); print("shown"'
    )
    loop.show(1)
    with (
        subprocess.Popen(
            [sys.executable, "-c", script, "loop", str(loop.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as run,
        opened(loop.by_id(1), os.O_RDWR | os.O_DIRECT) as fd,
    ):
        assert run.stdout is not None
        assert run.stdout.readline() == b"shown\n"
        thread = threading.Thread(target=os.pwrite, args=(fd, aligned(b"w" * BLOCK), 0))
        thread.start()
        os.preadv(fd, [aligned(bytes(BLOCK))], 0)
        assert thread.is_alive()
        run.kill()
        thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()


def test_keep_removes_what_nobody_wants_any_more(rig: DeviceRig) -> None:
    """Of what an earlier run left, only that stays which the cluster still knows (T50)."""
    with previous_run(rig, f"1:{V}", f"1:{W}", f"2:{V}"):
        rig.by_name(1, "stale").symlink_to("/dev/null")
    rig.again()
    assert sorted(link.name for link in rig.by_name(1, "x").parent.iterdir()) == [V, W]
    # Both ids of a volume that was reverted lead to it until it is known which of them still do.
    by_id = sorted(link.name for link in rig.by_id(1).parent.iterdir())
    assert by_id == [V, f"{V}.new", W, f"{W}.new"]
    rig.show(1, V, name="new")
    rig.devices.keep([(1, V)])
    assert [link.name for link in rig.by_id(1).parent.iterdir()] == [V]
    assert [link.name for link in rig.by_name(1, "x").parent.iterdir()] == ["new"]
    assert list(rig.by_id(2).parent.iterdir()) == []


def test_an_unwanted_holder_is_cut_off_at_the_next_start(rig: DeviceRig) -> None:
    """A forced detach that was recorded but not carried out before a kill is carried out at the
    next start (D3)."""
    with previous_run(rig, f"1:{V}", f"2:{V}"):
        fd = os.open(rig.by_id(1), os.O_RDWR)
    try:
        rig.again()
        rig.show(2)
        rig.devices.keep([(2, V)])
        with contextlib.suppress(OSError):
            os.pwrite(fd, b"late", 0)
            os.fsync(fd)
    finally:
        os.close(fd)
    assert rig.files.path(V).read_bytes() == bytes(SIZE)
    assert rig.by_id(2).exists()


def test_plain_files_that_a_killed_cut_left_behind_are_healed(file: DeviceRig) -> None:
    """Killed between the new inode of a volume and that of another host's link: the next start
    moves it (D3)."""
    with previous_run(file, f"2:{V}"):
        pass
    storage.copy_file(file.files.path(V), file.files.path(V), SIZE)
    put(file.files.path(V), b"new")
    file.again()
    assert file.show(2).read_bytes()[:3] == b"new"


def test_root_has_loop_devices(loop: DeviceRig) -> None:
    """auto is loop where loop devices can be had."""
    assert devices.Devices("auto", loop.folder / "other", {}).kind == "loop"


def test_what_the_file_system_refuses_is_one_sentence(file: DeviceRig) -> None:
    """A link that cannot be made is an error that names the host and the object."""
    file.by_id(1).mkdir()
    (file.by_id(1) / "in the way").touch()
    with pytest.raises(devices.DeviceError, match=rf"{V} cannot be shown to client 1: "):
        file.show(1)


def test_a_kind_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A wrong kind is one sentence that names the right ones."""
    with pytest.raises(devices.DeviceError, match="auto, loop, file"):
        devices.Devices("nbd", tmp_path, {})


def as_ordinary_user(what: Callable[[Path], None]) -> None:
    """Run it in a child process that is nobody, in a folder that nobody may use."""
    if os.geteuid() != 0:
        pytest.skip("becoming an ordinary user needs root")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        child = os.fork()
        if child == 0:
            try:
                os.setresuid(NOBODY, NOBODY, NOBODY)
                what(Path(name))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_an_ordinary_user_has_plain_files() -> None:
    """auto is file for an ordinary user, and loop is refused with the reason."""

    def look(folder: Path) -> None:
        assert devices.Devices("auto", folder, {}).kind == "file"
        with pytest.raises(devices.DeviceError, match="only root"):
            devices.Devices("loop", folder, {})

    as_ordinary_user(look)


def test_an_ordinary_user_cannot_write_what_is_read_only() -> None:
    """Kind file: read-only is a mode, which lasts as long as no host may write."""

    def look(folder: Path) -> None:
        rig = DeviceRig("file", folder)
        link = rig.show(1, read_only=True)
        with pytest.raises(PermissionError):
            link.open("r+b")
        assert link.read_bytes() == bytes(SIZE)
        put(rig.show(2), b"rw")
        rig.devices.hide(2, V, cut=False)
        with pytest.raises(PermissionError):
            link.open("r+b")
        put(rig.show(1, read_only=False), b"mine")

    as_ordinary_user(look)


def test_an_ordinary_users_holder_is_seen_and_cut_off() -> None:
    """Kind file works without root: open devices are seen, and a cut holder reaches the data never
    again."""

    def look(folder: Path) -> None:
        rig = DeviceRig("file", folder)
        with opened(rig.show(1)) as fd:
            assert len(rig.devices.holders(1, V)) == 1
            rig.devices.hide(1, V, cut=True)
            os.pwrite(fd, b"late", 0)
        assert rig.files.path(V).read_bytes() == bytes(SIZE)
        rig.devices.close()

    as_ordinary_user(look)
