"""attachments.py: attach, and what an attach that fails undoes."""

from __future__ import annotations

import pytest
from attachment_ground import TAGS, attached, device

from rigs.core_fixtures import GIB, Core
from storpool_ovirt import errors
from storpool_ovirt.cluster import api, attachments, volumes
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import LIMITS


def test_attach_returns_a_device_that_is_there(core: Core, target: attachments.Target) -> None:
    """T11: the path is the same on every host, the device exists when attach returns, a repetition
    is a success."""
    for client_id in (1, 2, 1):
        path = attachments.attach(core.client(), core.host(client_id), target, "rw")
        assert path == f"/dev/storpool-byid/{target.global_id}"
        assert device(core, client_id, target).stat().st_size == GIB
    assert attached(core) == {("ovirt--x", 1, "rw"), ("ovirt--x", 2, "rw")}


def test_attach_with_another_mode_is_refused(core: Core, target: attachments.Target) -> None:
    """T12: what is attached here read-write is not silently made read-only, nor the other way
    round."""
    attachments.attach(core.client(), core.host(1), target, "rw")
    with pytest.raises(errors.Conflict, match="with mode rw, not ro"):
        attachments.attach(core.client(), core.host(1), target, "ro")
    assert attached(core) == {("ovirt--x", 1, "rw")}


def test_attach_of_what_is_not_there_is_an_error(core: Core, target: attachments.Target) -> None:
    """T14: an unknown volume and an unknown client are NotFound, and nothing is attached."""
    with pytest.raises(errors.NotFound):
        attachments.attach(core.client(), core.host(1), attachments.Target("sim.a.zzz", None), "rw")
    with pytest.raises(errors.NotFound, match="client"):
        attachments.attach(core.client(), core.host(99), target, "rw")
    assert attached(core) == set()


def test_a_snapshot_is_attached_read_only(core: Core, target: attachments.Target) -> None:
    """[sptypes] The rights of a snapshot are always ro."""
    frozen = volumes.snapshot(core.client(), target.global_id, Plan(Owner("ovirt--s", TAGS)))
    snapshot = attachments.Target(frozen, "ovirt--s", "snapshot")
    attachments.attach(core.client(), core.host(1), snapshot, "ro")
    assert attached(core) == {("ovirt--s", 1, "ro")}
    attachments.detach(core.client(), core.host(1), snapshot)
    assert attached(core) == set()


@pytest.mark.parametrize("expiry", ["error_keep", "error_undo"])
def test_a_client_that_is_down_leaves_nothing(
    core: Core, target: attachments.Target, expiry: str
) -> None:
    """[sptypes] attachTimeout: after it an attach fails, and what StorPool may have kept of it is
    taken back."""
    core.simulator.switches.set({"attach_timeout_expiry": expiry})
    core.set_client(1, status="down")
    hasty = api.Client(
        core.settings(), Deadline(20), limits=LIMITS._replace(attach_timeout_seconds=1)
    )
    with pytest.raises(errors.Error):
        attachments.attach(hasty, core.host(1), target, "rw")
    assert attached(core) == set()


def test_a_device_that_does_not_appear_is_undone(core: Core, target: attachments.Target) -> None:
    """A host on which the link never comes gets a clear error, and the attachment is taken back."""
    host = attachments.HostSide(1, core.root(2), Deadline(2), core.log)
    with pytest.raises(errors.DeviceMissing, match="storpool_block"):
        attachments.attach(core.client(), host, target, "rw")
    assert attached(core) == set()


@pytest.mark.parametrize(
    "unexpected",
    [
        ZeroDivisionError(),
        MemoryError(),
        RecursionError(),
        KeyboardInterrupt(),
        UnicodeDecodeError("x", b"", 0, 1, "x"),
        errors.DeadlineExceeded("attach to end", 1),
        errors.Interrupted("attach to end", "SIGTERM"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("was_attached", [False, True])
def test_an_attach_that_breaks_in_the_middle_is_undone(
    core: Core, target: attachments.Target, unexpected: BaseException, was_attached: bool
) -> None:
    """Whatever it is that breaks it, a bug or a signal; what was attached before stays."""
    if was_attached:
        attachments.attach(core.client(), core.host(1), target, "rw")

    def sleep(_seconds: float) -> None:
        assert attached(core) == {("ovirt--x", 1, "rw")}
        raise unexpected

    host = attachments.HostSide(
        1, core.root(2), Deadline(20), core.log, sleep
    )  # a device never appears there
    with pytest.raises(type(unexpected)):
        attachments.attach(core.client(), host, target, "rw")
    assert attached(core) == ({("ovirt--x", 1, "rw")} if was_attached else set())


def test_an_undo_never_hides_the_first_failure(core: Core, target: attachments.Target) -> None:
    """It is silent whatever happens in it: the log tells."""
    client = core.client()

    def sleep(_seconds: float) -> None:
        client.reassign = None  # type: ignore[method-assign, assignment]
        raise ZeroDivisionError

    host = attachments.HostSide(1, core.root(2), Deadline(20), core.log, sleep)
    with pytest.raises(ZeroDivisionError):
        attachments.attach(client, host, target, "rw")
    assert "attach_not_undone" in (core.folder / "test.log").read_text()
