"""reverts.py: a row follows its volume to the global id that a revert gave it, by name, tags and
visible id together, and by nothing less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from rigs import reverts
from rigs.disk_model import GIB
from rigs.disk_rig import Fault
from rigs.yard import CLONE, DISK, FOREIGN, OTHER, Yard, opened_yard
from storpool_ovirt import errors
from storpool_ovirt.engine import mapping
from storpool_ovirt.engine import reverts as rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ovirt_demo.database import Database


class Reverted(NamedTuple):
    """A disk with a snapshot, whose volume was reverted by hand since a verb met it last.

    `first` is the global id that hosts were told before, `now` that of now.
    """

    yard: Yard
    snapshot: str
    first: str
    now: str
    is_named: bool
    switch: str

    @property
    def has_moved(self) -> bool:
        """Whether it has another global id than before."""
        return self.first != self.now

    @property
    def told(self) -> str:
        """The global id by which a host reaches it from now on."""
        return self.now if self.is_named else self.first

    def again(self) -> Reverted:
        """Revert it once more."""
        return self._replace(now=reverts.revert(self.yard, f"~{self.now}"))


@pytest.fixture(params=reverts.IDENTITIES)
def switch(request: pytest.FixtureRequest) -> str:
    """Return which volumes get another id by a revert."""
    return str(request.param)


@pytest.fixture
def preserved(request: pytest.FixtureRequest) -> str:
    """Return whether StorPool tells the first id of a volume, as newer releases do."""
    return str(getattr(request, "param", "true"))


@pytest.fixture
def yard(module_database: Database, tmp_path: Path, switch: str, preserved: str) -> Iterator[Yard]:
    """Give a cluster of these switches, an Engine and an administrator."""
    with opened_yard(
        module_database, tmp_path, revert_identity=switch, preserved_id=preserved
    ) as made:
        yield made


@pytest.fixture(params=["named", "nameless"])
def reverted(request: pytest.FixtureRequest, yard: Yard, switch: str) -> Reverted:
    """Give a disk whose volume was reverted by hand."""
    yard.verb("create", DISK, GIB)
    if request.param == "nameless":
        reverts.nameless(yard)
    snapshot = yard.verb("snapshot", DISK)
    first = yard.verb("connection", DISK)["data"]["global_id"]
    now = reverts.revert(yard, f"~{first}")
    moved = switch == "all" or (switch == "unnamed" and request.param == "nameless")
    assert (first != now) == moved
    return Reverted(yard, snapshot, first, now, request.param == "named", switch)


VERBS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "connect": ("connect", (DISK, None)),
    "connection": ("connection", (DISK,)),
    "extend": ("extend", (DISK, 2 * GIB)),
    "snapshot": ("snapshot", (DISK,)),
    "clone": ("clone", (DISK, CLONE)),
    "create again": ("create", (DISK, GIB)),
}


@pytest.mark.parametrize("preserved", ["true", "false"], indirect=True)
@pytest.mark.parametrize("what", VERBS)
def test_each_verb_goes_on_and_heals_the_row(reverted: Reverted, what: str) -> None:
    """Rule 1 (git 76ce668, pve 7d8e8b0): a verb after a revert works on the volume as it is now,
    and its row has the present id."""
    yard = reverted.yard
    verb, arguments = VERBS[what]
    yard.verb(verb, *arguments)
    assert yard.address(DISK) == f"~{reverted.now}"
    assert yard.report().severity == "info"
    yard.verb("extend", DISK, 3 * GIB)
    assert yard.ask(f"Volume/~{reverted.now}")[0]["size"] == 3 * GIB


def test_hosts_are_told_the_same_id_as_long_as_it_leads_there(reverted: Reverted) -> None:
    """D5: Vdsm compares; an id that is a volume's name keeps its link, that of a named one does
    not."""
    yard = reverted.yard
    data = yard.verb("connection", DISK)["data"]
    assert data["global_id"] == reverted.told
    assert yard.verb("connect", DISK, None)["data"] == data
    later = reverted.again()
    data = yard.verb("connection", DISK)["data"]
    assert data["global_id"] == later.told
    assert yard.device(1, data["global_id"]).exists() is False
    path = yard.attach(1, data)
    assert yard.device(1, data["global_id"]).exists()
    assert path.endswith(data["global_id"])
    yard.detach(1, data)
    assert yard.ask("AttachmentsList") == [
        each for each in yard.ask("AttachmentsList") if each["client"] != 1
    ]


def test_the_ids_between_two_reverts_lead_nowhere_and_the_row_follows_all_the_same(
    reverted: Reverted,
) -> None:
    """[kvchk]: the row may have one of them."""
    yard = reverted.yard
    for _ in range(3):
        reverted = reverted.again()
        yard.verb("extend", DISK, GIB)
        assert yard.address(DISK) == f"~{reverted.now}"
    for _ in range(3):
        reverted = reverted.again()
    yard.verb("snapshot", DISK)
    assert yard.address(DISK) == f"~{reverted.now}"


@pytest.mark.parametrize("uuid", [DISK, "the preview"])
def test_a_delete_takes_the_volume_and_nothing_is_left(reverted: Reverted, uuid: str) -> None:
    """The tree goes with its snapshots of before and after the revert; a preview alone too."""
    yard = reverted.yard
    preview = yard.verb("preview", reverted.snapshot)
    yard.verb("snapshot", preview)
    yard.verb("connection", preview)
    reverts.revert(yard, yard.address(preview))
    reverted.again()
    if uuid != DISK:
        yard.verb("delete", preview)
        assert f"ovirt--{preview}" not in yard.see().things
        assert DISK in yard.see().rows
    yard.verb("delete", DISK)
    assert (yard.see().things, yard.see().rows) == ({}, {})


def test_a_volume_that_is_reverted_while_it_is_deleted_goes_too(
    reverted: Reverted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Does not exist" to a delete may mean that it has another id since a moment ago."""
    from storpool_ovirt.cluster import volumes

    yard, delete, due = reverted.yard, volumes.delete, [1]

    def raced(*arguments: Any) -> bool:
        while due:
            due.pop()
            reverted.again()
        return delete(*arguments)

    monkeypatch.setattr(volumes, "delete", raced)
    yard.verb("delete", DISK)
    assert (yard.see().things, yard.see().rows) == ({}, {})


