"""Ids, names, tags and device paths: built and parsed here and nowhere else.

A StorPool object is addressed by `~<globalId>` once that is known. Its name is only the key that
makes a create repeatable; its tags say who owns it. Patterns and limits are those of the official
binding (`storpool.sptypes`: VolumeName, GlobalVolumeId, VolumeTagName, VolumeTagValue). The limit
of name and tags together is StorPool's knowledge base ("the name of a volume including tags cannot
exceed 200 bytes").
"""

from __future__ import annotations

import os

from storpool_ovirt import errors, sentences, text
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

UUID = text.Shape(text.DIGITS + "abcdef", (8, 8), (4, 4), (4, 4), (4, 4), (12, 12), mark="-")
# Each part is a number in base 36; none of StorPool's has more than a dozen digits.
GLOBAL_ID = text.Shape(text.LOWER + text.DIGITS, (1, 20), (1, 20), (1, 20), mark=".")
CLUSTER_ID = text.Shape(text.LOWER + text.DIGITS, (1, 20), (1, 20), mark=".")
TEMPLATE = text.Shape(text.LETTERS + text.DIGITS + "_-", (1, 199))
LOCATION = text.Shape(text.LETTERS + text.DIGITS + "_-.", (1, 63))
CLIENT_ID_MAX = 4095  # `storpool.sptypes.ClientId`
HOST_MAX = 253  # gethostname(2) gives 64 characters, a whole name of the DNS has so many
NIL_UUID = "00000000-0000-0000-0000-000000000000"
_OTHER_UUID = "ffffffff-ffff-ffff-ffff-ffffffffffff"

NAME_PREFIX = "ovirt--"
NAME_AND_TAGS_MAX_BYTES = 200

TAG_PLATFORM = "virt"
PLATFORM = "ovirt"
TAG_UUID = "ovirt-uuid"
TAG_LOCATION = "ovirt-loc"
TAG_ROOT = "ovirt-root"
_SHORT_CHARACTERS = 22  # of an id: 16 bytes in base64url
# Several VMs may have this volume at once; without it nobody knows. `check_length` counts its 12
# bytes: a disk's own volume then uses 127 of 199 (a clone's some 20 more), a preview's 173. With
# its VM in place of that mark a disk's own uses 154, a preview's 186: the disk's id is short then.
TAG_SHARED = "ovirt-share"
SHARED = "1"
# What a disk was cloned from (a global id). By it a clone whose answer was lost is not taken for an
# empty disk of that id.
TAG_SOURCE = "ovirt-src"
# One value for the snapshots that were made together, by which people and a rebuild know the group.
TAG_MOMENT = "ovirt-moment"
# The VM that has a volume, by the id that oVirt prints: the key that StorPool's plug-in for
# CloudStack has for it. `sp_vm_tag` and SP_OVIRT_VM_TAG give another one.
TAG_VM = "cvm"
VM_TAG = text.Shape(text.LETTERS + text.DIGITS + "_-.:", (1, 199))
TAG_QOS_CLASS = "qc"  # read by StorPool's storpool_qos service
TAG_POLICY = "vc-policy"  # read by StorPool's VolumeCare
# Who gave a disk its values of these two, where it has them not of its own (`policy/marks.py`). The
# key is short, as a preview's volume has 27 bytes for all three beside its VM; and it begins as the
# platform's, as such tags go to no other disk. A volume that has the longer key keeps that.
MARK_KEYS = TAG_MARK, TAG_MARK_LONG = "virtp", "ovirt-pol"
POLICY_VALUE = text.Shape(text.LETTERS + text.DIGITS + "_-.:", (1, 64))
# These are the Cinder driver's: what a volume was made from, so that a repeated create never takes
# another volume for its own, and one value for the snapshots that one copy of a group is made from.
TAG_CINDER_SOURCE = "cinder-source"
TAG_CINDER_MOMENT = "cinder-moment"
_OUR_TAGS = ("ovirt-", "cinder-")

# The driver option, and the key of a volume's description, by which Engine and Vdsm choose a
# vendor's programs, and ours (oVirt's ManagedBlockExecutor.java, managedvolume.py).
ADAPTER_KEY = "adapter"
ADAPTER = "storpool"
# The key of what `storage_stats` answers, beside what Engine reads, where a disk of the domain
# could not be copied before its delete: what is wrong with its location.
BACKUP_FAULT = "backup_fault"
# What new disks of a domain get by an administrator's word, in place of what its options say.
POLICY_DEFAULT = "policy_default"

