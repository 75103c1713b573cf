"""rigs/hasty.py: a program of the product with other limits is that program in all else."""

from __future__ import annotations

import subprocess
from pathlib import Path

from rigs import hasty
from storpool_ovirt.host import vm_hook

LIMIT_SECONDS = 60


def run(root: Path, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, on a host that is a folder."""
    return subprocess.run(
        [program, *arguments],
        env={"STORPOOL_OVIRT_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )


def test_it_runs_the_program_with_its_arguments(tmp_path: Path) -> None:
    """What it is asked it answers as the installed program does, with its exit code."""
    program = hasty.written(tmp_path / "agent", "fence.agent", deadline_seconds=3.0)
    known, unknown = (
        run(tmp_path, program, "-o", "metadata"),
        run(tmp_path, program, "--no-such-option", "x"),
    )
    assert (known.returncode, known.stderr) == (0, "")
    assert '<resource-agent name="fence_storpool"' in known.stdout
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "--no-such-option is not known" in unknown.stderr


def test_it_has_the_name_under_which_it_was_started(tmp_path: Path) -> None:
    """The hook tells the point of Vdsm's from the folder that it is linked into."""
    program = hasty.written(tmp_path / "hook", "host.vm_hook", deadline_seconds=3.0)
    link = Path(f"{tmp_path}{vm_hook.HOOKS_FOLDER}/before_vm_start/50_storpool")
    link.parent.mkdir(parents=True)
    link.symlink_to(program)
    assert "_hook_domxml is not set" in run(tmp_path, link).stderr


def test_a_limit_that_there_is_not_is_an_error(tmp_path: Path) -> None:
    """One that got another name is not just ignored, as a constant would be that was patched."""
    program = hasty.written(tmp_path / "helper", "host.helper", lost_seconds=1.0)
    done = run(tmp_path, program, "attach")
    assert done.returncode != 0
    assert "lost_seconds" in done.stderr
