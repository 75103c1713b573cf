"""/etc/storpool.conf, read by the rules of StorPool's own reader.

That is `storpool.spconfig.SPConfig` over `confget`. It is not used itself because it drags in
`confget` and `pyparsing`: half of the official binding's import time, and cinderlib puts a false
`pyparsing` in place on which `confget` dies.
"""

from __future__ import annotations

import os

from storpool_ovirt import errors, names, presence, rights, text
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "/etc/storpool.conf"
FOLDER = "/etc/storpool.conf.d"

# Only these come from the environment (`storpool.spconfig.ENV_OVERRIDE`).
ENVIRONMENT_KEYS = ("SP_AUTH_TOKEN", "SP_API_HTTP_HOST", "SP_API_HTTP_PORT")

# What the names of Cinder's volumes begin with (os-brick's initiator/storpool_utils.py).
OPENSTACK_PREFIX_KEY = "SP_OPENSTACK_VOLUME_PREFIX"
OPENSTACK_PREFIX = "os"
# All of ours begin so.
OWN_PREFIX = "SP_OVIRT_"
# Of ours: no key of StorPool's own says that the clusters of a location have one name space.
MULTICLUSTER_KEY = "SP_OVIRT_MULTICLUSTER"
# Of ours too: which tag names the VM of a volume, the same on hosts and on Engine's machine.
VM_TAG_KEY = "SP_OVIRT_VM_TAG"
# And how all programs of this machine talk to StorPool, where they are not to choose themselves.
TRANSPORT_KEY = "SP_OVIRT_TRANSPORT"
# On Engine's machine: how long the trash keeps what a domain deletes whose options do not say it.
DELETE_DELAY_KEY = "SP_OVIRT_DELETE_DELAY"
SNAPSHOT_DELETE_DELAY_KEY = "SP_OVIRT_SNAPSHOT_DELETE_DELAY"
# And where a disk is copied before it is deleted.
BACKUP_KEY = "SP_OVIRT_BACKUP_ON_DELETE"
# And how long `backup expire` keeps copies, where nobody says it when it is run.
BACKUP_KEEP_KEY = "SP_OVIRT_BACKUP_KEEP"
# And its brakes: how many snapshots a disk may have, how many disks may be deleted a minute.
MAX_SNAPSHOTS_KEY = "SP_OVIRT_MAX_SNAPSHOTS"
MAX_DELETES_KEY = "SP_OVIRT_MAX_DELETES"
# And what new disks get: their QoS class, VolumeCare's policy, free tags, limits; and which classes
# there are, which hosts may know too.
QOS_CLASS_KEY = "SP_OVIRT_QOS_CLASS"
QOS_CLASSES_KEY = "SP_OVIRT_QOS_CLASSES"
VC_POLICY_KEY = "SP_OVIRT_VC_POLICY"
TAGS_KEY = "SP_OVIRT_TAGS"
IOPS_KEY = "SP_OVIRT_IOPS"
BANDWIDTH_KEY = "SP_OVIRT_BW"

# As many hosts as a cluster has clients, and some keys for each.
_MAX_BYTES = 4 << 20


def read(
    root: str = "", node: str | None = None, optional: bool = False, environment: bool = True
) -> dict[str, str]:
    """Return the effective keys of storpool.conf for this host (`node`: another host's section).

    As `storpool.spconfig` has it: storpool.conf, then storpool.conf.d/*.conf sorted by name without
    hidden ones; per file the keys before any section, then the host's own section. The environment
    wins, unless it is somebody else's (`environment`).
    """
    section = node or os.uname().nodename
    keys: dict[str, str] = {}
    for path, content in _texts(root, optional):
        file = parse(content, path)
        keys.update(file[""])
        keys.update(file.get(section, {}))
    if environment:
        keys.update({key: os.environ[key] for key in ENVIRONMENT_KEYS if key in os.environ})
    return keys


