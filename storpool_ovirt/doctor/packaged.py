"""What rpm has to say of our packages: whether what they brought is as it was."""

from __future__ import annotations

from collections.abc import Sequence

from storpool_ovirt import text
from storpool_ovirt.doctor import asking
from storpool_ovirt.doctor.checks import Site

# Where rpm cannot look; it may tell of files all the same.
ERROR = "error:"


def changes(site: Site, packages: Sequence[str]) -> tuple[list[str], str]:
    """Return what `rpm -V` tells of more than settings, a line each; and what rpm says where it
    could not look, or nothing.

    Raises Missing or Silent where it cannot be asked.
    """
    answer = asking.ask(site, ["rpm", "-V", *packages])
    has_failed = ERROR in answer.err or (answer.code != 0 and not text.stripped(answer.out))
    changed = [line for line in text.lines(answer.out) if not _is_setting(line)]
    return changed, answer.said if has_failed else ""


def _is_setting(line: str) -> bool:
    """Return whether a line is of a file that people are to change."""
    words = line.split()
    return "missing" not in words[:1] and "c" in words[1:2]
