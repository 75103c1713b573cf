"""What a verb does about those that died before it, and what it leaves to the next one: waits,
claims, dead ends."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from rigs.yard import CLONE, DISK, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import findings
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import settlement

MANY_LINES = 400


# Requests that come late


@pytest.fixture
def killed(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the global id of a disk's volume whose delete was killed while its request was under
    way."""
    yard.verb("create", DISK, GIB)
    yard.verb("create", CLONE, GIB)
    global_id = yard.global_id(DISK)
    yard.die_asking("VolumeDelete", "delete", DISK)
    return global_id


@pytest.mark.usefixtures("killed")
def test_a_verb_waits_until_no_late_delete_can_come(yard: Yard) -> None:
    """T71: only then is a disk handed to a host whose delete was killed."""
    began = yard.clock.now
    yard.verb("connection", DISK)
    assert yard.clock.now - began > settlement.LATE_SECONDS / 2
    began = yard.clock.now
    yard.verb("extend", DISK, 2 * GIB)
    assert yard.clock.now == began, "once is enough"


def test_a_delete_that_comes_while_a_verb_waits_is_seen(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    """T71: no host is sent to a volume that is gone by then, and the delete repeated is a
    success."""
    with monkeypatch.context() as patch:
        yard.meanwhile(patch, lambda: yard.ask(f"VolumeDelete/~{killed}", {}))
        with pytest.raises(errors.NotFound):
            yard.verb("connection", DISK)
    yard.verb("delete", DISK)
    assert yard.uuids() == {CLONE}
    assert yard.report().findings == ()


@pytest.mark.usefixtures("killed")
def test_a_verb_without_the_time_to_wait_says_so(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T73: better a sentence now than an answer after Engine's patience."""
    monkeypatch.setattr(settlement, "LATE_SECONDS", 80.0)
    began = yard.clock.now
    with pytest.raises(errors.Locked, match="delete"):
        yard.verb("connection", DISK)
    assert yard.clock.now == began


@pytest.mark.usefixtures("killed")
def test_an_old_delete_is_not_waited_for(yard: Yard) -> None:
    """A request ends with its connection: after a minute none is under way."""
    yard.age(60)
    began = yard.clock.now
    yard.verb("connection", DISK)
    assert yard.clock.now == began


def test_a_delete_that_comes_too_late_is_named_as_such(yard: Yard, killed: str) -> None:
    """T72: whoever looks for the disk that vanished finds what took it."""
    yard.verb("connection", DISK)
    yard.ask(f"VolumeDelete/~{killed}", {})
    (finding,) = yard.report().findings
    assert finding.kind == findings.GHOST
    assert "delete of it that had been taken back" in finding.cause
    yard.verb("delete", DISK)
    assert yard.report().findings == ()


def test_a_create_that_comes_too_late_is_named_and_deleted(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T72: a killed create, deleted before it took effect: what it makes then is known for what it
    is."""
    yard.die_asking("VolumeCreate", "create", DISK, GIB)
    planned = yard.see().rows[DISK]
    yard.verb("delete", DISK)
    (operation,) = yard.operations()
    assert (operation.kind, operation.node, operation.state) == ("make", DISK, "undone")
    tags = {"virt": "ovirt", "ovirt-uuid": DISK, "ovirt-loc": yard.location}
    yard.ask(
        "VolumeCreate",
        {"name": f"ovirt--{DISK}", "size": planned[4], "template": "hybrid", "tags": tags},
    )
    (finding,) = yard.report().findings
    assert finding.kind == findings.LEAK
    assert "took effect after that" in finding.cause
    yard.reconcile()
    assert yard.uuids() == set()
    assert yard.report().findings == ()


def test_a_refusal_after_a_lost_request_forgets_nothing(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T72: the first try may still take effect, whatever StorPool said to the second one."""
    yard.verb("create", DISK, GIB)
    late: list[tuple[Any, ...]] = []

    def refuse(_client: api.Client, *arguments: Any) -> str:
        if late:
            raise errors.NoSpace("a snapshot", "the cluster is full")
        late.append(arguments)
        _client.tally.unanswered += 1
        raise errors.ApiUnavailable(
            "storpool.example:81", "snapshotCreate", "timed out", ambiguous=True
        )

    with monkeypatch.context() as patch:
        patch.setattr(api.Client, "volume_snapshot", refuse)
        with pytest.raises(errors.NoSpace):
            yard.verb("snapshot", DISK)
    assert [each.state for each in yard.operations()] == ["undone"]
    assert yard.report().findings == ()
    with yard.administrator() as engine:
        engine.client.volume_snapshot(*late[0])
    (finding,) = yard.report().findings
    assert finding.kind == findings.LEAK
    yard.reconcile()
    assert yard.uuids() == {DISK}


# What a repetition leaves


@pytest.mark.parametrize("verb", ["create", "clone"])
def test_a_repetition_that_dies_claims_nothing(yard: Yard, verb: str) -> None:
    """T1, T72: Engine has the disk's answer: wherever the repetition dies, nothing speaks against
    the disk."""
    yard.verb("create", DISK, GIB)
    arguments = (CLONE, GIB) if verb == "create" else (DISK, CLONE)
    yard.verb(verb, *arguments)
    for line in range(1, MANY_LINES):
        try:
            yard.verb(verb, *arguments, fault=Fault("death", lines=line))
        except Death:
            assert yard.operations() == []
        else:
            break
    else:
        pytest.fail("it never came to its end")
    assert yard.report().findings == ()
    assert yard.uuids() == {DISK, CLONE}


def stuck(yard: Yard, made: bool) -> None:
    """Leave a planned row: its create was killed, its delete was lost; StorPool has `made` the
    volume or not."""
    yard.die_made("create", DISK, GIB)
    yard.lose_delete("delete", DISK)
    if not made:
        yard.ask(f"VolumeDelete/~{yard.global_id(DISK)}", {})
    for verb, arguments in (("connection", (DISK,)), ("extend", (DISK, GIB))):
        with contextlib.suppress(errors.Error):
            yard.verb(verb, *arguments)


@pytest.mark.parametrize("made", [True, False])
def test_a_planned_row_can_be_deleted(yard: Yard, made: bool) -> None:
    """T71, T72: no order of verbs and losses leaves a disk that nobody can delete."""
    stuck(yard, made)
    yard.verb("delete", DISK)
    assert (yard.uuids(), yard.see().rows) == (set(), {})
    assert yard.report().findings == ()


@pytest.mark.parametrize("made", [True, False])
def test_a_planned_row_can_be_made_again(yard: Yard, made: bool) -> None:
    """T1, T71: the repeated create, with whatever came between, ends with one disk that works."""
    stuck(yard, made)
    yard.verb("create", DISK, GIB)
    yard.verb("connection", DISK)
    assert yard.uuids() == {DISK}
    assert yard.report().findings == ()


@pytest.mark.parametrize("made", [True, False])
def test_a_planned_row_that_nothing_explains_can_be_removed(yard: Yard, made: bool) -> None:
    """T72: where the journal was lost the audit names the row, and the administrator's command ends
    it."""
    yard.verb("create", CLONE, GIB)
    yard.die_made("create", DISK, GIB)
    if not made:
        yard.ask(f"VolumeDelete/~{yard.global_id(DISK)}", {})
    yard.sql("DELETE FROM storpool_ovirt.operation")
    (finding,) = yard.report().findings
    assert f"--remove {DISK}" in finding.mend
    yard.remove(DISK)
    assert yard.report().findings == ()
    assert yard.see().rows.keys() == yard.uuids()
    yard.verb("delete", DISK)
    assert yard.uuids() == {CLONE}


def test_a_leak_that_storpool_keeps_blocks_nothing(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T72, T73: the disk's verbs go on; the leak stays named, and goes when StorPool lets it."""
    yard.verb("create", DISK, GIB)
    leak = yard.die_made("snapshot", DISK)
    kept = yard.global_id(leak)
    real = api.Client.snapshot_delete

    def refuse(client: api.Client, address: str) -> None:
        if address == f"~{kept}":
            raise errors.Rejected(
                "snapshotDelete", "invalidParam", "the snapshot is bound elsewhere"
            )
        real(client, address)

    with monkeypatch.context() as patch:
        patch.setattr(api.Client, "snapshot_delete", refuse)
        yard.verb("extend", DISK, 2 * GIB)
        snapshot = yard.verb("snapshot", DISK)
        yard.verb("connection", yard.verb("preview", snapshot))
        yard.verb("clone", DISK, CLONE)
        yard.verb("remove", snapshot)
        assert [finding.uuid for finding in yard.report().findings] == [leak]
    yard.remove(leak)
    assert leak not in yard.uuids()
    yard.verb("delete", DISK)
    assert yard.uuids() == {CLONE}
    assert yard.report().findings == ()
