"""storpool-vm-agent: a service on each hypervisor that shows guests the new size of their StorPool
disks, and thaws guests that a snapshot left frozen.

    storpool-vm-agent

systemd starts it as root (storpool-vm-agent.service); it takes no arguments. What it does and when
is set by the keys SP_OVIRT_AGENT_... of /etc/storpool.conf. Started by hand on a terminal it writes
its lines there too. It asks libvirt as Vdsm does, changes nothing in StorPool, and nobody waits for
it: where something that it needs is away, it tells systemd so, and goes on when that is back.

The exit code is 0 when it was told to end (SIGTERM), 2 for a wrong use and for wrong settings, and
1 for a failure that a restart may mend.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Hashable, Sequence
from typing import Callable, NoReturn

from storpool_ovirt import config, errors, program, storpool_conf
from storpool_ovirt.agent import guests, lanes, options, snapshots, systemd, terminal, udev
from storpool_ovirt.agent.hypervisor import Domain, Hypervisor
from storpool_ovirt.agent.libvirt_binding import Libvirt
from storpool_ovirt.log import Log

PROGRAM = "storpool-vm-agent"
# Where a folder stands for the host's `/`; on a host all goes to the journal.
LOG_FILE = "/var/log/storpool-ovirt/vm-agent.log"
WRONG_USE = 2
# Ours: a third of the shortest watchdog that the unit may have.
NOTIFY_SECONDS = 5.0
# libvirt that is away is asked again; Vdsm is started anew meanwhile, or the host updated.
AWAY_SECONDS = 2.0
# Ours: udev's words come in bursts, one for each device.
BURST_SECONDS = 0.2
# Ours: what hangs takes a thread of libvirt's, of which it has 20 (max_workers), and Vdsm needs
# them. So at most nine are taken by us, whatever hangs.
LOOK_LANES, GROWTH_LANES, THAW_LANES = (1, 0), (2, 2), (2, 2)

LIST = "list"


def run() -> NoReturn:
    """Run the program: as `main`, and end at once, whatever a thread waits for."""
    os._exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to end; return the exit code."""
    arguments = list(sys.argv if argv is None else argv)
    if program.is_asked_who_it_is(arguments):
        from storpool_ovirt import introduction

        where = f"Log: the journal of this host (journalctl -t {PROGRAM})."
        return introduction.given(PROGRAM, arguments[1], __doc__, [where])
    root = config.root()
    log = terminal.Log(PROGRAM, root + LOG_FILE if root else None)
    answer = program.Answer(log.descriptor)
    if len(arguments) != 1:
        answer.give(f"{PROGRAM} takes no arguments: systemctl start {PROGRAM}", error=True)
        return WRONG_USE
    try:
        keys = storpool_conf.read(root, environment=False)
        found = options.parsed(keys)
    except errors.Error as error:
        sentence = log.sentence(error)
        log.line("refused", reason=sentence)
        answer.give(sentence, error=True)
        return WRONG_USE
    try:
        log.show()
        for key, advice in options.unknown(keys).items():
            log.line("unknown_option", key=key, file=storpool_conf.FILE, advice=advice)
        service = Service(root, found, log)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda _signum, _frame: service.end())
        service.serve()
    except Exception as error:
        log.line("failed", reason=error)
        log.trace()
        return 1
    return 0


