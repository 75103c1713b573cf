"""policies.py: what an administrator has said of disks, VMs and domains."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from storpool_ovirt import config
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import database_url, journal, mapping, policies
from storpool_ovirt.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database

UUID, OTHER = (f"{digit}b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10" for digit in "12")
DOMAIN = config.Domain(config.Api("10.1.2.3", 81, Secret("1")), "nvme", 100.0)
KEY = "10.1.2.3:81 nvme"
SNAPSHOT = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"


@pytest.fixture
def there(database: Database) -> Iterator[mapping.Mapping]:
    """Open the mapping as the command does, and forget all that was said."""
    caller = journal.Caller("administrator", "policy")
    with mapping.opened(database_url.parse(database.url), Deadline(20), caller) as opened:
        opened.session.rows("DELETE FROM storpool_ovirt.policy")
        with contextlib.ExitStack() as left:
            left.callback(opened.session.rows, "DELETE FROM storpool_ovirt.policy")
            yield opened


@pytest.mark.parametrize("scope", policies.SCOPES)
def test_what_is_said_of_a_field_stays_until_it_is_cleared(
    there: mapping.Mapping, scope: str
) -> None:
    """The other field is untouched; an empty value is something that was said."""
    assert policies.of(there, scope, UUID) is None
    there.write(policies.set_to(scope, UUID, {"qos": "gold"}))
    there.write(policies.set_to(scope, UUID, {"vc": ""}))
    row = policies.of(there, scope, UUID)
    assert row == policies.Row(scope, UUID, "gold", "")
    assert [row.of("qos"), row.of("vc")] == ["gold", ""]
    there.write(policies.set_to(scope, UUID, {"qos": "silver"}))
    assert policies.of(there, scope, UUID) == policies.Row(scope, UUID, "silver", "")
    there.write(policies.cleared(scope, UUID, ["qos"]))
    assert policies.of(there, scope, UUID) == policies.Row(scope, UUID, None, "")
    assert policies.of(there, scope, OTHER) is None


@pytest.mark.parametrize("fields", [["qos", "vc"], ["vc", "qos"], ["qos"], ["vc"]])
def test_nothing_is_left_of_what_says_nothing(there: mapping.Mapping, fields: list[str]) -> None:
    """A row of which both fields are cleared is gone, at once or one after the other."""
    there.write(policies.set_to(policies.DISK, OTHER, {"qos": "gold", "vc": "daily"}))
    there.write(policies.set_to(policies.DISK, UUID, dict.fromkeys(fields, "x")))
    for field in fields:
        there.write(policies.cleared(policies.DISK, UUID, [field]))
    assert policies.of(there, policies.DISK, UUID) is None
    there.write(policies.cleared(policies.DISK, UUID))
    assert policies.all_of(there) == [policies.Row(policies.DISK, OTHER, "gold", "daily")]
    there.write(policies.cleared(policies.DISK, OTHER))
    assert policies.all_of(there) == []


def test_a_domains_word_is_read_with_the_lock_of_a_new_disk(there: mapping.Mapping) -> None:
    """One question; and another domain's is another's."""
    assert DOMAIN.key == KEY
    before = there.session.statements
    assert there.held_new(UUID, KEY) == []
    assert there.session.statements == before + 1
    there.write(policies.set_to(policies.DOMAIN, KEY, {"qos": "gold"}))
    there.write(policies.set_to(policies.DOMAIN, "another", {"qos": "iron"}))
    said = there.held_new(OTHER, KEY)
    assert policies.named(said, policies.DOMAIN) == policies.Row(policies.DOMAIN, KEY, "gold")
    assert policies.named(said, policies.DISK) is None


def test_what_was_said_of_a_source_is_read_with_its_row(there: mapping.Mapping) -> None:
    """One question: the disk that is cloned, also by one of its snapshots, and the domain."""
    there.session.rows("DELETE FROM storpool_ovirt.node")
    there.write(policies.set_to(policies.DOMAIN, KEY, {"qos": "gold"}))
    there.write(policies.set_to(policies.VM, UUID, {"qos": "another scope"}))
    disk = mapping.Node(UUID, "volume", UUID, None, 1 << 30, mapping.PLANNED, active=UUID)
    snapshot = mapping.Node(SNAPSHOT, "snapshot", UUID, UUID, 1 << 30, mapping.PLANNED)
    for node in (disk, snapshot):
        there.plan(node, {})
        there.complete(node.uuid, f"sim.a.{node.kind}")
    there.journal.delivered()
    there.write(policies.set_to(policies.DISK, UUID, {"vc": "no"}))  # a new disk has none
    found = [[policies.DISK, UUID, None, "no"], [policies.DOMAIN, KEY, "gold", None]]
    for uuid in (UUID, SNAPSHOT):
        node, said = there.held_source(uuid, OTHER, KEY)
        assert node is not None
        assert node.uuid == uuid
        assert sorted(said, key=str) == sorted(found, key=str)
    assert there.held_source(UUID, OTHER, "another")[1] == found[:1]
    assert there.held_source(OTHER, UUID, KEY) == (None, [])
    there.session.rows("DELETE FROM storpool_ovirt.node")
    there.session.rows("DELETE FROM storpool_ovirt.operation")


@pytest.mark.parametrize(
    ("options", "said", "found"),
    [
        ({}, None, {}),
        ({"qos_class": "gold", "vc_policy": "no"}, None, {"qos": "gold", "vc": "no"}),
        ({"qos_class": "gold"}, ("silver", "daily"), {"qos": "silver", "vc": "daily"}),
        ({"qos_class": "gold"}, (None, "daily"), {"qos": "gold", "vc": "daily"}),
        ({"qos_class": "gold", "vc_policy": "daily"}, ("", ""), {}),
        ({"qos_class": ""}, None, {}),
        ({"qos_class": "glod", "qos_classes": ("gold",)}, None, {}),
        ({"qos_class": "glod", "qos_classes": ("gold",)}, ("gold", None), {"qos": "gold"}),
    ],
)
def test_what_a_new_disk_gets(
    options: dict[str, object],
    said: tuple[str | None, str | None] | None,
    found: dict[str, str],
) -> None:
    """The administrator's word stands above the options; a class that there is not is not given."""
    domain = config.Domain(DOMAIN.api, "nvme", 100.0, **options)  # type: ignore[arg-type]
    row = None if said is None else policies.Row(policies.DOMAIN, KEY, *said)
    assert policies.defaults(domain, row) == found
