"""api.py: the official binding with our rule of retries, typed replies and our errors."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Callable

import pytest

from rigs.canned_api import CLOSE, RESET, Answer, Canned, answering, ok, refused
from storpool_ovirt import config, errors
from storpool_ovirt.cluster import api
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import LIMITS

VOLUME = {
    "name": "ovirt--x",
    "globalId": "abcd.e.1",
    "size": 1 << 30,
    "tags": {"virt": "ovirt"},
    "templateName": "nvme",
    "id": 1,
    "parentName": "",
    "parentVolumeId": 0,
}
CREATED = {"ok": True, "generation": 2, "globalId": "abcd.e.1"}
BODY = {"name": "ovirt--x", "size": 1 << 30}


class Time:
    """A clock that moves only when the client sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds

    def deadline(self, seconds: float) -> Deadline:
        """A deadline on this clock."""
        return Deadline(seconds, lambda: self.now)


def client(port: int, time: Time, seconds: float = 100, **settings: object) -> api.Client:
    """A client of the canned server."""
    api_settings = config.Api("127.0.0.1", port, config.Secret("42"), **settings)  # type: ignore[arg-type]
    return api.Client(api_settings, time.deadline(seconds), time.sleep, lambda: 0.5)


def test_a_reply_becomes_a_typed_value() -> None:
    """A volume's reply is an array of one ([spapi] Volume/{v}); what is read of it is plain and
    typed."""
    with answering([ok([VOLUME])]) as server:
        volume = client(server.port, Time()).volume("~abcd.e.1")
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
        assert client(server.port, Time(), **settings).volume_create(BODY) == "abcd.e.1"
    assert server.requests[0].path == path


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused("objectDoesNotExist"), errors.NotFound),
        (refused("objectExists"), errors.Exists),
        (refused("busy", "'x' is open at client 19"), errors.InUse),
        (refused("invalidParam", "'x' is open at client 19"), errors.InUse),
        (refused("invalidParam", "No such client registered"), errors.NotFound),
        (refused("invalidParam", "bad size"), errors.Rejected),
        (refused("insufficientResources"), errors.NoSpace),
        (refused("somethingNew"), errors.Rejected),
        ((200, {"error": {"name": "busy", "descr": "attached"}}), errors.InUse),
        ((404, {"error": {}}), errors.Rejected),
    ],
)
def test_each_error_of_storpool_has_its_class(answer: Answer, error: type[errors.Error]) -> None:
    """[spapi] An error object with any HTTP status, also 200, is an error; its name decides its
    class."""
    with answering([answer]) as server, pytest.raises(error) as raised:
        client(server.port, Time()).volume_delete("~abcd.e.1")
    assert len(server.requests) == 1, "a clear no is not asked again"
    assert str(raised.value).isprintable()
    if isinstance(raised.value, errors.InUse) and "19" in str(answer):
        assert raised.value.holders == ("client 19",)


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
            time = Time()
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
        client(server.port, Time(), seconds=1).volume_delete("~abcd.e.1")


@pytest.mark.parametrize("answer", [*NONSENSE, refused("x", transient=True)], ids=str)
def test_a_create_is_never_just_sent_again(answer: Answer) -> None:
    """T87: after a failure that may have taken effect a create comes back to the caller, who looks
    first."""
    with answering([answer, ok(CREATED)]) as server, pytest.raises(errors.ApiUnavailable) as raised:
        client(server.port, Time()).volume_create(BODY)
    assert raised.value.ambiguous
    assert len(server.requests) == 1


def test_a_transient_error_is_asked_again_with_the_same_body() -> None:
    """[spapi] `transient: true` invites a repetition; the body is byte for byte the same."""
    with answering([refused("x", transient=True), ok({"ok": True, "generation": 7})]) as server:
        assert client(server.port, Time()).volume_update("~abcd.e.1", {"size": 1 << 31}) == 7
    first, second = server.requests
    assert first == second
    assert json.loads(first.body) == {"size": 1 << 31}


