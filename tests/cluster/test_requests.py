"""requests.py, transport.py: what we send is what StorPool's official binding sends, method by
method and byte for byte."""

from __future__ import annotations

import ast
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import storpool_ovirt
from rigs.core_fixtures import GIB, Core
from storpool_ovirt import config, errors
from storpool_ovirt.cluster import binding, calls, reading, requests, transport, ways
from storpool_ovirt.secret import Secret

SPAPI = binding.load()
CLUSTER = Path(storpool_ovirt.__file__).parent / "cluster"
# The arguments of `Client`'s own functions that ask, by which is the method.
ASKING = {
    "_ask": 1,
    "_delete": 1,
    "_list": 1,
    "_one": 1,
    "_complete": 0,
    "_all": 1,
    "_new_id": 1,
    "_only": 1,
}
# These are put together (`calls.Calls._is_elsewhere`), or chosen (`reading.Reading._only`).
ELSEWHERE = {"locationsList", "clustersList", "servicesList", *reading.READ_BY.values()}


@pytest.fixture(autouse=True)
def transport_kind() -> None:
    """No test here is run by both ways: each compares them."""


def methods() -> set[str]:
    """Return the binding's methods that the sources of the room call."""
    found = ELSEWHERE | set(reading.READ_BY.values())
    for path in CLUSTER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            place = ASKING.get(node.func.attr)
            if place is not None and len(node.args) > place:
                given_method = node.args[place]
                if isinstance(given_method, ast.Constant):
                    found.add(str(given_method.value))
    return found


def test_each_method_that_is_called_has_its_row() -> None:
    """And no row is there that nobody needs."""
    assert methods() == set(requests.REQUESTS)


@pytest.mark.parametrize("method", sorted(set(requests.REQUESTS) - {"allClusters"}))
def test_a_row_says_what_the_binding_says(method: str) -> None:
    """[spapi] The HTTP method, the path, the form for several clusters, whether there is a body,
    and whether the reply says "ok"."""
    verb, has_form, path, kinds, schema = requests.REQUESTS[method]
    document = getattr(SPAPI.Api, method).spDoc
    assert verb == document.method
    begin, *filled_in = document.path.split("/{")
    assert begin == f"{transport.PREFIX}{'MultiCluster/' * has_form}{path}"
    assert len(filled_in) == len(kinds)
    assert (document.json is None) == (schema is None)
    if verb == "POST":
        says_ok = "ok" in document.returns.attrs
        assert says_ok == (method not in requests.WITHOUT_OK)


def test_the_question_to_all_clusters_is_none_of_the_bindings() -> None:
    """[cs-up] It has no method for it; its path alone is ours."""
    assert not hasattr(SPAPI.Api, "allClusters")
    assert requests.plain("allClusters", ()) == ("GET", True, requests.ALL_CLUSTERS, None)


NAME = st.text("abzAZ09_-.:", min_size=1, max_size=30) | st.sampled_from(["list", "status", "x"])
GLOBAL_ID = st.from_regex(r"\A[a-z0-9]{1,5}\.[a-z0-9]{1,3}\.[a-z0-9]{1,9}\Z")
ADDRESS = NAME | GLOBAL_ID.map("~{}".format)
CLIENTS = st.lists(st.integers(1, 4095), max_size=3)
TAGS = st.dictionaries(NAME, NAME | st.just(""), max_size=4)
SIZE = st.integers(1, 1 << 50).map(lambda sectors: 512 * sectors)
TEMPLATE = st.text("abzAZ09_-", min_size=1, max_size=20)
# What is not plain: the binding refuses most of it, makes another value of some, and takes some.
ODD = st.sampled_from(
    [
        None, True, False, 0, -1, 1.0, 512.0, 513, "512", 1 << 70, 4096, "", " ", "a b", "#a", "#",
        "*a", "*", "a@b", "~", "~a", "~a.b", "~a.b.c.d", "~A.b.c", "~a..c", "~a.b.c\n", "a\n", "ä",
        "a/b", "a?b", "a%20b", "x" * 199, "x" * 200, "x" * 1023, "all", "fail", "detach", "export",
        [], {}, [None], ["1"], [0], (1,), {"a": None}, {"a": 1}, {"a b": "c"}, {"": "a"}, b"a",
    ]
)  # fmt: skip


