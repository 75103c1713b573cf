"""The audit: where mapping, cluster and hosts do not agree, since when, why, and what mends it.

It changes nothing. What it can prove from the journal (an object whose id Engine never learnt) it
offers to `storpool-ovirt reconcile`; what only somebody who knows Engine can decide it leaves to
that person, with both commands: an object without a row may be a left-over, or the only copy of a
disk whose database was restored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storpool_ovirt.admin import (
    attached,
    died,
    drift,
    reserved,
    rowless,
    survey,
    trash_findings,
    twins,
)
from storpool_ovirt.admin.findings import CLUSTER, CRITICAL, GRACE_SECONDS, INFO, WARNING, Finding
from storpool_ovirt.engine import mapping


@dataclass(frozen=True)
class Report:
    """All findings of one look, worst first, and what was looked at."""

    findings: tuple[Finding, ...]
    view: survey.View
    grace_seconds: float

    @property
    def severity(self) -> str:
        """The worst of all findings; info when there is none."""
        found = {each.severity for each in self.findings}
        return next((each for each in (CRITICAL, WARNING) if each in found), INFO)


def report(
    view: survey.View, grace_seconds: float = GRACE_SECONDS, more: Sequence[Finding] = ()
) -> Report:
    """Compare what was seen; `more` are findings of who looked further."""
    stranger = _wrong_cluster(view)
    found = (
        [stranger]
        if stranger
        else [
            *twins.of_claims(view),
            *died.of_operations(view),
            *reserved.of_moments(view),
            *drift.of_rows(view),
            *rowless.of_objects(view),
            *attached.of_attachments(view),
            *trash_findings.of_trash(view),
            *trash_findings.of_space(view),
            *more,
        ]
    )
    order = (CRITICAL, WARNING, INFO)
    found.sort(key=lambda each: (order.index(each.severity), each.kind, each.disk, each.uuid))
    return Report(tuple(found), view, grace_seconds)


def _wrong_cluster(view: survey.View) -> Finding | None:
    """Return the one finding when not a single object of ours is there: then nothing else means
    anything."""
    live = [record for record in view.records.values() if record.state == mapping.LIVE]
    here = [record for record in live if view.here(record)]
    if (
        view.has_ours
        or view.moved
        or any(record.global_id in view.things for record in here)
        or (len(here) < 2 and (view.clusters or not live))
    ):
        return None
    expected = len(here or live)
    nothing = "not even the one object" if expected == 1 else f"none of the {expected} objects"
    return Finding(
        kind=CLUSTER,
        severity=CRITICAL,
        what=f"the StorPool cluster at {view.api_address}",
        uuid="",
        disk="",
        cause=(
            f"{nothing} of the mapping is there, and nothing carries our location {view.location}"
        ),
        mend=(
            "check sp_api_http_host and sp_cluster_id, and that this is the mapping database of"
            " this Engine"
        ),
    )