def renamed(yard: Yard, address: str) -> None:
    """Take the name."""
    yard.ask(f"VolumeUpdate/{address}", {"rename": "mine"})


def retagged(yard: Yard, address: str) -> None:
    """Take one tag."""
    yard.ask(f"VolumeUpdate/{address}", {"tags": {"ovirt-loc": ""}})


def renumbered(yard: Yard, _address: str) -> None:
    """Have the row tell another visible id, as if this were a copy."""
    yard.sql("UPDATE storpool_ovirt.node SET visible_id = visible_id + 100000")


def unnumbered(yard: Yard, _address: str) -> None:
    """Have the row tell none, as one that an older program wrote."""
    yard.sql("UPDATE storpool_ovirt.node SET visible_id = NULL")


@pytest.mark.parametrize("switch", ["all"], indirect=True)
@pytest.mark.parametrize("preserved", ["false"], indirect=True)
@pytest.mark.parametrize(
    ("what", "lacks"),
    [
        (what, lacks)
        for what in (*VERBS, "remove")
        for lacks in (renamed, retagged, renumbered, unnumbered)
        if (what, lacks) != ("remove", renamed)  # told below
    ],
)
def test_two_of_three_are_not_enough(
    reverted: Reverted, what: str, lacks: Callable[[Yard, str], None]
) -> None:
    """Name, tags and visible id together: where one of them does not agree nothing is healed,
    changed or deleted."""
    yard = reverted.yard
    if what == "remove":
        yard.verb("preview", reverted.snapshot)  # looks at what it replaces: the row follows
        reverts.put_back(yard, DISK, reverted.first)
    lacks(yard, f"~{reverted.now}")
    verb, arguments = {**VERBS, "remove": ("remove", (DISK,))}[what]
    things, rows = yard.ask("VolumesList"), yard.see().rows
    if lacks is unnumbered and not reverted.is_named:
        # A name that StorPool alone gives is its word, too.
        yard.verb(verb, *arguments)
        assert "another id" not in {each.kind for each in yard.report().findings}
        return
    with pytest.raises((errors.Conflict, errors.NotFound)):
        yard.verb(verb, *arguments)
    assert yard.ask("VolumesList") == things
    assert yard.see().rows == rows
    assert DISK in rows


