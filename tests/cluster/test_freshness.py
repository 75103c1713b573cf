"""freshness.py: no answer is older than what the client knows."""

from __future__ import annotations

import pytest
from canned_client import VOLUME, client

from rigs.canned_api import Answer, Canned, answering, ok, refusal
from rigs.clock import Clock
from storpool_ovirt import errors
from storpool_ovirt.cluster import reading
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import LIMITS


def of(generation: int, answer: Answer) -> Answer:
    """The same answer, of that generation."""
    status, content = answer
    return int(status), {**content, "generation": generation}  # type: ignore[dict-item]


def paths(server: Canned) -> list[str]:
    """Return what was called."""
    return [each.path.removeprefix("/ctrl/1.0/") for each in server.requests]


OK = ok({"ok": True, "generation": 1})
# That of each cluster of a name space: one
ALL_ANSWER = ok({"clusters": [{"clusterId": "abcd.e", "response": {"data": []}}]})
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
        there = client(server.port, Clock())
        there.reassign([{"volume": "~abcd.e.1", "rw": [1]}], 0, "v")
        assert len(there.attachments()) == 1
        assert there.attachments() == []
        assert there.generation == 9


def test_a_refusal_is_of_a_moment_too() -> None:
    """What StorPool refused tells how far the cluster has come; "does not exist" from before that
    is asked again."""
    answers = [of(7, refusal("busy")), of(6, refusal("objectDoesNotExist")), of(7, ok([VOLUME]))]
    with answering(answers) as server:
        there = client(server.port, Clock())
        with pytest.raises(errors.InUse):
            there.volume_delete("~abcd.e.1")
        assert there.volume("~abcd.e.1").global_id == "abcd.e.1"


def test_an_instance_that_stays_behind_is_no_answer() -> None:
    """It is told for what it is, within the limit: nothing is concluded from it."""
    time = Clock()
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
        there = client(server.port, Clock())
        there.be_current()
        assert len(there.attachments()) == 1
    assert paths(server)[0] == "KV/Set/storpool-ovirt"
    with answering(
        [of(7, refusal("objectDoesNotExist")), of(8, OK), of(7, ok([])), of(8, ok([]))]
    ) as server:
        there = client(server.port, Clock())
        there.be_current()
        there.attachments()
    assert paths(server) == [
        "KV/Set/storpool-ovirt",
        "KV/Create/storpool-ovirt",
        *["AttachmentsList"] * 2,
    ]


def test_a_release_without_the_store_has_a_barrier_all_the_same() -> None:
    """Its refusal is an answer of this moment."""
    with answering([of(7, refusal("unknownQuery")), of(3, ok([])), of(7, ok([]))]) as server:
        there = client(server.port, Clock())
        there.be_current()
        there.attachments()
        assert there.generation == 7


def test_does_not_exist_is_believed_after_a_barrier_only() -> None:
    """T55: an instance that is behind does not know what was made a moment ago; it is asked again
    behind a barrier."""
    missing = refusal("objectDoesNotExist")
    with answering([of(3, missing), of(7, OK), of(3, missing), of(7, ok([VOLUME]))]) as server:
        assert client(server.port, Clock()).volume("ovirt--x").global_id == "abcd.e.1"
    with (
        answering([of(3, missing), of(7, OK), of(7, missing)]) as server,
        pytest.raises(errors.NotFound),
    ):
        client(server.port, Clock()).volume("ovirt--x")
    assert paths(server) == ["Volume/ovirt--x", "KV/Set/storpool-ovirt", "Volume/ovirt--x"]


def test_questions_of_one_moment_share_a_barrier() -> None:
    """Whether an id is a volume or a snapshot is one question; some time later it is another
    one."""
    missing = refusal("objectDoesNotExist")
    time = Clock()
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
    missing, pair = refusal("objectDoesNotExist"), of(7, ok({"version": 3, "pairs": {"k": "v"}}))
    with answering([of(3, missing), of(7, OK), of(3, missing), pair]) as server:
        assert client(server.port, Clock()).pair("b", "k").value == "v"
    assert paths(server) == ["KV/Get/b/k", "KV/Set/storpool-ovirt", *["KV/Get/b/k"] * 2]
    with (
        answering([of(3, missing), of(7, OK), of(7, missing)]) as server,
        pytest.raises(errors.NotFound),
    ):
        client(server.port, Clock()).pair("b", "k")


