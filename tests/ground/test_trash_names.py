"""trash_names.py: the name and the tags of what is in the trash."""

from __future__ import annotations

import pytest

from storpool_ovirt import names, trash_names

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"


def test_what_is_in_the_trash_has_its_own_name() -> None:
    """T83: the id of its entry is in it, and no name of ours is that of an object in use."""
    name = trash_names.name(ID)
    assert trash_names.entry_of(name) == ID
    assert names.uuid_of(name) is None
    assert names.named_id(name) is None
    assert trash_names.entry_of(names.object_name(ID)) is None
    assert trash_names.entry_of("ovirt-trash--x") is None


@pytest.mark.parametrize("kind", [(False, False), (True, False), (True, True)])
def test_the_mark_of_the_trash_tells_what_a_lost_row_does_not(kind: tuple[bool, bool]) -> None:
    """T83: until when it is kept, whether it was a volume, and the one that its VM wrote."""
    mark = trash_names.mark(1_900_000_000, is_volume=kind[0], is_active=kind[1])
    assert trash_names.mark_of({trash_names.TAG: mark}) == (1_900_000_000, *kind)


@pytest.mark.parametrize("mark", ["", ".a", "x", "1.b", "-1", "1.5", "99999999999", "1.a.v"])
def test_what_is_no_mark_of_the_trash_tells_nothing(mark: str) -> None:
    """T83: whoever changed it by hand has it as something that we did not put there."""
    assert trash_names.mark_of({trash_names.TAG: mark}) is None


def test_the_tags_of_the_trash_fit_beside_its_name() -> None:
    """T83, T5: the owner's are all there, the disk's id in its short form; of the others those that
    fit, and none of them in another one's place."""
    disk = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"
    owner = names.tags(ID, "0123abcd", disk)
    name = trash_names.name(ID)
    others = {"x": "y" * 60, "qc": "gold", "virt": "cs", "ovirt-trash": "1"}
    found = trash_names.tags(name, owner, "1900000000.a", others)
    assert names.differing({**owner, "ovirt-trash": "1900000000.a", "qc": "gold"}, found) == []
    assert "x" not in found
    names.check_length(name, found)
