"""Random backups, restores, cuts, restarts, deletes and hours over two clusters: what is where, and
when, with which contents, is what a small model says."""

from __future__ import annotations

from copies_machine import COPY_SECONDS, NAMES, PIECE, SIZE, Pair
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

NAME = st.sampled_from(NAMES)
ANY = st.integers(0, 1000)


class Copies(RuleBasedStateMachine):
    """What was promised is there in the end, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()

    def teardown(self) -> None:
        """End both clusters."""
        self.pair.close()

    def picked(self, number: int) -> str:
        """One of the backups that were promised, newest first, or one that never was."""
        known = [*self.pair.sent][::-1]
        return known[number % len(known)] if known and number % 7 else "loc.a.zzz"

    @initialize(keep=st.booleans(), delay=st.sampled_from([None, 100]))
    def begin(self, keep: bool, delay: int | None) -> None:
        """Two volumes, one backup of each; bases of backups stay or go."""
        self.pair.switches["backup_base"] = "keep" if keep else "remove"
        self.pair.one.switches.set(self.pair.switches)
        self.register(delay)
        for byte, name in enumerate(NAMES, start=1):
            self.write(name, byte, byte)
        self.pair.backup([*NAMES])
        self.pair.wait(COPY_SECONDS)

    @rule(name=NAME, place=st.integers(0, SIZE // PIECE - 1), byte=st.integers(1, 255))
    def write(self, name: str, place: int, byte: int) -> None:
        """A volume that is not there is made first."""
        if name not in self.pair.volumes:
            self.pair.call(self.pair.one, "VolumeCreate", body={"name": name, "size": SIZE})
        self.pair.write(name, place, byte)

    @rule(name=NAME)
    def delete_volume(self, name: str) -> None:
        """Its backups come all the same."""
        known = self.pair.volumes.pop(name, None) is not None
        said = self.pair.said(self.pair.one, "VolumeDelete", name)
        assert said == ("ok" if known else "objectDoesNotExist")

    @precondition(lambda self: self.pair.volumes)
    @rule(group=st.booleans())
    def backup(self, group: bool) -> None:
        """Of one volume, or of all at one instant."""
        names = sorted(self.pair.volumes)[: None if group else 1]
        if self.pair.up:
            self.pair.backup(names)
            return
        body = {"volumes": names, "location": "rem"}
        assert self.pair.said(self.pair.one, "VolumesGroupBackup", body=body) == "multiCluster"

    @rule(number=ANY)
    def fetch(self, number: int) -> None:
        """What is exported to us and complete comes back; what is here already does not."""
        pair, key = self.pair, self.picked(number)
        if key in pair.here or pair.one.catalog.find(f"~{key}") is not None:
            expected = "objectExists"
        elif not pair.up:
            expected = "multiCluster"
        else:
            expected = "ok" if pair.is_seen(key) else "objectDoesNotExist"
        body = {"remoteLocation": "rem", "remoteId": key}
        assert pair.said(pair.one, "SnapshotFromRemote", body=body) == expected
        if expected == "ok":
            pair.here[key] = pair.sent[key].content
            pair.fetching[key] = COPY_SECONDS

    @precondition(lambda self: self.pair.here and self.pair.volumes)
    @rule(number=ANY, name=NAME)
    def revert(self, number: int, name: str) -> None:
        """A volume gets the content of a copy: also of one under way, while the bridge is up."""
        pair = self.pair
        key = sorted(pair.here)[number % len(pair.here)]
        copy = pair.one.catalog.copies.get(key)
        said = pair.said(pair.one, "VolumeRevert", name, body={"toSnapshot": f"~{key}"})
        if name not in pair.volumes:
            assert said == "objectDoesNotExist"
        elif pair.up or copy is None or copy.filled:
            assert said == "ok"
            pair.volumes[name] = pair.here[key]
        else:
            assert said == "multiCluster"

    @precondition(lambda self: self.pair.here)
    @rule(number=ANY)
    def delete_copy(self, number: int) -> None:
        """One under way goes when it has come."""
        pair = self.pair
        key = sorted(pair.here)[number % len(pair.here)]
        pair.call(pair.one, "SnapshotDelete", f"~{key}")
        del pair.here[key]

    @rule(number=ANY)
    def delete_backup(self, number: int) -> None:
        """By whoever runs the other cluster; one that is being fetched stays until that is done."""
        pair, key = self.pair, self.picked(number)
        known = pair.far.catalog.find(f"~{key}") is not None
        said = pair.said(pair.far, "SnapshotDelete", f"~{key}")
        assert said == ("ok" if known else "objectDoesNotExist")
        if known:
            pair.sent[key].deleted = True

    @rule(number=ANY, after=st.sampled_from([0, 50, 500]))
    def unexport(self, number: int, after: int) -> None:
        """With a date, which counts where the bridge allows it, and not before that."""
        pair, key = self.pair, self.picked(number)
        item = {"location": "rem", "globalSnapshotId": key, "deleteAfter": after}
        said = pair.said(pair.one, "SnapshotsRemoteUnexport", body={"remoteSnapshots": [item]})
        if not pair.up:
            assert said == "multiCluster"
        elif not pair.is_seen(key):
            assert said == "objectDoesNotExist"
        else:
            assert said == "ok"
            pair.sent[key].exported = False
            if after and pair.delay is not None:
                pair.sent[key].date = int(pair.far.now()) + max(after, pair.delay)

    @rule(delay=st.sampled_from([None, 100]))
    def register(self, delay: int | None) -> None:
        """The other cluster registers our bridge with a minimumDeleteDelay, or without."""
        self.pair.delay = delay
        self.pair.simulator.others["far"].set_minimum_delete_delay("one", delay)

    @rule(up=st.booleans())
    def turn(self, up: bool) -> None:
        """Nothing comes any more, or all goes on."""
        self.pair.simulator.set_bridge("far", up=up)
        self.pair.up = up

    @rule(seconds=st.sampled_from([1, 4, 9, 10, 60]))
    def wait(self, seconds: int) -> None:
        """Some copies end."""
        self.pair.wait(seconds)

    @rule()
    def restart(self) -> None:
        """All goes on where it was."""
        self.pair.restart()

    @rule()
    def settle(self) -> None:
        """All that was promised is there when there is time enough."""
        self.turn(True)
        self.pair.wait(COPY_SECONDS)
        assert not self.pair.coming
        assert not self.pair.fetching

    @invariant()
    def agree(self) -> None:
        """What a client sees is what the model says."""
        self.pair.look()


Copies.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestCopies = Copies.TestCase
