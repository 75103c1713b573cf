"""commands/backup.py: what is typed after `storpool-ovirt backup`."""

from __future__ import annotations

import pytest
from click import shell_completion

from storpool_ovirt.admin import command, group

OWN = {"--to", "--keep", "--no-wait", "--database", "--options", "--dry-run", "--json", "--limit"}
BELOW = {"list", "restore", "expire", "make"}


def completed(*words: str) -> set[str]:
    """Return how the last of these words may go on."""
    made = shell_completion.ShellComplete(
        group.all_of(command.PROGRAM, ""), {}, command.PROGRAM, command.COMPLETE
    )
    return {each.value for each in made.get_completions(list(words[:-1]), words[-1])}


def test_its_help_tells_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """Both ways to type it, the options of the one without a word, and the words."""
    assert command.main(["storpool-ovirt", "backup", "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Usage: storpool-ovirt backup DISK|VM --to LOCATION [OPTIONS]\n")
    assert "       storpool-ovirt backup COMMAND [ARGS]...\n" in said
    for each in OWN | BELOW:
        assert f"\n  {each} " in said, each
    assert said.count("--help") == 1


def test_a_tab_completes_what_it_takes() -> None:
    """Options before the id too; the commands where no option was begun."""
    assert completed("backup", "--") == OWN | {"--help"}
    assert completed("backup", "--t") == {"--to"}
    assert completed("backup", "DISK", "--t") == {"--to"}
    assert completed("backup", "") == BELOW
    assert completed("backup", "restore", "--") >= {"--into", "--from-remote"}
    assert "--into" not in completed("backup", "--")