def test_what_no_id_and_no_name_leads_to_stays(reverted: Reverted) -> None:
    """A delete of what was renamed and has another id since: nothing of it is found, so nothing of
    it is deleted; the audit shows what carries its tags."""
    yard = reverted.yard
    renamed(yard, f"~{reverted.now}")
    yard.verb("delete", reverted.snapshot)
    yard.verb("delete", DISK)
    is_lost = reverted.has_moved
    assert set(yard.see().things) == ({"mine"} if is_lost else set())
    assert {each.kind for each in yard.report().findings} == (
        {"kept by others"} if is_lost else set()
    )


def taken_by(reverted: Reverted, global_id: str) -> None:
    """Have the row's id be that of this volume, which is what an id that came again would do."""
    reverted.yard.sql(
        "UPDATE storpool_ovirt.node SET global_id = %s, first_id = %s WHERE uuid = %s",
        global_id,
        reverted.first,
        DISK,
    )


@pytest.mark.parametrize("switch", ["all"], indirect=True)
def test_an_old_id_that_another_volume_has_by_now(reverted: Reverted) -> None:
    """A row whose id is somebody else's: the volume is found by all that it is, the other one stays
    as it is."""
    yard = reverted.yard
    body = {"name": "a", "size": GIB, "template": "hybrid"}
    stranger = yard.ask("VolumeCreate", body)["globalId"]
    taken_by(reverted, stranger)
    yard.verb("extend", DISK, 2 * GIB)
    assert yard.address(DISK) == f"~{reverted.now}"
    taken_by(reverted, stranger)
    yard.verb("delete", DISK)
    assert yard.see().things == {}
    assert yard.ask(f"Volume/~{stranger}")[0]["size"] == GIB


@pytest.mark.parametrize("switch", ["all"], indirect=True)
def test_an_old_id_that_a_copy_of_the_volume_has_by_now(reverted: Reverted) -> None:
    """Its tags are ours too: the name and the visible id tell that it is another one."""
    yard = reverted.yard
    taken_by(reverted, yard.by_hand(DISK, "a-copy")[1:])
    yard.verb("delete", DISK)
    assert [each["name"] for each in yard.ask("VolumesList") if each["name"] == "a-copy"]
    assert f"ovirt--{DISK}" not in yard.see().things


@pytest.mark.parametrize("switch", ["all", "unnamed"], indirect=True)
def test_an_instance_that_is_behind_heals_nothing_wrong(reverted: Reverted) -> None:
    """D15: what is written into a row is read as of now, whatever an old answer said."""
    yard = reverted.yard
    for _ in range(3):
        reverted = reverted.again()
        yard.verb("snapshot", DISK, fault=Fault("old", query="Volume"))
        assert yard.address(DISK) == f"~{reverted.now}"


def test_a_row_of_an_older_program_follows_where_storpool_tells_the_first_id(
    reverted: Reverted,
) -> None:
    """Without the number, StorPool's own word is that it had the row's id first."""
    yard = reverted.yard
    unnumbered(yard, "")
    assert {each.kind for each in yard.report().findings if each.severity != "info"} <= {
        "another id"
    }
    yard.verb("snapshot", DISK)
    assert yard.address(DISK) == f"~{reverted.now}"
    number = yard.ask(f"Volume/~{reverted.now}")[0]["visibleVolumeId"]
    assert visible_ids(yard)[DISK] == number


def test_two_verbs_heal_one_row_at_once(reverted: Reverted) -> None:
    """The second finds what the first has written; an older finding never replaces a newer one."""
    yard = reverted.yard
    with yard.engine() as first, yard.engine() as second:
        nodes = [work.mapping.node(DISK) for work in (first, second)]
        assert nodes[0] is not None
        assert nodes[1] is not None
        assert rows.found_again(first, nodes[0]).global_id == reverted.now  # type: ignore[union-attr]
        assert rows.found_again(second, nodes[1]).global_id == reverted.now  # type: ignore[union-attr]
        later = reverted.again()
        assert rows.found_again(second, nodes[1]).global_id == later.now  # type: ignore[union-attr]
        assert rows.found_again(first, nodes[0]).global_id == later.now  # type: ignore[union-attr]
    assert yard.address(DISK) == f"~{later.now}"


