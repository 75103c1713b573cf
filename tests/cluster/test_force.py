"""force.py: who has what, everything taken from one host, and who may force."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import storpool_ovirt
from rigs import canned_api, transports
from rigs.core_fixtures import GIB, TOKEN, Core
from rigs.starts import unanswered
from storpool_ovirt import config, errors, names
from storpool_ovirt.cluster import api, attachments, force, identity, volumes
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import LIMITS
from storpool_ovirt.secret import Secret

PREFIX = "os"
UUIDS = [f"{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}" for digit in "123456"]
# What a write answers.
DONE = {"ok": True, "generation": 7}
ABSENT = canned_api.refusal("objectDoesNotExist")


def made(core: Core, uuid: str, *clients: int) -> attachments.Target:
    """Make a volume of oVirt's and attach it."""
    name = names.object_name(uuid)
    target = attachments.Target(
        volumes.create(core.client(), Plan(Owner(name, names.tags(uuid, "loc", uuid)), GIB)), name
    )
    for client_id in clients:
        attachments.attach(core.client(), core.host(client_id), target, "rw")
    return target


def attached(core: Core) -> set[tuple[str, int]]:
    """What StorPool lists: global id and client."""
    return {(str(each.global_id), each.client_id) for each in core.client().attachments()}


def clear(core: Core, seen: force.ClientView | None = None) -> force.ForcedSet:
    """Take everything from client 1."""
    return force.clear(
        core.client(), seen or force.look(core.client(), 1, PREFIX), PREFIX, core.log
    )


# One look


def test_a_look_tells_whose_things_are(core: Core) -> None:
    """T76: by the tags, by the name of the Cinder driver's, and everything else is another's;
    nothing is changed."""
    mine = made(core, UUIDS[0], 1, 2)
    tags = {**names.tags(UUIDS[1], "loc", UUIDS[0])}
    shot = core.client().volume_snapshot(
        f"~{mine.global_id}", {"name": names.object_name(UUIDS[1]), "tags": tags}
    )
    cinders = volumes.create(core.client(), Plan(Owner(f"os--volume-{UUIDS[2]}"), GIB))
    others = volumes.create(
        core.client(), Plan(Owner("kubernetes", {"virt": "k8s", "ovirt-uuid": UUIDS[3]}), GIB)
    )
    for item in (
        {"snapshot": f"~{shot}", "ro": [1]},
        *({"volume": f"~{each}", "rw": [1]} for each in (cinders, others)),
    ):
        core.client().reassign([item], 0, "x")
    core.queries()
    seen = force.look(core.client(), 1, PREFIX)
    asked = core.queries()
    assert asked == (
        "KV/Set",
        "ClientsConfigDump",
        "AttachmentsList",
        *asked[3:],
    )
    assert sorted(asked[3:]) == ["Snapshot", "Volume", "Volume", "Volume"]
    assert {
        (each.target.global_id, each.target.kind, each.uuid, each.access_mode) for each in seen.ours
    } == {
        (mine.global_id, "volume", UUIDS[0], "rw"),
        (shot, "snapshot", UUIDS[1], "ro"),
        (cinders, "volume", UUIDS[2], "rw"),
    }
    assert (seen.others, seen.status, seen.may_run) == (("kubernetes",), "ok", True)
    assert force.look(core.client(), 3, PREFIX).ours == ()


@pytest.mark.parametrize(
    ("state", "status", "may_run"),
    [
        ({"running": False}, "down", False),
        ({"running": True}, "ok", True),
        ({"behind": True}, "updating", True),
    ],
)
def test_only_down_is_down(core: Core, state: dict[str, bool], status: str, may_run: bool) -> None:
    """T54: a client that is updating may run VMs as well as one that is up to date."""
    core.simulator.set_client(1, **state)
    seen = force.look(core.client(), 1, PREFIX)
    assert (seen.status, seen.may_run) == (status, may_run)
    assert force.look(core.client(), 99, PREFIX) == force.ClientView(99, None, (), ())
    assert force.look(core.client(), 99, PREFIX).may_run


def canned_volume(name: str) -> dict[str, Any]:
    """A volume of oVirt's as StorPool lists it."""
    return {
        "name": name,
        "globalId": "a.b.1",
        "size": GIB,
        "templateName": "t",
        "tags": names.tags(UUIDS[0], "l", "r"),
    }


