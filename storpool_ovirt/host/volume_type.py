"""Which type a volume of ours has on this host: `storpool` wherever its Vdsm takes that, else
`local`.

Vdsm compares a volume's whole connection information with the row that it keeps, and refuses it
for ever when they differ (error 929). So the type on a host never changes while a row has another:

- From `local` to `storpool`, after an update of Vdsm, when no row of ours is `local` any more.
- From `storpool` to `local`, after a downgrade, at once, as this Vdsm takes nothing else. Rows that
  are left of the other type get the new one in their place. Nothing else of a row is changed: a
  VM that runs does not notice, and its disk is detached as before.

Vdsm's own words decide: SUPPORTED_DRIVERS in its storage/managedvolume.py. A file that is newer
than supervdsmd says nothing about the Vdsm that runs: then the rows do, or `local`, which every
Vdsm takes that takes any of ours. docs/releases.md has the cases.
"""

from __future__ import annotations

import os
import time

from storpool_ovirt import errors, names, processes, rights
from storpool_ovirt.host import vdsm_rows
from storpool_ovirt.light import TYPE_CHECKING
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence, Set
    from typing import Callable

DAEMON = "supervdsmd"
LIST = "SUPPORTED_DRIVERS"
# The stock helper, and a sudo or a shell, may stand between the daemon and this program.
ANCESTORS_MAX = 6
# The kernel tells a start in hundredths; a daemon loads nothing of Vdsm's in two of them.
ROUNDED = 0.02


def decide(
    root: str, vdsms_file: str, is_strict: Callable[[], bool], log: Log, busy_seconds: float
) -> str:
    """Return the type of volumes of ours that Engine shall know for this host,
    names.VOLUME_TYPE_NONE where Vdsm takes none.

    All rows of ours have this type then, where supervdsmd asks. `is_strict`: Vdsm would refuse the
    key, so Engine takes the host for `storpool`, whatever it takes. Never fails: what cannot be
    read is in the log, and the rest decides.
    """
    known = _drivers(vdsms_file, log)
    daemon = _daemon()
    rows: Sequence[vdsm_rows.Row] = ()
    if known is not None and not {*known} & {*names.VOLUME_TYPES}:
        found = names.VOLUME_TYPE_NONE
    else:
        read = _rows(root, log, busy_seconds)
        rows = read or ()
        is_newer = known is not None and daemon is not None and _is_newer(vdsms_file, daemon)
        found = of(known, None if read is None else {row.volume_type for row in rows}, is_newer)
    if found != names.VOLUME_TYPE and is_strict():
        # Vdsm would refuse its own capabilities, and the host would be of no use for anything.
        log.line("volume_type_not_told", type=found, reason="api_strict_mode is on in vdsm.conf")
        found = names.VOLUME_TYPE
    if daemon is not None:  # a person who tries it must not change what Engine was told
        _convert(root, [row for row in rows if row.volume_type != found], found, log, busy_seconds)
    return found


def of(known: Sequence[str] | None, in_rows: Set[str | None] | None, is_newer: bool) -> str:
    """Return the type, by the types that Vdsm's file names and those that rows of ours have; of
    both, None is what nobody knows.

    `is_newer`: that file is of another Vdsm, perhaps, than the one that runs.
    """
    if known is None or is_newer:
        return names.VOLUME_TYPE if in_rows == {names.VOLUME_TYPE} else names.VOLUME_TYPE_LOCAL
    if names.VOLUME_TYPE_LOCAL not in known:
        return names.VOLUME_TYPE
    if names.VOLUME_TYPE in known and in_rows not in (None, {names.VOLUME_TYPE_LOCAL}):
        return names.VOLUME_TYPE
    return names.VOLUME_TYPE_LOCAL


def _drivers(vdsms_file: str, log: Log) -> Sequence[str] | None:
    import ast

    try:
        tree = ast.parse(rights.read(vdsms_file))
        lists = [
            ast.literal_eval(each.value)
            for each in tree.body
            if isinstance(each, ast.Assign)
            and any(isinstance(one, ast.Name) and one.id == LIST for one in each.targets)
        ]
        return [str(each) for each in lists[-1]]
    except Exception as error:  # whatever a later Vdsm has there
        log.line("vdsms_drivers_unknown", file=vdsms_file, reason=error)
        return None


def _rows(root: str, log: Log, busy_seconds: float) -> list[vdsm_rows.Row] | None:
    try:
        return [row for row in vdsm_rows.read(root, busy_seconds) if row.volume_type]
    except errors.Error as error:
        log.line("volume_type_without_rows", reason=error)
        return None


def _convert(
    root: str, rows: Sequence[vdsm_rows.Row], volume_type: str, log: Log, busy_seconds: float
) -> None:
    if not rows:
        return
    reason: object = "it has changed meanwhile, or cannot be written again as it is"
    try:
        done = vdsm_rows.convert(root, rows, volume_type, busy_seconds)
    except errors.Error as error:
        done, reason = [], error
    for row in rows:
        facts = {"volume": row.vol_id, "before": row.volume_type, "type": volume_type}
        if row in done:
            log.line("row_converted", **facts)
        else:
            log.line("row_keeps_its_type", **facts, reason=reason)


def _daemon() -> int | None:
    """Return the process id of the supervdsmd that started this program, None where another did."""
    process = os.getppid()
    for _ in range(ANCESTORS_MAX):
        found = processes.told(process) if process > 1 else None
        if found is None:
            break
        words = processes.words(process)[:3]
        if any(os.path.basename(word).startswith(DAEMON) for word in words):
            return process
        process = found.parent
    return None


def _is_newer(path: str, process: int) -> bool:
    """Return whether a file was put there after a process began; when nobody knows it was.

    Its modification time is that of the package's build, so the time of its change counts.
    """
    found = processes.told(process)
    if found is None:
        return True
    try:
        changed = os.stat(path).st_ctime
    except OSError:
        return True
    return time.time() - changed < found.age_seconds() - ROUNDED
