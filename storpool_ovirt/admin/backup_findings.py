"""What an audit finds of copies in other locations: those that never came, that nobody can see any
more, that stay although they were given up; and locations that no delete can copy to."""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt import errors, storpool_conf
from storpool_ovirt.admin import findings
from storpool_ovirt.admin.findings import COPY, CRITICAL, INFO, WARNING, Finding
from storpool_ovirt.cluster import remote
from storpool_ovirt.engine import copies, copies_seen, stored_options, tree
from storpool_ovirt.engine.copies import Copy
from storpool_ovirt.engine.copies_seen import Seen

# A copy is on its way for hours; who cannot be asked about it for longer needs somebody's eye.
UNSEEN_SECONDS = 86400.0


def look(work: tree.Work) -> list[Finding]:
    """Look at the copies of which the table does not say that they are there, and return what is
    wrong with them; nothing is written.

    Nothing else rests on it, so a failure is a finding of its own.
    """
    rows = [row for row in copies.all_of(work.mapping) if _is_open(row)]
    if not rows:
        return []
    try:
        seen = copies_seen.look(work, rows)
    except errors.Rejected as error:
        seen = [Seen(row, copies_seen.UNSEEN, str(error)) for row in rows]
    return list(_of(work, seen))


def of_locations(work: tree.Work, hide: stored_options.Hide, here: bool) -> list[Finding]:
    """Return where disks are to be copied to before a delete, and cannot be: then none is deleted.

    Looked at are the domain that is meant and, `here` on Engine's machine, all that Engine has on
    the same cluster: WebAdmin and REST add one whatever its options say. Nothing rests on it.
    """
    domains = [("", work.domain)]
    if here:
        try:
            domains += stored_options.known(work.root, hide)
        except errors.Error as error:
            work.log.line("domains_not_read", reason=error)
    by_location: dict[str, list[str]] = {}
    for name, domain in domains:
        to = domain.backup_on_delete
        if to is not None and stored_options.is_same(domain.api, work.domain.api):
            by_location.setdefault(to.location, []).append(name)
    found = []
    for location, named in by_location.items():
        try:
            remote.check_location(work.client, location)
        except (errors.NotFound, errors.Rejected) as error:
            found += [_no_location(each, error) for each in [*filter(None, named)] or [""]]
    return found


def _no_location(domain: str, error: errors.Error) -> Finding:
    return Finding(
        kind=COPY,
        severity=WARNING,
        what=f"storage domain {domain}" if domain else "the storage domain",
        uuid="",
        disk="",
        cause=(
            f"no disk of it can be deleted, as each is to be copied before (sp_backup_on_delete):"
            f" {error}"
        ),
        mend=(
            "have that location registered in StorPool, or correct the option: of a domain that"
            f" does not have it {storpool_conf.BACKUP_KEY} in {storpool_conf.FILE}, else as"
            " storpool-ovirt doctor tells"
        ),
    )


def _is_open(row: Copy) -> bool:
    return row.state in (copies.BEGUN, copies.SENT, copies.LOST) or (
        row.state == copies.GIVEN_UP and not row.goes_at
    )


def _of(work: tree.Work, seen: list[Seen]) -> Iterator[Finding]:
    now = work.mapping.now()
    for each in seen:
        age_seconds = max(0.0, now - each.row.made_at)
        if each.state == copies.LOST:
            yield _lost(each, age_seconds)
        elif each.state == copies.GIVEN_UP and not each.row.goes_at:
            mend = "delete it there by hand, and have that location keep dates (docs/backup.md)"
            yield _finding(each, WARNING, "was given up, and its location ignores dates", mend)
        elif each.state in (copies_seen.UNSEEN, copies_seen.UNLISTED):
            mend = "see that the bridge works; storpool-ovirt backup list tells what became of it"
            severity = WARNING if age_seconds > UNSEEN_SECONDS else INFO
            yield _finding(each, severity, f"cannot be seen: {each.note}", mend, age_seconds)
        elif each.state == copies_seen.ON_THE_WAY and age_seconds > UNSEEN_SECONDS:
            mend = "see that the bridge works and is fast enough; the copy goes on by itself"
            yield _finding(each, WARNING, "is still on its way", mend, age_seconds)


def _lost(each: Seen, age_seconds: float) -> Finding:
    row = each.row
    cause = "was given up on its way, and is not there"
    if row.reason == copies.DELETED:
        mend = (
            f"the disk is deleted: storpool-ovirt trash list tells whether {row.disk} can be"
            " restored from here, and until when"
        )
        return _finding(each, CRITICAL, cause, mend, age_seconds)
    mend = f"storpool-ovirt backup {row.disk} --to {row.location} makes another one"
    return _finding(each, WARNING, cause, mend, age_seconds)


def _finding(
    each: Seen, severity: str, cause: str, mend: str, age_seconds: float | None = None
) -> Finding:
    row = each.row
    name = f"~{row.remote_id}" if row.remote_id else f"of moment {row.copy}"
    return findings.Finding(
        kind=COPY,
        severity=severity,
        what=f"copy {name} in location {row.location}",
        uuid=row.node,
        disk=row.disk,
        cause=cause,
        mend=mend,
        age_seconds=age_seconds,
    )
