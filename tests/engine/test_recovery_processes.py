"""Who works on a disk: processes that hang, live in another name space, or hold its lock."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rigs.recovery_rig import CLONE, DISK, GIB, Rig
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


def left_by(rig: Rig, process: str, left_seconds: float) -> str:
    """Make a disk and an operation on it that a process with so much time left has; return the
    leak's id."""
    rig.verb("create", DISK, GIB)
    snapshot = rig.die_when_made("snapshot", DISK)
    rig.sql(
        "UPDATE storpool_ovirt.operation SET process = %s, until = clock_timestamp() +"
        " make_interval(secs => %s)",
        process,
        left_seconds,
    )
    return snapshot


def test_a_process_that_hangs_past_its_time_is_named(rig: Rig) -> None:
    """T72: nothing is done about what it may still do; when it is killed the next verb puts things
    right."""
    with child() as process:
        leak = left_by(rig, process, -3600)
        (finding,) = rig.audit()
        assert f"process {process.split(':')[1]} " in finding.cause
        assert rig.reconcile().done == []
        with pytest.raises(errors.Locked, match="snapshot"):
            rig.verb("extend", DISK, 2 * GIB)
        assert leak in rig.uuids()
    rig.verb("extend", DISK, 2 * GIB)
    assert rig.uuids() == {DISK}
    assert rig.audit() == []


def test_a_process_in_its_time_is_left_alone(rig: Rig) -> None:
    """T19: what is under way is no finding, and no verb takes it for dead."""
    with child() as process:
        leak = left_by(rig, process, 3600)
        assert rig.audit() == []
        with pytest.raises(errors.Locked):
            rig.verb("extend", DISK, 2 * GIB)
        assert leak in rig.uuids()


@pytest.mark.parametrize("left_seconds", [3600, -1])
def test_a_process_of_another_name_space_is_unknown_until_its_time_is_up(
    rig: Rig, left_seconds: float
) -> None:
    """T19, T71: a pid means nothing in another container: its time alone decides."""
    machine, _, rest = str(process.own()).partition(":")
    leak = left_by(rig, f"{machine.partition('/')[0]}/4711:{rest}", left_seconds)
    if left_seconds > 0:
        assert rig.audit() == []
        with pytest.raises(errors.Locked):
            rig.verb("extend", DISK, 2 * GIB)
        assert leak in rig.uuids()
    else:
        assert [finding.kind for finding in rig.audit()] == [findings.LEAK]
        rig.verb("extend", DISK, 2 * GIB)
        assert rig.uuids() == {DISK}


@contextlib.contextmanager
def held(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, begun: bool, stale: str
) -> Iterator[pytest.ExceptionInfo[errors.Locked]]:
    """Meet a disk that another verb holds, which has `begun` or not; an old entry has its
    connection's number."""
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.2)
    rig.verb("create", DISK, GIB)
    with rig.engine("extend") as holder, rig.engine("snapshot") as other:
        ((backend,),) = holder.mapping.session.rows("SELECT pg_backend_pid()")
        rig.sql(
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
def test_who_holds_a_disk_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch, stale: str) -> None:
    """T19: the sentence names verb and request of the holder, and of nobody else."""
    with held(rig, monkeypatch, True, stale) as raised:
        assert raised.value.holder.startswith("extend with correlation id test")


@pytest.mark.parametrize("stale", ["failed", "undone", pytest.param("running")])
def test_a_holder_that_has_begun_nothing_is_not_guessed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, stale: str
) -> None:
    """T19: PostgreSQL uses a number of a connection again; who had it before is not the holder."""
    with held(rig, monkeypatch, False, stale) as raised:
        assert raised.value.holder == ""