def test_a_refused_connection_is_tried_over_and_then_told() -> None:
    """T73: a failover of the management service is sat out; a service that stays away is one
    sentence in time."""
    with answering([CLOSE]) as server:
        port = server.port
    time = Time()
    with pytest.raises(errors.ApiUnavailable, match="connection refused") as raised:
        client(port, time).volume_create(BODY)
    assert not raised.value.ambiguous
    assert 20 < time.now <= LIMITS.retry_seconds
    time = Time()
    with pytest.raises(errors.ApiUnavailable, match="connection refused"):
        client(port, time, seconds=3).volume_create(BODY)
    assert time.now <= 3


def test_an_unknown_host_is_told_at_once() -> None:
    """A name that does not resolve is a mistake in the options, and no request was sent."""
    time = Time()
    settings = config.Api("name.invalid", 81, config.Secret("42"))
    with pytest.raises(errors.AddressUnknown, match="name"):
        api.Client(settings, time.deadline(60), time.sleep, lambda: 0.5).templates()
    assert time.slept == []


def test_does_not_exist_is_not_believed_from_another_cluster() -> None:
    """T77: what an unconnected cluster answers to RemoteCommand is not documented; "gone" must not
    mean "deleted"."""
    with (
        answering([refused("objectDoesNotExist")]) as server,
        pytest.raises(errors.WrongCluster, match="pinned"),
    ):
        client(server.port, Time(), cluster_id="abcd.e").volume_delete("~abcd.e.1")
    assert [each.path.rsplit("/", 1)[1] for each in server.requests] == [
        "~abcd.e.1",
        "ServicesList",
    ]
    with (
        answering([refused("objectDoesNotExist"), ok({})]) as server,
        pytest.raises(errors.NotFound),
    ):
        client(server.port, Time(), cluster_id="abcd.e").volume_delete("~abcd.e.1")


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
        one, two, three = client(server.port, Time()).attachments()
    assert one.is_of("abcd.e.1", None)
    assert not one.is_of("abcd.e.2", "ovirt--x"), (
        "a name that was taken over does not count against an id"
    )
    assert two.is_of("abcd.e.2", "ovirt--y")
    assert three.is_of("abcd.e.3", "ovirt--z")


