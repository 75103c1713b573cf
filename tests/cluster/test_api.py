"""api.py, calls.py: typed replies, our rule of retries and our errors."""

from __future__ import annotations

import json
from typing import Callable

import pytest
from canned_client import BODY, CREATED, VOLUME, client

from rigs import transports
from rigs.canned_api import CLOSE, RESET, Answer, answering, ok, refusal
from rigs.clock import Clock
from storpool_ovirt import config, errors
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import LIMITS
from storpool_ovirt.secret import Secret


def test_a_reply_becomes_a_typed_value() -> None:
    """A volume's reply is an array of one ([spapi] Volume/{v}); what is read of it is plain and
    typed."""
    with answering([ok([VOLUME])]) as server:
        volume = client(server.port, Clock()).volume("~abcd.e.1")
    assert volume == api.Volume(
        "volume", "abcd.e.1", "ovirt--x", 1 << 30, {"virt": "ovirt"}, "nvme", None, False
    )
    assert server.requests[0].path == "/ctrl/1.0/Volume/~abcd.e.1"
    assert server.requests[0].authorization == "Storpool v1:42"


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({}, "/ctrl/1.0/VolumeCreate"),
        ({"multicluster": True}, "/ctrl/1.0/MultiCluster/VolumeCreate"),
        ({"cluster_id": "abcd.e"}, "/ctrl/1.0/RemoteCommand/~abcd.e/VolumeCreate"),
        (
            {"multicluster": True, "cluster_id": "abcd.e"},
            "/ctrl/1.0/RemoteCommand/~abcd.e/MultiCluster/VolumeCreate",
        ),
    ],
)
def test_a_pinned_domain_addresses_its_cluster(settings: dict[str, object], path: str) -> None:
    """T77: with `sp_cluster_id` every request names the cluster that must take it."""
    with answering([ok(CREATED)]) as server:
        assert client(server.port, Clock(), **settings).volume_create(BODY) == "abcd.e.1"
    assert server.requests[0].path == path


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal("objectDoesNotExist"), errors.NotFound),
        (refusal("objectExists"), errors.Exists),
        (refusal("busy", "'x' is open at client 19"), errors.InUse),
        (refusal("invalidParam", "'x' is open at client 19"), errors.InUse),
        (refusal("preconditionViolation", "'x' is open at client 19"), errors.InUse),
        (refusal("preconditionViolation", "no"), errors.Rejected),
        (refusal("invalidParam", "No such client registered"), errors.NotFound),
        (refusal("invalidParam", "bad size"), errors.Rejected),
        (refusal("insufficientResources"), errors.NoSpace),
        (refusal("somethingNew"), errors.Rejected),
        ((200, {"error": {"name": "busy", "descr": "attached"}}), errors.InUse),
        ((404, {"error": {}}), errors.Rejected),
    ],
)
def test_each_error_of_storpool_has_its_class(answer: Answer, error: type[errors.Error]) -> None:
    """[spapi] An error object with any HTTP status, also 200, is an error; its name decides its
    class."""
    with answering([answer]) as server, pytest.raises(error) as raised:
        client(server.port, Clock()).volume_delete("~abcd.e.1")
    assert len(server.requests) == 1, "a clear no is not asked again"
    assert str(raised.value).isprintable()
    if isinstance(raised.value, errors.InUse) and "19" in str(answer):
        assert raised.value.openers == ("client 19",)


NONSENSE: list[Answer] = [
    (502, b"<html>Bad Gateway</html>"),
    (500, b""),
    (200, b"not json"),
    (200, {"generation": 1}),
    (200, []),
    (200, 5),
    (503, {"error": "text"}),
    (500, {"no": "error"}),
    (200, b"\xff\xfe"),
    CLOSE,
    RESET,
]


@pytest.mark.parametrize("answer", NONSENSE, ids=str)
def test_nonsense_is_asked_again_where_that_is_safe(answer: Answer) -> None:
    """T41, T73: a proxy's page, half an answer or a reset connection is tried over for reads,
    deletes and updates."""
    done = ok({"ok": True, "generation": 2})
    calls: list[tuple[Callable[[api.Client], object], Answer]] = [
        (lambda each: each.volume("~abcd.e.1"), ok([VOLUME])),
        (lambda each: each.volume_update("~abcd.e.1", {"size": 1 << 30}), done),
        (lambda each: each.volume_delete("~abcd.e.1"), done),
    ]
    for call, good in calls:
        with answering([answer, answer, good]) as server:
            time = Clock()
            call(client(server.port, time))
            assert len(server.requests) == 3
            assert len({(each.method, each.path, each.body) for each in server.requests}) == 1, (
                "byte for byte the same"
            )
            assert time.slept == sorted(time.slept), "each pause is longer"