@pytest.mark.parametrize("most", [0, 100], ids=["lists", "one by one"])
def test_what_is_not_there_is_looked_for_again(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """T55: older releases list names without global ids, and a name may change between two
    looks."""
    monkeypatch.setattr(identity, "READ_ALONE_MAX", most)
    client_of = [{"id": 1, "clientGeneration": 7, "configStatus": "down"}]
    old = [{"volume": "old", "client": 1, "rights": "rw"}]
    new = [{"volume": "new", "client": 1, "rights": "rw"}]
    lists = [canned_api.ok([canned_volume("new")]), canned_api.ok([])]
    answers = [
        *map(canned_api.ok, (DONE, client_of, old)),
        *([ABSENT, ABSENT] if most else lists),
        canned_api.ok(new),
        *(lists[:1] if most else lists),
    ]
    with canned_api.answering(answers) as server:
        settings = config.Api("127.0.0.1", server.port, Secret(TOKEN)).preferring(
            transports.chosen()
        )
        seen = force.look(api.Client(settings, Deadline(20)), 1, PREFIX)
    assert [each.uuid for each in seen.ours] == [UUIDS[0]]
    assert len(server.requests) == len(answers)


@pytest.mark.parametrize("most", [0, 100], ids=["lists", "one by one"])
def test_what_is_in_no_list_is_nobodys_guess(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """T54, T55: after some looks it is told as unknown: neither oVirt's nor another's, and no fence
    is done with it."""
    monkeypatch.setattr(identity, "READ_ALONE_MAX", most)
    client_of = [{"id": 1, "clientGeneration": 7, "configStatus": "down"}]
    stray = [{"volume": "stray", "client": 1, "rights": "rw", "globalId": "a.b.9"}]
    everywhere = [[canned_volume("x")], {"clusters": []}, [], {"clusters": []}]
    lists = [canned_api.ok([canned_volume("x")]), canned_api.ok([])]
    look = [canned_api.ok(stray), *([ABSENT, ABSENT] if most else lists)]
    answers = [
        *map(canned_api.ok, (DONE, client_of)),
        *look * force.LOOKS,
        *map(canned_api.ok, everywhere),
    ]
    with canned_api.answering(answers) as server:
        settings = config.Api("127.0.0.1", server.port, Secret(TOKEN)).preferring(
            transports.chosen()
        )
        seen = force.look(api.Client(settings, Deadline(20)), 1, PREFIX)
    assert (seen.ours, seen.others, seen.unknown) == ((), (), ("stray",))
    with pytest.raises(
        errors.Conflict, match="has stray, which is in no list of volumes and snapshots"
    ):
        force.check_all_known(seen)
    assert len(server.requests) == len(answers)


# Everything of one host


def test_clear_takes_everything_of_one_host(core: Core) -> None:
    """T63, T57: from that host only; what was taken, and how the host is now, is returned; the log
    has a line each."""
    first, second = made(core, UUIDS[0], 1, 2), made(core, UUIDS[1], 1)
    core.simulator.set_client(1, running=False)
    cleared = clear(core)
    assert {each.uuid for each in cleared.taken} == {UUIDS[0], UUIDS[1]}
    assert (cleared.vanished, cleared.now) == ((), force.ClientView(1, "down", (), ()))
    assert attached(core) == {(first.global_id, 2)}
    logged = Path(core.folder / "test.log").read_text()
    for target in (first, second):
        assert f"taken volume={target.name} global_id={target.global_id}" in logged


def test_clear_takes_nothing_that_was_not_looked_at(core: Core) -> None:
    """T55: what is attached after the look is not taken blindly, but told."""
    made(core, UUIDS[0], 1)
    core.simulator.set_client(1, running=False)
    seen = force.look(core.client(), 1, PREFIX)
    core.simulator.set_client(1, running=True)
    late = made(core, UUIDS[1], 1)
    with pytest.raises(
        errors.Conflict, match=f"still has volume {UUIDS[1]} .*somebody attached it meanwhile"
    ):
        clear(core, seen)
    assert attached(core) == {(late.global_id, 1)}


def test_clear_stops_when_the_host_is_back(core: Core) -> None:
    """T54: after a refusal it looks again, and a host that answers by then is left alone."""
    gone, stays = made(core, UUIDS[0], 1), made(core, UUIDS[1], 1)
    core.simulator.set_client(1, running=False)
    seen = force.look(core.client(), 1, PREFIX)
    core.simulator.set_client(1, running=True)
    attachments.detach(core.client(), core.host(1), gone)
    core.client().volume_delete(f"~{gone.global_id}")
    with pytest.raises(errors.Conflict, match="it answers StorPool again"):
        clear(core, seen)
    assert attached(core) == {(stays.global_id, 1)}


def test_a_refusal_that_lasts_is_told(core: Core) -> None:
    """T55: nothing is taken, the reason is StorPool's, and it ends after some tries."""
    made(core, UUIDS[0], 1)
    core.simulator.faults.add(
        "error_200", query="VolumesReassignWait", times=100, name="invalidParam", descr="no force"
    )
    with pytest.raises(errors.Conflict, match=r"StorPool refused to take it .*no force"):
        clear(core)
    assert core.queries().count("VolumesReassignWait") == 1 + force.LOOKS
    assert len(attached(core)) == 1


# Who may force

PACKAGE = Path(storpool_ovirt.__file__).parent
PRODUCT = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "cinder_driver").glob("*.py")]
FORCES = ("force", "detachForce")