# As what `connect_volume` describes a volume of ours: Vdsm takes the types that it was made for.
VOLUME_TYPE = "storpool"
# Vdsm 4.50.5.1 to 4.50.7 have no `storpool`; `local` they take, and master too, which goes by the
# adapter (oVirt's vdsm, managedvolume.py).
VOLUME_TYPE_LOCAL = "local"
VOLUME_TYPES = (VOLUME_TYPE, VOLUME_TYPE_LOCAL)
# What a host adds to its connector_info where its Vdsm does not take `storpool`: one of our types,
# or that it takes neither. A host that says nothing takes `storpool`.
VOLUME_TYPE_KEY = "storpool_volume_type"
VOLUME_TYPE_NONE = "none"

# A VM's custom properties that say what its disks shall be; hooks have them in their environment.
PROPERTY_QOS, PROPERTY_VC = "sp_qos", "sp_vc_policy"
DEVICE_FOLDER = "/dev/storpool-byid"
# What other integrations of StorPool tag their volumes with, beside `virt`: CloudStack's plugin,
# StorPool's CSI driver, OpenNebula's add-on, the plugin for Proxmox VE.
_OTHERS_TAGS = {
    "cs": "CloudStack",
    "csi_name": "Kubernetes",
    "nloc": "OpenNebula",
    "pve-loc": "Proxmox VE",
}
# Where Vdsm keeps a link `<storage domain>_<volume>` for each managed volume (oVirt's vdsm,
# managedvolume.py).
RUN_FOLDER = "/run/vdsm/managedvolumes"


def uuid(given: str, what: str) -> str:
    """Return `given` as one of oVirt's ids: a UUID, lower case, with hyphens.

    Raises InputError naming `what`.
    """
    lowered = given.lower()
    if not UUID.fits(lowered):
        raise errors.InputError(
            what, f"is not a UUID ({shown(given)})", "give the id as oVirt prints it"
        )
    if lowered == NIL_UUID:
        # Engine stores this one where a create_snapshot gave no answer (java: Guid.Empty). It never
        # names an object.
        raise errors.InputError(what, "is the empty UUID", "no object has this id")
    return lowered


def made_uuid(data: bytes, version: int) -> str:
    """Return the UUID of this version (RFC 9562) that is made of 16 bytes.

    Python's own module does the same, and loads 6 ms of others.
    """
    number = bytearray(data)
    number[6] = number[6] & 0x0F | version << 4
    number[8] = number[8] & 0x3F | 0x80
    digits = number.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def random_uuid() -> str:
    """Return a random UUID."""
    return made_uuid(os.urandom(16), version=4)


def client_id(given: object) -> int | None:
    """Return the client id that a number, or a text of digits, is; None for anything else."""
    if isinstance(given, str):
        return text.number(given, 1, CLIENT_ID_MAX)
    if not isinstance(given, int) or given is True:  # which would be client 1
        return None
    return given if 0 < given <= CLIENT_ID_MAX else None


def clients(client_ids: Iterable[int]) -> str:
    """Return clients as a sentence names them."""
    return ", ".join(f"client {client_id}" for client_id in sorted(client_ids)) or "no client"


def disks(uuids: Sequence[str]) -> str:
    """Return disks as a sentence names them."""
    return f"disk {uuids[0]}" if len(uuids) == 1 else f"disks {', '.join(uuids)}"


def host_of(connector: object) -> str | None:
    """Return the host's name in what it reported to Engine, None when there is none.

    It reported what os-brick's `get_connector_properties` gives.
    """
    host = connector.get("host") if isinstance(connector, dict) else None
    if not isinstance(host, str) or not 0 < len(host) <= HOST_MAX or host[0] == "-":
        return None
    # Of any script: the kernel takes what an administrator sets.
    return host if host.isprintable() and " " not in host else None


def volume_type_of(connector: object) -> str:
    """Return as which `driver_volume_type` a host's Vdsm takes volumes of ours.

    `connector` is what the host reported to Engine. Raises InputError for a host that takes none,
    and for one that asks for a type that is not known here: its storpool-ovirt is newer than ours.
    """
    said = connector.get(VOLUME_TYPE_KEY) if isinstance(connector, dict) else None
    if said in (*VOLUME_TYPES, None):
        return said or VOLUME_TYPE
    host = f"host {host_of(connector)}" if host_of(connector) else "the host"
    if said == VOLUME_TYPE_NONE:
        raise errors.InputError(
            host, "has a Vdsm that takes no volume of StorPool's", "update it to 4.50.5.1 or newer"
        )
    raise errors.InputError(
        host,
        f"asks for volumes of the unknown type {shown(str(said))}",
        "update storpool-ovirt on Engine's machine",
    )


