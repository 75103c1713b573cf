"""Who works on a disk: processes that hang, live in another name space, or hold its lock."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rigs.disk_model import GIB
from rigs.yard import CLONE, DISK, Yard
from storpool_ovirt import errors
from storpool_ovirt.admin import findings
from storpool_ovirt.engine import database, process

if TYPE_CHECKING:
    from collections.abc import Iterator


CHILD = "from storpool_ovirt.engine import process; print(process.own(), flush=True); input()"


@contextlib.contextmanager
def child() -> Iterator[str]:
    """Run a process that hangs, and give how the journal calls it."""
    argv = [sys.executable, "-c", CHILD]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().strip()
        finally:
            running.kill()


def left_by(yard: Yard, process: str, left_seconds: float) -> str:
    """Make a disk and an operation on it that a process with so much time left has; return the
    leak's id."""
    yard.verb("create", DISK, GIB)
    snapshot = yard.die_made("snapshot", DISK)
    yard.sql(
        "UPDATE storpool_ovirt.operation SET process = %s, until = clock_timestamp() +"
        " make_interval(secs => %s)",
        process,
        left_seconds,
    )
    return snapshot


def test_a_process_that_hangs_past_its_time_is_named(yard: Yard) -> None:
    """T72: nothing is done about what it may still do; when it is killed the next verb puts things
    right."""
    with child() as process:
        leak = left_by(yard, process, -3600)
        (finding,) = yard.report().findings
        assert f"process {process.split(':')[1]} " in finding.cause
        assert yard.reconcile() == []
        with pytest.raises(errors.Locked, match="snapshot"):
            yard.verb("extend", DISK, 2 * GIB)
        assert leak in yard.uuids()
    yard.verb("extend", DISK, 2 * GIB)
    assert yard.uuids() == {DISK}
    assert yard.report().findings == ()


def test_a_process_in_its_time_is_left_alone(yard: Yard) -> None:
    """T19: what is under way is no finding, and no verb takes it for dead."""
    with child() as process:
        leak = left_by(yard, process, 3600)
        assert yard.report().findings == ()
        with pytest.raises(errors.Locked):
            yard.verb("extend", DISK, 2 * GIB)
        assert leak in yard.uuids()


@pytest.mark.parametrize("left_seconds", [3600, -1])
def test_a_process_of_another_name_space_is_unknown_until_its_time_is_up(
    yard: Yard, left_seconds: float
) -> None:
    """T19, T71: a pid means nothing in another container: its time alone decides."""
    machine, _, rest = str(process.own()).partition(":")
    leak = left_by(yard, f"{machine.partition('/')[0]}/4711:{rest}", left_seconds)
    if left_seconds > 0:
        assert yard.report().findings == ()
        with pytest.raises(errors.Locked):
            yard.verb("extend", DISK, 2 * GIB)
        assert leak in yard.uuids()
    else:
        assert [finding.kind for finding in yard.report().findings] == [findings.LEAK]
        yard.verb("extend", DISK, 2 * GIB)
        assert yard.uuids() == {DISK}


@contextlib.contextmanager
def held(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, begun: bool, stale: str
) -> Iterator[pytest.ExceptionInfo[errors.Locked]]:
    """Meet a disk that another verb holds, which has `begun` or not; an old entry has its
    connection's number."""
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.2)
    yard.verb("create", DISK, GIB)
    with yard.engine("extend") as holder, yard.engine("snapshot") as other:
        ((backend,),) = holder.mapping.session.rows("SELECT pg_backend_pid()")
        yard.sql(
            "INSERT INTO storpool_ovirt.operation (correlation_id, verb, arguments, kind, disk,"
            " node, plan, state, process, backend, incarnation, started_at, until) VALUES"
            " ('long-ago', 'clone', '{}', 'make', %s, %s, '{}', %s, '-:4711:0', %s, '', now() -"
            " interval '7 days', now() - interval '7 days')",
            CLONE,
            CLONE,
            stale,
            backend,
        )
        holder.mapping.lock(DISK)
        if begun:
            node = holder.mapping.node(DISK)
            assert node is not None
            holder.mapping.begin_growth(node, 2 * GIB)
        with pytest.raises(errors.Locked) as raised:
            other.mapping.lock(DISK)
        yield raised


@pytest.mark.parametrize("stale", ["failed", "undone", "running"])
def test_who_holds_a_disk_is_told(yard: Yard, monkeypatch: pytest.MonkeyPatch, stale: str) -> None:
    """T19: the sentence names verb and request of the holder, and of nobody else."""
    with held(yard, monkeypatch, True, stale) as raised:
        assert raised.value.holder.startswith("extend with correlation id test")


@pytest.mark.parametrize("stale", ["failed", "undone", pytest.param("running")])
def test_a_holder_that_has_begun_nothing_is_not_guessed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, stale: str
) -> None:
    """T19: PostgreSQL uses a number of a connection again; who had it before is not the holder."""
    with held(yard, monkeypatch, False, stale) as raised:
        assert raised.value.holder == ""
