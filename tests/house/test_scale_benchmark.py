"""The benchmark of clusters of many sizes runs, and tells each target; its times are not for a
test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from ovirt_demo import children

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "scale.py"
LIMIT_SECONDS = 300  # ours: it takes half a minute; a loaded machine gets some room
COMMANDS = (
    "audit",
    "attachments",
    "attachments --disk",
    "snapshots",
    "space",
    "space --disk",
    "rebuild",
    "fence-host",
)
VERBS = (
    "create_volume connect_volume create_snapshot extend_volume remove_snapshot delete_volume"
).split()


def test_it_tells_every_command_and_verb_and_whether_each_target_is_met() -> None:
    """Two sizes, another installation that is this one: each row is there, and four verdicts; what
    commands take of memory with so few is met anywhere."""
    beside = children.find("storpool-adapter").parent
    argv = [sys.executable, str(PROGRAM), "--objects", "120", "360", "--runs", "1", "--rounds", "1"]
    argv += ["--before", str(beside), "--at-once", "2", "--lives", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    table = re.sub(r"(?m)^(met|missed) .*", "", done.stdout)
    rows = re.findall(r"(?m)^([a-z_-]+(?: --disk)?) +[-+\d]", table)
    assert rows == [*VERBS, *COMMANDS], done.stdout + done.stderr
    verdicts = [line for line in done.stdout.splitlines() if line.startswith(("met ", "missed "))]
    assert len(verdicts) == 4, done.stdout
    judged = "audit, snapshots, space, rebuild and fence-host"
    assert re.match(rf"met +{judged} take at most \d+ MB", verdicts[1])
    assert done.returncode == ("missed" in done.stdout), done.stdout