def test_a_client_with_another_limit_knows_what_its_maker_knows() -> None:
    """No answer that the first one would refuse as too old is taken by one that was made from it;
    nor asked twice."""
    time = Clock()
    with answering(
        [of(7, OK), of(6, ok(ATTACHED)), of(7, ok([])), of(7, refusal("objectDoesNotExist"))]
    ) as server:
        there = client(server.port, time)
        there.be_current()
        limited = there.limited(Deadline(5, time))
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
    missing = of(0, refusal("objectDoesNotExist"))
    with answering([of(seen, OK), missing, of(seen, OK), of(seen, ok([VOLUME]))]) as server:
        there = client(server.port, Clock())
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
    missing = refusal("objectDoesNotExist")
    with answering([of(7, OK), of(3, ok([VOLUME])), of(3, missing), of(3, missing)]) as server:
        there = client(server.port, Clock())
        there.be_current()
        assert there.pinned_to("abcd.e").volume("~abcd.e.1").name == "ovirt--x"
        with pytest.raises(errors.WrongCluster):
            there.pinned_to("abcd.e").volume("~abcd.e.1")
    asked = ["Volume/~abcd.e.1", "Volume/~abcd.e.1", "ServicesList"]
    assert paths(server)[1:] == [f"RemoteCommand/~abcd.e/{each}" for each in asked]


def test_who_cannot_hand_a_call_on_says_nothing_of_the_other_clusters_moment() -> None:
    """T77: a bridge that was cut for a moment: the generation of that refusal is the asked
    cluster's, and the answers that come then are not old beside it."""
    cut = refusal("multiCluster")
    with answering([of(700, cut), of(3, ok([VOLUME]))]) as server:
        there = client(server.port, Clock(), cluster_id="abcd.e")
        assert there.volume("~abcd.e.1").name == "ovirt--x"
    assert there.generation == 3


def test_a_domain_of_several_clusters_compares_nothing() -> None:
    """Generations of different clusters cannot be compared, so no answer is taken for old."""
    with answering([of(700, OK), of(3, ok([])), of(2, ALL_ANSWER)]) as server:
        there = client(server.port, Clock(), multicluster=True)
        there.volume_delete("~abcd.e.1")
        there.be_current()
        assert there.volumes() == []
    assert paths(server) == [
        "MultiCluster/VolumeDelete/~abcd.e.1",
        "MultiCluster/VolumesList",
        "MultiCluster/AllClusters/VolumeTemplatesStatus",
    ]


def test_who_has_what_is_asked_of_each_of_several_clusters() -> None:
    """T55: behind a barrier of each, whose generations can be compared: what is older is asked
    again."""
    with answering([ALL_ANSWER, of(5, OK), of(4, ok([])), of(5, ok([]))]) as server:
        assert client(server.port, Clock(), multicluster=True).attachments() == []
    alone = "RemoteCommand/~abcd.e"
    assert paths(server) == [
        "MultiCluster/AllClusters/VolumeTemplatesStatus",
        f"{alone}/KV/Set/storpool-ovirt",
        *[f"{alone}/AttachmentsList"] * 2,
    ]


def test_a_domain_of_several_clusters_asks_again_what_does_not_exist() -> None:
    """T55: where there is no barrier, "does not exist" is believed when it was said several times,
    and every cluster answers; where that question is not known, too."""
    missing, time = refusal("objectDoesNotExist"), Clock()
    with answering([missing, missing, ok([VOLUME])]) as server:
        assert (
            client(server.port, time, multicluster=True).volume("ovirt--x").global_id == "abcd.e.1"
        )
    with answering([missing]) as server, pytest.raises(errors.NotFound):
        client(server.port, time, multicluster=True).volume("ovirt--x")
    assert len(server.requests) == 1 + reading.LOOKS_AGAIN + 1
