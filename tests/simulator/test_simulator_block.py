"""The data path as a process: it outlives its API, ends when it is alone, and never leaves anything
behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rigs.clock import wait_until
from storpool_simulator.devices import blockcontrol, devices, storage

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 1 << 20
V = "d.n.v"
CONFIG = devices.HostConfig("127.0.0.1", 8123, "1234567890", "d.n", "demo")
LIMIT_SECONDS = 20.0
NOBODY = 65534


class Traces:
    """Everything that a data path of one state folder could leave on the machine."""

    def __init__(self, state: Path) -> None:
        facts = state.stat()
        self._state = state
        self._mark = f"storpool-simulator-{facts.st_dev:x}-{facts.st_ino:x}-"

    def loops(self) -> list[str]:
        """Loop devices over its files."""
        found = []
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                if self._mark in backing.read_text():
                    found.append(backing.parent.parent.name)
        return found

    def mounts(self) -> list[str]:
        """Mounts of its file system."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if str(self._state) in line or "storpool-simulator" in line]

    def processes(self) -> list[int]:
        """The data path itself."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if (
                    b"storpool_simulator.devices.block" in words
                    and os.fsencode(self._state) in words
                ):
                    found.append(int(path.parent.name))
        return found

    def links(self) -> list[str]:
        """Links to its devices on the hosts."""
        return [path.name for path in self._state.parent.glob("host*/dev/storpool*/*")]

    def any(self) -> bool:
        """Is there anything left?"""
        return bool(self.loops() or self.mounts() or self.processes() or self.links())


class BlockRig:
    """Two hosts and what is needed to show them volumes."""

    def __init__(self, folder: Path, linger_seconds: float = 30.0) -> None:
        self.folder = folder
        self.files = storage.Storage(folder / "state" / "data")
        self.devices = devices.Devices("loop", folder / "state", self.hosts, linger_seconds)
        self.traces = Traces(folder / "state")

    @property
    def hosts(self) -> dict[int, Path]:
        """As Devices wants them."""
        return {number: self.folder / f"host{number}" for number in (1, 2)}

    def show(self, client_id: int, global_id: str = V) -> Path:
        """Attach a volume that is made when needed."""
        if not self.files.path(global_id).exists():
            self.files.create(global_id, SIZE)
        node = devices.Node(global_id, None, self.files.path(global_id), SIZE, read_only=False)
        self.devices.show(client_id, node)
        return self.folder / f"host{client_id}" / "dev" / "storpool-byid" / global_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder on a machine that can have loop devices."""
    try:
        devices.Devices("loop", tmp_path / "state", {})
    except devices.DeviceError as problem:
        pytest.skip(str(problem))
    return tmp_path


@pytest.fixture
def rig(folder: Path) -> Iterator[BlockRig]:
    """A data path that runs."""
    rig = BlockRig(folder)
    rig.devices.start(CONFIG)
    try:
        yield rig
    finally:
        rig.devices.close()


# ending


def test_close_leaves_nothing(rig: BlockRig) -> None:
    """After close there is no loop device, no mount, no process, no link and no file of the data
    path."""
    for number in range(5):
        rig.show(1, f"d.n.{number}")
    assert len(rig.traces.loops()) == 5
    assert len(rig.traces.processes()) == 1
    rig.devices.close()
    assert not rig.traces.any()
    assert [path.name for path in (rig.folder / "state").iterdir()] == ["data"]
    rig.devices.close()


def test_no_mount_is_ever_to_be_seen(rig: BlockRig) -> None:
    """The FUSE mount is out of the tree before anyone can come by it, so it cannot be left over."""
    rig.show(1)
    assert rig.traces.mounts() == []


def test_close_while_a_device_is_open_leaves_nothing_after_its_last_user(rig: BlockRig) -> None:
    """Who still has a device open at the end gets errors, and its loop device goes when he closes
    it."""
    fd = os.open(rig.show(1), os.O_RDWR)
    try:
        rig.devices.close()
        assert rig.traces.processes() == []
        assert rig.traces.links() == []
        with pytest.raises(OSError, match="Input/output"):
            os.pread(fd, 10, 0)
    finally:
        os.close(fd)
    wait_until(lambda: not rig.traces.any(), "the loop device to be gone")


def test_sigterm_is_an_orderly_end(rig: BlockRig) -> None:
    """A data path that is told to end by a signal removes everything, links too."""
    rig.show(1)
    os.kill(rig.traces.processes()[0], signal.SIGTERM)
    wait_until(
        lambda: not rig.traces.loops() and not rig.traces.links(), "devices and links to be gone"
    )


