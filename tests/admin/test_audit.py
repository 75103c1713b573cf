"""audit.py: what operations left that died is told, with its cause and what mends it."""

from __future__ import annotations

import pytest
from one_finding import check, only

from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import CLONE, DISK, OTHER, Yard
from storpool_ovirt import errors

pytestmark = pytest.mark.usefixtures("a_disk")


@pytest.mark.parametrize("verb", ["snapshot", "clone"])
def test_an_object_that_a_dead_verb_made_is_a_leak(yard: Yard, verb: str) -> None:
    """T72: it is named with the verb that made it, and reconcile deletes it."""
    made = yard.die_made(verb, DISK, *([CLONE] if verb == "clone" else []))
    found = only(yard)
    check(
        found,
        "leak",
        "warning",
        "settle",
        cause=f"{verb} (correlation id test) died before it",
        mend="deletes it",
    )
    assert (found.uuid, found.disk) == (made, CLONE if verb == "clone" else DISK)
    assert yard.see().things[f"ovirt--{made}"].global_id in found.what


def test_a_dead_verb_that_made_nothing_is_unfinished(yard: Yard) -> None:
    """T72: there is only an entry, and reconcile forgets it."""
    yard.die_planned("snapshot", DISK)
    check(
        only(yard),
        "unfinished",
        "warning",
        "settle",
        cause="died before it knew",
        mend="reconcile forgets it",
    )


def test_a_failed_verb_is_told_in_its_own_words(yard: Yard) -> None:
    """T72: the cause is what Engine was told, with the verb's arguments."""
    with pytest.raises(errors.ApiUnavailable):
        yard.verb("snapshot", DISK, fault=Fault("reset_before", query="VolumeSnapshot", times=50))
    yard.sql(
        "UPDATE storpool_ovirt.operation SET state = 'failed', note = 'no answer', arguments ="
        " '{x}'"
    )
    found = only(yard)
    check(
        found,
        "unfinished",
        "warning",
        "settle",
        cause="failed without knowing the result: no answer",
        mend="forget",
    )
    assert not found.cause.startswith("a ")


@pytest.mark.parametrize("state", ["done", "undelivered"])
@pytest.mark.parametrize("verb", ["snapshot", "preview"])
def test_an_answer_that_engine_never_got_is_undelivered(yard: Yard, verb: str, state: str) -> None:
    """T72: the object is whole, but Engine has no id for it."""
    yard.undelivered(verb, yard.verb("snapshot", DISK) if verb == "preview" else DISK)
    yard.sql("UPDATE storpool_ovirt.operation SET state = %s", state)
    cause = {"done": "died before Engine had the answer", "undelivered": "nobody read the answer"}[
        state
    ]
    check(
        only(yard),
        "undelivered answer",
        "warning",
        "settle",
        cause=cause,
        mend="reconcile deletes it",
    )


def test_a_disk_that_is_used_all_the_same_is_no_warning(yard: Yard) -> None:
    """T72: Engine knows the disk that it has connected, whatever became of its create."""
    yard.undelivered("create", OTHER, GIB)
    yard.sql("UPDATE storpool_ovirt.node SET connected = true WHERE uuid = %s", OTHER)
    check(
        only(yard),
        "unfinished",
        "info",
        "settle",
        cause="in use all the same",
        mend="closes the entry",
    )


@pytest.mark.parametrize("settled", [False, True])
def test_an_entry_of_a_restored_backup_is_said_to_prove_nothing(yard: Yard, settled: bool) -> None:
    """T76, T85: whoever knows oVirt's list decides, with both commands, before and after a verb has
    met it."""
    made = yard.die_made("snapshot", DISK)
    yard.restored()
    if settled:
        yard.verb("extend", DISK, GIB)
    found = only(yard)
    check(
        found,
        "leak",
        "warning",
        None,
        cause="comes from a restored backup",
        mend=f"--keep {made} closes the entry",
    )
    assert f"--remove {made} deletes it" in found.mend


def test_what_took_effect_after_it_was_taken_back_is_a_leak(yard: Yard) -> None:
    """T72: a request of a dead verb came through late."""
    yard.die_planned("clone", DISK, CLONE)
    yard.verb("delete", CLONE)
    assert yard.report().findings == ()
    yard.by_hand(CLONE)
    check(
        only(yard),
        "leak",
        "warning",
        "delete",
        cause="was taken back, and took effect",
        mend="reconcile deletes it",
    )


def test_an_extend_that_died_is_unfinished(yard: Yard) -> None:
    """T72: its size is not known until it is read."""
    yard.die_when(
        lambda: yard.see().things[f"ovirt--{DISK}"].size_bytes == 2 * GIB, "extend", DISK, 2 * GIB
    )
    check(
        only(yard),
        "unfinished",
        "warning",
        "settle",
        cause="died before it knew",
        mend="reads the size",
    )


def test_a_delete_that_died_is_unfinished(yard: Yard) -> None:
    """T72: it is told what becomes of the rest."""
    yard.die_when(lambda: yard.see().rows[DISK].state == "deleting", "delete", DISK)
    check(
        only(yard),
        "unfinished",
        "warning",
        "settle",
        cause="died before it knew",
        mend="keeps what StorPool still",
    )


@pytest.mark.parametrize(
    ("verb", "mend"), [("extend", "extend it in oVirt once"), ("delete", "delete it in oVirt")]
)
def test_a_change_that_engine_does_not_know_is_told(yard: Yard, verb: str, mend: str) -> None:
    """T72: it is done, so only Engine's own view is behind."""
    yard.undelivered(verb, DISK, *([2 * GIB] if verb == "extend" else []))
    check(
        only(yard), "undelivered answer", "info", "settle", cause="did its work and died", mend=mend
    )
