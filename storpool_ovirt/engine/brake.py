"""The brake: no more disks of a domain are deleted in a short time than a person would
(`sp_max_deletes`).

Counted are the disks whose delete was asked for within the last ten minutes, each once, and also
where it was refused: so who goes on and on is held until that ends, or an administrator lifts the
brake for a while (`storpool-ovirt brake lift`). Not counted, and never refused, are the repeat of a
delete that was begun, and what undoes a create: the delete of a disk that Engine was not told of,
or that is no older than the window, as Engine gives the disk of a copy to a host before it copies.

Domains share these tables. They are told apart by what their options have of them: the cluster, or
the address of its API, and the template.
"""

from __future__ import annotations

from storpool_ovirt import errors, sentences
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storpool_ovirt import config
    from storpool_ovirt.engine import database, tree

# So long, as a burst is nothing: a VM with 32 disks, or a pool of desktops, goes within a minute.
WINDOW_SECONDS = 600
# The largest lift: longer than any work that is meant, and over before it is forgotten.
LIFT_DAYS_MAX = 1

EVERY = "*"  # all domains of this database: no key is like that

_WINDOW = f"make_interval(secs => {WINDOW_SECONDS})"
# What is dated in the future is of before the clock went back: it counts, and as of now.
_RECENT = f"domain = %s AND at > clock_timestamp() - {_WINDOW}"
# A lift that begins in the future is of before the clock went back too: nobody knows how much of it
# is left.
_LIFTED = """
    SELECT lifted_at + make_interval(secs => lifted_seconds) AS ends_at
    FROM storpool_ovirt.brake WHERE domain IN (%s, '*')
        AND clock_timestamp() >= lifted_at
        AND clock_timestamp() < lifted_at + make_interval(secs => lifted_seconds)"""
# A delete of it was begun, it is being made, or was made a moment ago: when one was made that is
# dated in the future nobody knows.
_EXEMPT = f"""
    SELECT FROM storpool_ovirt.node WHERE uuid = %s AND (
        state <> 'live'
        OR (
            created_at > clock_timestamp() - {_WINDOW} AND created_at <= clock_timestamp()
        )
        OR EXISTS (
            SELECT FROM storpool_ovirt.operation AS making
            WHERE making.node = node.uuid AND making.kind = 'make' AND making.state <> 'undone'
        )
    )"""
_ASK = f"""
    WITH free AS ({_EXEMPT}), recent AS (
        SELECT count(*) AS number FROM storpool_ovirt.asked_delete WHERE {_RECENT} AND disk <> %s
    ), ahead AS (
        UPDATE storpool_ovirt.asked_delete SET at = clock_timestamp() WHERE disk IN (
            SELECT disk FROM storpool_ovirt.asked_delete
            WHERE at > clock_timestamp() AND disk <> %s FOR UPDATE SKIP LOCKED
        )
    ), over AS (
        DELETE FROM storpool_ovirt.asked_delete WHERE disk IN (
            SELECT disk FROM storpool_ovirt.asked_delete
            WHERE at <= clock_timestamp() - {_WINDOW} AND disk <> %s FOR UPDATE SKIP LOCKED
        )
    ), counted AS (
        INSERT INTO storpool_ovirt.asked_delete (disk, domain, at)
        SELECT %s, %s, clock_timestamp() WHERE NOT EXISTS (SELECT FROM free)
        ON CONFLICT (disk) DO UPDATE SET domain = excluded.domain, at = excluded.at
    )
    SELECT number, EXISTS (SELECT FROM free) OR EXISTS ({_LIFTED}) FROM recent"""


class State(NamedTuple):
    """How a domain's brake is: how many deletes of disks were asked for within the window, how many
    may be, and for how many seconds it is lifted yet (0: it is not)."""

    asked: int
    most: int
    lifted_seconds: float

    @property
    def holds(self) -> bool:
        """Whether the delete of one more disk would be refused."""
        return 0 < self.most <= self.asked and not self.lifted_seconds


def key(domain: config.Domain) -> str:
    """Return by what the deletes of a domain are counted together."""
    return domain.key


