"""/etc/storpool.conf: read by the rules of StorPool's own reader (`storpool.spconfig.SPConfig` over `confget`).

That reader is not used itself because it drags in `confget` and `pyparsing`: half of the official binding's import
time, and cinderlib puts a false `pyparsing` in place on which `confget` dies.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from storpool_ovirt import errors

FILE = "/etc/storpool.conf"
FOLDER = "/etc/storpool.conf.d"

# The official reader lets exactly these come from the environment (`storpool.spconfig.ENV_OVERRIDE`).
ENVIRONMENT_KEYS = ("SP_AUTH_TOKEN", "SP_API_HTTP_HOST", "SP_API_HTTP_PORT")

# What the names of Cinder's volumes begin with (os-brick's initiator/storpool_utils.py).
OPENSTACK_PREFIX_KEY = "SP_OPENSTACK_VOLUME_PREFIX"
OPENSTACK_PREFIX = "os"

_SECTION = re.compile(r"\s*\[\s*([^\]]+?)\s*\]\s*\Z")
_VARIABLE = re.compile(r"\s*([^\s=]+)\s*=\s*(.*?)(\s*)(\\?)\Z")


def read(root: str = "", node: str | None = None, optional: bool = False, environment: bool = True) -> dict[str, str]:
    """Return the effective keys of storpool.conf for this host (`node`: another host's section).

    As `storpool.spconfig`: storpool.conf, then storpool.conf.d/*.conf sorted by name without hidden ones; per file
    the keys before any section, then the host's own section; the environment wins, unless it is
    somebody else's (`environment`).
    """
    section = node or os.uname().nodename
    keys: dict[str, str] = {}
    for path, text in _texts(root, optional):
        file = parse(text, path)
        keys.update(file[""])
        keys.update(file.get(section, {}))
    if environment:
        keys.update({key: os.environ[key] for key in ENVIRONMENT_KEYS if key in os.environ})
    return keys


def parse(text: str, path: str) -> dict[str, dict[str, str]]:
    """Return the sections of one file ("" = before any section); raise ConfigError with the number of a bad line.

    As `confget`: a comment starts with # or ; at the beginning of a line, a \\ at its end continues it.
    """
    sections: dict[str, dict[str, str]] = {"": {}}
    section, name, value = "", "", ""
    continued = False
    for number, line in enumerate(text.splitlines(), 1):
        if continued:
            continued = line.endswith("\\")
            value += line[:-1] if continued else line.rstrip()
            if not continued:
                sections[section][name] = value
            continue
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        head = _SECTION.match(line)
        if head:
            section = head.group(1)
            sections.setdefault(section, {})
            continue
        variable = _VARIABLE.match(line)
        if not variable:
            raise errors.ConfigError(f"line {number} of {path}", "is neither KEY=VALUE nor [host]", "correct it")
        name, value, blanks, continuation = variable.groups()
        continued = bool(continuation)
        if continued:
            value += blanks
        else:
            sections[section][name] = value
    if continued:
        raise errors.ConfigError(f"the last line of {path}", "ends with a backslash", "nothing continues it: remove it")
    return sections


def host_names(root: str = "") -> dict[int, str]:
    """Return the hosts' names by client id, as far as the sections of storpool.conf tell them; never raises."""
    try:
        sections = [parse(text, path) for path, text in _texts(root, optional=True)]
    except errors.ConfigError:
        return {}
    return {
        int(keys["SP_OURID"]): section
        for file in sections
        for section, keys in file.items()
        if section and keys.get("SP_OURID", "").isascii() and keys.get("SP_OURID", "").isdigit()
    }


def openstack_prefix(keys: Mapping[str, str]) -> str:
    """Return what the names of Cinder's volumes begin with, by the effective keys of storpool.conf."""
    return keys.get(OPENSTACK_PREFIX_KEY) or OPENSTACK_PREFIX


def client_id(host: str, root: str = "") -> str | None:
    """Return `SP_OURID` of a host's own section, None when no section names it; raise ConfigError for a bad file.

    A value before all sections is nobody's: taken for a host that has no section it would name another one.
    """
    found = None
    for path, text in _texts(root, optional=False):
        found = parse(text, path).get(host or "?", {}).get("SP_OURID", found)
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
            with open(path, encoding="utf-8") as file:  # noqa: PTH123  pathlib is an import that the hot path can spare
                texts.append((path, file.read()))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            if optional:
                continue
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise errors.ConfigError(path, f"cannot be read ({why})", f"make it readable for {_user()}") from error
    return texts


def _user() -> str:
    import pwd

    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"the user with id {os.geteuid()}"
