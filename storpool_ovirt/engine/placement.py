"""Where volumes go in a domain without a template: whether StorPool makes any there at all.

Newer clusters have a default placement, others refuse, and no question tells which. So where no
disk proves it, a volume is made and deleted again, by the verbs themselves: what is left of it when
they die is put right like any disk.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.engine import tree
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable

# uuid.NAMESPACE_OID
_NAMESPACE_OID = bytes.fromhex("6ba7b8129dad11d180b400c04fd430c8")


def check(work: tree.Work, create: Callable[[str], None], delete: Callable[[str], None]) -> None:
    """Raise ConfigError when every create would be refused for want of a template.

    `create` and `delete` are the verbs, for an empty disk of this id. That there is no room now,
    or that somebody has the name, is no such refusal.
    """
    uuid = _uuid(work.mapping.location)
    if work.mapping.node(uuid) is not None:
        _clear(work, uuid, delete)
    if work.domain.template is not None or _is_proved(work, uuid):
        return
    try:
        create(uuid)
    except errors.Rejected as error:
        raise errors.ConfigError(
            "driver option sp_template",
            f"is missing, and StorPool makes no volume without it here ({error.descr})",
            "give the name of a template",
        ) from error
    except (errors.NoSpace, errors.Conflict):
        return
    work.mapping.journal.delivered()  # to us: nobody else waits for it
    delete(uuid)


def _clear(work: tree.Work, uuid: str, delete: Callable[[str], None]) -> None:
    """Delete the volume of an earlier check that died, or whose delete was refused; Engine does not
    know of it.

    A delete that is refused again fails nothing: the next check tries it again.
    """
    try:
        delete(uuid)
    except (*tree.REFUSALS, errors.WrongCluster, errors.Locked) as error:
        work.log.line("probe_left", volume=uuid, reason=error)
    else:
        work.mapping.journal.delivered()


def _is_proved(work: tree.Work, probe: str) -> bool:
    """Return whether the newest disk that was made empty, not counting our own `probe`, is in no
    template."""
    newest = work.mapping.newest_empty(besides=probe)
    if newest is None:
        return False
    try:
        return not work.client.volume(names.address(tree.global_id(newest))).template
    except errors.NotFound:
        return False


def _uuid(location: str) -> str:
    """Return an id that is this Engine's, always the same: a repetition finds what is left of the
    last one.

    It is a UUID made of a name (RFC 9562, version 5), without Python's module, which loads long.
    """
    digest = _sha1(_NAMESPACE_OID + f"storpool-ovirt placement {location}".encode())
    return names.made_uuid(digest[:16], version=5)


def _sha1(data: bytes) -> bytes:
    """Return the SHA-1 of what is no secret, by Python's own, which loads at once; not every
    distribution has it."""
    try:
        from _sha1 import sha1  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha1
    digest: bytes = sha1(data, usedforsecurity=False).digest()
    return digest
