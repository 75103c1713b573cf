"""What a verb does about those that died before it, and what it leaves to the next one: waits,
claims, dead ends."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from rigs.disk_rig import Death, Fault
from rigs.recovery_rig import CLONE, DISK, GIB, Rig
from storpool_ovirt import errors
from storpool_ovirt.admin import findings
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import recovery

MANY_LINES = 400


# Requests that come late


@pytest.fixture
def killed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the global id of a disk's volume whose delete was killed while its request was under
    way."""
    rig.verb("create", DISK, GIB)
    rig.verb("create", CLONE, GIB)
    global_id = rig.global_id(DISK)
    rig.die_at(monkeypatch, "volume_delete", "delete", DISK)
    return global_id


@pytest.mark.usefixtures("killed")
def test_a_verb_waits_until_no_late_delete_can_come(rig: Rig) -> None:
    """T71: only then is a disk handed to a host whose delete was killed."""
    began = rig.now
    rig.verb("connection", DISK)
    assert rig.now - began > recovery.LATE_SECONDS / 2
    began = rig.now
    rig.verb("extend", DISK, 2 * GIB)
    assert rig.now == began, "once is enough"


def test_a_delete_that_comes_while_a_verb_waits_is_seen(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    """T71: no host is sent to a volume that is gone by then, and the delete repeated is a
    success."""
    with monkeypatch.context() as patch:
        rig.meanwhile(patch, lambda: rig.api(f"VolumeDelete/~{killed}", {}))
        with pytest.raises(errors.NotFound):
            rig.verb("connection", DISK)
    rig.verb("delete", DISK)
    assert rig.uuids() == {CLONE}
    assert rig.audit() == []


@pytest.mark.usefixtures("killed")
def test_a_verb_without_the_time_to_wait_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """T73: better a sentence now than an answer after Engine's patience."""
    monkeypatch.setattr(recovery, "LATE_SECONDS", 80.0)
    began = rig.now
    with pytest.raises(errors.Locked, match="delete"):
        rig.verb("connection", DISK)
    assert rig.now == began


@pytest.mark.usefixtures("killed")
def test_an_old_delete_is_not_waited_for(rig: Rig) -> None:
    """A request ends with its connection: after a minute none is under way."""
    rig.age(1 / 60)
    began = rig.now
    rig.verb("connection", DISK)
    assert rig.now == began


def test_a_delete_that_comes_too_late_is_named_as_such(rig: Rig, killed: str) -> None:
    """T72: whoever looks for the disk that vanished finds what took it."""
    rig.verb("connection", DISK)
    rig.api(f"VolumeDelete/~{killed}", {})
    (finding,) = rig.audit()
    assert finding.kind == findings.GHOST
    assert "delete of it that had been taken back" in finding.cause
    rig.verb("delete", DISK)
    assert rig.audit() == []


def test_a_create_that_comes_too_late_is_named_and_deleted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T72: a killed create, deleted before it took effect: what it makes then is known for what it
    is."""
    rig.die_at(monkeypatch, "volume_create", "create", DISK, GIB)
    planned = rig.see().rows[DISK]
    rig.verb("delete", DISK)
    assert rig.operations() == [("make", DISK, "undone")]
    tags = {"virt": "ovirt", "ovirt-uuid": DISK, "ovirt-loc": rig.location}
    rig.api(
        "VolumeCreate",
        {"name": f"ovirt--{DISK}", "size": planned[4], "template": "hybrid", "tags": tags},
    )
    (finding,) = rig.audit()
    assert finding.kind == findings.LEAK
    assert "took effect after that" in finding.cause
    rig.reconcile()
    assert rig.uuids() == set()
    assert rig.audit() == []


def test_a_refusal_after_a_lost_request_forgets_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T72: the first try may still take effect, whatever StorPool said to the second one."""
    rig.verb("create", DISK, GIB)
    late: list[tuple[Any, ...]] = []

    def refuse(_client: api.Client, *arguments: Any) -> str:
        if late:
            raise errors.NoSpace("a snapshot", "the cluster is full")
        late.append(arguments)
        _client.unanswered += 1
        raise errors.ApiUnavailable(
            "storpool.example:81", "snapshotCreate", "timed out", ambiguous=True
        )

    with monkeypatch.context() as patch:
        patch.setattr(api.Client, "volume_snapshot", refuse)
        with pytest.raises(errors.NoSpace):
            rig.verb("snapshot", DISK)
    assert [state for _, _, state in rig.operations()] == ["undone"]
    assert rig.audit() == []
    with rig.administrator() as engine:
        engine.client.volume_snapshot(*late[0])
    (finding,) = rig.audit()
    assert finding.kind == findings.LEAK
    rig.reconcile()
    assert rig.uuids() == {DISK}


# What a repetition leaves


@pytest.mark.parametrize("verb", ["create", "clone"])
def test_a_repetition_that_dies_claims_nothing(rig: Rig, verb: str) -> None:
    """T1, T72: Engine has the disk's answer: wherever the repetition dies, nothing speaks against
    the disk."""
    rig.verb("create", DISK, GIB)
    arguments = (CLONE, GIB) if verb == "create" else (DISK, CLONE)
    rig.verb(verb, *arguments)
    for line in range(1, MANY_LINES):
        try:
            rig.verb(verb, *arguments, fault=Fault("death", lines=line))
        except Death:
            assert rig.operations() == []
        else:
            break
    else:
        pytest.fail("it never came to its end")
    assert rig.audit() == []
    assert rig.uuids() == {DISK, CLONE}


def stuck(rig: Rig, made: bool) -> None:
    """Leave a planned row: its create was killed, its delete was lost; StorPool has `made` the
    volume or not."""
    rig.die_when_made("create", DISK, GIB)
    rig.lose_delete("delete", DISK)
    if not made:
        rig.api(f"VolumeDelete/~{rig.global_id(DISK)}", {})
    for verb, arguments in (("connection", (DISK,)), ("extend", (DISK, GIB))):
        with contextlib.suppress(errors.Error):
            rig.verb(verb, *arguments)


@pytest.mark.parametrize("made", [True, False])
def test_a_planned_row_can_be_deleted(rig: Rig, made: bool) -> None:
    """T71, T72: no order of verbs and losses leaves a disk that nobody can delete."""
    stuck(rig, made)
    rig.verb("delete", DISK)
    assert (rig.uuids(), rig.see().rows) == (set(), {})
    assert rig.audit() == []


@pytest.mark.parametrize("made", [True, False])
def test_a_planned_row_can_be_made_again(rig: Rig, made: bool) -> None:
    """T1, T71: the repeated create, with whatever came between, ends with one disk that works."""
    stuck(rig, made)
    rig.verb("create", DISK, GIB)
    rig.verb("connection", DISK)
    assert rig.uuids() == {DISK}
    assert rig.audit() == []


@pytest.mark.parametrize("made", [True, False])
def test_a_planned_row_that_nothing_explains_can_be_removed(rig: Rig, made: bool) -> None:
    """T72: where the journal was lost the audit names the row, and the administrator's command ends
    it."""
    rig.verb("create", CLONE, GIB)
    rig.die_when_made("create", DISK, GIB)
    if not made:
        rig.api(f"VolumeDelete/~{rig.global_id(DISK)}", {})
    rig.sql("DELETE FROM storpool_ovirt.operation")
    (finding,) = rig.audit()
    assert f"--remove {DISK}" in finding.mend
    rig.remove(DISK)
    assert rig.audit() == []
    assert rig.see().rows.keys() == rig.uuids()
    rig.verb("delete", DISK)
    assert rig.uuids() == {CLONE}


def test_a_leak_that_storpool_keeps_blocks_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T72, T73: the disk's verbs go on; the leak stays named, and goes when StorPool lets it."""
    rig.verb("create", DISK, GIB)
    leak = rig.die_when_made("snapshot", DISK)
    kept = rig.global_id(leak)
    real = api.Client.snapshot_delete

    def refuse(client: api.Client, address: str) -> None:
        if address == f"~{kept}":
            raise errors.Rejected(
                "snapshotDelete", "invalidParam", "the snapshot is bound elsewhere"
            )
        real(client, address)

    with monkeypatch.context() as patch:
        patch.setattr(api.Client, "snapshot_delete", refuse)
        rig.verb("extend", DISK, 2 * GIB)
        snapshot = rig.verb("snapshot", DISK)
        rig.verb("connection", rig.verb("preview", snapshot))
        rig.verb("clone", DISK, CLONE)
        rig.verb("remove", snapshot)
        assert [finding.uuid for finding in rig.audit()] == [leak]
    rig.remove(leak)
    assert leak not in rig.uuids()
    rig.verb("delete", DISK)
    assert rig.uuids() == {CLONE}
    assert rig.audit() == []
