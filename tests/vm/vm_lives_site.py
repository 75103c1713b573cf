"""What random lives of VMs run on: a cluster, three hosts and six disks in this process, and what
may be frozen in it.

Vdsm's rules are the demo's; its helper and the hook run here, as calls, with the real client over
HTTP. Time is a number for them, so that patience costs none. What is frozen is a thread whose
call the simulator holds back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any, Callable

from ovirt_demo import engine, hooks, vdsm
from rigs import clusters, near, services
from rigs.clock import Clock, wait_until
from storpool_ovirt import config, errors, names
from storpool_ovirt.cluster import api, attachments, devices, sharing
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import verbs
from storpool_ovirt.host import helper, vm_hook, vm_points
from storpool_ovirt.limits import LIMITS
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TOKEN = "4711"
HOSTS = (1, 2, 3)
DISKS = 6
SHAREABLE = 5  # the number of the disk that several VMs have
SIZE_BYTES = 1 << 20
LOCATION = "0a1b2c3d"
DOMAIN_ID = "50000000-0000-4000-8000-000000000000"
UNREACHABLE = 5022  # Engine's own error code for a host that does not answer
JOIN_SECONDS = 60.0  # nothing that is frozen takes a tenth of a second once it goes on
HURRY_SECONDS = 0.0005  # between two looks at what takes milliseconds and happens a thousand times
_HELD_BACK = 600.0


class Death(BaseException):
    """The process went down with its host."""


class MortalClock(Clock):
    """The time of one process: it passes only where somebody waits, and ends with the process."""

    dead = False

    def __call__(self) -> float:
        """Return the time."""
        if self.dead:
            raise Death
        return super().__call__()


@dataclasses.dataclass(frozen=True)
class Volume:
    """A disk in StorPool, and how a host reaches it."""

    number: int
    uuid: str
    global_id: str

    @property
    def shareable(self) -> bool:
        """Tell whether several VMs may have it at once."""
        return self.number == SHAREABLE

    def connection(self) -> dict[str, Any]:
        """Return what connect_volume prints: the same for every host and for ever."""
        data = {"volume": self.uuid, "global_id": self.global_id, "access_mode": "rw"}
        return {"adapter": "storpool", "driver_volume_type": "storpool", "data": data}


class Verbs:
    """Engine's verbs, as far as hosts and VMs need them."""

    def __init__(self, volumes: Sequence[Volume]) -> None:
        self._volumes = {volume.uuid: volume for volume in volumes}

    def run(self, verb: str, *arguments: str, correlation_id: str | None = None) -> engine.Result:
        """Answer a verb; those which the adapter answers without doing anything do nothing here
        either."""
        known = verbs.VERBS[verb]
        assert verb == "connect_volume" or known.does is None, f"{verb} does something"
        answer = json.dumps(self._volumes[arguments[0]].connection()) if known.does else ""
        return engine.Result(verb, arguments, correlation_id or "-", 0, b"", answer, 0.0)


class LiveHost(vdsm.Host):
    """A host with Vdsm's rules and the helper in this process.

    `lost`: Engine does not reach it.
    """

    def __init__(self, root: Path, number: int, log: Log, clock: Callable[[], MortalClock]) -> None:
        super().__init__(root, root, name=f"host{number}")
        self.number = number
        self.lost = False
        self._journal = log
        self._clock = clock

    def attach_volume(
        self, sd_id: str, vol_id: str, connection_info: dict[str, Any]
    ) -> dict[str, Any]:
        """Attach, if Engine reaches this host."""
        self._reach()
        return super().attach_volume(sd_id, vol_id, connection_info)

    def detach_volume(self, sd_id: str, vol_id: str) -> None:
        """Detach, if Engine reaches this host."""
        self._reach()
        super().detach_volume(sd_id, vol_id)

    def helper(
        self,
        verb: str,
        sent: dict[str, Any],
        limit_seconds: float = vdsm.HELPER_LIMIT_SECONDS,  # noqa: ARG002  it has one of its own
    ) -> vdsm.HelperRun:
        """Do what the helper does with this."""
        connection = helper.parse_connection(json.dumps(sent).encode())
        clock = self._clock()
        deadline = Deadline(LIMITS.deadline_seconds, clock)
        host = config.host(str(self.root))
        client = api.Client(host.api, deadline, clock.sleep)
        side = attachments.HostSide(
            host.client_id, str(self.root), deadline, self._journal, clock.sleep
        )
        target = attachments.Target(connection.global_id, names.object_name(connection.volume))
        try:
            answer: dict[str, Any] = {}
            if verb == "attach":
                path = attachments.attach(client, side, target, connection.access_mode)
                answer = {"type": "block", "path": path}
            else:
                attachments.detach(client, side, target)
        except errors.Error as error:
            return vdsm.HelperRun(verb, sent, 1, b"", str(error).encode(), 0.0)
        return vdsm.HelperRun(verb, sent, 0, json.dumps(answer).encode(), b"", 0.0)

    def reboot(self) -> None:
        """Lose what a reboot loses: also who holds the locks."""
        super().reboot()
        shutil.rmtree(self.local(devices.LOCK_FOLDER), ignore_errors=True)

    def _reach(self) -> None:
        if self.lost:
            raise vdsm.VdsmError(UNREACHABLE, f"{self.name} does not answer")


