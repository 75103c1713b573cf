"""journal.py: who changes what until when is told before the change, and nothing is open when
Engine has the answer."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from rigs import faulty_files
from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import CLONE, DISK, Yard
from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import (
    adapter,
    changes,
    disks,
    intent,
    journal,
    mapping,
    operations,
    process,
)

CASES: dict[str, Callable[[dict[str, str]], tuple[Any, ...]]] = {
    "create": lambda _: (CLONE, GIB),
    "clone": lambda _: (DISK, CLONE),
    "snapshot": lambda _: (DISK,),
    "preview": lambda ids: (ids["snapshot"],),
    "extend": lambda _: (DISK, 2 * GIB),
    "remove": lambda ids: (ids["snapshot"],),
    "delete": lambda _: (DISK,),
}
KINDS = {"extend": "grow", "remove": "drop", "delete": "drop"}
# What this process says of itself, and then waits for the end of its stdin.
TELL = (
    "import sys; from storpool_ovirt.engine import process; print(process.own(), flush=True);"
    " sys.stdin.read()"
)


def gone_wrong(
    yard: Yard, error: Exception | None, fault: Fault | None = None
) -> operations.Operation:
    """Have a create of DISK end as in the adapter, with this error behind its work or a fault in
    it."""
    with (
        yard.troubled(fault),
        yard.engine("create_volume", DISK, "1", correlation_id="corr-1") as engine,
    ):
        book = engine.mapping.journal
        with pytest.raises(errors.Error), adapter._journaled(book, Deadline(5), engine.log):
            disks.create(engine, DISK, GIB)
            if error is not None:
                raise error
    return yard.operations()[0]


@pytest.mark.parametrize("verb", CASES)
def test_an_entry_is_there_before_the_effect_and_gone_after_the_answer(
    yard: Yard, verb: str
) -> None:
    """T72: whenever a verb dies that has changed the cluster, the journal names what it was
    about."""
    yard.verb("create", DISK, GIB)
    ids = {"snapshot": yard.verb("snapshot", DISK)}
    before = yard.see()
    arguments = CASES[verb](ids)
    yard.die_planned(verb, *arguments)
    seen = yard.see()
    assert (seen.things, seen.attached, seen.foreign) == (
        before.things,
        before.attached,
        before.foreign,
    )
    assert [each[0] for each in seen.pending] == [KINDS.get(verb, "make")]
    yard.verb(verb, *arguments)
    open_now = yard.see().pending
    assert open_now == [], f"{verb} was delivered"


def test_an_entry_tells_who_does_what_until_when(yard: Yard) -> None:
    """T72: correlation id, verb, arguments and process; the object's name, tags, size and parent;
    the time it has."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.verb("snapshot", DISK)
    with yard.engine(
        "create_volume_from_snapshot", DISK, snapshot, correlation_id="corr-7"
    ) as engine:
        preview = disks.preview(engine, snapshot)
    (entry,) = yard.operations()
    assert (entry.correlation_id, entry.verb) == ("corr-7", "create_volume_from_snapshot")
    assert (entry.arguments, entry.process) == ((DISK, snapshot), process.own())
    assert (entry.kind, entry.disk, entry.node, entry.state) == ("make", DISK, preview, "done")
    tags = {"virt": "ovirt", "ovirt-uuid": preview, "ovirt-loc": yard.location, "ovirt-root": DISK}
    ((written,),) = yard.sql("SELECT plan FROM storpool_ovirt.operation")
    told = {key: written[key] for key in ("kind", "name", "tags", "size_bytes", "parent")}
    parent = yard.see().rows[snapshot].global_id
    assert told == {
        "kind": "volume",
        "name": f"ovirt--{preview}",
        "tags": tags,
        "size_bytes": GIB,
        "parent": parent,
    }
    assert 0 < entry.left_seconds <= 600
    assert entry.proved


def test_a_failure_is_kept_with_its_words(yard: Yard) -> None:
    """T72: Engine was told of a failure, and nobody knows whether it took effect."""
    entry = gone_wrong(yard, None, Fault("refuse"))
    assert entry.state == operations.FAILED
    assert "connection refused" in entry.note


def test_an_answer_that_nobody_read_is_kept(yard: Yard) -> None:
    """T72: the work is done, and Engine does not know."""
    entry = gone_wrong(yard, errors.NotDelivered("Broken pipe"))
    assert entry.state == operations.UNDELIVERED
    assert "nobody read the answer" in entry.note


