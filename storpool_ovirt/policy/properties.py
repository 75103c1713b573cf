"""The custom properties of a VM that say what its disks shall be.

    gold                                                     all of its disks
    gold,11111111-1111-4111-8111-111111111111:silver         this one otherwise
    ,11111111-1111-4111-8111-111111111111:silver             this one alone

VolumeCare ignores a VM whose disks have several policies, so of that a property says one, for all.

OpenNebula's add-on has a semicolon, which is taken too; Engine ends the property there
(CustomPropertiesUtils).

Whoever may edit a VM writes them, and Engine lets any text pass. So what makes no sense is no error
here: it is told, and nothing follows from it, as if nobody knew what was meant.
"""

from __future__ import annotations

from storpool_ovirt import errors, names, text
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.policy import values

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = {values.QOS: names.PROPERTY_QOS, values.VC: names.PROPERTY_VC}
CHARACTERS_MAX = 8192  # ours: enough for a hundred disks, each with a value of its own


class Property(NamedTuple):
    """What a VM's property says: of all disks, and of single ones by their ids."""

    every: str | None
    disks: tuple[tuple[str, str], ...] = ()

    def of(self, *uuids: str) -> str | None:
        """Return what it says of the disk that has one of these ids; None where it says nothing."""
        for uuid, value in self.disks:
            if uuid in uuids:
                return value
        return self.every

    def is_of(self, *uuids: str) -> bool:
        """Return whether it names the disk that has one of these ids."""
        return any(uuid in uuids for uuid, _ in self.disks)


ABSENT = Property(None)


def read(field: str, said: str | None, classes: Sequence[str] = ()) -> tuple[Property | None, str]:
    """Return what a VM's property says of this field, and what is wrong with it: ABSENT where
    there is none, None with a sentence where it makes no sense.

    `classes` are those that there are, where that is known.
    """
    if said is None or not text.stripped(said):
        return ABSENT, ""
    try:
        return _read(field, said, classes), ""
    except errors.InputError as error:
        return None, str(error)


def _read(field: str, said: str, classes: Sequence[str]) -> Property:
    if len(said) > CHARACTERS_MAX:
        raise _wrong(field, said, f"has more than {CHARACTERS_MAX} characters")
    first, *parts = map(text.stripped, said.replace(",", ";").split(";"))
    if names.UUID.fits(first.partition(":")[0].lower()):
        raise _wrong(field, said, "has no comma before its first disk")
    every = _value(field, said, first, classes) if first else None
    disks: dict[str, str] = {}
    for part in filter(None, parts):
        uuid, mark, value = part.partition(":")
        uuid = text.stripped(uuid).lower()
        if not mark or not names.UUID.fits(uuid):
            raise _wrong(field, said, f"has {names.shown(part)}, which is not DISK:VALUE")
        if uuid in disks:
            raise _wrong(field, said, f"names the disk {uuid} twice")
        disks[uuid] = _value(field, said, value, classes)
    if field == values.VC and any(each != every for each in disks.values()):
        why = "gives single disks a policy, and VolumeCare ignores a VM whose disks have several"
        raise _wrong(field, said, why)
    return Property(every, tuple(disks.items()))


def _value(field: str, said: str, value: str, classes: Sequence[str]) -> str:
    try:
        found = values.given(field, value)
    except errors.InputError as error:
        raise _wrong(field, said, f"has {names.shown(value)}, which {error.why}") from None
    fault = values.fault(field, found, classes)
    if fault:
        is_all = found == text.stripped(said)
        raise _wrong(field, said, fault if is_all else f"has {names.shown(found)}, which {fault}")
    return found


def _wrong(field: str, said: str, why: str) -> errors.InputError:
    what = f"the VM's property {NAME[field]} {names.shown(said)}"
    return errors.InputError(what, why, "nothing follows from it until it is corrected in oVirt")
