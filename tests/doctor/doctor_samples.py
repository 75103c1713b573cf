"""What a doctor may find, as a table of findings: one of each kind, and what nobody would write."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storpool_ovirt.doctor import checks, report
from storpool_ovirt.doctor.checks import Action, Check, Finding, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = Path(__file__).parents[2] / "docs" / "doctor-schema.json"
TIME = 1795700801.0
HOSTILE = {
    "markup": "<script>document.title='taken'</script><img src=x onerror=alert(1)>&amp;</td>",
    "quotes": "\" ' ` onclick=\"alert(1)\" style='x:y'",
    "direction": "\u202egnp.exe \u2067isolated\u2069 \u200f",
    "control": "bell \a, escape \x1b[31mred, nul \x00, line\u2028separator",
    "long": "A" * 10000,
    "long line with blanks": "word " * 2000,
    "half a character": "\udc80",
}
LONG_COMMAND = (
    "chown root:ovirt /etc/ovirt-engine/storpool-ovirt/token &&"
    " chmod 0640 /etc/ovirt-engine/storpool-ovirt/token"
)
_RISK = "nothing can be made, deleted or connected there"


def _touched(path: str, root: str) -> str:
    Path(root + path).touch()
    return f"{path} is there"


def finding(name: str, result: Result, title: str = "all of this is as it should be") -> Finding:
    """Return a finding of a check of this name."""
    return Finding(Check(name, title, lambda _: [result]), result, 0.1234)


FOUND = (
    finding("engine-database", checks.ok("PostgreSQL 12.22 at localhost:5432")),
    finding(
        "engine-clock",
        Result(
            checks.WARNING,
            "this machine is 42 s ahead of the StorPool API at 10.1.2.3:81",
            "the ages that an audit tells are wrong, and what is under way may look old to it",
            "chronyc makestep",
        ),
        "the clocks of Engine, database and StorPool agree",
    ),
    finding("engine-domain-stats", checks.ok("1 TiB of 4 TiB is free", "domain slow")),
    finding("engine-fence-agent", checks.unknown("engine-config is not here")),
    finding(
        "engine-domain-stats",
        Result(
            checks.CRITICAL,
            "the file /etc/ovirt-engine/storpool-ovirt/token (driver option sp_auth_token_file)"
            " cannot be read (Permission denied)",
            _RISK,
            LONG_COMMAND,
            "domain fast",
            Action("give the token to group ovirt", functools.partial(_touched, "/token")),
        ),
        "storage_stats succeeds for each storage domain",
    ),
    finding("engine-domain-stats", checks.ok("2 TiB of 4 TiB is free", "domain middle")),
)


def look(findings: Sequence[Finding] = FOUND, place: str = "engine") -> report.Look:
    """Return a look that found this."""
    versions = [("storpool-ovirt", "1.2.0, from packages"), ("oVirt Engine", "4.5.7-1.el9")]
    return report.Look(place, "engine1.example.com", TIME, 3.24, findings, versions)


def hostile() -> list[Finding]:
    """Return findings with each kind of text that nobody would write: wrong, and fine."""
    return [
        finding(
            f"host-hostile-{at}-{result}",
            Result(result, text, text, text, f"of {text}"),
            f"title {text}",
        )
        for at, text in enumerate(HOSTILE.values())
        for result in (checks.CRITICAL, checks.OK)
    ]


def schema() -> dict[str, Any]:
    """Return the schema of the documents."""
    read: dict[str, Any] = json.loads(SCHEMA.read_text())
    return read


def check_document(facts: dict[str, Any]) -> None:
    """Check a document against the schema, as whoever reads it would have it: through JSON."""
    import jsonschema

    again = json.loads(json.dumps(facts))
    jsonschema.validate(again, schema(), cls=jsonschema.Draft202012Validator)
