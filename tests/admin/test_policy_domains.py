"""policy_domains.py, engine/stored_options.py: by which names people know the domain of a default,
and what counts where there are several."""

from __future__ import annotations

from pathlib import Path

from storpool_ovirt import config
from storpool_ovirt.admin.policy_domains import Domains
from storpool_ovirt.engine import stored_options
from storpool_ovirt.engine.stored_options import Stored


def test_what_domains_agree_in_counts(tmp_path: Path) -> None:
    """F50: as each of them says it; else what was given, but for delays, of which the longest keeps
    what any of them would."""
    given, one, other = (
        config.domain({"sp_api_http_host": "10.0.0.1", "sp_auth_token": "1", **said}, str(tmp_path))
        for said in (
            {"sp_vm_tag": "given"},
            {"sp_vm_tag": "vm", "sp_iops": "5", "sp_multicluster": "true", "sp_delete_delay": "0"},
            {"sp_vm_tag": "x", "sp_iops": "5", "sp_multicluster": "true", "sp_delete_delay": "7d"},
        )
    )
    both = stored_options.agreed(given, [one, other])
    assert (both.vm_tag, both.iops, both.api.multicluster) == ("given", 5, True)
    assert both.delete_delay_seconds == 7 * 86400
    assert stored_options.agreed(given, [one]) == one
    assert stored_options.agreed(given, []) == given


def test_whose_a_disk_is(tmp_path: Path) -> None:
    """F50: Engine's word first; then by the template, and a domain without another beside it has
    all: its volumes may have got another template. What was typed counts for its template."""
    given, fast, slow = (
        config.domain(
            {"sp_api_http_host": "10.0.0.1", "sp_auth_token": "1", "sp_template": each},
            str(tmp_path),
        )
        for each in ("typed", "fast", "slow")
    )
    both = [Stored("1", "web", fast), Stored("2", "db", slow)]
    domains = Domains(given, both, {"moved": "2", "elsewhere": "3"})
    assert domains.of("fast", "moved").domain == slow
    assert domains.of("fast", "elsewhere").domain == domains.of("fast").domain == fast
    assert domains.of("typed", "moved").names == ("db",)
    assert [domains.of(each).domain for each in ("typed", "other", None)] == [given] * 3
    alone = Domains(given, both[:1])
    assert [alone.of(each).domain for each in ("typed", "other", None)] == [given, fast, fast]


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
    domains = Domains(given, [Stored("1", "web", fast)])
    assert domains.called(fast.key) == f"web ({fast.key})"
    assert domains.called(given.key) == f"the domain on {given.key}"
    lost = "10.0.0.2:81 fast"
    assert domains.called(lost).startswith("no storage domain that Engine has on this cluster")
    assert Domains(given, []).called(lost) == f"the domain on {lost}"