def test_the_binding_stays_whole_for_others_in_the_process() -> None:
    """Held back, confget is loaded when the binding's own reader first wants it; nothing is printed
    meanwhile."""
    code = """
from storpool_ovirt.cluster import api
import sys
spapi = api.binding()
assert "confget" not in sys.modules
from storpool import spconfig
assert spconfig.SPConfig(missing_ok=True)["SP_API_HTTP_PORT"]
assert "confget" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def of(generation: int, answer: Answer) -> Answer:
    """The same answer, of that generation."""
    status, content = answer
    return int(status), {**content, "generation": generation}  # type: ignore[dict-item]


def paths(server: Canned) -> list[str]:
    """Return what was called."""
    return [each.path.removeprefix("/ctrl/1.0/") for each in server.requests]


OK = ok({"ok": True, "generation": 1})
ATTACHED = [
    {
        "volume": "v",
        "snapshot": False,
        "client": 1,
        "rights": "rw",
        "pos": 0,
        "globalId": "abcd.e.1",
    }
]


def test_no_answer_is_older_than_what_was_told_before() -> None:
    """T55: a list from before our own change, or from before another list, is asked for again until
    it is newer."""
    answers = [
        of(7, OK),
        of(6, ok([])),
        of(6, ok([])),
        of(7, ok(ATTACHED)),
        of(5, ok([])),
        of(9, ok([])),
    ]
    with answering(answers) as server:
        there = client(server.port, Time())
        there.reassign([{"volume": "~abcd.e.1", "rw": [1]}], 0, "v")
        assert len(there.attachments()) == 1
        assert there.attachments() == []
        assert there.generation == 9


def test_a_refusal_is_of_a_moment_too() -> None:
    """What StorPool refused tells how far the cluster has come; "does not exist" from before that
    is asked again."""
    answers = [of(7, refused("busy")), of(6, refused("objectDoesNotExist")), of(7, ok([VOLUME]))]
    with answering(answers) as server:
        there = client(server.port, Time())
        with pytest.raises(errors.InUse):
            there.volume_delete("~abcd.e.1")
        assert there.volume("~abcd.e.1").global_id == "abcd.e.1"


def test_an_instance_that_stays_behind_is_no_answer() -> None:
    """It is told for what it is, within the limit: nothing is concluded from it."""
    time = Time()
    with answering([of(7, OK), of(6, ok([]))]) as server:
        there = client(server.port, time)
        there.volume_delete("~abcd.e.1")
        with pytest.raises(
            errors.ApiUnavailable, match="generation 6, before 7: that instance is behind"
        ):
            there.attachments()
    assert time.now <= LIMITS.retry_seconds


def test_the_barrier_is_one_write() -> None:
    """After it no reading call is answered from before it; the bucket is made where there is
    none."""
    with answering([of(7, OK), of(3, ok([])), of(7, ok(ATTACHED))]) as server:
        there = client(server.port, Time())
        there.be_current()
        assert len(there.attachments()) == 1
    assert paths(server)[0] == "KV/Set/storpool-ovirt"
    with answering(
        [of(7, refused("objectDoesNotExist")), of(8, OK), of(7, ok([])), of(8, ok([]))]
    ) as server:
        there = client(server.port, Time())
        there.be_current()
        there.attachments()
    assert paths(server) == [
        "KV/Set/storpool-ovirt",
        "KV/Create/storpool-ovirt",
        *["AttachmentsList"] * 2,
    ]


def test_a_release_without_the_store_has_a_barrier_all_the_same() -> None:
    """Its refusal is an answer of this moment."""
    with answering([of(7, refused("unknownQuery")), of(3, ok([])), of(7, ok([]))]) as server:
        there = client(server.port, Time())
        there.be_current()
        there.attachments()
        assert there.generation == 7


def test_does_not_exist_is_believed_after_a_barrier_only() -> None:
    """T55: an instance that is behind does not know what was made a moment ago; it is asked again
    behind a barrier."""
    missing = refused("objectDoesNotExist")
    with answering([of(3, missing), of(7, OK), of(3, missing), of(7, ok([VOLUME]))]) as server:
        assert client(server.port, Time()).volume("ovirt--x").global_id == "abcd.e.1"
    with (
        answering([of(3, missing), of(7, OK), of(7, missing)]) as server,
        pytest.raises(errors.NotFound),
    ):
        client(server.port, Time()).volume("ovirt--x")
    assert paths(server) == ["Volume/ovirt--x", "KV/Set/storpool-ovirt", "Volume/ovirt--x"]


def test_questions_of_one_moment_share_a_barrier() -> None:
    """Whether an id is a volume or a snapshot is one question; some time later it is another
    one."""
    missing = refused("objectDoesNotExist")
    time = Time()
    with answering([OK, missing]) as server:
        there = client(server.port, time)
        there.be_current()
        for read in (there.volume, there.snapshot):
            with pytest.raises(errors.NotFound):
                read("ovirt--x")
        assert len(server.requests) == 3
        time.now += 1 + LIMITS.moment_seconds
        with pytest.raises(errors.NotFound):
            there.volume("ovirt--x")
    assert [path.partition("/")[0] for path in paths(server)[3:]] == [
        "Volume",
        "KV",
        "KV",
        "Volume",
    ]


def test_a_key_is_believed_to_be_absent_after_a_barrier_only() -> None:
    """T55: an instance that is behind does not know a pair that was written a moment ago, as with
    any object."""
    missing, pair = refused("objectDoesNotExist"), of(7, ok({"version": 3, "pairs": {"k": "v"}}))
    with answering([of(3, missing), of(7, OK), of(3, missing), pair]) as server:
        assert client(server.port, Time()).pair("b", "k").value == "v"
    assert paths(server) == ["KV/Get/b/k", "KV/Set/storpool-ovirt", *["KV/Get/b/k"] * 2]
    with (
        answering([of(3, missing), of(7, OK), of(7, missing)]) as server,
        pytest.raises(errors.NotFound),
    ):
        client(server.port, Time()).pair("b", "k")


def test_a_client_with_another_limit_knows_what_its_maker_knows() -> None:
    """No answer that the first one would refuse as too old is taken by one that was made from it;
    nor asked twice."""
    time = Time()
    with answering(
        [of(7, OK), of(6, ok(ATTACHED)), of(7, ok([])), of(7, refused("objectDoesNotExist"))]
    ) as server:
        there = client(server.port, time)
        there.be_current()
        limited = there.limited(time.deadline(5))
        assert limited.generation == 7
        assert limited.attachments() == []
        time.now -= 0.5  # what was waited for until the answer was new enough
        with pytest.raises(errors.NotFound):
            limited.volume("ovirt--x")
    assert len(server.requests) == 4, "the barrier is of this moment for both"


@pytest.mark.parametrize("seen", [0, 7])
def test_a_refusal_without_a_generation_is_asked_again_where_others_tell_theirs(seen: int) -> None:
    """T55: it may be of any moment, also right behind a barrier; where no answer tells any, nothing
    can be compared."""
    missing = of(0, refused("objectDoesNotExist"))
    with answering([of(seen, OK), missing, of(seen, OK), of(seen, ok([VOLUME]))]) as server:
        there = client(server.port, Time())
        there.be_current()
        if seen:
            assert there.volume("ovirt--x").global_id == "abcd.e.1"
        else:
            with pytest.raises(errors.NotFound):
                there.volume("ovirt--x")
    assert len(server.requests) == (4 if seen else 2)


def test_the_same_address_is_asked_for_one_cluster_by_its_id() -> None:
    """T77: what another cluster says of its own moment is not compared; one that is not reached is
    WrongCluster."""
    missing = refused("objectDoesNotExist")
    with answering([of(7, OK), of(3, ok([VOLUME])), of(3, missing), of(3, missing)]) as server:
        there = client(server.port, Time())
        there.be_current()
        assert there.pinned_to("abcd.e").volume("~abcd.e.1").name == "ovirt--x"
        with pytest.raises(errors.WrongCluster):
            there.pinned_to("abcd.e").volume("~abcd.e.1")
    asked = ["Volume/~abcd.e.1", "Volume/~abcd.e.1", "ServicesList"]
    assert paths(server)[1:] == [f"RemoteCommand/~abcd.e/{each}" for each in asked]


def test_a_domain_of_several_clusters_compares_nothing() -> None:
    """Generations of different clusters cannot be compared, so no answer is taken for old."""
    with answering([of(700, OK), of(3, ok([]))]) as server:
        there = client(server.port, Time(), multicluster=True)
        there.volume_delete("~abcd.e.1")
        there.be_current()
        assert there.attachments() == []
    assert paths(server) == ["MultiCluster/VolumeDelete/~abcd.e.1", "MultiCluster/AttachmentsList"]


def test_a_domain_of_several_clusters_asks_again_what_does_not_exist() -> None:
    """T55: where there is no barrier, "does not exist" is believed when it was said several
    times."""
    missing, time = refused("objectDoesNotExist"), Time()
    with answering([missing, missing, ok([VOLUME])]) as server:
        assert (
            client(server.port, time, multicluster=True).volume("ovirt--x").global_id == "abcd.e.1"
        )
    with answering([missing]) as server, pytest.raises(errors.NotFound):
        client(server.port, time, multicluster=True).volume("ovirt--x")
    assert len(server.requests) == 1 + api.LOOKS_AGAIN


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
        client(server.port, Time(), seconds=1).volume("~abcd.e.1")


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
        client(server.port, Time(), seconds=1).attachments()


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
        client(server.port, Time(), seconds=1).volume_delete("~abcd.e.1")
