"""storpool-host-in-use: whether volumes of StorPool's are attached to this host for oVirt.

    storpool-host-in-use

The package storpool-ovirt-host runs it as root before it is erased, as without its programs nothing
here could detach them: a device would stay, and no other host would get its disk. It goes by the
rows of Vdsm's database of managed volumes: one of ours that has a device here is an attached
volume, and so is one to whose device a run link of Vdsm's leads. A device without either is not
looked at, as without StorPool's API nobody can tell whether it is oVirt's or other software's:
"storpool-ovirt attachments" tells. It changes nothing, and writes no log.

The exit code is 0 when none is attached, without a word. It is 1, with one sentence on stderr, when
there are some, when that cannot be seen, and for a wrong use.
"""

from __future__ import annotations

import sys

from storpool_ovirt import config, errors, names, presence, program, sentences
from storpool_ovirt.host import run_links, vdsm_rows
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "storpool-host-in-use"
ALL_THE_SAME = "to erase it all the same: rpm -e --nopreun storpool-ovirt-host"


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 when no volume of ours is attached here, else 1 with the reason on stderr."""
    arguments = list(sys.argv if argv is None else argv)
    if program.is_asked_who_it_is(arguments):
        from storpool_ovirt import introduction

        return introduction.given(PROGRAM, arguments[1], __doc__, [])
    answer = program.Answer(None)
    try:
        reason = _reason(arguments, config.root())
    except (errors.Error, OSError) as error:
        reason = (
            "whether volumes of StorPool's are attached to this host cannot be seen:"
            f" {getattr(error, 'strerror', None) or error} ({ALL_THE_SAME})"
        )
    if not reason:
        return 0
    answer.give(sentences.fit(f"{PROGRAM}: {reason}"), error=True)
    return 1


def attached(root: str) -> list[str]:
    """Return the ids of the volumes of ours that Vdsm has attached here and that have a device.

    A row without a device is an old one, and of no harm. A run link to a device that no row has
    (Vdsm's database is gone) is told by the device. Raises InputError or Unseen when that cannot be
    seen.
    """
    rows = [row for row in vdsm_rows.read(root) if row.ours]
    known = {row.global_id for row in rows}
    others = sorted(each for each in run_links.linked(root) if each not in known)
    return [
        *(row.vol_id for row in rows if _has_device(root, row)),
        *map(names.device_path, others),
    ]


def refusal(found: Sequence[str]) -> errors.Conflict:
    """Return the error for whoever would take our programs from a host with these attached:
    nothing could detach them any more."""
    return errors.Conflict(
        f"{sentences.counted(len(found), 'volume')} of StorPool's",
        f"{'is' if len(found) == 1 else 'are'} attached to this host, the first is disk {found[0]}",
        "put the host into maintenance first",
    )


def _has_device(root: str, row: vdsm_rows.Row) -> bool:
    if row.global_id is not None and presence.there(root + names.device_path(row.global_id)):
        return True
    return run_links.is_live(root, row.vol_id)


def _reason(arguments: Sequence[str], root: str) -> str:
    if len(arguments) != 1:
        return f"it takes no arguments: run {PROGRAM}, with nothing behind it"
    found = attached(root)
    if not found:
        return ""
    return f"{refusal(found)} ({ALL_THE_SAME})"
