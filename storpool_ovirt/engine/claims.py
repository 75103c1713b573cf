"""Claims: which Engine a location belongs to, written in StorPool's key-value store, where all
Engines of a cluster see it.

An Engine that is restored a second time (to try the recovery from a disaster, say) has the location
of the living one, and would delete what the other one made. So each writes who it is when the
domain's space is asked for, which Engine does all the time. An Engine that finds another one there
leaves its own name beside it, once, and says so in its log. The audit of either reports it then.
`take` says that this Engine is the one now.

A claim is a warning and nothing else: no verb fails for it, nor for a store that does not answer.
"""

from __future__ import annotations

import math
import os

from storpool_ovirt import documents, errors, names, rights, text
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import tree
from storpool_ovirt.light import TYPE_CHECKING, asdict, dataclass, replace, suppress

if TYPE_CHECKING:
    from typing import Any

BUCKET = "storpool-ovirt-engines"
# What a claim may take of a verb's time: it is waited for, and nothing rests on it.
NOTE_SECONDS = 5.0
# How often a living Engine says that it is alive.
SEEN_SECONDS = 3600.0
# How many earlier starts of the machine, and how many others, are kept.
KEPT_BOOTS = 8
KEPT_OTHERS = 4
TEXT_MAX = 80


@dataclass(frozen=True)
class Engine:
    """An Engine: its machine, its database server, and when it was seen last (seconds since 1970).

    `machine` is /etc/machine-id, `database` PostgreSQL's system identifier, `boot` the machine's
    start: a copy of the whole machine differs from the first one in that alone. `host` is its
    name, for people.
    """

    machine: str
    database: str
    boot: str
    host: str
    at: float = 0.0

    def __str__(self) -> str:
        return f"the Engine on {self.host} (machine {self.machine[:8]}, database {self.database})"

    def is_copy_of(self, other: Engine) -> bool:
        """Return whether machine and database are the same, whichever start of the machine it
        is."""
        return (self.machine, self.database) == (other.machine, other.database)


@dataclass(frozen=True)
class Claim:
    """What the store tells of a location: its Engine, that one's earlier boots, and who else has
    come with it."""

    engine: Engine
    boots: tuple[str, ...] = ()
    others: tuple[Engine, ...] = ()
    version: int | None = None

    def is_of(self, own: Engine) -> bool:
        """Return whether the location is this Engine's, from this start of its machine or an
        earlier one.

        A start that was followed by another one and comes again is a second machine: starts do not
        come back.
        """
        return own.is_copy_of(self.engine) and (
            own.boot == self.engine.boot or own.boot not in self.boots
        )

    def other(self, own: Engine) -> Engine | None:
        """Return what is written of this Engine as one of the others."""
        is_twin = own.is_copy_of(self.engine)
        return next(
            (
                each
                for each in self.others
                if own.is_copy_of(each) and not (is_twin and each.boot != own.boot)
            ),
            None,
        )


def this(work: tree.Work) -> Engine:
    """Return who we are. Raises DatabaseUnavailable."""
    return _this(work, work.mapping.journal.check()[0])


def read(client: api.Client, location: str) -> Claim | None:
    """Return the claim of a location; None where there is none, or none that can be read.

    Raises what `api` raises.
    """
    try:
        pair = client.pair(BUCKET, location)
    except errors.NotFound:
        return None
    return _parsed(pair)


def differences(claim: Claim | None, own: Engine) -> list[Engine]:
    """Return the other Engines that work with our location, as far as the store tells; none where
    all is well."""
    if claim is None:
        return []
    holder = [] if claim.is_of(own) else [claim.engine]
    return [*holder, *(each for each in claim.others if each is not claim.other(own))]


def note(work: tree.Work, database: str) -> None:
    """Say in the store that this Engine works with its location, and in the log when another one
    does too.

    `database` is its server's id, as `journal.check` tells it. Never raises what the store or the
    API raise.
    """
    limit = work.mapping.session.deadline.within(NOTE_SECONDS)
    client = work.client.limited(limit)
    try:
        _note(work, client, _this(work, database))
    except errors.Error as error:
        work.log.line("claim_not_written", location=work.mapping.location, reason=error)


def take(work: tree.Work) -> Claim | None:
    """Say that this Engine is the one that has the location now, and return what was said before.

    Raises what the API and the mapping raise.
    """
    location = work.mapping.location
    own = this(work)
    before = read(work.client, location)
    boots = _boots(before) if before is not None and own.is_copy_of(before.engine) else ()
    _write(work.client, location, Claim(own, boots))
    work.log.line(
        "location_claimed", location=location, by=own, before=before.engine if before else "-"
    )
    return before


def _note(work: tree.Work, client: api.Client, own: Engine) -> None:
    location = work.mapping.location
    claim = read(client, location)
    if claim is None:
        _write(client, location, Claim(own))
    elif claim.is_of(own):
        if (
            claim.engine.boot != own.boot
            or own.at - claim.engine.at > SEEN_SECONDS
            or own.at < claim.engine.at
        ):
            _write(client, location, replace(claim, engine=own, boots=_boots(claim)))
    else:
        known = claim.other(own)
        if known is None:
            work.log.line(
                "location_of_another",
                location=location,
                other=claim.engine,
                seen=f"{claim.engine.at:.0f}",
            )
        if known is None or own.at - known.at > SEEN_SECONDS or own.at < known.at:
            others = [each for each in claim.others if each is not known]
            _write(client, location, replace(claim, others=(own, *others)[:KEPT_OTHERS]))


def _boots(claim: Claim) -> tuple[str, ...]:
    return (claim.engine.boot, *(each for each in claim.boots if each != claim.engine.boot))[
        :KEPT_BOOTS
    ]


def _this(work: tree.Work, database: str) -> Engine:
    return Engine(
        _line(f"{work.root}/etc/machine-id"),
        database,
        _line(f"{work.root}/proc/sys/kernel/random/boot_id"),
        names.shown(os.uname().nodename, TEXT_MAX).strip('"'),
        work.now(),
    )


def _line(path: str) -> str:
    try:
        return text.stripped(rights.read(path).decode("ascii", "replace"))[:TEXT_MAX]
    except OSError:
        return ""


def _write(client: api.Client, location: str, claim: Claim) -> None:
    value = {
        "engine": asdict(claim.engine),
        "boots": claim.boots,
        "others": [asdict(each) for each in claim.others],
    }
    if claim.version is None:  # there is none yet, and perhaps no bucket
        with suppress(errors.Exists):
            client.bucket_create(BUCKET)
    client.pair_set(BUCKET, location, documents.written(value), claim.version)


def _parsed(pair: api.Pair) -> Claim | None:
    """Return what a value tells; None for one that we did not write: the next note replaces it."""
    try:
        value = documents.read(pair.value)
        others = tuple(map(_engine, value["others"]))
        return Claim(
            _engine(value["engine"]), tuple(map(str, value["boots"])), others, pair.version
        )
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError, OverflowError):
        return None


def _engine(value: dict[str, Any]) -> Engine:
    machine, database, boot, host = (
        str(value[key])[:TEXT_MAX] for key in ("machine", "database", "boot", "host")
    )
    at = float(value["at"])
    if not math.isfinite(at):
        raise ValueError(at)
    return Engine(machine, database, boot, host, at)