def maybe_odd(plain: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw what is plain, and now and then something else."""
    return st.one_of(plain, plain, plain, ODD)


def body(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a body, in any order, with any of these fields, and now and then one that is none."""
    known = {name: maybe_odd(value) for name, value in fields.items()}
    drawn = st.fixed_dictionaries({}, optional={**known, "unknown": ODD})
    return drawn.flatmap(lambda made: st.permutations(list(made.items()))).map(dict)


VOLUME_ITEM = body(
    volume=ADDRESS, detach=CLIENTS | st.just("all"), ro=CLIENTS, rw=CLIENTS, force=st.booleans(),
    onRemoteAttached=st.just("export"),
)  # fmt: skip
SNAPSHOT_ITEM = body(snapshot=ADDRESS, detach=CLIENTS, ro=CLIENTS, force=st.booleans())
MEMBER = body(volume=ADDRESS, name=NAME, tags=TAGS)
GIVEN_UP = body(location=NAME, globalSnapshotId=GLOBAL_ID, deleteAfter=st.integers())
CREATE = body(
    name=NAME, tags=TAGS, size=SIZE, template=TEMPLATE, replication=st.integers(1, 3),
    parent=ADDRESS, baseOn=ADDRESS,
)  # fmt: skip
ARGUMENTS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "clientConfigWait": (st.integers(1, 4095),),
    "volumeList": (ADDRESS,),
    "volumeCreate": (CREATE,),
    "volumeUpdate": (ADDRESS, body(rename=NAME, size=SIZE, template=TEMPLATE, tags=TAGS)),
    "volumeDelete": (ADDRESS,),
    "volumeRevert": (ADDRESS, body(toSnapshot=ADDRESS)),
    "snapshotList": (ADDRESS,),
    "snapshotCreate": (ADDRESS, body(name=NAME, tags=TAGS, deleteAfter=st.integers())),
    "snapshotCreateGroup": (body(volumes=st.lists(MEMBER, max_size=3)),),
    "snapshotUpdate": (
        ADDRESS,
        body(rename=NAME, template=TEMPLATE, tags=TAGS, deleteAfter=st.integers()),
    ),
    "snapshotDelete": (ADDRESS,),
    "volumesGroupBackup": (
        body(location=NAME, volumes=st.lists(ADDRESS, max_size=3), tags=TAGS),
    ),
    "snapshotFromRemote": (
        body(remoteLocation=NAME, remoteId=GLOBAL_ID, name=NAME, template=TEMPLATE, tags=TAGS),
    ),
    "snapshotsRemoteUnexport": (body(remoteSnapshots=st.lists(GIVEN_UP, max_size=3)),),
    "volumesReassignWait": (
        body(
            reassign=st.lists(VOLUME_ITEM | SNAPSHOT_ITEM, max_size=3), attachTimeout=st.integers()
        ),
    ),
    "volumeTemplateDescribe": (TEMPLATE,),
    "kvsGet": (NAME, NAME),
    "kvsCreate": (NAME,),
    "kvsUpdate": (
        NAME,
        body(
            runIfVersionIs=st.integers(0, 1 << 62), set=st.dictionaries(NAME, st.text(max_size=9))
        ),
    ),
}  # fmt: skip
CALLS = st.sampled_from(sorted(requests.REQUESTS)).flatmap(
    lambda method: st.tuples(st.just(method), st.tuples(*map(maybe_odd, ARGUMENTS.get(method, ()))))
)


def test_each_method_with_arguments_is_generated() -> None:
    """Nothing of what follows leaves one out."""
    with_arguments = {name for name, row in requests.REQUESTS.items() if row[3] or row[4]}
    assert set(ARGUMENTS) == with_arguments


@pytest.fixture(scope="module")
def official() -> binding.Official:
    """The binding's way, to an address that nobody asks."""
    return binding.Official(config.Api("127.0.0.1", 1, Secret("42")))


def made(official: binding.Official, method: str, args: tuple[Any, ...]) -> Any:
    """Return what the binding makes of a call, or the error with which it refuses it."""
    try:
        return official.request(method, args)
    except (transport.Invalid, TypeError, AttributeError, KeyError, ValueError) as error:
        return type(error), str(error)


@given(CALLS)
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_plain_is_what_the_binding_sends(
    official: binding.Official, call: tuple[str, tuple[Any, ...]]
) -> None:
    """Whatever a call is made of: path and body are the binding's, byte for byte, or it is left to
    the binding, which tells what is wrong with it."""
    method, args = call
    found = requests.plain(method, args)
    assert found is None or found == made(official, method, args)


