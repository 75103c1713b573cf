"""engine_hosts.py: hosts in Engine's real tables, each wrong in one way."""

from __future__ import annotations

import json

import pytest
from engine_ground import ServedMachine

ALL = (
    "engine-host-up",
    "engine-host-vdsm",
    "engine-host-connector",
    "engine-host-hooks",
    "engine-host-twins",
)
SUM = "5f" * 32
POINTS = (
    "before_vm_start",
    "before_disk_hotplug",
    "before_vm_migrate_source",
    "after_disk_hotunplug",
    "before_vdsm_start",
)


def hooks(*, without: str = "", sums: str = SUM) -> str:
    """Return what Java makes of the map of hooks that Vdsm tells."""
    own = ", ".join(
        f"{each}={{10_other={{checksum=00}}, 50_storpool={{checksum={sums}}}}}"
        for each in POINTS
        if each != without
    )
    return f"{{after_vm_start={{50_storpool={{checksum=00}}}}, {own}}}"


@pytest.fixture
def center(served: ServedMachine) -> str:
    """Give a data center with a domain of ours and a good host."""
    served.domain()
    found = str(served.tables.execute("SELECT id::text FROM storage_pool")[0][0])
    add(served, found, "host1")
    return found


def add(served: ServedMachine, center: str, name: str, **facts: object) -> None:
    """Add a host that is as it has to be, but for these facts."""
    told = {"connector": {"host": name, "storpool_volume_type": "local"}, "hooks": hooks()}
    served.tables.add_host(name, center, **{**told, **facts})  # type: ignore[arg-type]


def test_all_is_well(served: ServedMachine, center: str) -> None:
    """A host of Vdsm 4.50.7, one of master that tells no type, one in maintenance."""
    add(served, center, "new", vdsm="vdsm-4.50.8-1.el9", connector={"host": "new"})
    add(served, center, "away", status=2, connector=None, hooks="")
    found = served.look(*ALL)
    assert {each.result for each in found} == {"ok"}, found
    assert sorted({each.subject for each in found}) == ["", "away", "host1", "new"]


def test_hosts_of_other_data_centers_are_not_looked_at(served: ServedMachine, center: str) -> None:
    """Nobody wants a disk of ours there."""
    other = served.tables.add_data_center("Other")
    add(served, other, "other", vdsm="vdsm-4.40.1", connector=None, hooks="")
    assert "other" not in {each.subject for each in served.look(*ALL)}


def test_without_a_domain_no_host_is_looked_at(served: ServedMachine) -> None:
    """And without Engine's database nobody knows."""
    assert {each.result for each in served.look(*ALL)} == {"ok"}
    served.tables.write_conf(served.machine.path(""), DATABASE="nosuch")
    assert {each.result for each in served.look(*ALL)} == {"unknown"}


# Which check tells of a host with these facts, how, and in which words
BAD: list[tuple[str, dict[str, object], str, str]] = [
    ("engine-host-up", {"status": 4}, "warning", "it is non responsive"),
    ("engine-host-vdsm", {"vdsm": "vdsm-4.50.5-1.el9"}, "critical", "vdsm-4.50.5-1.el9"),
    ("engine-host-vdsm", {"vdsm": None}, "unknown", "is none"),
    ("engine-host-vdsm", {"vdsm": "odd"}, "unknown", '"odd"'),
    ("engine-host-connector", {"connector": None}, "critical", "no connector information"),
    ("engine-host-connector", {"connector": {"host": "bad"}}, "critical", "did not tell"),
    (
        "engine-host-connector",
        {"connector": {"host": "bad", "storpool_volume_type": "none"}},
        "critical",
        "takes no volume of StorPool's",
    ),
    (
        "engine-host-connector",
        {"connector": {"host": "bad", "storpool_volume_type": "newer"}},
        "critical",
        "unknown type",
    ),
    ("engine-host-hooks", {"hooks": ""}, "unknown", "no hooks"),
    ("engine-host-hooks", {"hooks": "{}"}, "critical", "before_vm_start, before_disk"),
    (
        "engine-host-hooks",
        {"hooks": hooks(without="before_vm_migrate_source")},
        "critical",
        "runs no 50_storpool at before_vm_migrate_source",
    ),
    (
        "engine-host-hooks",
        {"hooks": hooks(without="before_vdsm_start")},
        "warning",
        "before_vdsm_start",
    ),
]


def test_a_host_that_cannot_serve(served: ServedMachine, center: str) -> None:
    """Each way by itself: that host is told, with what it is, by that check; a good one is well."""
    for at, (_, facts, _, _) in enumerate(BAD):
        add(served, center, f"bad{at}", **facts)
    found = {(each.id, each.subject): each for each in served.look(*ALL[:4])}
    for at, (check, _, result, said) in enumerate(BAD):
        bad = found[check, f"bad{at}"]
        assert bad.result == result, bad
        assert said in bad.cause, bad
    assert {found[check, "host1"].result for check in ALL[:4]} == {"ok"}


def test_what_an_old_vdsm_did_not_tell_waits_for_its_update(
    served: ServedMachine, center: str
) -> None:
    """Our package cannot be installed there: nobody is sent to do that."""
    add(served, center, "old", vdsm="vdsm-4.50.4-1.el9", connector=None)
    looked = served.look("engine-host-vdsm", "engine-host-connector")
    found = {each.id: each for each in looked if each.subject == "old"}
    assert found["engine-host-vdsm"].result == "critical"
    assert found["engine-host-connector"].result == "unknown"
    assert "install" not in found["engine-host-connector"].fix


def test_hosts_with_different_hooks(served: ServedMachine, center: str) -> None:
    """Some are of another release, or another program."""
    add(served, center, "host2", hooks=hooks(sums="7a" * 32))
    found = [each for each in served.look("engine-host-hooks") if each.result == "warning"]
    assert [each.subject for each in found] == list(POINTS[:3])
    assert "7a7a7a7a7a7a" in found[0].cause


def test_two_hosts_of_one_name(served: ServedMachine, center: str) -> None:
    """They have one section of storpool.conf, and so one client id."""
    add(served, center, "host2", connector={"host": "host1", "storpool_volume_type": "local"})
    found = served.one("engine-host-twins")
    assert (found.result, found.subject) == ("critical", "host1")
    assert "host1, host2" in found.cause
    served.tables.execute(
        "UPDATE vds_dynamic SET connector_info = %s WHERE connector_info->>'host' = 'host1'",
        json.dumps({"storpool_volume_type": "local"}),
    )
    assert served.one("engine-host-twins").result == "ok"
