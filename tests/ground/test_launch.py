"""launch.py: what the environment names is not imported by the programs that Vdsm starts."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import storpool_ovirt

SETUP = Path(__file__).parents[2] / "setup.py"
PROGRAMS = {
    "managedvolume-helper-storpool": "helper",
    "storpool-vm-hook": "vm_hook",
    "storpool-vm-door": "vm_door",
    "storpool-boot-hook": "boot_hook",
    "storpool-fence-door": "fence_door",
    "fence_storpool": "fence_agent",
}
# As pip writes it, which imports nothing more before ours.
SCRIPT = """#!{python}
import sys
from storpool_ovirt.launch import {function}
if __name__ == "__main__":
    sys.exit({function}())
"""
POISON = "import os\nos.write(2, b'poisoned ' + __name__.encode())\nos._exit(99)\n"
# Names that our programs import, of Python's own and of libraries; each is a file that could lie in
# any folder. What the .pth files of an installation import comes before ours (docs/security.md).
NAMES = (
    "argparse ast configparser dataclasses email http json logging random resource select six "
    "socket sqlite3 ssl storpool subprocess uuid xml"
).split()


@pytest.fixture
def poison(tmp_path: Path) -> Path:
    """Give a folder with files of these names, which end the process that imports one."""
    folder = tmp_path / "poison"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(POISON)
    return folder


def run(folder: Path, program: str, *arguments: str, **environment: str) -> str:
    """Run a program as pip installs it; return what it said, on either stream."""
    script = folder / program
    script.write_text(SCRIPT.format(python=sys.executable, function=PROGRAMS[program]))
    script.chmod(0o755)
    done = subprocess.run(
        [script, *arguments],
        input="{}",
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "STORPOOL_OVIRT_ROOT": str(folder), **environment},
        cwd="/",
        check=False,
        timeout=60,
    )
    assert done.returncode != 99, done.stderr
    return done.stdout + done.stderr


def test_these_are_what_is_installed() -> None:
    """setup.py has them so; who else is started by Vdsm belongs here too."""
    for node in ast.walk(ast.parse(SETUP.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "entry_points":
            scripts = ast.literal_eval(node.value)["console_scripts"]
    assert {f"{name} = storpool_ovirt.launch:{to}" for name, to in PROGRAMS.items()} <= {*scripts}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_folder_in_pythonpath_gives_it_nothing(
    poison: Path, tmp_path: Path, program: str
) -> None:
    """Its work and its help are the same as without it, also where there is no host."""
    for arguments in ([], ["--help"], ["attach"]):
        alone = run(tmp_path, program, *arguments)
        assert run(tmp_path, program, *arguments, PYTHONPATH=f"{poison}:/nowhere:") == alone


def test_the_poison_works(poison: Path) -> None:
    """Without ours in front it is found."""
    code = "import json"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(poison)}, check=False
    )
    assert done.returncode == 99


def test_ours_may_itself_be_found_by_pythonpath(poison: Path, tmp_path: Path) -> None:
    """As by `pip install --target`: that folder stays, at its place."""
    tree = str(Path(storpool_ovirt.__file__).parents[1])
    path = f"{poison}:{tree}"
    said = run(tmp_path, "managedvolume-helper-storpool", "--version", PYTHONPATH=path)
    assert said == f"managedvolume-helper-storpool {storpool_ovirt.__version__}\n"


def test_its_children_do_not_get_it_either(tmp_path: Path) -> None:
    """The agent starts power agents, which may be Python too."""
    code = (
        "import os, sys; from storpool_ovirt import launch; launch._forget_the_environment();"
        "print(os.environ.get('PYTHONPATH'), '/nowhere' in sys.path)"
    )
    environment = {**os.environ, "PYTHONPATH": "/nowhere"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    assert said.stdout == b"None False\n"