def object_name(uuid: str) -> str:
    """Return the StorPool name of the object that oVirt knows as `uuid`."""
    return f"{NAME_PREFIX}{uuid}"


def cinder_name(uuid: str, openstack_prefix: str) -> str:
    """Return the name that the Cinder driver, ours or upstream's, gives the volume of this id."""
    return f"{openstack_prefix}--volume-{uuid}"


def cinder_id_of(name: str) -> str | None:
    """Return the id in a name that `cinder_name` made, with whatever prefix; None for any other."""
    head, _, uuid = name.rpartition("--volume-")
    return uuid if head and UUID.fits(uuid) else None


def uuid_of(name: str) -> str | None:
    """Return the id in a name that `object_name` made; None for any other name."""
    uuid = name[len(NAME_PREFIX) :]
    return uuid if name.startswith(NAME_PREFIX) and UUID.fits(uuid) else None


def tags(uuid: str, location: str, root: str) -> dict[str, str]:
    """Return the complete tags of an object of ours.

    They have the platform, its own id, Engine's location, and the disk it belongs to (`root`). The
    root is tagged only where it differs from the object itself; it is there so that a mapping that
    is lost can be made anew.
    """
    owner = {TAG_PLATFORM: PLATFORM, TAG_UUID: uuid, TAG_LOCATION: location}
    return owner if root == uuid else {**owner, TAG_ROOT: root}


def free_tag_fault(key: str, value: str) -> str:
    """Return what is wrong with a tag that an option gives to disks; "" where it can be given."""
    if key in _OTHERS_TAGS:  # a disk with it would be theirs
        return f"is one of {_OTHERS_TAGS[key]}'s"
    return copy_tag_fault(key, value)


def copy_tag_fault(key: str, value: str) -> str:
    """Return what is wrong with a tag that an option gives to copies; "" where it can be given."""
    if not VM_TAG.fits(key) or not VM_TAG.fits(value):
        return "is none: letters, digits, and any of _ - . : are, like del=y"
    if key == TAG_VM or _has_meaning(key):
        return "has another meaning"
    return ""


def root_of(tags: Mapping[str, str]) -> str:
    """Return the id of the disk that the tags name; "" where they name none, which is so on a
    disk's own volume.

    The tag has the id as oVirt prints it, or, where that did not fit, in its short form. What is
    neither is returned as it is: it is nobody's id.
    """
    return long_uuid(tags.get(TAG_ROOT, ""))


def long_uuid(value: str) -> str:
    """Return an id as oVirt prints it, of the value of a tag that may have it in 22 characters of
    base64url; what is anything else as it is."""
    if len(value) != _SHORT_CHARACTERS:
        return value
    import binascii  # who has no such tag does not pay for it

    try:
        digits = binascii.a2b_base64(value.replace("-", "+").replace("_", "/") + "==").hex()
    except ValueError:
        return value
    found = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    # One id has one short form: others would name the same object by another text.
    return found if short_uuid(found) == value else value


def short_uuid(uuid: str) -> str:
    """Return an id in 22 characters of base64url, for a tag that has no room for more."""
    import binascii  # as above

    coded = binascii.b2a_base64(bytes.fromhex(uuid.replace("-", "")), newline=False).decode()
    return coded.rstrip("=").replace("+", "-").replace("/", "_")


def with_long_uuid(tags: dict[str, str]) -> dict[str, str]:
    """Return the tags of an object with its own id as oVirt prints it: all that reads tags knows
    that form alone."""
    short = tags.get(TAG_UUID, "")
    return {**tags, TAG_UUID: long_uuid(short)} if len(short) == _SHORT_CHARACTERS else tags