class Service:
    """The loop that looks after all VMs of this host; it waits for nobody but for its own clock.

    What asks libvirt, guests or StorPool is done by lanes: growth by others than thaw, and the list
    of VMs by one of its own.
    """

    def __init__(
        self,
        root: str,
        wanted: options.Options,
        log: Log,
        opened: Callable[[], Hypervisor] | None = None,
        stuck_seconds: float = lanes.STUCK_SECONDS,
    ) -> None:
        self._options, self._log = wanted, log
        self._growing = guests.Growing(root, log)
        self._thawing = guests.Thawing(root, wanted, log, snapshots.newest)
        opened = opened or (lambda: Libvirt(wanted.libvirt, root))

        self._list, self._growth, self._thaw = (
            lanes.Lanes(size, opened, self._failed, log, stuck_seconds)
            for size in (LOOK_LANES, GROWTH_LANES, THAW_LANES)
        )
        self._lock = threading.Lock()
        self._domains: list[Domain] = []
        self._watched: list[Domain] = []
        self._is_new = False
        self._is_answered = False  # by libvirt, since the start
        self._away: errors.Error | None = None
        self._ended = False
        self._list_at = 0.0
        self._notify_at = 0.0
        self._status = ""
        self._told: set[str] = set()
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        """Look after the VMs until `end` is called."""
        for pool in (self._list, self._growth, self._thaw):
            pool.start()
        self._log.line("started", **{each: getattr(self._options, each) for each in _SAID})
        systemd.notify("READY=1")
        listening = udev.opened()
        if listening is None:
            self._log.line("no_uevents", period=self._options.period)
        while not self._ended:
            self._wait(self._round(), listening)
        systemd.notify("STOPPING=1")
        if listening is not None:
            listening.close()
        self._log.line("stopped")

    def end(self) -> None:
        """Have `serve` return at once; for any thread, and for handlers of signals."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is full: somebody else has
            os.write(self._wake_in, b"\0")

    def _wait(self, seconds: float, listening: udev.Uevents | None) -> None:
        sources: list[int | udev.Uevents] = [self._wake_out]
        if listening is not None:
            sources.append(listening)
        ready = _readable(sources, seconds)
        if self._wake_out in ready:
            os.read(self._wake_out, 4096)
        if listening is not None and listening.fileno() in ready and listening.resized():
            self._list_at = min(self._list_at, time.monotonic() + BURST_SECONDS)

    def _round(self) -> float:
        """Give out the turns that are due; return the seconds until the next ones are."""
        now = time.monotonic()
        if now >= self._list_at:
            self._list_at = now + self._options.period
            self._list.submit(LIST, self._look)
        with self._lock:
            domains, is_new, self._is_new = self._domains, self._is_new, False
            watched, away = self._watched, self._away
        if away is not None:
            self._list_at = min(self._list_at, now + AWAY_SECONDS)
        if not self._is_answered and (is_new or away is not None):
            self._is_answered, self._notify_at = True, now
        if is_new:
            self._forget(domains)
        if is_new and self._options.grow:
            for each in domains:
                self._growth.submit(guests.key(each), _turn(self._growing.turn, each))
        wait = self._thaw_round(watched) if self._options.thaw else self._options.period
        self._notify(now, domains, watched)
        return min(wait, self._list_at - now, self._notify_at - now)

    def _thaw_round(self, watched: list[Domain]) -> float:
        late, wait = self._thawing.due(watched)
        for each in late:
            self._thawing.postpone(each, len(watched))
            self._thaw.submit(guests.key(each), _turn(self._thawing.turn, each))
        return wait if not late else min(wait, guests.pause(len(watched), self._options))

    def _forget(self, domains: list[Domain]) -> None:
        running = [guests.key(each) for each in domains]
        self._growing.forget(running)
        self._thawing.forget(running)

    def _look(self, hypervisor: Hypervisor) -> None:
        """Find out which VMs run here: a turn of the first lane."""
        domains = hypervisor.domains()
        watched = self._thawing.watched(domains)
        with self._lock:
            self._domains, self._watched = domains, watched
            self._is_new, was_away, self._away = True, self._away, None
        if was_away is not None:
            self._log.line("libvirt_back", vms=len(domains))
        self._wake()

    def _failed(self, key: Hashable, error: errors.Error) -> None:
        """Take note of a turn that failed: told once, as long as it fails so."""
        if key == LIST:
            with self._lock:
                self._domains, self._watched = [], []
                was_away, self._away = self._away, error
            if was_away is None:
                self._log.line("libvirt_away", reason=error)
            self._wake()
        elif not isinstance(error, (errors.NotFound, errors.LibvirtUnavailable, errors.Locked)):
            self._say_once("turn_failed", vm=key[0] if isinstance(key, tuple) else key, why=error)

    def _say_once(self, event: str, **facts: object) -> None:
        said = f"{event} {facts}"
        if said not in self._told and len(self._told) < _TOLD_MAX:
            self._told.add(said)
            self._log.line(event, **facts)

    def _notify(self, now: float, domains: list[Domain], watched: list[Domain]) -> None:
        if now < self._notify_at:
            return
        self._notify_at = now + NOTIFY_SECONDS
        hang = [each for pool in (self._growth, self._thaw) for each in pool.tend()]
        if self._list.tend():
            status = "waits for libvirt: it does not answer"
        elif isinstance(self._away, errors.LibvirtUnavailable):
            status = f"waits for {self._away.what}: {self._away.why}"
        elif self._away is not None:
            status = f"waits for libvirt: {self._away}"
        elif not self._is_answered:
            status = "starts"
        elif self._thawing.api_failed is not None:
            status = f"waits for StorPool: {self._thawing.api_failed}"
        else:
            status = f"looks after {len(domains)} VMs, {len(watched)} of them by their guest agent"
        if hang:
            status += f"; {len(hang)} do not answer"
        if status != self._status:
            self._status = status
            if hang or status.startswith("waits"):
                self._say_once("waits", status=status)
        systemd.notify(f"WATCHDOG=1\nSTATUS={self._log.sentence(status)}")


# What the line of a start tells.
_SAID = ("grow", "thaw", "period", "thaw_period", "thaw_after", "thaw_latest", "thaw_mixed")
_TOLD_MAX = 1000


def _readable(sources: list[int | udev.Uevents], seconds: float) -> set[int]:
    """Wait for so long, and return the files among these from which something can be read."""
    waiting = select.poll()
    for each in sources:
        waiting.register(each, select.POLLIN)
    return {number for number, _ in waiting.poll(1000 * max(0.0, seconds))}


def _turn(
    work: Callable[[Hypervisor, Domain], None], domain: Domain
) -> Callable[[Hypervisor], None]:
    return lambda hypervisor: work(hypervisor, domain)
