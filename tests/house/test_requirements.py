"""requirements/: what a release installs is pinned by hash for every supported Python, and the
commands of docs/install.md work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

TREE = Path(__file__).parents[2]
FILES = {"host.txt": ["host"], "engine.txt": ["engine", "admin"]}
PYTHONS = [f"3.{minor}" for minor in range(9, 14)]
LIMIT_SECONDS = 300
# Each program of an installation, how it is asked for its name, and what it says then.
PROGRAMS = {
    "storpool-vm-hook": ([], 2, "was not started as one of Vdsm's hooks"),
    "storpool-vm-door": (["x"], 2, "takes no arguments"),
    "storpool-fence-door": (["x"], 1, "does not take these arguments"),
    "fence_storpool": (["-o", "metadata"], 0, "<resource-agent"),
}
SHIPPED = len([*(TREE / "storpool_ovirt" / "setup" / "files").glob("*/*")])
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def pins(name: str) -> list[tuple[Requirement, int]]:
    """Return the requirements of a file, each with the number of its hashes."""
    text = (TREE / "requirements" / name).read_text().replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if line and line[0] != "#":
            bare, hashes = _HASH.subn("", line)
            found.append((Requirement(bare.strip()), hashes))
    return found


def in_force(found: Sequence[tuple[Requirement, int]], python: str) -> dict[str, str]:
    """Return the versions by name that hold for a Python on Linux."""
    facts = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
    }
    holding = [each for each, _ in found if each.marker is None or each.marker.evaluate(facts)]
    assert len({each.name for each in holding}) == len(holding), "one version of each"
    return {each.name: str(each.specifier)[len("==") :] for each in holding}


def asked_for(extras: Sequence[str]) -> Iterator[Requirement]:
    """Give what setup.py asks for, as an installation would read it."""
    code = (
        "import json, setuptools; setuptools.setup = lambda **given: print(json.dumps("
        "[given['install_requires'], given['extras_require']])); exec(open('setup.py').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TREE, capture_output=True, text=True, check=True
    )
    always, by_extra = json.loads(done.stdout)
    for text in [
        *always,
        *(each for extra in extras for each in by_extra[extra]),
        "setuptools>=70.1",
    ]:
        yield Requirement(text)


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_has_one_version_and_its_hashes(name: str) -> None:
    """Nothing is left to what the index has on the day of an installation, and no index is
    named."""
    found = pins(name)
    assert found
    for requirement, hashes in found:
        assert re.fullmatch(r"==[0-9][0-9.]*", str(requirement.specifier)), requirement
        assert hashes > 0, requirement
    text = (TREE / "requirements" / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "/tmp" not in text


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", FILES)
def test_what_setup_py_asks_for_is_there(name: str, python: str) -> None:
    """On every supported Python the file has what setup.py asks for, in a version that it takes,
    and what is tested."""
    there = in_force(pins(name), python)
    for requirement in asked_for(FILES[name]):
        assert requirement.specifier.contains(there[requirement.name]), requirement
    tested = in_force([(Requirement(line), 0) for line in _constraints()], python)
    assert {each: version for each, version in there.items() if each in tested} == {
        each: version for each, version in tested.items() if each in there
    }


@pytest.fixture(scope="module", params=PYTHONS)
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a virtual environment of a Python with nothing in it, to be copied: to make one takes as
    long as all that is installed into it. It works at one path alone, beside it."""
    interpreter = _interpreter(request.param)
    folder = tmp_path_factory.mktemp("installation")
    subprocess.run([interpreter, "-m", "venv", folder / "venv"], check=True, timeout=LIMIT_SECONDS)
    pip = str(folder / "venv" / "bin" / "pip")
    command = [pip, "download", "--no-deps", "--dest", str(folder / "try"), "six"]
    if _run(command, _environment()).returncode != 0:
        pytest.skip("the package index cannot be reached")
    return (folder / "venv").rename(folder / "fresh")


@pytest.mark.parametrize("name", FILES)
def test_an_installation_as_the_paper_has_it(name: str, python: Path, tmp_path: Path) -> None:
    """The two commands of docs/install.md, in a fresh virtual environment: what is installed fits
    together, and its programs run."""
    venv = python.with_name("venv")
    shutil.copytree(python, venv, symlinks=True)
    try:
        _install(name, venv, _sources(tmp_path))
    finally:
        shutil.rmtree(venv)


def _install(name: str, venv: Path, sources: Path) -> None:
    pip = str(venv / "bin" / "pip")
    for command in _written(name):
        done = _run([pip, *command], _environment(), cwd=sources)
        assert done.returncode == 0, done.stdout + done.stderr
    assert _run([pip, "check"], _environment()).returncode == 0
    for program, (arguments, code, said) in PROGRAMS.items():
        ran = _run([str(venv / "bin" / program), *arguments], {})
        assert (ran.returncode, said in ran.stdout + ran.stderr) == (code, True), ran
    command = str(venv / "bin" / "storpool-ovirt")
    for words in (["--help"], ["setup", "--help"]):
        assert _run([command, *words], {}).returncode == 0
    files = venv.glob("lib/python*/site-packages/storpool_ovirt/setup/files/*/*")
    assert len({*files}) == SHIPPED, "what setup puts in place comes with pip"


def _environment() -> dict[str, str]:
    return {
        key: value
        for key, value in os.environ.items()
        if key not in ("PIP_CONSTRAINT", "PYTHONPATH")
    }


def _written(name: str) -> list[list[str]]:
    """Return pip's arguments in the section of docs/install.md that names this file."""
    commands = re.findall(
        r"^    /opt/storpool-ovirt/bin/pip (install .*?)(?:\s+#.*)?$",
        _text("docs/install.md"),
        re.MULTILINE,
    )
    firsts = [at for at, command in enumerate(commands) if f"requirements/{name}" in command]
    assert len(firsts) == 1, commands
    found = [command.split() for command in commands[firsts[0] : firsts[0] + 2]]
    assert "--require-hashes" in found[0]
    assert found[1] == ["install", "--no-deps", "--no-build-isolation", "."]
    return found


def _sources(folder: Path) -> Path:
    """Copy what an installation needs, so that it leaves nothing in the tree."""
    made = folder / "sources"
    if not made.exists():
        made.mkdir()
        for each in ("setup.py", "pyproject.toml", "README.md"):
            shutil.copy(TREE / each, made)
        for each in ("storpool_ovirt", "cinder_driver", "requirements"):
            shutil.copytree(TREE / each, made / each, ignore=shutil.ignore_patterns("__pycache__"))
    return made


def _interpreter(python: str) -> str:
    """Return one that runs: in front of it there may be a stand-in that only tells which versions
    there are."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found = shutil.which(f"python{python}", path=folder)
        if (
            found is not None
            and _run([found, "-c", "import venv"], dict(os.environ)).returncode == 0
        ):
            return found
    pytest.skip(f"Python {python} is not here")


def _constraints() -> list[str]:
    lines = _text("requirements/constraints.txt").splitlines()
    return [line for line in lines if line and line[0] != "#"]


def _text(name: str) -> str:
    return (TREE / name).read_text()


def _run(
    command: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=dict(environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_SECONDS,
    )
