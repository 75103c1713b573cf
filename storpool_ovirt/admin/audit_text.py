"""What the administrator reads of an audit, a reconciliation, a rebuild: lines for people, JSON for
programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from storpool_ovirt import sentences
from storpool_ovirt.admin import audit, findings, rebuild
from storpool_ovirt.admin.times import span, stamp

# The exit codes that monitoring plug-ins use (Monitoring Plugins Development Guidelines).
EXIT_CODES = {findings.INFO: 0, findings.WARNING: 1, findings.CRITICAL: 2}


def text(report: audit.Report) -> Iterator[str]:
    """Yield the lines of an audit."""
    view = report.view
    counts = _counts(report)
    told = ", ".join(
        sentences.counted(counts[f"{each}s"], each)
        for each in ("disk", "volume", "snapshot", "attachment")
    )
    yield (
        f"mapping {view.database}, location {view.location}, StorPool API {view.api_address}:"
        f" {told}"
    )
    if counts["busy"]:
        yield sentences.counted(
            counts["busy"],
            "disk is being changed right now and was left out",
            "disks are being changed right now and were left out",
        )
    if counts["elsewhere"]:
        yield sentences.counted(
            counts["elsewhere"],
            "object lives in another cluster: audit it with the options of its domain",
            "objects live in other clusters: audit those with the options of their domain",
        )
    for finding in report.findings:
        yield ""
        yield from _lines(finding, report.grace_seconds)
    yield ""
    yield _verdict(report)


def document(report: audit.Report) -> dict[str, Any]:
    """Return the same as facts for one JSON document."""
    found = [
        {
            "kind": each.kind,
            "severity": each.severity,
            "what": each.what,
            "uuid": each.uuid or None,
            "disk": each.disk or None,
            "cause": each.cause,
            "age_seconds": None if each.age_seconds is None else round(each.age_seconds),
            "mend": each.mend,
            "reconcile": (
                each.action.kind
                if each.action and findings.is_old(each, report.grace_seconds)
                else None
            ),
        }
        for each in report.findings
    ]
    view = report.view
    return {
        "severity": report.severity if report.findings else "ok",
        "location": view.location,
        "api": view.api_address,
        "looked_at": stamp(view.now),
        "grace_seconds": report.grace_seconds,
        "counts": _counts(report),
        "findings": found,
    }


def step(finding: findings.Finding) -> str:
    """Return what reconcile is about to mend, and why."""
    return (
        f"{finding.kind}: {finding.what}{_age(finding)}\n  why:  {finding.cause}\n  plan:"
        f" {finding.mend}"
    )


def over(count: int, dry_run: bool) -> str:
    """Return that so many entries of the trash are told by nothing any more."""
    rows = sentences.counted(count, "row of the trash", "rows of the trash")
    is_over = "whose time is over and whose object StorPool has deleted"
    return f"{rows}, {is_over}: {'would be taken away' if dry_run else 'taken away'}"


def reconciled(report: audit.Report, todo: int, failed: int, dry_run: bool) -> Iterator[str]:
    """Yield what came of a reconciliation that had so many steps to do, and failed in so many."""
    waiting = sum(
        each.action is not None and not findings.is_old(each, report.grace_seconds)
        for each in report.findings
    )
    if waiting:
        younger = f"younger than the grace period of {span(report.grace_seconds)}"
        yield sentences.counted(waiting, f"{younger} waits", f"{younger} wait")
    done = "would be mended" if dry_run else f"mended, {failed} not"
    others = len(report.findings) - todo
    look = f"; {others} for you to look at: storpool-ovirt audit" if others else ""
    yield f"{todo - failed} {done}{look}"


def rebuilding(plan: rebuild.Rows) -> Iterator[str]:
    """Yield what a rebuild will write."""
    volumes = snapshots = disks = 0
    for rows in plan.disks:
        of_disk = sum(node.kind == "volume" for node, _ in rows)
        volumes, snapshots, disks = volumes + of_disk, snapshots + len(rows) - of_disk, disks + 1
    made = sentences.counted(volumes, "volume")
    frozen = sentences.counted(snapshots, "snapshot")
    owners = sentences.counted(disks, "disk")
    yield f"location {plan.location}: {made} and {frozen} of {owners} to take in"
    if plan.retagged:
        yield sentences.counted(
            len(plan.retagged),
            "object of the mapping gets the tag of this location",
            "objects of the mapping get the tag of this location",
        )
    if plan.active:
        yield sentences.counted(
            len(plan.active),
            "disk whose VM writes another volume than the mapping says is corrected",
            "disks whose VM writes another volume than the mapping says are corrected",
        )
    if plan.trash:
        yield sentences.counted(
            len(plan.trash),
            "object of the trash is taken in",
            "objects of the trash are taken in",
        )
    for reason in plan.left_out:
        yield f"left out: {reason}"


def _lines(finding: findings.Finding, grace_seconds: float) -> Iterator[str]:
    yield f"{finding.severity.upper():8} {finding.kind}: {finding.what}{_age(finding)}"
    if finding.disk and finding.disk != finding.uuid:
        yield f"         of disk {finding.disk}"
    yield f"         why:  {finding.cause}"
    yield f"         mend: {finding.mend}"
    if finding.action and not findings.is_old(finding, grace_seconds):
        yield f"         reconcile waits until it is {span(grace_seconds)} old"


def _age(finding: findings.Finding) -> str:
    return "" if finding.age_seconds is None else f", {span(finding.age_seconds)} old"


def _verdict(report: audit.Report) -> str:
    if not report.findings:
        return "OK: mapping, cluster and hosts agree"
    counted = [
        f"{sum(each.severity == severity for each in report.findings)} {severity}"
        for severity in (findings.CRITICAL, findings.WARNING, findings.INFO)
    ]
    return f"{report.severity.upper()}: {', '.join(counted)}"


def _counts(report: audit.Report) -> dict[str, int]:
    view = report.view
    rows = view.records.values()
    volumes = sum(each.kind == "volume" for each in rows)
    return {
        "disks": len({each.root for each in rows}),
        "volumes": volumes,
        "snapshots": len(rows) - volumes,
        "attachments": sum(view.is_mapped(each.global_id) for each in view.attachments),
        "busy": len(view.busy),
        "elsewhere": sum(not view.here(each) for each in rows),
        "operations": sum(each.is_open for each in view.operations),
    }
