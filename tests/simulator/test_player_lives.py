"""Long lives of VMs under VolumeCare: whatever comes and goes, fails or is reverted, a backup is
whole, is of one moment, and lives as long as its policy says; what others made stays."""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from player_rig import HOUR, MIB, api, played, played_once, snapshots
from simulator_fixtures import RefusedError

from storpool_simulator.players import notes, reverts

VMS = st.sampled_from(["one", "two"])
POLICIES = st.sampled_from(["hourly", "hourly", "hourly", "daily", "no", "typo", ""])
KINDS = st.sampled_from(["transient", "bad_gateway", "reset_before", "reset_after"])
QUERIES = st.sampled_from(
    ["VolumesList", "SnapshotsList", "KV/List", "KV/Set", "VolumesGroupSnapshot", "SnapshotUpdate"]
)
# Where it hurts most: the group is made and nobody hears of it, and so with the note of it.
LOSSES = st.sampled_from(
    [("reset_after", "VolumesGroupSnapshot", 0), ("reset_before", "KV/Set", 1)]
)
TROUBLES = LOSSES | st.tuples(KINDS, QUERIES, st.integers(0, 2))
PICKS = st.integers(0, 5)


class Lives(RuleBasedStateMachine):
    """Two VMs whose disks come and go."""

    def __init__(self) -> None:
        super().__init__()
        self._running = contextlib.ExitStack()
        self.by_hand: set[str] = set()
        self.groups: list[set[str]] = []

    @initialize(
        identity=st.sampled_from(["unnamed", "all", "keep"]),
        retention=st.sampled_from(["date", "delete"]),
        tags=st.sampled_from(["own", "none", "copied"]),
    )
    def begin(self, identity: str, retention: str, tags: str) -> None:
        """Start the cluster with its players."""
        folder = self._running.enter_context(TemporaryDirectory())
        given = {
            "revert_identity": identity,
            "volumecare_retention": retention,
            "volumecare_tags": tags,
            "linger": "0",
        }
        self.peer = self._running.enter_context(played(Path(folder), switches=given))

    def teardown(self) -> None:
        """Stop it."""
        self._running.close()

    @rule(vm=VMS, policy=POLICIES, is_named=st.booleans())
    def add(self, vm: str, policy: str, is_named: bool) -> None:
        """Give a VM a disk."""
        tags = {"cvm": vm, **({"vc-policy": policy} if policy else {})}
        count = len(self.peer.get("VolumesList"))
        name = f"{vm}-{count}-{len(self.by_hand)}" if is_named else ""
        with contextlib.suppress(RefusedError):  # the name may be taken
            self.peer.post("VolumeCreate", {"name": name, "size": MIB, "tags": tags})

    @rule(pick=PICKS)
    def take_away(self, pick: int) -> None:
        """Delete a disk."""
        address = self._picked(pick)
        if address:
            self.peer.post(f"VolumeDelete/{address}")

    @rule(pick=PICKS, policy=POLICIES)
    def tag(self, pick: int, policy: str) -> None:
        """Give a disk another policy."""
        address = self._picked(pick)
        if address:
            self.peer.post(f"VolumeUpdate/{address}", {"tags": {"vc-policy": policy}})

    @rule(pick=PICKS)
    def snapshot(self, pick: int) -> None:
        """Make a snapshot by hand."""
        address = self._picked(pick)
        if address:
            name = f"by-hand-{len(self.by_hand)}"
            body = {"name": name}
            made = self.peer.post(f"VolumeSnapshot/{address}", body)
            self.by_hand.add(f"~{made['snapshotGlobalId']}")

    @rule(minutes=st.sampled_from([1, 7, 61, 245]))
    def wait(self, minutes: int) -> None:
        """Let time pass."""
        self.peer.simulator.advance(60 * minutes)

    @rule(trouble=TROUBLES)
    def fail(self, trouble: tuple[str, str, int]) -> None:
        """Have a call of a pass fail in which backups are due, and then a good one made."""
        self.peer.switch(volumecare_service="off")
        self.peer.simulator.advance(HOUR + 60)
        self.peer.switch(volumecare_service="on")
        kind, query, later = trouble
        for _ in range(later):
            self.peer.simulator.faults.add("delay", query=query, seconds=0)
        self.peer.simulator.faults.add(kind, query=query)
        played_once(self.peer, "volumecare")
        self.peer.simulator.faults.clear()
        played_once(self.peer, "volumecare")

    @rule(vm=VMS, pick=PICKS)
    def revert(self, vm: str, pick: int) -> None:
        """Take a VM back, where that can be done."""
        backups = notes.read(api(self.peer)).of(f"cvm={vm}")
        if backups:
            chosen = backups[pick % len(backups)]
            with contextlib.suppress(reverts.RevertError):
                reverts.revert(api(self.peer), chosen.entity, chosen.create_ts)

    @invariant()
    def backups_are_whole(self) -> None:
        """Each note leads to snapshots of all volumes that the VM had, each of which is in one
        backup only, and made at its moment; nothing else is there but what was made by hand."""
        if not hasattr(self, "peer"):
            return
        noted = notes.read(api(self.peer))
        there = snapshots(self.peer)
        now = self.peer.simulator.cluster.now()
        seen: list[str] = []
        for backup in noted.backups:
            alive = [there[each] for each in backup.map.values() if each in there]
            assert len(alive) in (0, len(backup.map))
            assert len({each["creationTimestamp"] for each in alive}) <= 1
            assert not alive or now < backup.until + 120
            seen += backup.map.values()
        assert len(seen) == len(set(seen))
        assert set(there) - set(seen) == self.by_hand
        assert (noted.intents, noted.reverting) == ((), frozenset())

    @invariant()
    def backups_are_not_closer_than_their_interval(self) -> None:
        """No policy is served twice in its time."""
        if not hasattr(self, "peer"):
            return
        noted = notes.read(api(self.peer))
        for entity in {each.entity for each in noted.backups}:
            backups = noted.of(entity)
            for one, later in zip(backups, backups[1:]):
                assert later.create_ts - one.create_ts >= HOUR - 60

    def _picked(self, pick: int) -> str | None:
        listed: list[Any] = self.peer.get("VolumesList")
        return f"~{listed[pick % len(listed)]['globalId']}" if listed else None


Lives.TestCase.settings = settings(max_examples=12, stateful_step_count=14, deadline=None)
TestLives = Lives.TestCase