@pytest.mark.parametrize("data", [None, {}, {"ok": False}, {"ok": "true"}, [], "ok"], ids=str)
def test_a_change_without_ok_did_not_happen(data: object) -> None:
    """[spapi] ApiOk: every reply to a POST has `ok: true`; without it nothing says that anything
    was done."""
    with answering([ok(data)]) as server, pytest.raises(errors.ApiUnavailable, match='no "ok"'):
        client(server.port, Clock(), seconds=1).volume_delete("~abcd.e.1")


@pytest.mark.parametrize("answer", [*NONSENSE, refusal("x", transient=True)], ids=str)
def test_a_create_is_never_just_sent_again(answer: Answer) -> None:
    """T87: after a failure that may have taken effect a create comes back to the caller, who looks
    first."""
    with answering([answer, ok(CREATED)]) as server, pytest.raises(errors.ApiUnavailable) as raised:
        client(server.port, Clock()).volume_create(BODY)
    assert raised.value.ambiguous
    assert len(server.requests) == 1


def test_a_transient_error_is_asked_again_with_the_same_body() -> None:
    """[spapi] `transient: true` invites a repetition; the body is byte for byte the same."""
    with answering([refusal("x", transient=True), ok({"ok": True, "generation": 7})]) as server:
        assert client(server.port, Clock()).volume_update("~abcd.e.1", {"size": 1 << 31}) == 7
    first, second = server.requests
    assert first == second
    assert json.loads(first.body) == {"size": 1 << 31}


def test_a_refused_connection_is_tried_over_and_then_told() -> None:
    """T73: a failover of the management service is sat out; a service that stays away is one
    sentence in time."""
    with answering([CLOSE]) as server:
        port = server.port
    time = Clock()
    with pytest.raises(errors.ApiUnavailable, match="connection refused") as raised:
        client(port, time).volume_create(BODY)
    assert not raised.value.ambiguous
    assert 20 < time.now <= LIMITS.retry_seconds
    time = Clock()
    with pytest.raises(errors.ApiUnavailable, match="connection refused"):
        client(port, time, seconds=3).volume_create(BODY)
    assert time.now <= 3


def test_an_unknown_host_is_told_at_once() -> None:
    """A name that does not resolve is a mistake in the options, and no request was sent."""
    time = Clock()
    settings = config.Api("name.invalid", 81, Secret("42")).preferring(transports.chosen())
    with pytest.raises(errors.AddressUnknown, match="name"):
        api.Client(settings, Deadline(60, time), time.sleep, lambda: 0.5).templates()
    assert time.slept == []


def test_does_not_exist_is_not_believed_from_another_cluster() -> None:
    """T77: what an unconnected cluster answers to RemoteCommand is not documented; "gone" must not
    mean "deleted"."""
    with (
        answering([refusal("objectDoesNotExist")]) as server,
        pytest.raises(errors.WrongCluster, match="pinned"),
    ):
        client(server.port, Clock(), cluster_id="abcd.e").volume_delete("~abcd.e.1")
    assert [each.path.rsplit("/", 1)[1] for each in server.requests] == [
        "~abcd.e.1",
        "ServicesList",
    ]
    with (
        answering([refusal("objectDoesNotExist"), ok({})]) as server,
        pytest.raises(errors.NotFound),
    ):
        client(server.port, Clock(), cluster_id="abcd.e").volume_delete("~abcd.e.1")


def test_attachments_are_matched_by_global_id_or_by_name() -> None:
    """[sptypes] AttachmentDesc.globalId is optional: without it the name, or `~globalId` of an
    unnamed one, decides."""
    raw = [
        {
            "volume": "ovirt--x",
            "snapshot": False,
            "client": 1,
            "rights": "rw",
            "pos": 0,
            "globalId": "abcd.e.1",
        },
        {"volume": "ovirt--y", "snapshot": False, "client": 2, "rights": "ro", "pos": 0},
        {"volume": "~abcd.e.3", "snapshot": False, "client": 3, "rights": "rw", "pos": 0},
    ]
    with answering([ok(raw)]) as server:
        one, two, three = client(server.port, Clock()).attachments()
    assert one.is_of("abcd.e.1", None)
    assert not one.is_of("abcd.e.2", "ovirt--x"), (
        "a name that was taken over does not count against an id"
    )
    assert one.may_be_of("abcd.e.2", "ovirt--x"), "nor does it say that it is not attached"
    assert not one.may_be_of("abcd.e.2", "ovirt--z")
    assert not one.may_be_of("abcd.e.2", None)
    assert two.is_of("abcd.e.2", "ovirt--y")
    assert three.is_of("abcd.e.3", "ovirt--z")


