"""/etc/storpool.conf: read by the rules of StorPool's own reader (`storpool.spconfig.SPConfig` over `confget`).

That reader is not used itself because it drags in `confget` and `pyparsing`: half of the official binding's import
time, and cinderlib puts a false `pyparsing` in place on which `confget` dies.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from storpool_ovirt import errors, rights, text

FILE = "/etc/storpool.conf"
FOLDER = "/etc/storpool.conf.d"

# The official reader lets exactly these come from the environment (`storpool.spconfig.ENV_OVERRIDE`).
ENVIRONMENT_KEYS = ("SP_AUTH_TOKEN", "SP_API_HTTP_HOST", "SP_API_HTTP_PORT")

# What the names of Cinder's volumes begin with (os-brick's initiator/storpool_utils.py).
OPENSTACK_PREFIX_KEY = "SP_OPENSTACK_VOLUME_PREFIX"
OPENSTACK_PREFIX = "os"

CLIENT_ID_MAX = 4095  # `storpool.sptypes.ClientId`

# Where its two parsers differ, the one that StorPool uses (`ini`, by pyparsing) is followed: only the blank and the tab
# are blank, but at the end of a value and of a section's name all that `str.rstrip` takes off.
_SECTION = re.compile(r"\[[ \t]*([^ \t\]][^\]]*)\][ \t]*\Z")
_VARIABLE = re.compile(r"([^ \t\[#;=]+)[ \t]*=[ \t]*(.*)\Z", re.DOTALL)

# As many hosts as a cluster has clients, and some keys for each.
_MAX_BYTES = 4 << 20


def read(root: str = "", node: str | None = None, optional: bool = False, environment: bool = True) -> dict[str, str]:
    """Return the effective keys of storpool.conf for this host (`node`: another host's section).

    As `storpool.spconfig`: storpool.conf, then storpool.conf.d/*.conf sorted by name without hidden ones; per file
    the keys before any section, then the host's own section; the environment wins, unless it is
    somebody else's (`environment`).
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
    """Return the sections of one file ("" = before any section); raise ConfigError with the number of a bad line.

    As `confget`: a comment starts with # or ; at the beginning of a line, a \\ at its end continues it.  What confget
    refuses is refused, but for two things: the last line needs no end, and two backslashes in a row are two.
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
        elif head := _SECTION.match(rest):
            section = head.group(1).rstrip()
            sections.setdefault(section, {})
            continue
        elif variable := _VARIABLE.match(rest):
            name, rest = variable.groups()
            value = ""
        else:
            raise errors.ConfigError(f"line {number} of {path}", "is neither KEY=VALUE nor [host]", "correct it")
        continued = rest.endswith("\\")
        value += rest[:-1] if continued else rest.rstrip()
        if not continued:
            sections[section][name] = value
    if continued:
        raise errors.ConfigError(f"the last line of {path}", "ends with a backslash", "nothing continues it: remove it")
    return sections


def host_names(root: str = "") -> dict[int, str]:
    """Return the hosts' names by client id, as far as the sections of storpool.conf tell them; never raises."""
    try:
        sections = [parse(content, path) for path, content in _texts(root, optional=True)]
    except errors.ConfigError:
        return {}
    named = [(section, keys.get("SP_OURID", "")) for file in sections for section, keys in file.items() if section]
    found = [(text.number(our_id, 1, CLIENT_ID_MAX), section) for section, our_id in named]
    return {client_id: section for client_id, section in found if client_id is not None}


def openstack_prefix(keys: Mapping[str, str]) -> str:
    """Return what the names of Cinder's volumes begin with, by the effective keys of storpool.conf."""
    return keys.get(OPENSTACK_PREFIX_KEY) or OPENSTACK_PREFIX


def client_id(host: str, root: str = "") -> str | None:
    """Return `SP_OURID` of a host's own section, None when no section names it; raise ConfigError for a bad file.

    A value before all sections is nobody's: taken for a host that has no section it would name another one.
    """
    found = None
    for path, content in _texts(root, optional=False):
        found = parse(content, path).get(host or "?", {}).get("SP_OURID", found)
    return found


def _texts(root: str, optional: bool) -> list[tuple[str, str]]:
    folder = root + FOLDER
    try:
        dropped_in = sorted(name for name in os.listdir(folder) if name.endswith(".conf") and name[0] != ".")  # noqa: PTH208
    except OSError:
        dropped_in = []
    texts = []
    for path in (root + FILE, *(f"{folder}/{name}" for name in dropped_in)):
        try:
            texts.append((path, text.decoded(rights.read(path, _MAX_BYTES), path)))
        except FileNotFoundError:
            continue
        except OSError as error:
            if not optional:
                advice = f"make it readable for {_user()}"
                raise errors.ConfigError(path, f"cannot be read ({error.strerror})", advice) from error
        except errors.ConfigError:
            if not optional:
                raise
    return texts


def _user() -> str:
    import pwd

    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"the user with id {os.geteuid()}"