@dataclasses.dataclass
class Frozen:
    """Something that stopped in the middle, on a host, and may go on later."""

    host: LiveHost
    what: str
    clock: MortalClock
    thread: threading.Thread
    go_on: threading.Event


class LivesSite:
    """The cluster with its hosts and disks, for many lives, one after the other."""

    def __init__(self, folder: Path, devices: str = "auto", lag: int = 0) -> None:
        self._folder = folder
        self._switches = {"lag": str(lag)}
        self._devices = devices
        self._running = contextlib.ExitStack()
        # An address of this process alone, so that a restart finds its port free.
        self._listen = (f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255}", 0)
        self._local = threading.local()
        self._journal = Log("test", str(folder / "lives.log"))
        self.hosts: dict[int, LiveHost] = {}
        for number in HOSTS:
            root = folder / f"host{number}"
            root.mkdir()
            self.hosts[number] = LiveHost(root, number, self._journal, self.clock)
        self._start()
        self.volumes = [self._create(number) for number in range(DISKS)]
        self.verbs = Verbs(self.volumes)
        self.services = services.Services(*self._listen, TOKEN)

    def close(self) -> None:
        """Stop everything."""
        self._running.close()
        if self._journal.descriptor is not None:
            os.close(self._journal.descriptor)

    def restart(self) -> None:
        """Stop the simulator and start it again: as devices end with it, guests see errors."""
        self._running.close()
        self._running = contextlib.ExitStack()
        self._start()

    def clock(self) -> MortalClock:
        """Return the clock of the process that this thread is; a new one for each that is not
        frozen."""
        frozen: MortalClock | None = getattr(self._local, "clock", None)
        return frozen or MortalClock()

    def client(self) -> api.Client:
        """Return a client of an administrator's."""
        return api.Client(config.host(str(self.hosts[1].root)).api, Deadline(60))

    def attached(self) -> set[tuple[str, int]]:
        """List what StorPool has attached: global ids and clients."""
        return {each.key for each in [*self.simulator.cluster.catalog.attachments]}

    def down(self) -> list[int]:
        """List the clients with which StorPool has no contact."""
        return [
            number
            for number in HOSTS
            if not self.simulator.cluster.catalog.clients.rows[number].running
        ]

    def is_marked(self, volume: Volume) -> bool:
        """Tell whether it carries the mark of a shareable disk: as it is, whichever instance
        answers others."""
        return names.is_shared(self.simulator.cluster.catalog.entries.rows[volume.global_id].tags)

    def forget_mark(self, volume: Volume) -> None:
        """Take the mark away, as a revert by hand does."""
        sharing.unmark(
            self.client(), self.client().volume(names.address(volume.global_id)), self._journal
        )

    def forced(self) -> list[tuple[str, int]]:
        """List what was ever taken away by force, oldest first."""
        return self.simulator.cluster.forced

    def hook(self, host: LiveHost, point: str, document: str) -> None:
        """Do what the hook does at a point of Vdsm's; raises errors.Error: what comes behind it
        does not happen."""
        clock = self.clock()
        limits = vm_hook.LIMITS
        deadline = Deadline(limits.deadline_seconds, clock)
        work = vm_points.Work(point, str(host.root), deadline, self._journal, limits, clock.sleep)
        vm_hook.handle(work, document.encode())

    def reassign(self, *items: dict[str, Any]) -> None:
        """Send a request of nobody's: one that was on its way for long, or the end of a life."""
        body = {"reassign": items, "attachTimeout": 0}
        near.ask(self.simulator, "VolumesReassignWait", body)

    def freeze(
        self,
        host: LiveHost,
        what: str,
        held: Sequence[str],
        work: Callable[[Callable[[], None]], None],
    ) -> Frozen | None:
        """Begin work that freezes at the last of these calls; None when it ended without making it.

        `work` gets what it may call to freeze by itself, behind all calls.
        """
        for query in held[:-1]:
            self.simulator.faults.add("delay", query=query, seconds=0)
        for query in held[-1:]:
            self.simulator.faults.add("delay", query=query, seconds=_HELD_BACK)
        clock, stands, go_on = MortalClock(), threading.Event(), threading.Event()

        def stand() -> None:
            stands.set()
            assert go_on.wait(_HELD_BACK), "nobody woke it"
            clock()

        def run() -> None:
            self._local.clock = clock
            with contextlib.suppress(Death):
                work(stand)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        wait_until(
            lambda: not thread.is_alive() or stands.is_set() or self._holds(held),
            pause_seconds=HURRY_SECONDS,
        )
        if thread.is_alive():
            return Frozen(host, what, clock, thread, go_on)
        self.simulator.faults.forget()
        return None

    def thaw(self, frozen: Sequence[Frozen]) -> None:
        """Let all that is frozen go on, at once, and wait for its end."""
        for each in frozen:
            each.go_on.set()
        self.simulator.faults.clear()
        for each in frozen:
            each.thread.join(JOIN_SECONDS)
            assert not each.thread.is_alive(), f"{each.what} does not end"

    def clean(self) -> None:
        """Let nothing be left of a life; what VolumeCare has made has to be as it left it."""
        self.simulator.faults.clear()
        lists = [near.ask(self.simulator, f"{kind}sList") for kind in ("Volume", "Snapshot")]
        self.services.check(*lists)
        assert self.services.misled(lists[0]) == []
        for number, host in self.hosts.items():
            if not self.simulator.cluster.catalog.clients.rows[number].running:
                self.simulator.set_client(number, running=True)
            host.lost = False
            host.rows.clear()
            host.reboot()
        left = {global_id for global_id, _ in self.attached()}
        if left:
            self.reassign(
                *({"volume": f"~{each}", "detach": "all", "force": True} for each in sorted(left))
            )
        self.forced().clear()
        self.simulator.calls.clear()

    def _holds(self, held: Sequence[str]) -> bool:
        return bool(held) and not self.simulator.faults.waiting()

    def _start(self) -> None:
        self._only_we_open_devices()
        roots = {number: host.root for number, host in self.hosts.items()}
        self.simulator = self._running.enter_context(
            clusters.running(
                self._folder / "state",
                token=TOKEN,
                templates={"hybrid": None},
                hosts=roots,
                devices=self._devices,
                listen=self._listen,
                switches=self._switches,
            )
        )
        self._listen = (self.simulator.host, self.simulator.port)

    def _only_we_open_devices(self) -> None:
        """Have the simulator look here alone for who has a device open: that is each QEMU here."""
        from storpool_simulator.devices import openers

        self._running.callback(setattr, openers, "pids", openers.pids)
        openers.pids = lambda: [str(os.getpid())]

    def _create(self, number: int) -> Volume:
        uuid = f"d{number}000000-0000-4000-8000-000000000000"
        body = {
            "name": names.object_name(uuid),
            "size": SIZE_BYTES,
            "template": "hybrid",
            "tags": names.tags(uuid, LOCATION, uuid),
        }
        return Volume(number, uuid, self.client().volume_create(body))


def domain(devices: Sequence[dict[str, Any]], volumes: Sequence[Volume]) -> str:
    """Return the XML of a VM with these, as Vdsm hands it to the hook."""
    disks = (
        hooks.disk_xml(device, f"vd{at:c}", shareable=volume.shareable)
        for at, device, volume in zip(range(97, 123), devices, volumes)
    )
    return hooks.domain_xml(*disks, vm_id=DOMAIN_ID)