def test_ctrl_c_in_the_terminal_is_not_for_the_data_path(rig: BlockRig) -> None:
    """The data path is in a session of its own and does not take an interrupt for an order."""
    link = rig.show(1)
    (pid,) = rig.traces.processes()
    assert os.getsid(pid) == pid != os.getsid(0)
    os.kill(pid, signal.SIGINT)
    with link.open("rb") as device:
        assert device.read(4) == bytes(4)


API = """
import sys
from pathlib import Path
from storpool_simulator.devices import devices

folder, linger = Path(sys.argv[1]), float(sys.argv[2])
run = devices.Devices("loop", folder / "state", {n: folder / f"host{n}" for n in (1, 2)}, linger)
run.start(devices.HostConfig("127.0.0.1", 8123, "1234567890", "d.n", "demo"))
data = folder / "state" / "data" / "d.n.v"
run.show(1, devices.Node("d.n.v", "name", data, data.stat().st_size, read_only=False))
print("shown", flush=True)
sys.stdin.read()
"""


def test_without_an_api_it_removes_everything_after_the_linger_time(folder: Path) -> None:
    """Nothing leaks when the API was killed and nobody starts it again."""
    traces = Traces(folder / "state")
    storage.Storage(folder / "state" / "data").create(V, SIZE)
    arguments = [sys.executable, "-c", API, str(folder), "0.2"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as api:
        assert api.stdout is not None
        assert api.stdout.readline() == b"shown\n"
        assert len(traces.links()) == 2
        api.kill()
    wait_until(lambda: not traces.any(), "everything to be gone")


def test_with_an_api_it_does_not_linger(folder: Path) -> None:
    """The linger time counts only while no API is there: an API that does nothing keeps its
    devices."""
    rig = BlockRig(folder, linger_seconds=0.0)
    rig.devices.start(CONFIG)
    link = rig.show(1)
    for _ in range(3):
        with link.open("rb") as device:
            assert device.read(4) == bytes(4)
    assert len(rig.traces.processes()) == 1
    rig.devices.close()


def test_a_killed_data_path_is_an_error_and_the_next_start_heals_it(rig: BlockRig) -> None:
    """When the data path dies, I/O fails instead of hanging, the API says so, and a new start works
    (D3)."""
    fd = os.open(rig.show(1), os.O_RDWR)
    try:
        (pid,) = rig.traces.processes()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(OSError, match=r"Input/output|not connected"):
            os.pread(fd, 10, 0)
        with pytest.raises(devices.DeviceError, match="data path"):
            rig.show(2)
        with pytest.raises(devices.DeviceError, match="data path"), rig.devices.quiesce([V]):
            pass
    finally:
        os.close(fd)
    again = BlockRig(rig.folder)
    again.devices.start(CONFIG)
    assert again.traces.loops() == []
    with again.show(1).open("rb") as device:
        assert device.read(4) == bytes(4)
    again.devices.close()


# being a good neighbour


def test_loop_devices_of_others_are_left_alone(rig: BlockRig, tmp_path: Path) -> None:
    """Only what was made here is removed."""
    theirs = tmp_path / "theirs"
    theirs.write_bytes(bytes(SIZE))
    device = subprocess.run(
        ["losetup", "-f", "--show", theirs], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        rig.show(1)
        rig.devices.close()
        shown = subprocess.run(
            ["losetup", device], check=True, capture_output=True, text=True
        ).stdout
        assert str(theirs) in shown
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def test_a_device_that_others_took_away_is_made_again(rig: BlockRig, tmp_path: Path) -> None:
    """After `losetup -D` a show makes the device anew, and the number that was ours is not touched
    any more."""
    node = rig.show(1).resolve()
    subprocess.run(["losetup", "-d", node], check=True)
    theirs = tmp_path / "theirs"
    theirs.write_bytes(bytes(SIZE))
    subprocess.run(["losetup", node, theirs], check=True)
    try:
        link = rig.show(1)
        assert link.resolve() != node
        link.open("rb").close()
        rig.devices.close()
        assert (
            str(theirs)
            in subprocess.run(["losetup", node], check=True, capture_output=True, text=True).stdout
        )
    finally:
        subprocess.run(["losetup", "-d", node], check=True)


def test_a_used_node_is_given_back_as_it_was(rig: BlockRig) -> None:
    """Owner, mode and the read-only flag of a node outlive its device: the next user gets them as
    they were."""
    node = rig.show(1).resolve()
    before = node.stat()
    os.chown(node, NOBODY, NOBODY)
    node.chmod(0o666)
    again = devices.Node(V, None, rig.files.path(V), SIZE, read_only=True)
    rig.devices.show(1, again)
    rig.devices.hide(1, V, cut=False)
    after = node.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (
        before.st_uid,
        before.st_gid,
        before.st_mode,
    )
    assert Path(f"/sys/block/{node.name}/ro").read_text().strip() == "0"


def test_what_belongs_to_the_data_path_is_private(rig: BlockRig) -> None:
    """Only the simulator's own user comes to the control socket and to the log."""
    rig.show(1)
    for name in (blockcontrol.SOCKET, blockcontrol.LOCK, blockcontrol.LOG):
        assert stat.S_IMODE((rig.folder / "state" / name).stat().st_mode) & 0o077 == 0, name


def test_a_long_path_is_no_obstacle(folder: Path) -> None:
    """The address of a unix socket holds 108 bytes, a state folder's path may be longer."""
    long = folder.joinpath(*["x" * 60] * 3)
    long.mkdir(parents=True)
    rig = BlockRig(long)
    rig.devices.start(CONFIG)
    try:
        with rig.show(1).open("rb") as device:
            assert device.read(4) == bytes(4)
    finally:
        rig.devices.close()
    assert not rig.traces.any()


def test_two_state_folders_are_two_clusters(folder: Path) -> None:
    """Simulators with state folders of their own do not meet."""
    one, two = BlockRig(folder / "one"), BlockRig(folder / "two")
    for rig in (one, two):
        rig.devices.start(CONFIG)
    try:
        with one.show(1).open("r+b") as device:
            device.write(b"one")
        with two.show(1).open("rb") as device:
            assert device.read(3) == bytes(3)
        one.devices.close()
        with two.show(2).open("rb") as device:
            assert device.read(3) == bytes(3)
    finally:
        one.devices.close()
        two.devices.close()


# asking


def ask(state: Path, line: bytes) -> bytes:
    """Send one line to the control socket and answer its reply."""
    fd = os.open(state, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(LIMIT_SECONDS)
            connection.connect(blockcontrol.socket_path(fd))
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as reply:
                return reply.readline()
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"no json\n",
        b"[]\n",
        b"{}\n",
        b'{"do": "dance"}\n',
        b'{"do": "show"}\n',
        b'{"do": ["show"]}\n',
    ],
)
def test_a_bad_request_is_answered_and_disturbs_nothing(rig: BlockRig, line: bytes) -> None:
    """Whatever comes through the socket, the devices go on."""
    link = rig.show(1)
    reply = ask(rig.folder / "state", line)
    assert not line or "error" in json.loads(reply)
    with link.open("rb") as device:
        assert device.read(4) == bytes(4)


def test_a_missing_data_file_is_one_sentence(rig: BlockRig) -> None:
    """What cannot be shown is an error that names the file, and leaves no device and no link."""
    node = devices.Node(V, None, rig.files.path(V), SIZE, read_only=False)
    with pytest.raises(devices.DeviceError, match=r"could not show: .*d\.n\.v"):
        rig.devices.show(1, node)
    assert rig.traces.loops() == []
    assert rig.traces.links() == []


def test_two_hundred_attachments_work(rig: BlockRig) -> None:
    """A busy host's worth of attachments is made, works, and is gone at the end."""
    links = [rig.show(1 + number % 2, f"d.n.{number // 2}") for number in range(200)]
    assert len({link.resolve() for link in links}) == 200
    for link in links[::20]:
        with link.open("r+b") as device:
            device.write(b"w")
    rig.devices.close()
    assert not rig.traces.any()


def test_many_threads_may_ask_at_once(rig: BlockRig) -> None:
    """Attaching, reading and detaching from many threads at once ends as if it had been one after
    the other."""
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                global_id = f"d.n.{number % 4}.{turn % 2}" if number % 2 else f"d.n.{number}"
                client_id = 1 + number % 2
                rig.show(client_id, f"{global_id}.{number}")
                rig.devices.resize(f"{global_id}.{number}", SIZE)
                with rig.devices.quiesce([f"{global_id}.{number}", V]):
                    rig.devices.holders(client_id, f"{global_id}.{number}")
                rig.devices.hide(client_id, f"{global_id}.{number}", cut=bool(turn % 2))
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_SECONDS)
    assert problems == []
    assert rig.traces.loops() == []
    assert rig.traces.links() == []
