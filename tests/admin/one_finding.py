"""How the tests of the audit look at what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rigs.yard import Yard
    from storpool_ovirt.admin import findings


def only(yard: Yard) -> findings.Finding:
    """Audit, check that there is one finding, and that looking changed nothing; return it."""
    before = yard.world()
    yard.queries()
    (found,) = yard.report().findings
    # The barrier of `api.Client.be_current` writes a key of ours that nobody reads.
    assert all(
        query.startswith(("GET ", "POST KV/Set", "POST KV/Create")) for query in yard.queries()
    )
    assert yard.world() == before
    return found


def check(
    found: findings.Finding, kind: str, severity: str, action: str | None, *, cause: str, mend: str
) -> None:
    """Check what a finding says."""
    assert (found.kind, found.severity, found.action.kind if found.action else None) == (
        kind,
        severity,
        action,
    )
    assert cause in found.cause
    assert mend in found.mend