ROW = r"\('force', _[a-z]+, False\)"


def forced(tree: ast.AST) -> list[int]:
    """Return the lines where something could be forced: the words in data or as an argument, but
    `"force": False`, and the row of a body that says what is sent where nothing is said."""
    allowed = {
        id(node.elts[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple) and re.fullmatch(ROW, ast.unparse(node))
    }
    allowed |= {
        id(key)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values)
        if isinstance(value, ast.Constant) and value.value is False
    }
    words = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in FORCES and id(node) not in allowed
    ]
    arguments = [
        node.value.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword)
        and node.arg in FORCES
        and not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]
    return words + arguments


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('{"force": False}', 0),
        ('{"force": True}', 1),
        ('{"force": x}', 1),
        ('a["force"] = 1', 1),
        ("f(force=True)", 1),
        ('{"onAttached": "detachForce"}', 1),
        ("dict(force=y)", 1),
        ("f(force=False)", 0),
        ('("force", _flag, False)', 0),
        ('("force", _flag, True)', 1),
        ('("force", True, False)', 1),
        ('"by force"', 0),
    ],
)
def test_the_search_for_force_finds_it(code: str, found: int) -> None:
    """T46: the test below sees each way to write it."""
    assert len(forced(ast.parse(code))) == found


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_force_is_sent_from_one_place(path: Path) -> None:
    """T46: `force` with any value but False, and onAttached's forced detach, are in
    cluster/force.py and nowhere else."""
    assert bool(forced(ast.parse(path.read_text()))) == (path == PACKAGE / "cluster" / "force.py")


def test_a_lost_answer_takes_nothing_from_a_vm_that_was_started_since(core: Core) -> None:
    """T88: the host was down, lost its disk, came up and runs a VM with it by right: it is not
    asked for again."""
    target = made(core, UUIDS[0], 1)
    core.simulator.set_client(1, running=False)

    def back() -> None:
        core.simulator.set_client(1, running=True)
        attachments.attach(core.client(), core.host(1), target, "rw")

    client = unanswered(core, back)
    seen = force.look(client, 1, PREFIX)
    with pytest.raises(errors.Conflict, match="it answers StorPool again"):
        force.clear(client, seen, PREFIX, core.log)
    assert attached(core) == {(target.global_id, 1)}


@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_request_is_sent_again_after_a_look(core: Core, times: int) -> None:
    """T63, T87: what did not take effect is still there, and is taken; what did is not asked for
    again."""
    target = made(core, UUIDS[0], 1)
    core.simulator.set_client(1, running=False)
    core.simulator.faults.add("reset_before", query="VolumesReassignWait", times=times)
    client = api.Client(core.settings(), Deadline(30), lambda _seconds: None)
    core.queries()
    cleared = force.clear(client, force.look(client, 1, PREFIX), PREFIX, core.log)
    assert core.queries().count("VolumesReassignWait") == times + 1
    assert [each.target for each in cleared.taken] == [target]
    assert attached(core) == set()


@pytest.mark.parametrize("absent", ["ok", "error"])
def test_a_host_that_hangs_is_waited_for_also_after_a_lost_answer(core: Core, absent: str) -> None:
    """T46, T54: it runs and does not know that it lost its disk, whichever answer told that it
    has."""
    made(core, UUIDS[0], 1)
    core.simulator.switches.set({"detach_absent": absent})
    core.simulator.set_client(1, behind=True)
    core.simulator.faults.add("reset_after", query="VolumesReassignWait")
    limits = LIMITS._replace(request_seconds=2, known_seconds=1)
    client = api.Client(core.settings(), Deadline(30), lambda _seconds: None, limits=limits)
    with pytest.raises(errors.Conflict, match="does not take over that its disks were taken"):
        force.clear(client, force.look(client, 1, PREFIX), PREFIX, core.log)
