"""storpool_qos and VolumeCare beside a life: each makes a pass when the life says so, and whatever
is done afterwards, all that is theirs has to be as they left it.

They take everything: the class `gold`, the policies `hourly` and `daily`, what has no policy, and
others' volumes. By VolumeCare's clock the next backup of each is due at each pass, and it keeps
three; the cluster's own clock stays as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from rigs import players
from rigs.repeated import repeated
from storpool_simulator.players import (
    entities,
    notes,
    qos,
    reverts,
    tiers,
    vc_config,
    volumecare,
    wire,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ovirt_demo.simulator import Simulator

Listed = dict[str, Any]

KEPT = 3  # backups of each VM
_EVERY_SECONDS = 60.0
# After so many verbs and calls of helpers one of both makes a pass.
_EACH = 5
_PAUSE_SECONDS = 0.3  # between passes that are made all the while
# What has to have happened, so that no life can pass beside services that do nothing.
HAPPENED = ("passes of VolumeCare", "passes of storpool_qos", "snapshots taken", "limits set")
# What a pass may meet where verbs are under way, or the API is away
_MEANWHILE = ("objectDoesNotExist", "no answer")
_TIME_TAG = "vc-time"  # of VolumeCare's own
_FACTS = ("name", "tags", "size", "targetDeleteDate", "createdFromGlobalId")


@dataclasses.dataclass(frozen=True)
class _Ahead(wire.Api):
    """VolumeCare's way to a cluster, by a clock that is so many seconds ahead."""

    seconds: float = 0.0

    def now(self) -> float:
        """Return its time."""
        return super().now() + self.seconds


_BESIDE: WeakKeyDictionary[Simulator, Services] = WeakKeyDictionary()


def idle(done: Mapping[str, int]) -> list[str]:
    """Return what has not happened."""
    return [each for each in HAPPENED if not done.get(each)]


def of(simulator: Simulator) -> Services | None:
    """Return those that are beside a process now, if any are."""
    return _BESIDE.get(simulator)