def differing(wanted: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return the keys of those wanted tags that an object has not, or with another value; an id may
    have either form."""
    return [
        key
        for key, value in wanted.items()
        if (
            long_uuid(there.get(key, "")) != long_uuid(value)
            if key in (TAG_ROOT, TAG_UUID)
            else there.get(key) != value
        )
    ]


def fitted(name: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Return these tags as they fit beside the name: where StorPool would not take them, with the
    disk that they name in its short form, and where that is not enough, with their object's own id
    in that form too.

    Raises InputError when they do not fit then either. An empty value takes a tag away; its key
    counts all the same, as StorPool may keep it.
    """
    found = _shortened(name, tags)
    check_length(name, found)
    return found


def has_room(name: str, tags: Mapping[str, str]) -> bool:
    """Return whether StorPool takes a name with these tags as `fitted` has them."""
    return fits(name, _shortened(name, tags))


def _shortened(name: str, tags: Mapping[str, str]) -> dict[str, str]:
    found = dict(tags)
    for key in (TAG_ROOT, TAG_UUID):
        if not fits(name, found) and UUID.fits(found.get(key, "")):
            found[key] = short_uuid(found[key])
    return found


def fits(name: str, tags: Mapping[str, str]) -> bool:
    """Return whether StorPool takes a name with these tags."""
    return _length(name, tags) < NAME_AND_TAGS_MAX_BYTES


def _length(name: str, tags: Mapping[str, str]) -> int:
    pairs = (f"{key}{value}" for key, value in tags.items())
    return sum(len(each.encode()) for each in (name, *pairs))


def vm_tag_fault(key: str) -> tuple[str, str] | None:
    """Return what is wrong with a key for the tag of a volume's VM, and what to do; None where it
    can be used.

    It must not be one that means something already, and must leave a preview's volume, which has
    the longest tags of ours, below StorPool's limit.
    """
    if not VM_TAG.fits(key):
        return "is no key of a tag", "give letters, digits, and any of _ - . :"
    if _has_meaning(key):
        return "is a tag that has another meaning", f"give another key, or none for {TAG_VM}"
    preview = {**tags(NIL_UUID, "0" * 8, _OTHER_UUID), TAG_ROOT: "r" * _SHORT_CHARACTERS}
    room = NAME_AND_TAGS_MAX_BYTES - 1 - _length(object_name(NIL_UUID), preview)
    longest = room - len(NIL_UUID)
    if len(key) > longest:
        return (
            "leaves no room for the VM on the volume of a preview",
            f"StorPool takes {NAME_AND_TAGS_MAX_BYTES - 1} bytes of name and tags: give a key of"
            f" at most {longest} characters",
        )
    return None


def _has_meaning(key: str) -> bool:
    """Return whether a tag's key is one of ours, or of a service's, so that no option may give it
    another meaning."""
    ours = (TAG_PLATFORM, TAG_QOS_CLASS, TAG_POLICY, TAG_MARK)
    return key in ours or key.startswith(_OUR_TAGS)


def mark_key(tags: Mapping[str, str]) -> str:
    """Return the key by which a volume with these tags says, or is to say, who gave it its
    values."""
    is_long = TAG_MARK not in tags and TAG_MARK_LONG in tags
    return TAG_MARK_LONG if is_long else TAG_MARK


def mark(tags: Mapping[str, str]) -> str:
    """Return what a volume with these tags says of who gave it its values; "" for nothing."""
    return tags.get(mark_key(tags), "")


def has_policy(tags: Mapping[str, str]) -> bool:
    """Return whether a volume with these tags has anything of a policy."""
    return bool(tags.get(TAG_QOS_CLASS) or tags.get(TAG_POLICY) or mark(tags))


def other_platform(tags: Mapping[str, str], vm_key: str) -> tuple[str, str] | None:
    """Return which other platform uses an object by its tags, and the tag that says so; None where
    none does. `vm_key` is the tag of ours that names its VM, and says nothing."""
    for key, platform in _OTHERS_TAGS.items():
        if tags.get(key) and key != vm_key:
            return platform, f"{key}={shown(tags[key])}"
    return None


def vm_of(tags: Mapping[str, str], key: str) -> str:
    """Return the VM that a volume's tag `key` names; "" where it names none, and for a disk that
    several VMs may have."""
    vm = tags.get(key, "")
    return vm if UUID.fits(vm) and not is_shared(tags) else ""


def check_length(name: str, tags: Mapping[str, str]) -> None:
    """Raise InputError when name and tags together are longer than StorPool takes."""
    length = _length(name, tags)
    if length >= NAME_AND_TAGS_MAX_BYTES:
        raise errors.InputError(
            f"the name {name} with its tags",
            f"has {length} bytes",
            f"StorPool takes {NAME_AND_TAGS_MAX_BYTES - 1}",
        )


def is_ours(tags: Mapping[str, str], uuid: str, location: str) -> bool:
    """Return whether an object was made for `uuid` by the Engine of this location.

    For no id nothing was made.
    """
    tagged = long_uuid(tags.get(TAG_UUID, ""))
    owner = (tags.get(TAG_PLATFORM), tagged, tags.get(TAG_LOCATION))
    return bool(uuid) and owner == (PLATFORM, uuid, location)


def named_id(name: str) -> str | None:
    """Return the id in a name that we, or a Cinder driver with any prefix, gave; else None."""
    _, mark, uuid = name.rpartition("--volume-")
    return uuid if mark and UUID.fits(uuid) else uuid_of(name)


def owner_marks(name: str, tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return what shows whose an object is, to be compared with what it was.

    An empty tag is none.
    """
    owner = (tags.get(key, "") for key in (TAG_PLATFORM, TAG_LOCATION))
    return (name, *owner, long_uuid(tags.get(TAG_UUID, "")), root_of(tags))


def ovirt_id(name: str, tags: Mapping[str, str], openstack_prefix: str) -> str | None:
    """Return the id under which oVirt knows an object, whichever Engine has it.

    It is None for one that is not oVirt's. The tags have it. Where they got lost (a revert by hand
    takes them; an empty one is none), and for volumes of the Cinder driver, ours or upstream's, the
    name has it (os-brick's initiator/storpool_utils.py).
    """
    if is_foreign(tags):
        return None
    if tags.get(TAG_UUID):
        return tags[TAG_UUID] if UUID.fits(tags[TAG_UUID]) else None
    head, _, uuid = name.rpartition("--volume-")
    return uuid if head == openstack_prefix and UUID.fits(uuid) else uuid_of(name)


def is_foreign(tags: Mapping[str, str]) -> bool:
    """Return whether the tags say that an object is another orchestrator's."""
    return tags.get(TAG_PLATFORM, "") not in ("", PLATFORM)


def is_own_mark(name: str, tags: Mapping[str, str]) -> bool:
    """Return whether a tag or a name that only we give says that an object is oVirt's."""
    return not is_foreign(tags) and (bool(tags.get(TAG_UUID)) or uuid_of(name) is not None)


def is_shared(tags: Mapping[str, str]) -> bool:
    """Return whether the tags say that oVirt has a disk as shareable.

    Where they do not say it, nobody knows.
    """
    return tags.get(TAG_SHARED) == SHARED


def address(global_id: str) -> str:
    """Return how the API addresses an object by its global id.

    The rule is `storpool.sptypes.VolumeNameOrGlobalId`.
    """
    return f"~{global_id}"


def kept_id(name: str | None) -> str | None:
    """Return the global id in the name that StorPool gives an unnamed volume at a revert, `~old`.

    It is None for any other name. An unnamed one is listed so too, with the id that it has. Nobody
    else can give such a name (`storpool.sptypes.VolumeName`).
    """
    global_id = (name or "")[1:]
    return global_id if name == address(global_id) and GLOBAL_ID.fits(global_id) else None


def cluster_of(global_id: str) -> str:
    """Return the cluster part of a global id: `bgu4.n` of `bgu4.n.a1z`."""
    return global_id.rsplit(".", 1)[0]


def device_path(global_id: str) -> str:
    """Return the path of the device node's link, the same on every host."""
    return f"{DEVICE_FOLDER}/{global_id}"


def global_id_of(path: str, root: str = "") -> str | None:
    """Return the global id in a path that `device_path` made, None for any other path.

    The host's root may stand before it. A path that leads to the same device by another name is
    another path.
    """
    folder, _, global_id = path.rpartition("/")
    is_node = folder in (DEVICE_FOLDER, root + DEVICE_FOLDER) and GLOBAL_ID.fits(global_id)
    return global_id if is_node else None


def shown(given: str, limit: int = 60) -> str:
    """Return foreign text fit for one line of an error: quoted, bounded, escaped.

    Escaped is what is not seen.
    """
    # The first characters are enough: a text may have millions.
    printable = sentences.visible(given[: limit + 1].replace("\\", "\\\\"))
    return f'"{printable[:limit]}{sentences.CUT}"' if len(printable) > limit else f'"{printable}"'
