"""What others keep of our disks: copies that carry our tags, and snapshots without them that were
made of our volumes, by VolumeCare, by a backup, by hand.

Nothing here touches any of it. It is told with the space that it takes and the date at which it
goes by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from storpool_ovirt import names
from storpool_ovirt.admin import findings, survey
from storpool_ovirt.admin.findings import INFO, KEPT, Finding
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates


def of_view(view: survey.View) -> Iterator[Finding]:
    """Yield a finding for each id whose tags others have, and for each disk of which they have
    snapshots."""
    for uuid, things in view.kept.items():
        root = names.root_of(things[0].tags) or uuid
        several = len(things) > 1
        has = (
            f"carry the tags of {uuid} under other names"
            if several
            else f"carries the tags of {uuid}"
        )
        yield _kept(view, uuid, root, things, has)
    for root, things in view.beneath.items():
        has = f"{'are snapshots' if len(things) > 1 else 'is a snapshot'} of {root}"
        yield _kept(view, root, root, things, f"{has} without its tags")


def _kept(
    view: survey.View, uuid: str, root: str, things: Sequence[api.Volume], has: str
) -> Finding:
    them = "them" if len(things) > 1 else "it"
    return Finding(
        kind=KEPT,
        severity=INFO,
        what=candidates.those(things),
        uuid=uuid,
        disk=root,
        cause=(
            f"{has}, but no verb made {them}: a snapshot or copy by hand, by VolumeCare, by a"
            f" backup{_space(view.freed, things)}{_date(things)}"
        ),
        mend="nothing here touches it; whoever made it deletes it when it is not needed",
        age_seconds=max(0.0, view.now - min(each.created_at for each in things)),
    )


def _space(freed: Mapping[str, int], things: Sequence[api.Volume]) -> str:
    """Return the words for the space that a delete of each would free; "" where it is not told.

    What two snapshots have in common is freed when both go, so the sum is the least.
    """
    known = [freed[each.global_id] for each in things if each.global_id in freed]
    return f"; without them at least {findings.gib(sum(known))} were free" if known else ""


def _date(things: Sequence[api.Volume]) -> str:
    """Return the words for when StorPool deletes them."""
    dates = [each.goes_at for each in things if each.goes_at]
    if not dates:
        return "; no date is set for a delete"
    last = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(dates)))
    if len(things) == 1:
        return f"; StorPool deletes it at {last}"
    rest = len(things) - len(dates)
    return f"; StorPool deletes the last at {last}" + (f", {rest} have no date" if rest else "")