def parse(content: str, path: str) -> dict[str, dict[str, str]]:
    """Return the sections of one file; "" has what stands before any section.

    As `confget` has it: a comment starts with # or ; at the beginning of a line, a \\ at its end
    continues it. Where its two parsers differ, the one that StorPool uses (`ini`, by pyparsing) is
    followed: only the blank and the tab are blank, but at the end of a value and of a section's
    name all that `str.rstrip` takes off. What confget refuses is refused, but for two things: the
    last line needs no end, and two backslashes in a row are two. Raises ConfigError with the number
    of a bad line.
    """
    sections: dict[str, dict[str, str]] = {"": {}}
    section, name, value = "", "", ""
    continued = False
    for number, line in enumerate(text.lines(content), 1):
        rest = line.lstrip(text.BLANKS)
        if continued:
            value += line[: len(line) - len(rest)]
        elif not rest or rest[0] in "#;":
            continue
        elif (head := _section(rest)) is not None:
            section = head
            sections.setdefault(section, {})
            continue
        elif (found := _variable(rest)) is not None:
            name, rest = found
            value = ""
        else:
            raise errors.ConfigError(
                f"line {number} of {path}", "is neither KEY=VALUE nor [host]", "correct it"
            )
        continued = rest.endswith("\\")
        value += rest[:-1] if continued else rest.rstrip()
        if not continued:
            sections[section][name] = value
    if continued:
        raise errors.ConfigError(
            f"the last line of {path}", "ends with a backslash", "nothing continues it: remove it"
        )
    return sections


def _section(line: str) -> str | None:
    """Return the name in a line that begins a section; None for any other line."""
    line = line.rstrip(text.BLANKS)
    name = line[1:-1].lstrip(text.BLANKS)
    is_one = line[:1] == "[" and line[-1:] == "]" and name and "]" not in name
    return name.rstrip() if is_one else None


def _variable(line: str) -> tuple[str, str] | None:
    """Return the name and the value in a line that has them; None for any other line."""
    name, mark, value = line.partition("=")
    name = name.rstrip(text.BLANKS)
    is_one = mark and name and not any(each in name for each in " \t[#;")
    return (name, value.lstrip(text.BLANKS)) if is_one else None


def client_ids(root: str = "", optional: bool = False) -> dict[str, str]:
    """Return `SP_OURID`, as it is written, of each section of storpool.conf that has one.

    Later files win. A value before all sections is nobody's: taken for a host that has no section
    it would name another one. Raises ConfigError for a bad file; one that cannot be read is left
    out where it is `optional`.
    """
    return _our_ids(_sections(root, optional))


def section_of(client_id: int, ids: Mapping[str, str]) -> str | None:
    """Return the section, of those in `ids`, that is this client; None where no section is.

    `ids` is what `client_ids` returned. Raises ConfigError where two are: nobody knows then which
    host it is, and which one a name means.
    """
    sections = _sections_of(client_id, ids)
    if len(sections) > 1:
        raise errors.ConfigError(
            f"client {client_id}",
            f"is {len(sections)} hosts in {FILE}, {' and '.join(sections)}",
            "nobody can tell which one is meant; give each host its own SP_OURID, and remove what"
            " is no host's",
        )
    return sections[0] if sections else None


def host_names(root: str = "") -> dict[int, str]:
    """Return the hosts' names by client id, as far as storpool.conf has them, to be shown.

    Where two sections have one client id nobody knows which host it is: both names are its name.
    Never raises.
    """
    try:
        ids = client_ids(root, optional=True)
    except errors.ConfigError:
        return {}
    found = {names.client_id(our_id) for our_id in ids.values()}
    clients = sorted(client_id for client_id in found if client_id is not None)
    return {client_id: " or ".join(_sections_of(client_id, ids)) for client_id in clients}


def is_there(root: str = "") -> bool:
    """Return whether this machine has storpool.conf at all; raise Unseen where nobody knows."""
    return presence.there(root + FILE) or any(presence.listed(root + FOLDER))


