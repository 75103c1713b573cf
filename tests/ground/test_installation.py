"""How this was installed, and so what a message tells a person to run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from storpool_ovirt import installation

TREE = Path(__file__).parents[2]
PARTS = (installation.COMMAND, installation.ENGINE, installation.HOST)
# A name of ours, alone or with extras, where pip would look for it on the index.
FROM_INDEX = re.compile(
    r"install\s+[\"']*storpool-ovirt\[|pip install[^\n]*\bstorpool-ovirt(?!/)\b"
)


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """This code is that of the packages."""
    monkeypatch.setattr(installation, "__file__", f"{installation.PACKAGES_CODE}/x/y.py")


@pytest.mark.parametrize("what", PARTS)
def test_with_pip_it_is_this_pythons_own(what: str) -> None:
    """T24: what the release has hashes of, by a file that is there."""
    said = installation.mend(what, ModuleNotFoundError("x", name="psycopg2"))
    assert said.startswith(f"{sys.prefix}/bin/pip install --require-hashes --only-binary :all: -r ")
    assert (TREE / said.split(" -r ")[1].split()[0]).is_file()


@pytest.mark.usefixtures("packaged")
@pytest.mark.parametrize(
    ("what", "packages"),
    [
        (PARTS[0], "common storpool-ovirt-admin"),
        (PARTS[1], "common storpool-ovirt-admin"),
        (PARTS[2], "common storpool-ovirt-admin storpool-ovirt-host"),
    ],
)
def test_of_packages_it_is_dnf(what: str, packages: str) -> None:
    """The driver of the database is the distribution's, all else is ours; pip would be the
    system's."""
    missing = ModuleNotFoundError("No module named 'psycopg2'", name="psycopg2")
    assert installation.mend(what, missing) == "dnf install python3-psycopg2"
    broken = ImportError("libpq.so.5: cannot open shared object file", name="psycopg2._psycopg")
    assert installation.mend(what, broken) == "dnf reinstall python3-psycopg2"
    for error in (None, ImportError("x"), ModuleNotFoundError("x", name="storpool")):
        said = installation.mend(what, error)
        assert said.startswith(f"dnf reinstall storpool-ovirt-{packages}")
        assert said.endswith("storpool-ovirt-engine") == (what == installation.ENGINE)


def test_ovirts_library_is_ovirts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """T24: with pip it is built, from Python's index; of packages it is a package of oVirt's."""
    missing = ModuleNotFoundError("x", name="ovirtsdk4")
    said = installation.mend(installation.COMMAND, missing)
    assert said.startswith(f"{sys.prefix}/bin/pip install ovirt-engine-sdk-python ")
    monkeypatch.setattr(installation, "__file__", f"{installation.PACKAGES_CODE}/x/y.py")
    said = installation.mend(installation.COMMAND, missing)
    assert said == "dnf install python3-ovirt-engine-sdk4"


def test_a_program_has_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beside the one that was started, or where the packages have all."""
    monkeypatch.chdir(tmp_path)
    assert installation.program("b", "./a") == str(tmp_path / "b")
    assert installation.program("b", "/opt/x/bin/a") == "/opt/x/bin/b"
    monkeypatch.setattr(installation, "__file__", f"{installation.PACKAGES_CODE}/x/y.py")
    assert installation.program("b", "/opt/x/bin/a") == "/usr/libexec/storpool-ovirt/b"


def test_nobody_is_sent_to_the_index_for_us() -> None:
    """On the package index our name may be anybody's."""
    product = ("storpool_ovirt", "ovirt_demo", "storpool_simulator", "cinder_driver", "etc")
    for folder in (*product, "packaging"):
        for path in (TREE / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                assert not FROM_INDEX.search(path.read_text()), path
