"""What the tests of `storpool-ovirt fence-host` and of fence_storpool work with: the shared stage
and a host to lose.

Host 1 is the one that is lost; host 2 is beside it, and the proxy that runs the agent, as Vdsm
does. A pytest plugin, named in conftest.py behind hook_stage.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rigs import hasty as hasty_program
from rigs import transports
from rigs.shared_stage import GIB, attached, post, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rigs.stage_fixtures import Stage

LIMIT_SECONDS = 60  # what is promised, for both programs
LOST, OTHER = 1, 2
NAMES = {LOST: "host1.example", OTHER: "host2.example"}
SECTIONS = "".join(f"[{name}]\nSP_OURID={number}\n" for number, name in NAMES.items())
LOST_SECTION = f"[{NAMES[LOST]}]\nSP_OURID={LOST}\n"
# What each host is called in the storpool.conf of host 2: its own section has this machine's name.
NAMES_AT_OTHER = {LOST: NAMES[LOST], OTHER: platform.node()}
BLOCK = 4096
AWAY_SECONDS = 6.0  # beyond what a hasty program waits

# For what would else be most of a minute of waiting.
HASTY = {
    "deadline_seconds": 3.0,
    "last_seconds": 1.0,
    "request_seconds": 1.5,
    "retry_seconds": 3.0,
}

# A VM as far as storage sees it: it writes the numbers from 1 on to its disk, down to the storage,
# and tells of each.
WRITER = """
import os, sys
device = os.open(sys.argv[1], os.O_RDWR | os.O_SYNC)
for number in range(1, 1_000_000):
    try:
        done = os.pwrite(device, number.to_bytes(8, "big") * 512, 0) == 4096
    except OSError:
        done = False
    print(number if done else -number, flush=True)