def test_a_clear_no_leaves_no_entry(yard: Yard) -> None:
    """What StorPool refused has changed nothing, so there is nothing to remember."""
    with pytest.raises(errors.Rejected):
        yard.verb("create", DISK, GIB, fault=Fault("error_200", "VolumeCreate"))
    assert yard.operations() == []


def test_what_was_found_and_deleted_is_not_remembered(yard: Yard) -> None:
    """T72: the one request of a verb has taken effect, so nothing of it can come any more."""
    yard.verb("create", DISK, GIB)
    yard.die_made("snapshot", DISK)
    yard.verb("extend", DISK, GIB)
    assert yard.operations() == []


def test_what_was_given_up_is_remembered(yard: Yard) -> None:
    """T72: a request without an answer may be on its way still, whatever StorPool said to a later
    one."""
    with yard.engine("create") as engine:
        engine.mapping.plan(mapping.Node(DISK, "volume", DISK, None, GIB, mapping.PLANNED), {})
        engine.mapping.journal.give_up(changes.forgotten([DISK]))
        assert engine.mapping.journal.own is None
    assert [each.state for each in yard.operations()] == [operations.UNDONE]
    assert yard.see().rows == {}


def test_what_was_taken_back_is_remembered_and_then_forgotten(yard: Yard) -> None:
    """T72: a request under way may still take effect; a day later none does."""
    yard.verb("create", DISK, GIB)
    yard.die_planned("snapshot", DISK)
    yard.verb("extend", DISK, GIB)
    (entry,) = yard.operations()
    assert entry.state == operations.UNDONE
    assert entry.kind == intent.MAKE
    days = f"{journal.KEEP_DAYS} days"
    yard.sql(
        "UPDATE storpool_ovirt.operation SET until = clock_timestamp() - %s::interval + interval '1"
        " hour'",
        days,
    )
    yard.verb("extend", DISK, GIB)
    assert len(yard.operations()) == 1
    yard.sql(
        "UPDATE storpool_ovirt.operation SET until = clock_timestamp() - %s::interval - interval '1"
        " hour'",
        days,
    )
    yard.verb("extend", DISK, GIB)
    assert yard.operations() == []


def test_a_repetition_that_is_answered_closes_the_earlier_tries(yard: Yard) -> None:
    """T71: of a create that died twice and whose third answer was lost nothing is open."""
    for _ in range(2):
        yard.die_planned("create", DISK, GIB)
    yard.undelivered("create", DISK, GIB)
    assert [each.state for each in yard.operations()] == ["undone", "undone", "done"]
    yard.verb("create", DISK, GIB)
    assert yard.operations() == []


def test_a_repetition_whose_answer_is_lost_too_stays_open(yard: Yard) -> None:
    """T72: Engine has still not heard of the disk that the first try made."""
    yard.undelivered("create", DISK, GIB)
    yard.undelivered("create", DISK, GIB)
    assert [each.state for each in yard.operations()] == ["done"]


def test_a_repetition_of_what_engine_knows_writes_nothing(yard: Yard) -> None:
    """T71, T72: whether its answer arrives or not, the disk was delivered once, so no entry ever
    speaks against it."""
    yard.verb("create", DISK, GIB)
    yard.undelivered("create", DISK, GIB)
    assert yard.operations() == []


def test_an_entry_of_another_server_or_table_proves_nothing(yard: Yard) -> None:
    """T85: a row that came back with a backup is older than what Engine did since."""
    yard.undelivered("create", DISK, GIB)
    assert yard.operations()[0].proved
    yard.restored()
    assert not yard.operations()[0].proved
    yard.sql("DELETE FROM storpool_ovirt.operation")
    yard.undelivered("create", CLONE, GIB)
    yard.sql("ALTER TABLE storpool_ovirt.operation RENAME TO before")
    yard.sql("CREATE TABLE storpool_ovirt.operation (LIKE storpool_ovirt.before INCLUDING ALL)")
    yard.sql("INSERT INTO storpool_ovirt.operation SELECT * FROM storpool_ovirt.before")
    assert not yard.operations()[0].proved


