"""What an administrator has said of disks, of VMs and of domains (`storpool-ovirt policy`), as our
table has it: his will, by which tags that got lost are written again.

Domains share these tables; they are told apart by `config.Domain.key`. What a verb needs of it, it
reads in a question that it asks anyway (`Mapping.held_new`, `Mapping.held_source`).
"""

from __future__ import annotations

from storpool_ovirt.engine.changes import Change, Part
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.policy import values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storpool_ovirt import config
    from storpool_ovirt.engine import mapping

DISK, VM, DOMAIN = SCOPES = ("disk", "vm", "domain")
_SELECT = "SELECT scope, id, qos, vc FROM storpool_ovirt.policy"


class Row(NamedTuple):
    """What was said of one disk, VM or domain: of each field a value, "" for none, or None."""

    scope: str
    id: str
    qos: str | None = None
    vc: str | None = None

    def of(self, field: str) -> str | None:
        """Return what it says of a field."""
        return self.qos if field == values.QOS else self.vc

    def __str__(self) -> str:
        said = ((tag, self.of(field)) for field, tag in values.TAG.items())
        return ", ".join(f"{tag} {value or 'none'}" for tag, value in said if value is not None)


def of(where: mapping.Mapping, scope: str, uuid: str) -> Row | None:
    """Return what was said of one; None where nothing was."""
    rows = where.session.rows(f"{_SELECT} WHERE scope = %s AND id = %s", scope, uuid)
    return next((Row(*row) for row in rows), None)


def named(rows: Sequence[Sequence[str | None]], scope: str) -> Row | None:
    """Return what was said of the one of this scope among what a verb has read."""
    return next((Row(*row) for row in rows if row[0] == scope), None)  # type: ignore[arg-type]


def all_of(where: mapping.Mapping) -> list[Row]:
    """Return all that was said."""
    return [Row(*row) for row in where.session.rows(f"{_SELECT} ORDER BY scope, id")]


def set_to(scope: str, uuid: str, said: Mapping[str, str]) -> Change:
    """Return the change: this is said of these fields, and of others what was said before."""
    qos, vc = (said.get(field) for field in values.FIELDS)
    return Change(
        """
        INSERT INTO storpool_ovirt.policy AS policy (scope, id, qos, vc) VALUES (%s, %s, %s, %s)
        ON CONFLICT (scope, id) DO UPDATE SET
            qos = coalesce(excluded.qos, policy.qos), vc = coalesce(excluded.vc, policy.vc),
            changed_at = clock_timestamp()
        """,
        (scope, uuid, qos, vc),
    )


def cleared(scope: str, uuid: str, fields: Sequence[str] = values.FIELDS) -> Change:
    """Return the change: nothing is said of these fields any more."""
    others = [field for field in values.FIELDS if field not in fields]
    if not others:
        return Change(
            "DELETE FROM storpool_ovirt.policy WHERE scope = %s AND id = %s", (scope, uuid)
        )
    # What says nothing of either field has no row: of two fields one is left at most
    gone, kept = ("vc", "qos") if others == [values.QOS] else ("qos", "vc")
    nothing = f"DELETE FROM storpool_ovirt.policy WHERE scope = %s AND id = %s AND {kept} IS NULL"
    return Change(
        f"""
        UPDATE storpool_ovirt.policy SET {gone} = NULL, changed_at = clock_timestamp()
        WHERE scope = %s AND id = %s AND {kept} IS NOT NULL
        """,
        (scope, uuid),
    ).after(Part("emptied", nothing, (scope, uuid)))


def defaults(domain: config.Domain, row: Row | None) -> dict[str, str]:
    """Return what a new disk of a domain gets, by field: what an administrator has said of it
    stands above its options."""
    found = {}
    for field, option in ((values.QOS, domain.qos_class), (values.VC, domain.vc_policy)):
        said = row.of(field) if row is not None else None
        value = option if said is None else said
        if value and not values.fault(field, value, domain.qos_classes):
            found[field] = value
    return found