def test_what_we_make_is_plain(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program of ours loads the binding for a call that it makes every day."""
    monkeypatch.setattr(binding, "load", lambda: pytest.fail("this is not plain"))
    there = core.client(transport="wire")
    volume = there.volume_create({"name": "x--1", "size": GIB, "tags": {"virt": "ovirt", "e": ""}})
    address = f"~{volume}"
    frozen = there.volume_snapshot(address, {"name": "x--2", "tags": {"a": "b"}})
    there.reassign([{"volume": address, "rw": [1]}], 5, "x")
    there.reassign([{"snapshot": f"~{frozen}", "ro": [1, 2]}], 5, "x")
    there.reassign([{"volume": address, "detach": [1], "force": False}], 5, "x")
    there.reassign([{"snapshot": f"~{frozen}", "detach": "all"}], 5, "x")
    there.volume_update(address, {"size": 2 * GIB, "rename": "x--3", "tags": {"a": "b"}})
    there.snapshot_update(f"~{frozen}", {"rename": "x--4", "tags": {"a": ""}, "template": "hdd"})
    there.group_snapshot({"volumes": [{"volume": address, "name": "g", "tags": {}}]}, "g")
    there.volume_revert(address, f"~{frozen}")
    there.pair_set(api_bucket := "storpool-ovirt", "key", "value", None)
    assert there.pair(api_bucket, "key").value == "value"
    assert there.templates()
    there.template_parent("nvme")
    there.clients()
    there.client_wait(1)
    there.be_current()
    there.clusters()
    with pytest.raises(errors.NotFound):
        there.snapshot("x--9")


# What is on the wire


@contextmanager
def heard() -> Iterator[tuple[int, list[bytes]]]:
    """Give a port, and what was sent there; each request is answered."""
    said: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(5)
                request = b""
                while not _is_whole(request):
                    piece = peer.recv(65536)
                    if not piece:
                        break
                    request += piece
                said.append(request)
                body = b'{"generation": 1, "data": {"ok": true}}'
                peer.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], said
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _is_whole(request: bytes) -> bool:
    head, end, content = request.partition(b"\r\n\r\n")
    length = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")]
    return bool(end) and len(content) >= (int(length[0].split(b": ")[1]) if length else 0)


WAYS = st.fixed_dictionaries(
    {
        "multicluster": st.booleans(),
        "cluster": st.none() | st.just("~abcd.e"),
        "way": st.sampled_from([ways.TOGETHER, ways.HERE, ways.APART]),
        "pin": st.booleans(),
    }
)


def test_both_send_the_same_bytes() -> None:
    """[spapi] Head and body, whatever the arguments, the clusters and the way."""
    with heard() as (port, said):

        def send(kind: str, call: tuple[str, tuple[Any, ...]], how: dict[str, Any]) -> Any:
            given_settings = config.Api(
                "127.0.0.1", port, Secret("42"), how["multicluster"], None, kind
            )
            there = calls.transport_of(given_settings)
            there.way, there.pin = how["way"], how["pin"]
            said.clear()
            try:
                there.call(*call, how["cluster"], 5.0)
            except (transport.Invalid, TypeError, ValueError, KeyError, AttributeError) as error:
                return str(error)
            return said[0]

        @given(CALLS, WAYS)
        @settings(max_examples=300, deadline=None)
        def check(call: tuple[str, tuple[Any, ...]], how: dict[str, Any]) -> None:
            assert send("wire", call, how) == send("binding", call, how)

        check()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]"])
def test_the_host_is_named_alike(host: str) -> None:
    """An IPv6 address has brackets in a request."""
    try:
        listener = socket.create_server(
            ("::1" if ":" in host else "127.0.0.1", 0),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
        )
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    said = []
    with listener:
        for kind in ("wire", "binding"):
            api_settings = config.Api(host, listener.getsockname()[1], Secret("42"))
            there = calls.transport_of(api_settings.preferring(kind))
            asked = there.begin("volumesList", (), None, 5.0)
            peer, _ = listener.accept()
            with peer:
                said.append(peer.recv(65536))
            asked.close()
    assert said[0] == said[1]


def test_who_nobody_waits_for_has_the_binding() -> None:
    """Each client of the administrator's programs and of Cinder's driver prefers it; no other
    does."""
    product = Path(storpool_ovirt.__file__).parent
    preferring = {
        path.relative_to(product.parent)
        for path in [*product.rglob("*.py"), *(product.parent / "cinder_driver").glob("*.py")]
        if "preferring(option_values.BINDING)" in path.read_text()
    }
    made = {
        path.relative_to(product.parent)
        for room in ("storpool_ovirt/admin", "storpool_ovirt/doctor", "cinder_driver")
        for path in (product.parent / room).rglob("*.py")
        if "api.Client(" in path.read_text()
    }
    mention = {path for path in made if path.name == "hosts.py"}  # in a signature
    assert preferring == made - mention
