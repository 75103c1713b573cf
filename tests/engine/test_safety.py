"""safety.py: what is written over is in the trash first, with a date that was read back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rigs.yard import DISK, HOUR
from storpool_ovirt import errors, names
from storpool_ovirt.engine import safety, trash, tree

if TYPE_CHECKING:
    from rigs.yard import Yard

pytestmark = pytest.mark.usefixtures("a_disk")


@pytest.fixture
def written(yard: Yard) -> Yard:
    """Give a disk with data."""
    data = yard.verb("connection", DISK)["data"]
    device = os.open(yard.folder / "host1" / yard.attach(1, data).lstrip("/"), os.O_RDWR)
    try:
        os.pwrite(device, b"x" * 4096, 0)
    finally:
        os.close(device)
    yard.detach(1, data)
    return yard


def test_a_copy_is_in_the_trash_with_a_date(written: Yard) -> None:
    """T83: as long as the domain keeps what is deleted; the disk goes on without a date."""
    written.given(delete_delay_seconds=int(HOUR))
    with written.administrator() as work:
        copy = safety.taken(work, tree.known(work, DISK))
        [entry] = trash.entries(work.mapping)
        assert copy is not None
        now = work.client.snapshot(names.address(copy.global_id))
    assert (entry.global_id, entry.disk, entry.node, entry.kind) == (
        copy.global_id,
        DISK,
        DISK,
        "volume",
    )
    assert entry.ends_at == now.goes_at
    assert abs(now.goes_at - now.created_at - HOUR) <= 1
    assert now.name == names.trash_name(entry.entry)
    mark = names.trash_mark_of(now.tags)
    assert mark is not None
    assert mark[1:] == (True, True)
    [volume] = written.ask(f"Volume/ovirt--{DISK}")
    assert "targetDeleteDate" not in volume or not volume["targetDeleteDate"]


def test_a_domain_without_a_trash_keeps_it_for_two_days(written: Yard) -> None:
    """It is nothing that an option turns off."""
    with written.administrator() as work:
        copy = safety.taken(work, tree.known(work, DISK))
    assert copy is not None
    assert abs(copy.goes_at - copy.created_at - 48 * HOUR) <= 1


def test_an_empty_volume_needs_none(yard: Yard) -> None:
    """There is nothing to lose."""
    with yard.administrator() as work:
        assert safety.taken(work, tree.known(work, DISK)) is None
        assert trash.entries(work.mapping) == []


def test_what_another_owner_has_is_not_copied(written: Yard) -> None:
    """T76."""
    written.ask(f"VolumeUpdate/ovirt--{DISK}", {"tags": {"virt": "one"}})
    with written.administrator() as work, pytest.raises(errors.Foreign):
        safety.taken(work, tree.known(work, DISK))
