"""Two Engines of one location: reported by the audit, and a reason for reconcile and rebuild to
refuse.

An Engine that is restored beside the living one (to try the recovery from a disaster) has its
location, and takes the other one's new disks for its own. StorPool's key-value store says who has
the location (`claims.py`). Where it says nothing, what is attached or was just made is a sign of
life.
"""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt import errors, names
from storpool_ovirt.admin import dry_run, findings, survey
from storpool_ovirt.admin.findings import CRITICAL, TWIN, WARNING, Finding
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import claims, tree

# An Engine that works writes at least once in `claims.SEEN_SECONDS`.
ALIVE_SECONDS = 2 * claims.SEEN_SECONDS
# What a lost Engine made last was made before somebody noticed, installed a new one and came here.
RECENT_SECONDS = findings.GRACE_SECONDS


def of_claims(view: survey.View) -> Iterator[Finding]:
    """Yield the other Engines that work with our location, as far as the store tells."""
    if view.own is None:
        return
    for other in claims.differences(view.claim, view.own):
        seen_seconds = max(0.0, view.now - other.at)
        yield Finding(
            kind=TWIN,
            severity=CRITICAL if seen_seconds < ALIVE_SECONDS else WARNING,
            what=str(other),
            uuid="",
            disk="",
            cause=(
                f"it has our location {view.location}, and takes our disks for its own as we take"
                " its own"
            ),
            mend=(
                "stop it, or take StorPool from it; then, on the machine of the Engine that is to"
                " have the disks: storpool-ovirt claim"
            ),
            age_seconds=seen_seconds,
        )


def check_holder(view: survey.View) -> None:
    """Raise Conflict when another Engine has our location and was at work a moment ago."""
    _check_holder(view.location, view.claim, view.own, view.now)


def check_alone(work: tree.Work, here: bool) -> None:
    """Do as `check_holder`, for what needs no view of all; `here`: this is Engine's machine, as far
    as is known."""
    claim, own = survey.claimed(work, here)
    _check_holder(work.mapping.location, claim, own, work.now())


def is_alone(work: tree.Work, say: dry_run.Say, *, here: bool, is_dry_run: bool) -> bool:
    """Return whether no other Engine has our location; raise Conflict where one has and was at work
    a moment ago, but for a dry run: that says so, and goes on."""
    return dry_run.allowed(is_dry_run, say, lambda: check_alone(work, here))


def _check_holder(
    location: str, claim: claims.Claim | None, own: claims.Engine | None, now: float
) -> None:
    if claim is None or own is None or claim.is_of(own) or now - claim.engine.at >= ALIVE_SECONDS:
        return
    raise errors.Conflict(
        f"location {location}",
        f"is that of {claim.engine}, which was at work {_minutes(now, claim.engine.at)}",
        "stop that one first; if this Engine is the one that is to have the disks: storpool-ovirt"
        " claim",
    )


def signs(work: tree.Work, view: survey.View, location: str) -> list[str]:
    """Return in words why another location's Engine seems to live.

    There is no sign where it was this Engine, or is dead.
    """
    claim, own = _claim(work, location), view.own
    engines = [] if claim is None else [claim.engine, *claim.others]
    if own is not None and any(_was_this(each, own) for each in engines):
        return [
            _at_work(view, each)
            for each in engines
            if not _was_this(each, own) and _is_alive(view, each)
        ]
    found = [_at_work(view, each) for each in engines if _is_alive(view, each)]
    things = [
        each
        for each in view.things.values()
        if names.is_ours(each.tags, each.tags.get(names.TAG_UUID, ""), location)
        and each.global_id not in view.mapped
    ]
    return [*found, *_attached(view, things), *_recent(view, things)]


def check_dead(location: str, why: list[str], repeated: str | None) -> None:
    """Raise Conflict when a location lives and the administrator has not repeated that it is to be
    taken over."""
    if repeated is not None and repeated != location:
        raise errors.InputError(
            f"--even-if-it-lives {names.shown(repeated)}",
            f"does not repeat {names.shown(location)}",
            "give the same location twice, or leave the option out",
        )
    if why and repeated is None:
        raise errors.Conflict(
            f"location {location}",
            f"seems to be that of an Engine that lives: {'; '.join(why)}",
            "to take its disks over would have two Engines delete each other's; if that one is"
            f" lost for good, repeat it with --even-if-it-lives {location}",
        )


def _claim(work: tree.Work, location: str) -> claims.Claim | None:
    try:
        return claims.read(work.client, location)
    except errors.Rejected:  # a cluster without such a store
        return None


def _was_this(claimed: claims.Engine, own: claims.Engine) -> bool:
    """Return whether that was on this machine, or with this database server: the one whose database
    was lost."""
    same_machine = bool(own.machine) and claimed.machine == own.machine
    return same_machine or claimed.database == own.database


def _is_alive(view: survey.View, engine: claims.Engine) -> bool:
    return view.now - engine.at < ALIVE_SECONDS


def _at_work(view: survey.View, engine: claims.Engine) -> str:
    return f"{engine} was at work {_minutes(view.now, engine.at)}"


def _attached(view: survey.View, things: list[api.Volume]) -> Iterator[str]:
    held = [
        (each, one) for each in things for one in view.attachments_of(each.global_id, each.name)
    ]
    running = sorted(
        {one.client_id for _, one in held if view.clients.get(one.client_id) != api.DOWN}
    )
    if running:
        hosts = ", ".join(f"client {client_id}" for client_id in running[:5]) + (
            " ..." if len(running) > 5 else ""
        )
        yield f"{len({each.global_id for each, _ in held})} of its objects are attached at {hosts}"


def _recent(view: survey.View, things: list[api.Volume]) -> Iterator[str]:
    newest = max(things, key=lambda each: each.created_at, default=None)
    if newest is not None and view.now - newest.created_at < RECENT_SECONDS:
        yield (
            f"{newest.kind} ~{newest.global_id} of it was made"
            f" {_minutes(view.now, newest.created_at)}"
        )


def _minutes(now: float, at: float) -> str:
    return f"{max(0.0, now - at) / 60:.0f} min ago"
