"""Where Engine keeps its mapping database: engine-setup writes it below /etc/ovirt-engine/engine.conf.d.

The keys are those of oVirt's engine-setup (MANAGEDBLOCK_DB_*; CINDERLIB_DB_* up to 4.5.7).  The files are
`KEY="value"` with `:` and `\\` escaped by a backslash; a later file wins.
"""

from __future__ import annotations

import re
from pathlib import Path

from storpool_ovirt import config, errors

FOLDER = "/etc/ovirt-engine/engine.conf.d"
PREFIXES = ("MANAGEDBLOCK_DB_", "CINDERLIB_DB_")
KEYS = ("HOST", "PORT", "USER", "PASSWORD", "DATABASE")

_LINE = re.compile(r"\s*([A-Z_]+)=(.*?)\s*\Z")


def database(root: str = "") -> config.Database:
    """Return where Engine's mapping database is; raise ConfigError when it is not told, or may not be read."""
    folder = root + FOLDER
    keys: dict[str, str] = {}
    for path in sorted(Path(folder).glob("*.conf")):
        try:
            keys.update(_parsed(path.read_text(encoding="utf-8", errors="replace")))
        except OSError as error:
            raise errors.ConfigError(
                str(path), f"cannot be read ({error.strerror})", "run this as root or as the user ovirt"
            ) from error
    for prefix in PREFIXES:
        if prefix + "HOST" in keys:
            return _database(prefix, keys, folder)
    raise errors.ConfigError(
        "the mapping database", f"is not told in {folder}", "run this on Engine's machine, or give --database"
    )


def _database(prefix: str, keys: dict[str, str], folder: str) -> config.Database:
    for key in KEYS:
        if not keys.get(prefix + key):
            raise errors.ConfigError(prefix + key, f"is missing in {folder}", "was engine-setup interrupted?")
    host, port, user, password, name = (keys[prefix + key] for key in KEYS)
    try:
        return config.parse_database_url(f"postgresql://{user}:{password}@{host}:{port}/{name}")
    except errors.InputError as error:
        wrong = prefix + ("PORT" if not port.isdigit() else "HOST, _USER or _DATABASE")
        raise errors.ConfigError(wrong, f"has a wrong value in {folder}", "correct it, or give --database") from error


def _parsed(text: str) -> dict[str, str]:
    matches = (_LINE.match(line) for line in text.splitlines())
    return {match[1]: _unquoted(match[2]) for match in matches if match}


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return re.sub(r"\\(.)", r"\1", value)
