"""managedvolume-helper-storpool with its surroundings broken: it ends in time, and what failed
half-way leaves nothing.

The limits are cut short in a copy of the program (`hasty`); that the real ones are short enough is
a test of its own.
"""

from __future__ import annotations

from typing import Any

import pytest

from ovirt_demo.vdsm import Host
from rigs import canned_api, refusals
from rigs.helper_stage import Info, answered, attach, detach, device, on_hosts
from rigs.stage_fixtures import Stage
from storpool_ovirt.limits import LIMITS


def test_the_limits_are_those_of_vdsms_caller() -> None:
    """Section 9: all of a helper's time, its undo included, is less than a minute; Engine gives up
    after three."""
    assert LIMITS.deadline_seconds + LIMITS.last_seconds < 60


@pytest.mark.parametrize("expiry", ["error_keep", "error_undo"])
def test_a_host_whose_client_is_down(shared: Stage, hasty: Host, info: Info, expiry: str) -> None:
    """T16: `attachTimeout` ends the wait; whatever StorPool keeps of the attachment then is taken
    back."""
    shared.simulator.set_switches(attach_timeout_expiry=expiry)
    shared.simulator.set_client(1, status="down")
    run = attach(hasty, info)
    refusals.of_helper(run)
    assert on_hosts(shared, info) == set()
    shared.simulator.set_client(1, status="running")
    answered(attach(hasty, info))


@pytest.mark.parametrize("kind", ["reset_after", "transient", "stop"])
def test_a_call_that_is_interrupted_is_repeated(shared: Stage, info: Info, kind: str) -> None:
    """T87: attaching and detaching are safe to repeat: both succeed, with the same body each
    time."""
    for action, there in ((attach, {(1, "rw")}), (detach, set())):
        shared.simulator.clear_calls()
        shared.simulator.inject(
            kind, query="VolumesReassignWait", **({"seconds": 0.2} if kind == "stop" else {})
        )
        answered(action(shared.host1, info))
        assert on_hosts(shared, info) == there
        assert device(shared.host1, info).exists() == bool(there)
        bodies = [
            str(call["body"])
            for call in shared.simulator.calls()
            if call["query"] == "VolumesReassignWait"
        ]
        assert len(bodies) > 1
        assert len({*bodies}) == 1


@pytest.mark.parametrize("kind", ["reset_after", "hang", "bad_gateway"])
def test_an_attach_that_fails_is_undone(shared: Stage, hasty: Host, info: Info, kind: str) -> None:
    """T73: the API does not recover while we attach: one sentence in time, and no attachment is
    left."""
    shared.simulator.inject(kind, query="VolumesReassignWait", times=100)
    run = attach(hasty, info)
    assert f"API at 127.0.0.1:{shared.simulator.port}" in refusals.of_helper(run)
    assert run.seconds < 10
    assert on_hosts(shared, info) == set()
    assert not device(shared.host1, info).exists()
    shared.simulator.clear_faults()
    assert on_hosts(shared, info) == set()


NULL: canned_api.Answer = (200, {"generation": 1, "data": None})


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        (attach, canned_api.DRIP),
        (attach, (200, b"<html>")),
        (attach, NULL),
        (detach, canned_api.CLOSE),
        (detach, NULL),
    ],
    ids=["attach-drip", "attach-page", "attach-null", "detach-closed", "detach-null"],
)
def test_nonsense_is_never_taken_for_an_answer(
    shared: Stage, hasty: Host, info: Info, action: Any, answer: canned_api.Answer
) -> None:
    """T73: with something else at the API's address the helper fails in time ([spapi] ApiOk: `ok`
    is constant true)."""
    with canned_api.answering([answer]) as canned:
        run = action(other_host(shared, hasty, SP_API_HTTP_PORT=str(canned.port)), info)
    sentence = refusals.of_helper(run)
    assert f"127.0.0.1:{canned.port}" in sentence or "time limit" in sentence
    assert run.seconds < 10


def other_host(stage: Stage, hasty: Host, **conf: str) -> Host:
    """Return a host whose storpool.conf is that of host 1 but for these keys, and that gets no
    devices."""
    lines = stage.host1.local("/etc/storpool.conf").read_text().splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in conf]
    root = hasty.helper_path.parent / "other-host"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "storpool.conf").write_text(
        "\n".join([*(f"{key}={value}" for key, value in conf.items()), *kept])
    )
    return Host(root, hasty.helper_path)


def test_a_link_that_somebody_removed(shared: Stage, hasty: Host, info: Info) -> None:
    """8.20: attached but without its link, so Vdsm never detaches it: attach brings the link
    back, or undoes for a next attach that does.
    """
    answered(attach(shared.host1, info))
    node = device(shared.host1, info)
    node.unlink()
    if attach(hasty, info).returncode != 0:
        assert on_hosts(shared, info) == set()
    answered(attach(hasty, info))
    assert node.exists()


def test_a_device_that_does_not_appear(shared: Stage, hasty: Host, info: Info) -> None:
    """The host's StorPool client is broken and no link comes: the sentence names the path, nothing
    stays attached."""
    run = attach(other_host(shared, hasty), info)
    assert f"storpool-byid/{info['data']['global_id']} did not appear" in refusals.of_helper(run)
    assert on_hosts(shared, info) == set()
