"""trash.py, trash_text.py: what is in the trash is listed with what it holds; a table that was lost
is made again from the tags."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rigs import trash_yard
from rigs.disk_model import GIB
from rigs.trash_yard import BACK, entries, restored, thrown
from rigs.yard import DISK, OTHER, Yard
from storpool_ovirt.admin import findings, trash, trash_purge, trash_text
from storpool_ovirt.engine import trash as entry_rows

pytestmark = pytest.mark.usefixtures("a_disk")


def looked(yard: Yard) -> trash.Listing:
    """Look as an administrator does."""
    with yard.administrator("trash-list") as work:
        return trash.look(work)


def a_tree(yard: Yard) -> str:
    """Delete a disk with data, a snapshot and a preview that its VM wrote; return the snapshot."""
    trash_yard.write(yard, DISK, 1)
    snapshot: str = yard.verb("snapshot", DISK)
    trash_yard.write(yard, yard.verb("preview", snapshot), 2)
    thrown(yard, DISK)
    return snapshot


def test_a_deletion_has_all_that_went_with_it(yard: Yard) -> None:
    """T83: what the VM wrote first, then other volumes, then snapshots."""
    snapshot = a_tree(yard)
    (found,) = looked(yard).deletions
    assert [each.what for each in found.items] == ["preview", "volume", "snapshot"]
    assert [each.entry.active for each in found.items] == [True, False, False]
    assert found.items[2].entry.node == snapshot
    assert all(each.there is not None for each in found.items)
    assert found.freed_bytes == sum(each.stored_bytes or 0 for each in found.items) > 0


def test_what_a_restored_disk_needs_is_not_freed(yard: Yard) -> None:
    """F68: and the list names it."""
    a_tree(yard)
    before = looked(yard).freed_bytes
    yard.verb("create", BACK, GIB)
    restored(yard, DISK)
    found = looked(yard)
    assert found.deletions[0].items[0].users == (f"volume {BACK}",)
    assert found.freed_bytes is not None
    assert before is not None
    assert found.freed_bytes < before


def test_a_purge_of_all_frees_what_one_deletion_keeps_of_another(yard: Yard) -> None:
    """F68: the disk that was restored is deleted too, and stands on what it was restored from."""
    a_tree(yard)
    yard.verb("create", BACK, GIB)
    restored(yard, DISK)
    thrown(yard, BACK)
    found = looked(yard)
    stored = [item.stored_bytes or 0 for each in found.deletions for item in each.items]
    assert found.freed_bytes == sum(stored)
    assert found.freed_bytes > sum(each.freed_bytes or 0 for each in found.deletions)
    with yard.administrator() as work:
        plan = trash_purge.plan(work, found, trash_purge.Which(all=True))
    said = trash_purge.summary(found, plan, 0, dry_run=True)
    assert said.endswith(f" frees {findings.amount(sum(stored))}")


def test_the_first_that_was_deleted_is_the_first_of_the_list(yard: Yard) -> None:
    """T83: so what goes first by --oldest is what is seen first."""
    thrown(yard, DISK)
    yard.verb("create", OTHER, GIB)
    thrown(yard, OTHER)
    assert [each.disk for each in looked(yard).deletions] == [DISK, OTHER]


def test_space_that_is_not_told_hides_nothing(yard: Yard) -> None:
    """T24: all else is told, and why it is not."""
    a_tree(yard)
    with yard.trouble("error_200", query="SnapshotsSpace", times=9, name="invalidParam"):
        found = looked(yard)
    assert found.unmeasured
    assert found.freed_bytes is None
    lines = list(trash_text.text(found))
    assert any(line.startswith("what it holds is not known: ") for line in lines)
    assert trash_text.document(found)["space_at"] is None


def test_the_lines_and_the_document_tell_the_same(yard: Yard) -> None:
    """T83: both name all ids that restore and purge take."""
    a_tree(yard)
    found = looked(yard)
    lines = "\n".join(trash_text.text(found))
    (deletion,) = trash_text.document(found)["deletions"]
    assert set(deletion) == {
        *("deletion", "disk", "deleted_at", "ends_at", "correlation_id", "size_bytes"),
        *("template", "freed_bytes", "entries", "copies", "written_over"),
    }
    assert (deletion["disk"], deletion["written_over"]) == (DISK, False)
    for each in deletion["entries"]:
        assert set(each) == {
            *("entry", "node", "kind", "active", "global_id", "size_bytes", "template", "tags"),
            *("created_at", "ends_at", "goes_at", "there", "stored_bytes", "freed_bytes", "users"),
        }
        assert each["goes_at"] == each["ends_at"]
        assert each["entry"] in lines
        assert each["node"] in lines
    assert "kept until " in lines
    assert "(for 48 h)" in lines


def test_the_list_tells_what_gives_a_disk_back(yard: Yard) -> None:
    """T83: who reads it at night need not know the page."""
    a_tree(yard)
    assert "storpool-ovirt trash restore DISK --into NEW" in list(trash_text.text(looked(yard)))[-1]


def test_an_empty_trash(yard: Yard) -> None:
    """T83: it is told in a line."""
    assert list(trash_text.text(looked(yard)))[1:] == ["the trash is empty"]


def test_a_lost_table_is_made_again(yard: Yard) -> None:
    """T85: what the tags tell is enough to restore: which disk, until when, what the VM wrote."""
    snapshot = a_tree(yard)
    before = {each.entry: each for each in entries(yard)}
    yard.sql("DELETE FROM storpool_ovirt.trash")
    assert len(looked(yard).rowless) == 3
    assert any("without a row" in line for line in trash_text.text(looked(yard)))
    assert len(yard.plan_of_rebuild().trash) == 3
    yard.rebuild()
    after = {each.entry: each for each in entries(yard)}
    assert after.keys() == before.keys()
    for entry, was in before.items():
        now = after[entry]
        same = ("disk", "node", "kind", "global_id", "size_bytes", "active", "ends_at")
        assert {key: getattr(now, key) for key in same} == {key: getattr(was, key) for key in same}
    assert len({each.deletion for each in after.values()}) == 1
    assert yard.report().findings == ()
    assert yard.plan_of_rebuild().trash == ()
    for uuid, into in ((DISK, BACK), (snapshot, OTHER)):
        yard.verb("create", into, GIB)
        restored(yard, uuid, into)


def test_what_goes_while_it_is_looked_at_is_not_told(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T83: a purge of just now has no lack of a row, though the lists had its snapshot still."""
    thrown(yard, DISK)
    listed = entry_rows.ids

    def listed_and_gone(*where: Any) -> dict[str, str]:
        found = listed(*where)
        yard.sql("DELETE FROM storpool_ovirt.trash")
        return found

    monkeypatch.setattr(entry_rows, "ids", listed_and_gone)
    found = looked(yard)
    assert (found.deletions, found.rowless) == ((), ())


