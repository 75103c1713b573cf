"""`make release`: the version in storpool_ovirt/__init__.py becomes a release, in dist/ and in git.

    release.py [--output FOLDER] [--wheels FOLDER]

CHANGELOG.md's section "Unreleased" gets the version and today's date; the source archive, the
wheel, the packages and the Ansible collection are built of that and of nothing else, with their
checksums; then the commit and the tag v<version> are made. Nothing is pushed. Where any of it
fails, nothing has changed: neither a file, nor git, nor dist/. Refused: a tree with changes, a
version that has a tag, nothing to tell.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import build_collection
import build_rpm

CHANGELOG = "CHANGELOG.md"
UNRELEASED = re.compile(r"^## \[Unreleased\].*\n", re.MULTILINE)
NEXT = "## [Unreleased]\n\n"
# Sentences that hold before the first release and not after it.
BEFORE_ANY = " Nothing was released yet."
CHECKSUMS = "SHA256SUMS"
LIMIT_SECONDS = 600


def released(changelog: str, version: str, day: str) -> str:
    """Return the changelog in which what was not released has this version; end where that is
    nothing."""
    match = UNRELEASED.search(changelog)
    if match is None:
        raise SystemExit(f"{CHANGELOG} has no section [Unreleased]")
    section = re.split(r"^## \[", changelog[match.end() :], maxsplit=1, flags=re.MULTILINE)[0]
    if not re.search(r"^- ", section, re.MULTILINE):
        raise SystemExit(f"{CHANGELOG} tells nothing in its section [Unreleased]")
    head = changelog[: match.start()].replace(BEFORE_ANY, "")
    return f"{head}{NEXT}## [{version}] - {day}\n{changelog[match.end() :]}"


def check(version: str, tree: Path) -> None:
    """End with a sentence where there can be no release of this tree."""
    changed = build_rpm.git("status", "--porcelain", tree=tree).decode()
    if changed:
        raise SystemExit(
            f"the tree has changes that are not in git: commit them first\n{changed.rstrip()}"
        )
    if build_rpm.git("tag", "--list", f"v{version}", tree=tree):
        raise SystemExit(
            f"v{version} was released already: raise the version in storpool_ovirt/__init__.py"
        )


def committed(changelog: str, version: str, tree: Path) -> str:
    """Make the commit of the release in git's store, where no branch has it yet; return its id."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "changelog")
        file.write_text(changelog, encoding="utf-8")
        blob = build_rpm.git("hash-object", "-w", str(file), tree=tree).decode().strip()
        index = {"GIT_INDEX_FILE": str(Path(place, "index"))}
        _plumb(["read-tree", "HEAD"], tree, index)
        _plumb(["update-index", "--cacheinfo", f"100644,{blob},{CHANGELOG}"], tree, index)
        whole = _plumb(["write-tree"], tree, index)
    return _plumb(["commit-tree", whole, "-p", "HEAD", "-m", f"release: {version}"], tree, {})


def _plumb(arguments: Sequence[str], tree: Path, environment: dict[str, str]) -> str:
    """Run a command of git's as whoever this is, and return what it answers."""
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments],
        cwd=tree,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def archives(packed: build_rpm.Source, output: Path, tree: Path) -> None:
    """Build the source archive and the wheel of a commit."""
    with tempfile.TemporaryDirectory() as place:
        text = build_rpm.git("archive", "--format=tar", packed.commit, tree=tree)
        subprocess.run(["tar", "-xf", "-", "-C", place], input=text, check=True)
        code = (
            "import sys; from setuptools import build_meta as b; to = sys.argv[1];"
            " b.build_sdist(to); b.build_wheel(to)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(output.resolve())],
            cwd=place,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(packed.epoch)},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )
    if done.returncode != 0:
        raise SystemExit("setuptools failed:\n" + "\n".join(done.stderr.splitlines()[-30:]))
    for each in output.glob("*.tar.gz"):
        each.write_bytes(_timeless(each.read_bytes(), packed.epoch))


def _timeless(archive: bytes, epoch: int) -> bytes:
    """Return a source archive without the times and the users of its making."""
    made = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=made, mode="wb", mtime=epoch) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as out,
        tarfile.open(fileobj=io.BytesIO(archive)) as given,
    ):
        for member in sorted(given, key=lambda each: each.name):
            content = given.extractfile(member) if member.isfile() else None
            out.addfile(build_rpm.plain(member, epoch), content)
    return made.getvalue()


def checksums(folder: Path) -> None:
    """Write what `sha256sum --check` reads."""
    lines = [
        f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n"
        for each in sorted(folder.iterdir())
    ]
    (folder / CHECKSUMS).write_text("".join(lines))


def release(tree: Path, output: Path, wheels: Path, day: str) -> list[Path]:
    """Make the release; return the files in dist/."""
    version = build_rpm.source("HEAD", "1", tree).version
    check(version, tree)
    changelog = (tree / CHANGELOG).read_text(encoding="utf-8")
    commit = committed(released(changelog, version, day), version, tree)
    packed = build_rpm.source(commit, "1", tree)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".") as place:
        made = Path(place)
        archives(packed, made, tree)
        build_collection.build(packed, made, tree)
        build_rpm.build(packed, made, wheels, tree)
        checksums(made)
        _plumb(["merge", "--ff-only", "--quiet", commit], tree, {})
        told = f"storpool-ovirt {version}"
        _plumb(["tag", "--annotate", f"v{version}", "-m", told, commit], tree, {})
        return sorted(each.replace(output / each.name) for each in made.iterdir())


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the release, and tell what to do with it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=build_rpm.TREE / "dist")
    parser.add_argument("--wheels", type=Path, default=build_rpm.TREE / "build" / "wheels")
    given = parser.parse_args(arguments)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    for each in release(build_rpm.TREE, given.output, given.wheels, day):
        print(os.path.relpath(each))
    print("Not pushed yet: git push --follow-tags")


if __name__ == "__main__":
    main()
