"""-cinder, beside a Python that has Cinder: found behind everything that is that Python's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import package_root
import pytest

PTH = "/usr/lib/python3.9/site-packages/00-storpool-ovirt.pth"


@pytest.fixture
def root(installed: Callable[[str], package_root.Root], tmp_path: Path) -> package_root.Root:
    """A machine with it, whose Python reads the file that EL's Python reads."""
    tmp_path.chmod(0o755)
    made = installed("cinder").copy(tmp_path / "root")
    home = tmp_path / "python"
    shutil.copytree(made.python.home, home, symlinks=True)
    made.python = made.python._replace(home=home)
    site = next(home.glob("lib/python3*/site-packages"))
    for each in site.iterdir():
        shutil.rmtree(each)
    shutil.copy(made.path(PTH), site)
    return made


def said_by(root: package_root.Root, code: str) -> str:
    """Run some Python there as Cinder's user would."""
    done = root.run("/usr/bin/python3", "-c", code, user="vdsm")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_cinder_imports_is_there(root: package_root.Root) -> None:
    """The driver's package, the core, the binding; nothing that only our own programs bundle."""
    told = said_by(
        root,
        "import cinder_driver, storpool_ovirt\n"
        "from storpool_ovirt.cluster import binding\n"
        "binding.load()\n"
        "import importlib.util as u\n"
        "print([u.find_spec(n) is not None for n in ('storpool', 'six', 'click', 'rich')])",
    )
    assert told == "[True, True, False, False]"


def test_oslo_config_finds_our_options(root: package_root.Root) -> None:
    """By the entry point, as after an installation with pip."""
    told = said_by(
        root,
        "from importlib import metadata as m\n"
        "d = m.distribution('storpool-ovirt')\n"
        "print(d.requires, [(e.group, e.name, e.value) for e in d.entry_points])",
    )
    assert told == "None [('oslo.config.opts', 'cinder_driver', 'cinder_driver.options:list_opts')]"


def test_what_that_python_has_itself_comes_first(root: package_root.Root) -> None:
    """A binding that administrators installed, for Cinder's own StorPool driver, stays theirs."""
    site = next(root.python.home.glob("lib/python3*/site-packages"))
    (site / "storpool").mkdir()
    (site / "storpool" / "spapi.py").write_text("WHOSE = 'theirs'\n")
    (site / "storpool" / "spopenstack.py").write_text("")
    told = said_by(root, "import storpool.spapi as s, storpool.spopenstack; print(s.WHOSE)")
    assert told == "theirs"