@contextlib.contextmanager
def beside(
    simulator: Simulator,
    *observed: Any,
    check: Callable[[list[Listed]], None] = lambda _: None,
    amid: bool = False,
) -> Iterator[Services]:
    """Have them be beside a process inside the block: after some of the verbs and calls of Engines
    and hosts (`observed`) one of both makes a pass; then and at the end all is checked, and what is
    listed by `check`.

    `amid`: others' verbs may be under way at a pass, and the API away. What fails then the
    next pass does, as with the real ones, and what is listed is checked at the end alone.
    """
    made = Services(simulator.address, simulator.port, simulator.token, amid=amid)
    count = 0
    lock = threading.Lock()

    def look() -> None:
        lists = simulator.api("VolumesList"), simulator.api("SnapshotsList")
        made.check(*lists)
        check([*lists[0], *lists[1]])

    def observe(_run: Any) -> None:
        nonlocal count
        with lock:
            count += 1
            if not count % _EACH:
                if not amid:
                    look()
                made.play(count // _EACH)

    _BESIDE[simulator] = made
    for each in observed:
        each.observe = observe
    try:
        yield made
        if amid:
            made.volumecare()  # ends what a pass has left
        look()
    finally:
        for each in observed:
            each.observe = None
        made.end()
        del _BESIDE[simulator]


class Services:
    """Both services of one cluster, and what they have made."""

    def __init__(self, host: str, port: int, token: str, *, amid: bool = False) -> None:
        self.done: Counter[str] = Counter()
        self._amid = amid
        self._host, self._port, self._token = host, port, token
        self._theirs: set[str] = set()  # of all backups that there ever were
        self._kept: dict[str, Listed] = {}
        self._limits: dict[str, tuple[Any, ...]] = {}
        texts = players.texts(every="1m", keep=f"{KEPT}m", of_all="daily")
        self._tiers = tiers.parse(texts[qos.NAME])
        self._config = vc_config.parse(texts[volumecare.NAME])
        qos.Qos(self._way()).provide(texts[qos.NAME])
        volumecare.VolumeCare(self._way()).provide(texts[volumecare.NAME])

    # Passes

    def play(self, number: int) -> None:
        """Make the pass that a number means: VolumeCare's as often as storpool_qos's."""
        each = (self.qos, self.volumecare)[number % 2]
        with contextlib.suppress(wire.AwayError) if self._amid else contextlib.nullcontext():
            each()

    @contextlib.contextmanager
    def all_the_while(self) -> Iterator[None]:
        """Make passes beside what is inside, one after the other, amid its faults."""
        numbers = itertools.count()
        with repeated(lambda: self.play(next(numbers)), _PAUSE_SECONDS):
            yield

    def qos(self) -> None:
        """Have all limits be those of their classes."""
        way = self._way()
        report = qos.Qos(way).play()
        self._check_failed(report)
        self._limits = {
            one["globalId"]: self._limits_of(one)
            for one in (*way.get("VolumesList"), *way.get("SnapshotsList"))
        }
        for address in report["changed"]:
            tier, limits = self._limits.get(address[1:], (None, {}))
            if self._amid and tier is None:
                continue  # it went meanwhile
            assert limits == (vars(self._tiers[tier].limits(0))), address
        self.done["passes of storpool_qos"] += 1
        self.done["limits set"] += len(report["changed"])

    def volumecare(self) -> None:
        """Have a backup be taken of all VMs, and those go that are over."""
        self.done["passes of VolumeCare"] += 1
        way = self._way(self.done["passes of VolumeCare"] * _EVERY_SECONDS)
        report = volumecare.VolumeCare(way).play()
        self._check_failed(report)
        noted, now = notes.read(way), way.now()
        assert report["failed"] or not noted.intents, "a backup that was begun is not there"
        listed = self._listed("SnapshotsList")
        kept = [each for each in noted.backups if each.until > now]
        self._kept = {
            address: _facts(listed[address]) for each in kept for address in each.map.values()
        }
        self._theirs.update(self._kept)
        self.done["snapshots taken"] += sum(
            len(each.map) for each in kept if each.create_ts >= int(now) - 1
        )
        self.done["VMs skipped"] += len(report["skipped"])

    def backup_of(self, vm: str) -> int:
        """Return when the newest backup of a VM was taken, which names it."""
        return notes.read(self._way()).of(f"{self._config.vm_tag}={vm}")[-1].create_ts

    def revert(self, vm: str, create_ts: int) -> None:
        """Take a VM that does not run back to a backup, as `storpool_vcctl revert` does."""
        reverts.revert(self._way(), f"{self._config.vm_tag}={vm}", create_ts)
        self._limits = {}  # a revert may change them until the next pass

    # What has to be so

    def is_theirs(self, one: Mapping[str, Any]) -> bool:
        """Return whether VolumeCare has made a listed object; amid faults also in a pass that has
        not heard of it."""
        is_new = self._amid and _TIME_TAG in one["tags"]
        return is_new or f"~{one['globalId']}" in self._theirs

    def check(self, volumes: Iterable[Listed], snapshots: Iterable[Listed]) -> None:
        """Check that nobody has touched a backup that is not over, nor a limit of a class, in the
        lists of now."""
        there = {f"~{one['globalId']}": one for one in snapshots if not one.get("deleted")}
        if not self._kept.keys() <= there.keys():
            self._forget_over()
        for address, facts in self._kept.items():
            assert address in there, f"a backup is gone: {facts}"
            assert _facts(there[address]) == facts
        for one in volumes:
            was, now = self._limits.get(one["globalId"]), self._limits_of(one)
            if was is not None and was[0] == now[0]:
                assert was == now, one

    def misled(self, volumes: Iterable[Listed]) -> list[str]:
        """Tell which VMs VolumeCare would leave out, and of which disks it would take two volumes:
        none, where no verb has failed."""
        found = []
        for entity in entities.found(self._config, volumes):
            roots = [each.tags.get("ovirt-root", each.address) for each in entity.volumes]
            if entity.kind == "vm" and len(set(roots)) < len(roots):
                found.append(f"{entity.name} has a disk twice: {roots}")
            try:
                entity.policy(self._config)
            except ValueError as problem:
                found.append(f"{entity.name}: {problem}")
        return found

    def end(self) -> None:
        """Let nothing of theirs be left."""
        way = self._way()
        for one in way.get("SnapshotsList"):
            if self.is_theirs(one) and not one.get("deleted"):
                way.post(f"SnapshotDelete/~{one['globalId']}", {})
        for backup in notes.read(way).backups:
            notes.forget(way, backup)
        self._kept = {}

    def _forget_over(self) -> None:
        """Forget what has gone at its date, by the cluster's clock."""
        now = self._way().now()
        dates = {address: facts["targetDeleteDate"] for address, facts in self._kept.items()}
        self._kept = {
            address: facts
            for address, facts in self._kept.items()
            if not dates[address] or dates[address] > now
        }

    def _check_failed(self, report: Mapping[str, Any]) -> None:
        """Check that nothing has failed; amid faults but for what somebody did meanwhile."""
        may = _MEANWHILE if self._amid else ()
        wrong = [why for why in report["failed"].values() if not any(each in why for each in may)]
        assert not wrong, report

    def _listed(self, query: str) -> dict[str, Listed]:
        return {f"~{one['globalId']}": one for one in self._way().get(query)}

    def _limits_of(self, one: Listed) -> tuple[Any, ...]:
        tier = qos.tier_of(one, self._tiers, template_first=False)
        return tier, {each: one[each] for each in ("bw", "iops")}

    def _way(self, seconds: float = 0.0) -> wire.Api:
        return _Ahead(self._host, self._port, self._token, "a service", seconds)


def _facts(one: Listed) -> Listed:
    return {key: one.get(key) for key in _FACTS}
