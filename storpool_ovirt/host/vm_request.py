"""What the hook asks the door for: one moment of a VM, in one line of JSON.

    {"disks":[{"global_id":"...","path":"/run/vdsm/...","serial":"<uuid>" or null,
               "shareable":false}],
     "point":"before_vm_start","properties":{"sp_qos":"gold"},"vm":"<uuid>" or "-"}

The hook writes it as user vdsm, the door reads it as root: `read` takes nothing on trust. It has
limits for all that can be long, a pattern for each text, these keys and no others, each once, and
no numbers at all. `properties` is there only where the VM has one of those that we know.
"""

from __future__ import annotations

from storpool_ovirt import documents, errors, names
from storpool_ovirt.host import device_paths, domain_xml
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Pairs = Sequence["tuple[str, domain_xml.Disk]"]

# More than any VM has: libvirt's controllers could hold more disks, oVirt's cannot.
DISKS_MAX = 1024
PATH_MAX_CHARACTERS = 256  # a run link has about 105
GLOBAL_ID_MAX_CHARACTERS = 64  # StorPool's have about a dozen
BYTES_MAX = 4 << 20  # all of these at once, with characters that JSON writes in twelve bytes
NO_VM = "-"
# The custom properties of a VM that are ours. What they say is read where it is followed
# (`policy/properties.py`), which takes no longer ones.
PROPERTIES = (names.PROPERTY_QOS, names.PROPERTY_VC)
PROPERTY_MAX_CHARACTERS = 8192

_WHAT = "the request to root"
_ADVICE = "only storpool-vm-hook makes such requests"


class Request(NamedTuple):
    """A point of Vdsm's, the VM's id, its StorPool disks, each with its global id, and those of its
    properties that are ours, by their names.

    The id is NO_VM where it is not known.
    """

    point: str
    vm: str
    disks: Pairs
    properties: Mapping[str, str] = {}


def properties(environment: Mapping[str, str]) -> dict[str, str]:
    """Return those of a VM's properties that are ours, of a hook's environment.

    One that the door would not take is there as a text that makes no sense either: it refuses no
    start.
    """
    found = {name: environment.get(name, "") for name in PROPERTIES}
    return {
        name: said if _is_property(said) else names.shown(said)
        for name, said in found.items()
        if said
    }


def write(request: Request) -> bytes:
    """Return the request as the door reads it.

    A serial that is no UUID is left out: it is compared with ids of oVirt's only.
    """
    disks = [
        {
            "global_id": global_id,
            "path": disk.path,
            "shareable": disk.shareable,
            "serial": disk.serial if disk.serial and names.UUID.fits(disk.serial) else None,
        }
        for global_id, disk in request.disks
    ]
    vm = request.vm if names.UUID.fits(request.vm) else NO_VM
    fields: dict[str, object] = {"point": request.point, "vm": vm, "disks": disks}
    if request.properties:
        fields["properties"] = dict(request.properties)
    return documents.compact(fields).encode() + b"\n"


def read(data: bytes, points: Sequence[str]) -> Request:
    """Return the request in `data`, which may be anything; raise InputError naming the first thing
    that is wrong."""
    document = _document(data)
    has_properties = isinstance(document, dict) and "properties" in document
    keys = ("disks", "point", *(("properties",) if has_properties else ()), "vm")
    fields = _object(document, keys, "the document")
    point, vm, disks = fields["point"], fields["vm"], fields["disks"]
    if not (isinstance(point, str) and point in points):
        raise _bad("point", "is not one of Vdsm's points at which something is done")
    if not (isinstance(vm, str) and (vm == NO_VM or names.UUID.fits(vm))):
        raise _bad("vm", "is not a UUID")
    if not (isinstance(disks, list) and 0 < len(disks) <= DISKS_MAX):
        raise _bad("disks", f"is not a list of 1 to {DISKS_MAX} disks")
    return Request(
        point, vm, [_disk(each) for each in disks], _properties(fields.get("properties", {}))
    )


def _document(data: bytes) -> object:
    if len(data) > BYTES_MAX:
        raise _bad("the document", f"has more than {BYTES_MAX} bytes")
    if data.find(b"\n") != len(data) - 1 or not data:
        raise _bad("the document", "is not one whole line")
    try:
        return documents.without_numbers(data.decode("ascii"))
    except (ValueError, RecursionError):
        raise _bad("the document", "is not the JSON that is made for it") from None


def _object(value: object, keys: Sequence[str], what: str) -> dict[str, Any]:
    if not (isinstance(value, dict) and sorted(value) == list(keys)):
        raise _bad(what, f"does not have exactly the keys {', '.join(keys)}")
    return value


def _disk(value: object) -> tuple[str, domain_xml.Disk]:
    fields = _object(value, ("global_id", "path", "serial", "shareable"), "a disk")
    global_id, path, serial, shareable = (fields[key] for key in sorted(fields))
    if not (_is_text(global_id, GLOBAL_ID_MAX_CHARACTERS) and names.GLOBAL_ID.fits(global_id)):
        raise _bad("global_id", "is not a global id of StorPool's")
    # `isprintable` knows no control characters, no line breaks of Unicode's and no halves of
    # characters.
    if not (
        _is_text(path, PATH_MAX_CHARACTERS)
        and path.isprintable()
        and device_paths.may_be_ours(path)
    ):
        raise _bad("path", "is not the path of a device or of a managed volume's link")
    if not (serial is None or (isinstance(serial, str) and names.UUID.fits(serial))):
        raise _bad("serial", "is neither a UUID nor null")
    if not isinstance(shareable, bool):
        raise _bad("shareable", "is neither true nor false")
    return global_id, domain_xml.Disk(path, serial, shareable)


def _properties(value: object) -> dict[str, str]:
    if not (isinstance(value, dict) and set(value) <= {*PROPERTIES}):
        raise _bad("properties", f"has others than {', '.join(PROPERTIES)}")
    if not all(map(_is_property, value.values())):
        raise _bad("properties", "has one that is no text, or not one line of it")
    return value


def _is_property(value: object) -> bool:
    return (
        isinstance(value, str) and _is_text(value, PROPERTY_MAX_CHARACTERS) and value.isprintable()
    )


def _is_text(value: object, limit: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= limit


def _bad(what: str, why: str) -> errors.InputError:
    return errors.InputError(
        f"{what} in {_WHAT}" if " " not in what else f"{what} of {_WHAT}", why, _ADVICE
    )
