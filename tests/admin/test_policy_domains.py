"""policy_domains.py: by which names people know the domain of a default."""

from __future__ import annotations

from pathlib import Path

from storpool_ovirt import config
from storpool_ovirt.admin.policy_domains import Domains


def test_a_default_that_is_left_without_a_domain_is_told(tmp_path: Path) -> None:
    """F50: what was said of a domain goes by the API's address, which may change; where nobody
    knows Engine's domains nothing is said of that."""
    given, fast = (
        config.domain(
            {"sp_api_http_host": "10.0.0.1", "sp_auth_token": "1", "sp_template": each},
            str(tmp_path),
        )
        for each in ("slow", "fast")
    )
    domains = Domains(given, [("web", fast)])
    assert domains.called(fast.key) == f"web ({fast.key})"
    assert domains.called(given.key) == f"the domain on {given.key}"
    lost = "10.0.0.2:81 fast"
    assert domains.called(lost).startswith("no storage domain that Engine has on this cluster")
    assert Domains(given, []).called(lost) == f"the domain on {lost}"