def openstack_prefix(keys: Mapping[str, str]) -> str:
    """Return what the names of Cinder's volumes begin with, by storpool.conf's effective keys."""
    return keys.get(OPENSTACK_PREFIX_KEY) or OPENSTACK_PREFIX


def is_multicluster(keys: Mapping[str, str]) -> bool:
    """Return whether this host's cluster is one of several with one name space: our own key.

    Raises ConfigError for a value that is neither yes nor no: with a "no" that was meant as "yes" a
    start would not look for other clusters' hosts.
    """
    value = keys.get(MULTICLUSTER_KEY, "").strip()
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("", "0", "false", "no", "off"):
        return False
    raise errors.ConfigError(
        f"{MULTICLUSTER_KEY} in {FILE}",
        f"is neither yes nor no ({names.shown(value)})",
        "give 1 where several clusters form one name space, else 0",
    )


def client_id(host: str, root: str = "") -> str | None:
    """Return `SP_OURID` of a host's own section, None when no section names it.

    Raises ConfigError for a bad file, and where it is another section's of the same cluster too.
    """
    sections = _sections(root, optional=False)
    ids = _our_ids(sections)
    found = names.client_id(ids.get(host, ""))
    if found is not None:
        # Clients of two clusters have the same numbers
        clusters = {each: {**sections[""], **sections[each]}.get("SP_CLUSTER_ID") for each in ids}
        section_of(found, {each: ids[each] for each in ids if clusters[each] == clusters[host]})
    return ids.get(host)


def _sections(root: str, optional: bool) -> dict[str, dict[str, str]]:
    """Return the keys of each section as they are written; "" has those that stand before any."""
    found: dict[str, dict[str, str]] = {}
    for path, content in _texts(root, optional):
        for section, keys in parse(content, path).items():
            found.setdefault(section, {}).update(keys)
    return found


def _our_ids(sections: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        section: keys["SP_OURID"]
        for section, keys in sections.items()
        if section and "SP_OURID" in keys
    }


def _sections_of(client_id: int, ids: Mapping[str, str]) -> list[str]:
    return sorted(name for name, our_id in ids.items() if names.client_id(our_id) == client_id)


def _texts(root: str, optional: bool) -> list[tuple[str, str]]:
    texts = []
    for path in _paths(root, optional):
        try:
            content = _text(path)
        except errors.InputError:
            if not optional:
                raise
        else:
            texts += [(path, content)] if content is not None else []
    return texts


def _paths(root: str, optional: bool) -> list[str]:
    """Return the files that there may be.

    The folder's are there, but for one that goes at this moment.
    """
    folder = root + FOLDER
    try:
        listed = presence.listed(folder)
    except errors.Unseen as error:
        if not optional:
            raise errors.ConfigError(folder, error.why, _advice()) from (error.__cause__ or error)
        listed = []
    confs = [name for name in listed if name.endswith(".conf") and name[0] != "."]
    return [root + FILE, *(f"{folder}/{name}" for name in confs)]


def _text(path: str) -> str | None:
    """Return what is in a file, None where it is not there.

    Raises ConfigError where it cannot be read.
    """
    try:
        return text.decoded(rights.read(path, _MAX_BYTES), path)
    except FileNotFoundError as error:
        if presence.named(path):
            advice = "correct the link, or remove it"
            raise errors.ConfigError(path, "leads nowhere", advice) from error
        return None
    except OSError as error:
        raise errors.ConfigError(path, f"cannot be read ({error.strerror})", _advice()) from error


def _advice() -> str:
    """Return what to do about a file that cannot be read.

    It holds the token, so it is not to be opened to others.
    """
    return "run this as root" if os.geteuid() else "make it a file that root can read"


def user() -> str:
    """Return the words for the user that this process runs as."""
    import pwd

    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"the user with id {os.geteuid()}"