def test_what_was_renamed_is_left_out_of_a_rebuild(yard: Yard) -> None:
    """T61: nobody knows as what it would be restored."""
    (entry,) = thrown(yard, DISK)
    yard.ask(f"SnapshotUpdate/~{entry.global_id}", {"rename": "mine"})
    yard.sql("DELETE FROM storpool_ovirt.trash")
    plan = yard.plan_of_rebuild()
    assert plan.trash == ()
    assert any("in the trash" in each for each in plan.left_out)


LEFT = {
    7 * 86400: "7 d",
    7 * 86400 - 5: "7 d",
    96 * 3600 - 5: "4 d",
    48 * 3600 - 5: "48 h",
    47.4 * 3600: "47 h",
    5401: "2 h",
    5399: "90 min",
    3600: "60 min",
    119: "2 min",
    80: "80 s",
}


def test_how_long_it_is_kept_is_told_to_the_nearest(yard: Yard) -> None:
    """T83: what has just been deleted is kept for as long as the domain says, and not for an hour
    less."""
    (entry,) = thrown(yard, DISK)
    found = looked(yard)
    for left, told in LEFT.items():
        seen = dataclasses.replace(found, now=entry.ends_at - left)
        assert f"(for {told})" in "\n".join(trash_text.text(seen))