"""


class Writer:
    """A process that writes to a device of the lost host, and goes on whatever happens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def told(self) -> int:
        """Return the number of its next write, negative for one that failed."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the writer died"
        return int(line)

    def goes_on(self, succeeds: bool, times: int = 20) -> None:
        """Wait until so many of its writes in a row succeeded, or failed."""
        row = 0
        end = time.monotonic() + LIMIT_SECONDS
        while row < times:
            assert time.monotonic() < end, "it never happened"
            row = row + 1 if (self.told() > 0) == succeeds else 0


@dataclasses.dataclass(frozen=True)
class FenceStage:
    """A stage, an administrator's machine whose storpool.conf names the hosts, and the volumes of
    the lost host."""

    stage: Stage
    folder: Path

    def volume(self, *clients: int, ovirt: bool = True, name: str = "") -> str:
        """Make a volume, oVirt's or another's, attach it, and return its global id."""
        uuid_ = str(uuid.uuid4())
        others = {} if name else {"virt": "kubernetes"}
        tags = {"virt": "ovirt", "ovirt-uuid": uuid_, "ovirt-loc": "loc"} if ovirt else others
        name = name or (f"ovirt--{uuid_}" if ovirt else f"other-{uuid_}")
        made = {"name": name, "size": GIB, "template": "hybrid", "tags": tags}
        global_id = str(self.stage.simulator.api("VolumeCreate", made)["globalId"])
        self.attach(global_id, *clients)
        return global_id

    def snapshot(self, volume: str, *clients: int) -> str:
        """Make a snapshot of a volume, attach it, and return its global id."""
        uuid_ = str(uuid.uuid4())
        made = {
            "name": f"ovirt--{uuid_}",
            "tags": {"virt": "ovirt", "ovirt-uuid": uuid_, "ovirt-loc": "loc"},
        }
        global_id = str(
            self.stage.simulator.api(f"VolumeSnapshot/~{volume}", made)["snapshotGlobalId"]
        )
        for client_id in clients:
            self.reassign({"snapshot": f"~{global_id}", "ro": [client_id]})
        return global_id

    def attach(self, global_id: str, *clients: int) -> None:
        """Attach a volume read-write, as a start does."""
        if clients:
            self.reassign({"volume": f"~{global_id}", "rw": list(clients)})

    def reassign(self, item: dict[str, Any]) -> None:
        """Change attachments as somebody else does."""
        post(self.stage.simulator, "VolumesReassignWait", {"reassign": [item], "attachTimeout": 0})

    def has(self, client_id: int) -> set[str]:
        """List the global ids that a client has."""
        return {
            global_id for global_id, one, _ in attached(self.stage.simulator) if one == client_id
        }

    def lose(self, **state: Any) -> None:
        """Lose host 1: StorPool says that its client is down, its VMs may write on."""
        self.stage.simulator.set_client(LOST, **(state or {"status": "down"}))

    def device(self, client_id: int, global_id: str) -> Path:
        """Return a volume's device on a host."""
        return self.stage.hosts[client_id].local(f"/dev/storpool-byid/{global_id}")

    @contextlib.contextmanager
    def writing(self, global_id: str, client_id: int = LOST) -> Iterator[Writer]:
        """Have a VM on a host that writes to a volume."""
        command = [sys.executable, "-c", WRITER, str(self.device(client_id, global_id))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Writer(process)
            finally:
                process.kill()

    def content(self, global_id: str) -> bytes:
        """Return the first block of a volume as host 2 sees it."""
        there = global_id in self.has(OTHER)
        if not there:
            self.attach(global_id, OTHER)
        try:
            return read(self.device(OTHER, global_id), BLOCK)
        finally:
            if not there:
                self.reassign({"volume": f"~{global_id}", "detach": [OTHER]})

    def fence(
        self, *arguments: str, options: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the verb on the administrator's machine: there is no database and nothing that tells
        of one."""
        with self.fencing(*arguments, options=options) as process:
            return finished(process)

    @contextlib.contextmanager
    def fencing(
        self, *arguments: str, options: dict[str, str] | None = None, hasty: bool = False
    ) -> Iterator[subprocess.Popen[str]]:
        """Start the verb; what it runs into is the test's."""
        from ovirt_demo import children

        file = self.folder / "options.json"
        file.write_text(
            json.dumps(
                {**self.stage.simulator.driver_options(), **transports.options(), **(options or {})}
            )
        )
        program = self.hasty("admin.command") if hasty else children.find("storpool-ovirt")
        command = [str(program), "fence-host", "--options", str(file), *arguments]
        with self._started(
            command, self.folder, {"ENGINE_LOG": str(self.folder / "log")}
        ) as process:
            yield process

    def agent(
        self,
        *options: str,
        text: str | None = None,
        arguments: Sequence[str] = (),
        hasty: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run the agent on host 2 as Vdsm does: with an option on each line."""
        with self.asked(arguments, hasty=hasty) as process:
            return finished(
                process, "".join(f"{each}\n" for each in options) if text is None else text
            )

    @contextlib.contextmanager
    def asked(
        self, arguments: Sequence[str] = (), *, hasty: bool = False
    ) -> Iterator[subprocess.Popen[str]]:
        """Start the agent on host 2; its stdin is the test's."""
        from ovirt_demo import children

        program = self.hasty("fence.agent") if hasty else children.find("fence_storpool")
        with self._started([str(program), *arguments], self.stage.hosts[OTHER].root) as process:
            yield process

    def hasty(self, module: str) -> Path:
        """Return one of the programs with its limits cut."""
        return hasty_program.written(self.folder / f"hasty-{module}", module, **HASTY)

    def log(self) -> str:
        """Return what the verb wrote to its log."""
        file = self.folder / "log" / "managedblock" / "storpool-ovirt.log"
        return file.read_text() if file.exists() else ""

    def agent_log(self) -> str:
        """Return what the agent wrote to its log."""
        return self.stage.hosts[OTHER].local("/var/log/vdsm/storpool-fence.log").read_text()

    @contextlib.contextmanager
    def _started(
        self, command: Sequence[str], root: Path, more: dict[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "STORPOOL_OVIRT_ROOT": str(root),
            **(more or {}),
        }
        with subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def hold(self, query: str) -> None:
        """Have the next call of this query wait until the faults are cleared, and count calls
        anew."""
        self.stage.simulator.clear_calls()
        self.stage.simulator.inject("delay", query=query, seconds=LIMIT_SECONDS)

    @contextlib.contextmanager
    def away(self, kind: str = "refuse", query: str | None = None) -> Iterator[None]:
        """Have nobody answer, from now or from this query on, for longer than a hasty program
        waits."""
        self.stage.simulator.inject(kind, query=query, seconds=AWAY_SECONDS)
        yield
        end = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                self.stage.simulator.clear_faults()
                return
        raise AssertionError("the simulator does not come back")

    def uuid_of(self, global_id: str) -> str:
        """Return the id that oVirt has for a volume."""
        (found,) = self.stage.simulator.api(f"Volume/~{global_id}")
        return str(found["tags"]["ovirt-uuid"])

    def secrets(self) -> tuple[str, ...]:
        """What no program may tell."""
        return (self.stage.simulator.token, "hunter2-of-the-agent")


def finished(process: subprocess.Popen[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Wait for a program that was started, and return how it ended: always within the time that is
    promised."""
    out, err = process.communicate(text, LIMIT_SECONDS)
    assert "Traceback" not in out + err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextlib.contextmanager
def opened_site(shared: Stage, folder: Path) -> Iterator[FenceStage]:
    """Give the shared stage with names for its hosts, and an empty cluster afterwards."""
    (folder / "etc").mkdir()
    (folder / "etc" / "storpool.conf").write_text(SECTIONS)
    (folder / "log" / "managedblock").mkdir(parents=True)
    proxy = shared.hosts[OTHER]
    dropped_in = proxy.local("/etc/storpool.conf.d/hosts.conf")
    dropped_in.parent.mkdir(parents=True, exist_ok=True)
    dropped_in.write_text(LOST_SECTION)  # its own section it has already
    log = proxy.local("/var/log/vdsm/storpool-fence.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    site = FenceStage(shared, folder)
    try:
        yield site
    finally:
        dropped_in.unlink()
        shared.simulator.clear_faults()
        _empty(site)


def _empty(site: FenceStage) -> None:
    for kind in ("volume", "snapshot"):
        for each in site.stage.simulator.api(f"{kind.capitalize()}sList"):
            if not each.get("deleted") and not each.get("transient"):
                site.reassign({kind: f"~{each['globalId']}", "detach": "all", "force": True})
                post(site.stage.simulator, f"{kind.capitalize()}Delete/~{each['globalId']}", {})


@pytest.fixture
def scene(shared: Stage, tmp_path: Path) -> Iterator[FenceStage]:
    """Give the stage with a host to lose, and host 2 as the proxy."""
    with opened_site(shared, tmp_path) as made:
        yield made