@pytest.mark.parametrize("switch", ["all"], indirect=True)
def test_an_id_that_another_row_has_is_not_taken_from_it(reverted: Reverted) -> None:
    """What two rows claim, a person decides."""
    yard = reverted.yard
    yard.verb("create", OTHER, GIB)
    yard.sql(
        "UPDATE storpool_ovirt.node SET global_id = %s, visible_id = NULL WHERE uuid = %s",
        reverted.now,
        OTHER,
    )
    rows = yard.see().rows
    with pytest.raises(errors.Conflict, match="another row"):
        yard.verb("extend", DISK, 2 * GIB)
    assert yard.see().rows == rows


def visible_ids(yard: Yard) -> dict[str, int | None]:
    """Return what the rows have."""
    return dict(yard.sql("SELECT uuid, visible_id FROM storpool_ovirt.node ORDER BY created_at"))


def test_a_row_learns_the_number_of_its_volume_once(yard: Yard) -> None:
    """The first verb that sees them in step writes it; later ones ask and write no more than
    before."""
    yard.verb("create", DISK, GIB)
    assert visible_ids(yard) == {DISK: None}
    yard.verb("connection", DISK)
    number = yard.ask(f"Volume/ovirt--{DISK}")[0]["visibleVolumeId"]
    assert visible_ids(yard) == {DISK: number}
    with yard.engine() as work:
        node = work.mapping.node(DISK)
        assert node is not None
        there = work.client.volume(f"ovirt--{DISK}")
        before = work.mapping.session.statements
        rows.note(work, node, there)
        assert work.mapping.session.statements == before
    yard.verb("snapshot", DISK)
    assert [*visible_ids(yard).values()] == [number, None]


def test_a_number_that_cannot_be_written_fails_nothing(yard: Yard) -> None:
    """It is for later."""
    yard.verb("create", DISK, GIB)
    yard.verb("connection", DISK)
    yard.sql("UPDATE storpool_ovirt.node SET visible_id = NULL")
    with yard.engine() as work:
        work.mapping.session.rows("SET default_transaction_read_only = on")
        node = work.mapping.node(DISK)
        assert isinstance(node, mapping.Node)
        rows.note(work, node, work.client.volume(f"ovirt--{DISK}"))
    assert visible_ids(yard) == {DISK: None}


def test_a_volume_of_another_cluster_is_not_it(reverted: Reverted) -> None:
    """A copy elsewhere may have name, tags and even the number."""
    yard = reverted.yard
    with yard.engine() as work:
        node = work.mapping.node(DISK)
        assert node is not None
        there = work.client.volume(f"~{reverted.now}")
        assert rows.is_its_volume(there, node, yard.location)
        elsewhere = node._replace(global_id="zzz9.b.1")
        assert not rows.is_its_volume(there, elsewhere, yard.location)


@pytest.mark.parametrize("size_gib", [1, 4])
def test_the_size_after_a_revert(yard: Yard, switch: str, size_gib: int) -> None:
    """A revert may take the snapshot's size (pve a536de7): the disk grows from what StorPool has,
    and what would cut data off is refused with that size."""
    yard.verb("create", DISK, size_gib * GIB)
    snapshot = yard.verb("snapshot", DISK)
    if size_gib == 1:
        yard.verb("extend", DISK, 2 * GIB)
    else:
        yard.sql("UPDATE storpool_ovirt.node SET size_bytes = %s", 2 * GIB)
    reverts.revert(yard, yard.address(DISK), yard.address(snapshot), revertSize=True)
    if size_gib == 4:
        with pytest.raises(errors.Conflict, match="has 4 GiB"):
            yard.verb("extend", DISK, 3 * GIB)
    yard.verb("extend", DISK, 6 * GIB)
    assert yard.ask(f"Volume/ovirt--{DISK}")[0]["size"] == 6 * GIB
    assert yard.see().rows[DISK].size_bytes == 6 * GIB
    assert switch in reverts.IDENTITIES


def test_the_tree_is_whole_with_snapshots_of_before_and_after(reverted: Reverted) -> None:
    """Snapshots name their volume by the id that it had when they were made; audit, preview and
    rebuild know it all the same."""
    yard = reverted.yard
    later = reverted.again()
    after = yard.verb("snapshot", DISK)
    preview = yard.verb("preview", after)
    assert yard.address(DISK) == f"~{later.now}"
    assert yard.report().severity == "info"
    rows = yard.see().rows
    assert (rows[reverted.snapshot].source, rows[after].source, rows[preview].source) == (
        DISK,
        DISK,
        after,
    )
    yard.verb("delete", DISK)
    assert yard.see().things == {}
    assert FOREIGN not in yard.see().rows
