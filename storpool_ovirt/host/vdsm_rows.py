"""What Vdsm keeps on this host for each managed volume: a row in its database, a udev rule, a run
link.

Rows and rules outlive a reboot, run links do not: a link that leads to a device says that Vdsm
attached the volume since this host was started. Where they are and what they look like is Vdsm's
(oVirt's vdsm, managedvolumedb.py, managedvolume.py, supervdsm_api/udev.py). Nothing here is
changed but what is named by one volume of ours.
"""

from __future__ import annotations

import json
import os
import stat

from storpool_ovirt import errors, names
from storpool_ovirt.host import run_links, vdsm_database
from storpool_ovirt.light import TYPE_CHECKING, dataclass, suppress
from storpool_ovirt.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

DATABASE = vdsm_database.FILE
RULES_FOLDER = "/etc/udev/rules.d"
RULE_PREFIX = "99-vdsm-managed_"
RULE_SUFFIX = ".rules"


@dataclass(frozen=True)
class Row:
    """One row of Vdsm's database, as stored.

    `ours`: it was attached through StorPool. `global_id` is None where it has none, or two.
    `volume_type` is the type under which Vdsm knows a volume of our adapter: one of
    names.VOLUME_TYPES, None for any other and for all that came another way.
    """

    stored: tuple[bytes | None, ...]
    vol_id: str
    ours: bool
    global_id: str | None
    is_snapshot: bool
    volume_type: str | None

    def mentions(self, text: str) -> bool:
        """Return whether this text is anywhere in the row."""
        return any(text.encode() in value for value in self.stored if value is not None)


def read(root: str, busy_seconds: float = LIMITS.busy_seconds) -> list[Row]:
    """Return all rows; none where Vdsm has no database.

    Whoever holds it is waited for, `busy_seconds` at most.

    Raises InputError where it cannot be read.
    """
    return [_row(stored) for stored in vdsm_database.rows(root, busy_seconds)]


def forget(root: str, row: Row, busy_seconds: float = LIMITS.busy_seconds) -> None:
    """Remove the link, the rule and then the row of a volume; a row that has changed since it was
    read stays.

    The row is the last to go: as long as it is there a repetition finds the rest. Raises
    InputError.
    """
    try:
        _remove(root + names.RUN_FOLDER, row.vol_id, "", "", stat.S_ISLNK)
        _remove(root + RULES_FOLDER, row.vol_id, RULE_PREFIX, RULE_SUFFIX, stat.S_ISREG)
    except OSError as error:
        raise errors.InputError(
            f"the run link or the udev rule of volume {row.vol_id}",
            f"cannot be removed ({error.strerror})",
        ) from error
    vdsm_database.remove(root, row.stored, busy_seconds)


def convert(
    root: str, rows: Sequence[Row], volume_type: str, busy_seconds: float = LIMITS.busy_seconds
) -> list[Row]:
    """Have Vdsm know volumes of our adapter under another type, all in one transaction; return the
    rows that were changed.

    A row that has changed since it was read stays as it is, and so does one that cannot be written
    again as it is but for the type. Nothing else of a row changes, and Vdsm may be running: it
    reads the type when it attaches the volume again, to compare it, and goes by the adapter (or our
    os_brick does) when it detaches it. Raises InputError, and no row is changed then.
    """
    new = [(row, info) for row in rows if (info := _retyped(row, volume_type)) is not None]
    if not new:
        return []
    done = vdsm_database.redescribe(root, [(row.stored, info) for row, info in new], busy_seconds)
    return [row for (row, _), is_done in zip(new, done) if is_done]


def _row(stored: tuple[bytes | None, ...]) -> Row:
    vol_id, path, connection_info, _ = ((value or b"").decode(errors="replace") for value in stored)
    info = _parsed(connection_info)
    data = _object(info.get("data"))
    on_path = names.global_id_of(path)
    adapted = info.get(names.ADAPTER_KEY) == names.ADAPTER
    driver_type = info.get("driver_volume_type")
    told = data.get("global_id") if adapted else None
    named = {
        each for each in (told, on_path) if isinstance(each, str) and names.GLOBAL_ID.fits(each)
    }
    return Row(
        stored=stored,
        vol_id=vol_id,
        ours=bool(vol_id)
        and (adapted or (driver_type == names.VOLUME_TYPE and on_path is not None)),
        global_id=named.pop() if len(named) == 1 else None,
        is_snapshot=adapted and data.get("access_mode") == "ro",
        volume_type=driver_type if adapted and driver_type in names.VOLUME_TYPES else None,
    )


def _retyped(row: Row, volume_type: str) -> bytes | None:
    """Return a row's connection_info with another type; None for one that is not of our adapter, or
    where not all of the rest would be as Vdsm reads it now."""
    if row.volume_type is None:
        return None
    try:
        info = {**json.loads((row.stored[2] or b"").decode()), "driver_volume_type": volume_type}
        text = json.dumps(info)
        return text.encode() if json.loads(text) == info else None
    except (ValueError, TypeError, RecursionError):
        return None


def _parsed(text: str) -> dict[str, Any]:
    try:
        return _object(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _remove(path: str, vol_id: str, prefix: str, suffix: str, is_kind: Any) -> None:
    with run_links.folder_of(path) as folder:
        for name in run_links.names_in(folder, vol_id, prefix, suffix):
            with suppress(FileNotFoundError):
                if is_kind(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=folder)