def test_attachments_of_a_reverted_volume_are_matched_by_the_id_that_it_had() -> None:
    """An unnamed volume has another id after a revert, and the old one as its name: it is attached
    by either, also for a list of before the revert [git 76ce668]."""
    before, after = (
        api.Attachment("~abcd.e.3", "abcd.e.3", 1, "rw"),
        api.Attachment("~abcd.e.3", "abcd.e.9", 1, "rw"),
    )
    for each in (before, after):
        assert each.is_of("abcd.e.3", "ovirt--x")
        assert each.is_of("abcd.e.9", "~abcd.e.3")
        assert not each.may_be_of("abcd.e.5", "ovirt--x")
    assert after.is_of("abcd.e.9", None)
    assert not before.may_be_of("abcd.e.9", None)


ODD = [
    None,
    7,
    "text",
    [],
    [None],
    [[]],
    {},
    [{}],
    [{**VOLUME, "size": None}],
    [{**VOLUME, "size": 1e999}],
    [{**VOLUME, "size": -1}],
    [{**VOLUME, "size": True}],
    [{**VOLUME, "size": "1"}],
    [{**VOLUME, "size": 1 << 64}],
    [{**VOLUME, "size": 1.5}],
    [{**VOLUME, "globalId": None}],
    [{**VOLUME, "globalId": "../../etc"}],
    [{**VOLUME, "globalId": "a.b.c\n"}],
    [{**VOLUME, "globalId": f"a.b.{'c' * 300}"}],
    [{**VOLUME, "name": 5}],
    [{**VOLUME, "name": "x" * 5000}],
    [{**VOLUME, "name": "\ud800"}],
    [{**VOLUME, "tags": []}],
    [{**VOLUME, "tags": {"virt": 1}}],
    [{**VOLUME, "templateName": {}}],
    [{**VOLUME, "createdFromGlobalId": "?"}],
    [{**VOLUME, "creationTimestamp": "x"}],
    [VOLUME, VOLUME],
]


@pytest.mark.parametrize("data", ODD, ids=lambda data: str(data)[-40:])
def test_an_odd_reply_is_one_clear_error(data: object) -> None:
    """T73: a number, an id or a text that is none travels no further than the place where it is
    read."""
    with (
        answering([ok(data)]) as server,
        pytest.raises(errors.ApiUnavailable, match="an answer that cannot be read"),
    ):
        client(server.port, Clock(), seconds=1).volume("~abcd.e.1")


ODD_BODIES = [
    '{"generation": 1e999, "data": []}',
    '{"generation": null}',
    '{"generation": 1}',
    "\ufeff[]",
    "<html>",
    "",
    '{"generation": ' + "9" * 5000 + ', "data": []}',
    '{"a":' * 9999,
]


@pytest.mark.parametrize("body", ODD_BODIES, ids=lambda body: body[-20:])
def test_an_odd_envelope_is_one_clear_error(body: str) -> None:
    """Whatever it is, it is not what StorPool sends."""
    with (
        answering([(200, body)]) as server,
        pytest.raises(errors.ApiUnavailable, match="cannot be read"),
    ):
        client(server.port, Clock(), seconds=1).attachments()


@pytest.mark.parametrize(
    "error", [None, [], "busy", {"name": None}, {"name": 5, "descr": []}, {"transient": "false"}]
)
def test_an_odd_refusal_is_one_of_our_errors(error: object) -> None:
    """An error object without its parts, or with odd ones, is never taken for a success or for a
    transient error."""
    with (
        answering([(400, {"error": error, "generation": 1})]) as server,
        pytest.raises(errors.Error),
    ):
        client(server.port, Clock(), seconds=1).volume_delete("~abcd.e.1")


@pytest.mark.parametrize("data", [{}, {"ok": True}, {"ok": True, "snapshots": [{"volume": "x"}]}])
def test_an_answer_that_tells_of_nothing_made_is_none(data: dict[str, object]) -> None:
    """T87: of a create, a snapshot or a group: it may take effect yet, whatever comes of a later
    try, so the intent has to stay."""
    body = {"volumes": [{"volume": "~abcd.e.1", "name": "a", "tags": {}}]}
    with answering([ok(data)]) as server:
        there = client(server.port, Clock())
        for call in (
            lambda: there.volume_create(BODY),
            lambda: there.volume_snapshot("~abcd.e.1", {"name": "a", "tags": {}}),
            lambda: there.group_snapshot(body, "a"),
        ):
            with pytest.raises(errors.ApiUnavailable) as raised:
                call()
            assert raised.value.ambiguous
    assert there.tally.unanswered == 3