def test_a_process_lives_as_long_as_this_very_process_does(yard: Yard) -> None:
    """T72: the pid alone is not enough, as it is used again; our own process has only finished
    work."""
    yard.undelivered("create", DISK, GIB)
    (own,) = yard.operations()
    assert not own.is_alive()
    with subprocess.Popen(
        [sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        living = own._replace(process=process.parse(child.stdout.readline().strip()))
        assert living.process.pid == child.pid
        assert living.is_alive()
        assert living._replace(left_seconds=-1).is_alive()
        before = living.process._replace(start=living.process.start - 1)
        assert not living._replace(process=before).is_alive()
        child.communicate()
    assert not living.is_alive()


@pytest.mark.parametrize("code", [*faulty_files.ERRORS, errno.ENOENT])
def test_a_process_that_cannot_be_looked_at_is_not_dead(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """T72: /proc does not open, or hides other users' processes as if they were not there
    (hidepid): as long as there is a process of this number its time decides; one that has ended
    is dead.
    """
    yard.undelivered("create", DISK, GIB)
    (own,) = yard.operations()
    with subprocess.Popen(
        [sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        by = process.parse(child.stdout.readline().strip())
        living = own._replace(process=by, left_seconds=1)
        faulty_files.inject(monkeypatch, f"/proc/{child.pid}/", code)
        assert living.is_alive()
        assert not living._replace(left_seconds=-1).is_alive()
        child.communicate()
    assert not living.is_alive()


@pytest.mark.parametrize("code", [*faulty_files.ERRORS, errno.ENOENT])
def test_a_machine_that_does_not_tell_who_it_is(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """T72: where /proc tells neither boot nor name space, two machines look alike: time decides for
    each process."""
    yard.undelivered("create", DISK, GIB)
    (own,) = yard.operations()
    faulty_files.inject(monkeypatch, "/proc/s", code)
    assert process.own().machine == process.UNTOLD
    for by in (process.own(), process.parse("-:1:0"), own.process):
        assert own._replace(process=by, left_seconds=1).is_alive()
        assert not own._replace(process=by, left_seconds=-1).is_alive()


def test_a_process_of_another_machine_lives_as_long_as_its_time(yard: Yard) -> None:
    """T72: nobody can look for it there, but no verb outlives its own deadline."""
    yard.undelivered("create", DISK, GIB)
    elsewhere = yard.operations()[0]._replace(process=process.parse("another-boot:1:1"))
    assert elsewhere._replace(left_seconds=1).is_alive()
    assert not elsewhere._replace(left_seconds=-1).is_alive()


def test_who_holds_a_disk_is_named(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """T19: the error of the second tells verb, correlation id, process and since when; of other
    disks' work nothing."""
    from storpool_ovirt.engine import database as sessions

    yard.verb("create", DISK, GIB)
    yard.verb("create", CLONE, GIB)
    monkeypatch.setattr(sessions, "LOCK_SECONDS", 0.2)
    with yard.holder(DISK) as (holder, _), yard.engine() as waiting:
        said = (
            rf"extend_volume with correlation id corr-9, process {process.parse(holder).pid}, since"
            r" \d\d:\d\d:\d\d UTC"
        )
        with pytest.raises(errors.Locked, match=said):
            waiting.mapping.lock(DISK)
        waiting.mapping.lock(CLONE)


def test_a_holder_whose_process_others_have_changed_is_named_all_the_same(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T19: what stands in the journal in place of a process is shown; the disk is locked."""
    from storpool_ovirt.engine import database as sessions

    yard.verb("create", DISK, GIB)
    monkeypatch.setattr(sessions, "LOCK_SECONDS", 0.2)
    with yard.holder(DISK), yard.engine() as waiting:
        yard.sql("UPDATE storpool_ovirt.operation SET process = 'a:b'")
        with pytest.raises(errors.Locked, match='process "a:b", since'):
            waiting.mapping.lock(DISK)


def test_an_operation_and_its_change_are_written_together_or_not_at_all(yard: Yard) -> None:
    """A create that finds a row of its id opens nothing."""
    yard.verb("create", DISK, GIB)
    with yard.engine("create_volume") as engine:
        there = engine.mapping.plan(
            mapping.Node(DISK, "volume", DISK, None, GIB, mapping.PLANNED), {}
        )
        assert there is not None
        assert engine.mapping.journal.own is None
    assert yard.operations() == []
