"""The collection: what it says of itself is so, linters pass, and its archive installs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from controller import BIN, COLLECTION, TREE

import storpool_ovirt

sys.path.append(str(TREE / "packaging"))  # no part of the product, but what `make release` runs
import build_collection
import build_rpm

yaml = pytest.importorskip("yaml", reason="Ansible is not installed here: tox -e ansible")

LIMIT_SECONDS = 120
ROLES = ("engine", "host")
_A_ROW = re.compile(r"^\| `(\w+)` \| ([\w ]+) \| (.*?) \| (.*) \|$", re.MULTILINE)


def read(name: str) -> Any:
    """Return what a file of the collection says."""
    return yaml.safe_load((COLLECTION / name).read_text())


def run(program: str, *arguments: object, at: Path, **environment: str) -> str:
    """Run one of Ansible's programs, which has to succeed; return all that it writes."""
    done = subprocess.run(
        [BIN / program, *map(str, arguments)],
        cwd=at,
        env={
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "NO_COLOR": "1",
            # ansible-lint looks for the others of its kind there.
            "PATH": f"{BIN}:{os.environ['PATH']}",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def collections(tmp_path: Path) -> Path:
    """A folder of collections that has this one."""
    folder = tmp_path / "collections"
    place = folder / "ansible_collections" / "storpool"
    place.mkdir(parents=True)
    (place / "ovirt").symlink_to(COLLECTION)
    return folder


def test_its_version_and_licence_are_the_products() -> None:
    """It is released with the product, under the same licence; its changes are told."""
    assert read("galaxy.yml")["version"] == storpool_ovirt.__version__
    changes = (COLLECTION / "CHANGELOG.md").read_text()
    assert f"\n## {storpool_ovirt.__version__}\n" in changes
    assert (COLLECTION / "LICENSE").read_text() == (TREE / "LICENSE").read_text()


@pytest.mark.parametrize("role", ROLES)
def test_a_variable_is_told_once_in_each_place_and_alike(role: str) -> None:
    """What the README's table has is what is checked, and what is so without it; each begins with
    the role's name."""
    told = read(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = read(f"roles/{role}/defaults/main.yml")
    assert {name: each["default"] for name, each in told.items()} == defaults
    rows = _A_ROW.findall((COLLECTION / f"roles/{role}/README.md").read_text())
    assert [name for name, *_ in rows] == list(told)
    for name, kind, default, about in rows:
        assert name.startswith(f"{role}_storpool_")
        each = told[name]
        of = f" of {each['elements']}" if "elements" in each else ""
        assert kind == f"{each['type']}{of}", name
        wanted = each["default"]
        if "{{" in str(wanted):
            assert default != ""
        elif wanted == "":
            assert default == ""
        else:
            assert default.strip("`") == shown(wanted), name
        for value in each.get("choices", []):
            assert f"`{value}`" in about, name


def shown(value: Any) -> str:
    """Return how a README shows a value."""
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    return json.dumps(value) if isinstance(value, bool) else str(value)


def test_what_is_secret_is_said_to_be() -> None:
    """A token or a password is never shown among arguments."""
    for role in ROLES:
        told = read(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
        for name, each in told.items():
            assert ("no_log" in each) == bool(re.search("token$|password$", name)), name


def test_linters_have_nothing_to_say(collections: Path) -> None:
    """ansible-lint with what is asked of certified collections (profile production), and
    yamllint."""
    said = run("ansible-lint", at=COLLECTION, ANSIBLE_COLLECTIONS_PATH=str(collections))
    assert "Passed: 0 failure(s), 0 warning(s)" in said
    assert "Profile 'production' was required, and it passed." in said
    assert run("yamllint", "--strict", ".", at=COLLECTION) == ""


def test_its_archive_installs_into_an_empty_folder(tmp_path: Path) -> None:
    """`ansible-galaxy collection build` makes it, with what a user reads and nothing of the
    linters; its roles and its playbook are found where it was installed, by their full names."""
    where = {"ANSIBLE_HOME": str(tmp_path / "home")}
    run("ansible-galaxy", "collection", "build", COLLECTION, at=tmp_path, **where)
    archive = tmp_path / f"storpool-ovirt-{storpool_ovirt.__version__}.tar.gz"
    with tarfile.open(archive) as opened:
        names = set(opened.getnames())
    assert names >= {"README.md", "LICENSE", "CHANGELOG.md", "meta/runtime.yml", "MANIFEST.json"}
    assert not [each for each in names if "lint" in each]
    installed = tmp_path / "installed"
    run("ansible-galaxy", "collection", "install", archive, "-p", installed, at=tmp_path, **where)
    where["ANSIBLE_COLLECTIONS_PATH"] = str(installed)
    listed = run("ansible-doc", "-t", "role", "-l", "--json", at=tmp_path, **where)
    assert {f"storpool.ovirt.{each}" for each in ROLES} <= set(json.loads(listed))
    for role in ROLES:
        told = run("ansible-doc", "-t", "role", f"storpool.ovirt.{role}", at=tmp_path, **where)
        assert f"{role}_storpool_needs_you" in told
    play = f"- hosts: localhost\n  roles: [{', '.join(f'storpool.ovirt.{each}' for each in ROLES)}]"
    (tmp_path / "play.yml").write_text(play)
    words = ["-i", "localhost,", "--syntax-check"]
    run("ansible-playbook", *words, "play.yml", at=tmp_path, **where)


def test_a_release_has_the_same_archive(tmp_path: Path) -> None:
    """`make release` builds it without Ansible, of what git has: it says and has what
    ansible-galaxy's would, two builds are the same, and it installs under its own name."""
    git = {
        f"GIT_{each}_{what}": "x@y"
        for each in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    tree = tmp_path / "tree"
    shutil.copytree(COLLECTION, tree / "ansible", ignore=shutil.ignore_patterns(".ansible"))
    (tree / "storpool_ovirt").mkdir()
    shutil.copy(TREE / "storpool_ovirt" / "__init__.py", tree / "storpool_ovirt")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", *words], cwd=tree, check=True, env={**os.environ, **git})
    packed = build_rpm.source("HEAD", "1", tree)
    archive = build_collection.build(packed, tmp_path, tree)
    assert archive.name == f"ansible-storpool-ovirt-{storpool_ovirt.__version__}.tar.gz"
    first = archive.read_bytes()
    assert build_collection.build(packed, tmp_path, tree).read_bytes() == first
    where = {"ANSIBLE_HOME": str(tmp_path / "home")}
    run("ansible-galaxy", "collection", "build", tree / "ansible", at=tmp_path, **where)
    theirs = tmp_path / f"storpool-ovirt-{storpool_ovirt.__version__}.tar.gz"
    assert packed_in(archive) == packed_in(theirs)
    words = ["collection", "install", archive, "-p", tmp_path / "installed"]
    run("ansible-galaxy", *words, at=tmp_path, **where)
    run(
        "ansible-galaxy",
        "collection",
        "verify",
        "storpool.ovirt",
        "--offline",
        at=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "installed"),
        **where,
    )


def packed_in(archive: Path) -> dict[str, object]:
    """Return what an archive has; its documents as facts, whose rows have no order."""
    with tarfile.open(archive) as opened:
        found: dict[str, object] = {}
        for member in opened:
            file = opened.extractfile(member)
            found[member.name] = (member.mode, file.read() if file else None)
        facts = json.loads(opened.extractfile("FILES.json").read())
        manifest = json.loads(opened.extractfile("MANIFEST.json").read())
    del manifest["file_manifest_file"]["chksum_sha256"]
    found["FILES.json"] = sorted(json.dumps(each) for each in facts["files"]), facts["format"]
    found["MANIFEST.json"] = manifest
    return found