def check(work: tree.Work, disk: str) -> None:
    """Count the delete of a disk that is held; raise Conflict where it is one too many."""
    most = _most(work.domain)
    if not most:
        return
    domain = key(work.domain)
    ids = (disk, domain, disk, disk, disk, disk, domain, domain)
    [(number, is_free)] = work.mapping.session.rows(_ASK, *ids)
    if number < most or is_free:
        return
    work.log.line("delete_held", disk=disk, asked=number, most=most)
    minutes, allowed = WINDOW_SECONDS // 60, work.domain.max_deletes
    raise errors.Conflict(
        f"disk {disk}",
        f"is not deleted: the deletes of {number} other disks of its domain were asked for within"
        f" {minutes} min, and sp_max_deletes allows {allowed} a minute",
        "if they are meant, storpool-ovirt brake lift --for 15m on Engine's machine lets them go;"
        " else stop who deletes, see Engine's events",
    )


def state(session: database.Session, domain: config.Domain) -> State:
    """Return how a domain's brake is."""
    named = key(domain)
    [(number, left)] = session.rows(
        f"""
        SELECT (SELECT count(*) FROM storpool_ovirt.asked_delete WHERE {_RECENT}),
            coalesce((
                SELECT extract(epoch FROM max(ends_at) - clock_timestamp())::float
                FROM ({_LIFTED}) AS lifted
            ), 0)
        """,
        named,
        named,
    )
    return State(number, _most(domain), max(0.0, left))


def everywhere(session: database.Session) -> tuple[list[tuple[str, int]], float]:
    """Return of which domains disks were to be deleted within the window, and how many; and for how
    many seconds the brakes of all domains are lifted yet."""
    rows = session.rows(
        f"""
        SELECT domain, count(*) FROM storpool_ovirt.asked_delete
        WHERE at > clock_timestamp() - {_WINDOW} GROUP BY domain ORDER BY domain
        """
    )
    [(left,)] = session.rows(
        f"""
        SELECT coalesce(extract(epoch FROM max(ends_at) - clock_timestamp())::float, 0)
        FROM ({_LIFTED}) AS lifted
        """,
        EVERY,
    )
    return [(domain, number) for domain, number in rows], max(0.0, left)


def lift(session: database.Session, named: str, seconds: int) -> None:
    """Let any number of disks of a domain (`key`), or of `EVERY` one, be deleted for so long from
    now on; 0 puts the brake back."""
    if named == EVERY:
        session.rows("DELETE FROM storpool_ovirt.brake")
    session.rows(
        """
        INSERT INTO storpool_ovirt.brake (domain, lifted_seconds) VALUES (%s, %s)
        ON CONFLICT (domain) DO UPDATE SET
            lifted_at = clock_timestamp(), lifted_seconds = excluded.lifted_seconds
        """,
        named,
        seconds,
    )


def _most(domain: config.Domain) -> int:
    """Return how many disks may be asked for within the window."""
    return domain.max_deletes * WINDOW_SECONDS // 60


def said(found: State) -> list[str]:
    """Return the lines that tell it."""
    minutes = WINDOW_SECONDS // 60
    asked = sentences.counted(found.asked, "disk was", "disks were")
    first = f"{asked} to be deleted within the last {minutes} min"
    if not found.most:
        return [f"{first}; there is no brake (sp_max_deletes is 0)"]
    allowed = f"{first}, {found.most} may be (sp_max_deletes, {found.most // minutes} a minute)"
    if found.lifted_seconds:
        return [allowed, f"the brake is lifted for another {found.lifted_seconds:.0f} s"]
    holds = "it holds: further deletes are refused" if found.holds else "it holds nothing back"
    return [allowed, holds]


def said_of_all(
    found: list[tuple[str, int]], lifted_seconds: float, known: Mapping[str, list[str]]
) -> list[str]:
    """Return the lines that tell how it is with all domains; `known` has those of domains of which
    more is known, by `key`."""
    lines: list[str] = []
    for domain, number in found:
        lines += known.get(domain) or [
            f"{sentences.counted(number, 'disk', 'disks')} to be deleted within the last"
            f" {WINDOW_SECONDS // 60} min: domain on {domain} (API or cluster, template)"
        ]
    none = f"no disk was to be deleted within the last {WINDOW_SECONDS // 60} min"
    lifted = f"the brake of every domain is lifted for another {lifted_seconds:.0f} s"
    return [*(lines or [none]), *([lifted] if lifted_seconds else [])]
