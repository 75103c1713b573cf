"""Where Engine keeps its mapping database, and its own: engine-setup writes it below
/etc/ovirt-engine/engine.conf.d.

The keys are those of oVirt's engine-setup (MANAGEDBLOCK_DB_*, CINDERLIB_DB_* up to 4.5.7;
ENGINE_DB_* for its own). The files are read as Engine itself reads them (ovirt-engine's
ShellLikeConfd.java and packaging/pythonlib/ovirt_engine/configfile.py): its defaults, engine.conf,
then engine.conf.d/*.conf by name, a later value wins. A line is `KEY=value`: double quotes keep
blanks and #, a backslash takes the meaning from what follows it, `${KEY}` is what was read for that
key so far, or nothing. Single quotes have no meaning.
"""

from __future__ import annotations

import os

from storpool_ovirt import errors, presence, rights, text
from storpool_ovirt.engine import database_url

DEFAULTS = "/usr/share/ovirt-engine/services/ovirt-engine/ovirt-engine.conf"
FILE = "/etc/ovirt-engine/engine.conf"
FOLDER = f"{FILE}.d"
LATER_PREFIX, RELEASED_PREFIX = "MANAGEDBLOCK_DB_", "CINDERLIB_DB_"
OWN_PREFIX = "ENGINE_DB_"
ENABLE = "ENABLE"
KEYS = ("HOST", "PORT", "USER", "PASSWORD", "DATABASE")

_BLANKS = " \t\n\r\f\v"  # Java's \\s


def database(root: str = "") -> database_url.Database:
    """Return where Engine's mapping database is; raise ConfigError where nothing says it, or
    it may not be read.

    Where there are keys of both kinds, those count that the Engine of this machine reads: an
    upgrade moves the old ones away at its end, a way back leaves the new ones.
    """
    prefixes = (LATER_PREFIX, RELEASED_PREFIX)
    return _written(
        root,
        prefixes[::-1] if is_released(root) else prefixes,
        "the mapping database",
        "run this on Engine's machine, or give --database",
    )


def own_database(root: str = "") -> database_url.Database:
    """Return where Engine's own database is; raise ConfigError where nothing says it, or it may
    not be read."""
    return _written(root, (OWN_PREFIX,), "Engine's own database", "this is not Engine's machine")


def tells_own_database(root: str = "") -> bool:
    """Return whether Engine's files say anything of its own database; raise ConfigError where they
    may not be read."""
    return any(key.startswith(OWN_PREFIX) for key in values(root))


def is_enabled(root: str = "") -> bool:
    """Return whether Engine takes managed block storage for set up; raise ConfigError where its
    files may not be read.

    It looks at its own key alone, once, when it starts (ManagedBlockStorageDomainValidator.java).
    """
    prefix = RELEASED_PREFIX if is_released(root) else LATER_PREFIX
    return values(root).get(prefix + ENABLE, "").lower() == "true"


def is_released(root: str = "") -> bool:
    """Return whether the Engine of this machine is one up to 4.5.7, with a cinderlib client."""
    from storpool_ovirt.engine import client_file

    return presence.named(f"{root}{client_file.FOLDER}/{client_file.OF_THE_SAME_PACKAGE}")


def _written(root: str, prefixes: tuple[str, ...], what: str, advice: str) -> database_url.Database:
    """Return the database of the first of these prefixes that Engine's files have."""
    keys = values(root)
    for prefix in prefixes:
        if prefix + "HOST" in keys:
            return _database(prefix, keys, root + FOLDER)
    raise errors.ConfigError(what, f"is not told in {root}{FOLDER}", advice)


def values(root: str = "") -> dict[str, str]:
    """Return all that Engine's files say, as Engine reads them; there are passwords among it.

    Raises ConfigError for a file that may not be read, or with which Engine would not start.
    """
    keys: dict[str, str] = {}
    for path in _paths(root):
        try:
            data = rights.read(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise errors.ConfigError(
                path, f"cannot be read ({error.strerror})", "run this as root or as the user ovirt"
            ) from error
        _add(keys, text.decoded(data, path, damaged=True), path)
    return keys


def _paths(root: str) -> list[str]:
    folder = root + FOLDER
    try:
        found = sorted(name for name in os.listdir(folder) if name.endswith(".conf"))
    except FileNotFoundError:
        found = []
    except OSError as error:
        raise errors.ConfigError(
            folder, f"cannot be read ({error.strerror})", "run this as root or as the user ovirt"
        ) from error
    return [root + DEFAULTS, root + FILE, *(f"{folder}/{name}" for name in found)]


def _database(prefix: str, keys: dict[str, str], folder: str) -> database_url.Database:
    for key in KEYS:
        if not keys.get(prefix + key):
            raise errors.ConfigError(
                prefix + key, f"is missing in {folder}", "was engine-setup interrupted?"
            )
        if "\ufffd" in keys[prefix + key]:
            raise errors.ConfigError(
                prefix + key, f"is not UTF-8 in {folder}", "save that file as UTF-8"
            )
    host, port, user, password, name = (keys[prefix + key] for key in KEYS)
    try:
        return database_url.parse(f"postgresql://{user}:{password}@{host}:{port}/{name}")
    except errors.InputError as error:
        wrong = prefix + ("PORT" if text.port(port) is None else "HOST, _USER or _DATABASE")
        raise errors.ConfigError(
            wrong, f"has a wrong value in {folder}", "correct it, or give --database"
        ) from error


def _add(keys: dict[str, str], content: str, path: str) -> None:
    """Add what a file says; raise ConfigError for a line with which Engine would not start
    either."""
    for number, line in enumerate(text.lines(content), 1):
        key, equals, written = line.lstrip(_BLANKS).partition("=")
        if key.startswith("#") or not (key or equals):
            continue
        value = _expanded(written, keys) if equals and _is_key(key) else None
        if value is None:  # the line is not shown: it may hold a password
            raise errors.ConfigError(
                f"line {number} of {path}",
                "is not KEY=value as Engine reads it",
                "correct it, or give --database",
            )
        keys[key] = value


def _is_key(text: str) -> bool:
    return text.isascii() and text.replace("_", "a").isalnum()


def _expanded(value: str, keys: dict[str, str]) -> str | None:
    """Return what a value means, None where it has a `$` that begins no variable."""
    parts: list[str] = []
    quoted, position = False, 0
    while position < len(value):
        each = value[position]
        position += 1
        if each == "\\":
            parts.append(value[position : position + 1])
            position += 1
        elif each == "$":
            end = value.find("}", position)
            if not value.startswith("{", position) or end < 0:
                return None
            parts.append(keys.get(value[position + 1 : end], ""))
            position = end + 1
        elif each == '"':
            quoted = not quoted
        elif each in " #" and not quoted:
            break
        else:
            parts.append(each)
    return "".join(parts)
