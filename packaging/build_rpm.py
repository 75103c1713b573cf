"""`make rpm`: the packages for EL, built by rpmbuild on whatever has one, as an ordinary user.

    build_rpm.py [--output FOLDER] [--wheels FOLDER] [--commit COMMIT] [--release RELEASE]

The source is what git has: a commit, by default the last one with what was changed or added to git
since. To it come the libraries that EL has not, in the versions and with the hashes of
requirements/, from the package index, or from FOLDER where they are already; rpmbuild itself needs
no network. Two builds of one commit give the same files: nothing in them is of the time or the
machine of a build.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TREE = Path(__file__).parents[1]
NAME = "storpool-ovirt"
REQUIREMENTS = "requirements/engine.txt"
# What is bundled for whom, and which files of it: of rich the columns of admin/columns.py alone.
BUNDLED = {
    "storpool": ("common", re.compile(r"storpool/\w+\.py")),
    "six": ("common", re.compile(r"six\.py")),
    "click": ("admin", re.compile(r"click/\w+\.py")),
    "rich": ("admin", re.compile(r"rich/(__init__|_extension|cells|_unicode_data/[\w-]+)\.py")),
}
LICENCE = re.compile(r"[^/]+\.dist-info/(?:licenses/)?(LICENSE[^/]*)")
LIMIT_SECONDS = 600


class Pin(NamedTuple):
    """One library: its version, and the hashes of its files that the release knows."""

    version: str
    hashes: frozenset[str]


class Source(NamedTuple):
    """What is packed: a commit of git's, and the facts that the packages tell of it."""

    commit: str
    version: str
    release: str
    epoch: int


def git(*arguments: str, tree: Path = TREE, may_fail: bool = False) -> bytes:
    """Return what git answers; end with its own words where it does not, and may not fail."""
    # The tree may be another user's, as in CI; a stash needs somebody who made it.
    safe = ["git", "-c", "safe.directory=*", "-c", "user.name=make", "-c", "user.email=make@here"]
    if shutil.which("git") is None:
        raise SystemExit("git is not here: install it, as the packages are built of what git has")
    done = subprocess.run([*safe, *arguments], cwd=tree, capture_output=True, check=False)
    if done.returncode != 0 and not may_fail:
        raise SystemExit(f"git {arguments[0]}: {done.stderr.decode().strip()}")
    return done.stdout


def source(commit: str | None, release: str | None, tree: Path = TREE) -> Source:
    """Return what is to be packed.

    Without a release of its own the commit of the version's tag is release 1, as `make release`
    makes it. What is older sorts by time below that, what comes later above.
    """
    head = git("rev-parse", commit or "HEAD", tree=tree).decode().strip()
    changed = "" if commit else _changed(tree)
    epoch = int(git("show", "-s", "--format=%ct", head, tree=tree))
    taken = changed or head
    text = git("show", f"{taken}:storpool_ovirt/__init__.py", tree=tree).decode()
    found = re.search(r'^__version__ = "([\d.]+)"', text, re.MULTILINE)
    if found is None:
        raise SystemExit("storpool_ovirt/__init__.py has no __version__")
    moment = time.strftime("%Y%m%d%H%M%S", time.gmtime(epoch))
    between = f"{moment}.git{head[:8]}{'.changed' if changed else ''}"
    tagged = _commit_of(f"v{found[1]}", tree)
    if tagged == taken:
        own = "1"
    elif tagged and git("merge-base", tagged, head, tree=tree).decode().strip() == tagged:
        own = f"1.{between}"
    else:
        own = f"0.{between}"
    return Source(taken, found[1], release or own, epoch)


def _commit_of(tag: str, tree: Path) -> str:
    """Return the commit that a tag is at, "" where there is no such tag."""
    asked = ("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")
    return git(*asked, tree=tree, may_fail=True).decode().strip()


def _changed(tree: Path) -> str:
    """Return a commit of what was changed since the last one, "" where that is nothing.

    No branch has it, and the tree stays as it is.
    """
    # A tree that was copied looks changed until git has looked into its files, and git fails then.
    git("update-index", "-q", "--refresh", tree=tree, may_fail=True)
    if not git("diff-index", "--name-only", "HEAD", tree=tree):
        return ""
    return git("stash", "create", tree=tree).decode().strip()


def pins(text: str) -> dict[str, Pin]:
    """Return the libraries of a requirements file as they are for the oldest Python: those versions
    run on all."""
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        match = re.match(r"([\w-]+)==([\d.]+)\s*(;[^-]*)?", line)
        if match and ">=" not in (match[3] or ""):
            found[match[1]] = Pin(match[2], frozenset(re.findall(r"sha256:([0-9a-f]{64})", line)))
    return found


def wheels(wanted: Mapping[str, Pin], folder: Path) -> dict[str, Path]:
    """Return the wheels of these libraries; those that are not in the folder yet are fetched.

    Whatever is there or comes has one of the hashes, or this ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = {name: pin for name, pin in wanted.items() if _wheel(name, pin, folder) is None}
    if missing:
        _download(missing, folder)
    found = {name: _wheel(name, pin, folder) for name, pin in wanted.items()}
    return {name: path for name, path in found.items() if path is not None}


def _download(wanted: Mapping[str, Pin], folder: Path) -> None:
    lines = [
        " ".join([f"{name}=={pin.version}", *(f"--hash=sha256:{each}" for each in pin.hashes)])
        for name, pin in wanted.items()
    ]
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place, "wanted.txt")
        listed.write_text("\n".join(lines) + "\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet"]
        command += ["--disable-pip-version-check", "--require-hashes", "--no-deps"]
        command += ["--only-binary", ":all:", "--requirement", str(listed), "--dest", str(folder)]
        # A constraint for other Pythons is not meant for these.
        environment = {key: each for key, each in os.environ.items() if key != "PIP_CONSTRAINT"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise SystemExit(f"the libraries to bundle ({', '.join(wanted)}) cannot be had: {last}")


def _wheel(name: str, pin: Pin, folder: Path) -> Path | None:
    for path in sorted(folder.glob(f"{name}-{pin.version}-*.whl")):
        if hashlib.sha256(path.read_bytes()).hexdigest() in pin.hashes:
            return path
    return None


def bundled(found: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    """Yield what the libraries add to the source: paths and contents, with their licences."""
    for name, path in sorted(found.items()):
        whose, wanted = BUNDLED[name]
        with zipfile.ZipFile(path) as wheel:
            for each in sorted(wheel.namelist()):
                licence = LICENCE.fullmatch(each)
                if licence:
                    yield f"bundled/licenses/{name}/{licence[1]}", wheel.read(each)
                elif wanted.fullmatch(each):
                    yield f"bundled/{whose}/{each}", wheel.read(each)


def tarball(packed: Source, more: Sequence[tuple[str, bytes]], tree: Path = TREE) -> bytes:
    """Return the tarball: what git has, and more, with nothing of the moment in it."""
    prefix = f"{NAME}-{packed.version}/"
    made = io.BytesIO()
    archive = git("archive", "--format=tar", f"--prefix={prefix}", packed.commit, tree=tree)
    with (
        gzip.GzipFile(filename="", fileobj=made, mode="wb", mtime=packed.epoch) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as out,
        tarfile.open(fileobj=io.BytesIO(archive)) as given,
    ):
        for member in given:
            content = given.extractfile(member) if member.isfile() else None
            out.addfile(plain(member, packed.epoch), content)
        for path, data in more:
            member = tarfile.TarInfo(prefix + path)
            member.size, member.mode = len(data), 0o644
            out.addfile(plain(member, packed.epoch), io.BytesIO(data))
    return made.getvalue()


def plain(member: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    """Return a member of an archive without time, user and rights of its making."""
    member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "root", "root"
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    member.pax_headers = {}
    return member


def spec(packed: Source, versions: Mapping[str, str], tree: Path = TREE) -> str:
    """Return the spec file, with the facts in their places."""
    text = git("show", f"{packed.commit}:packaging/{NAME}.spec.in", tree=tree).decode()
    facts = {
        **versions,
        "VERSION": packed.version,
        "RELEASE": packed.release,
        "DATE": _date(packed.epoch),
        "EPOCH": str(packed.epoch),
    }
    return re.sub(r"@(\w+)@", lambda match: facts[match[1]], text)


def _date(epoch: int) -> str:
    """Return the day in rpm's words, whatever language is spoken here."""
    day = time.gmtime(epoch)
    weekday = "Mon Tue Wed Thu Fri Sat Sun".split()[day.tm_wday]  # noqa: SIM905
    month = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()[day.tm_mon - 1]  # noqa: SIM905
    return f"{weekday} {month} {day.tm_mday:02} {day.tm_year}"


def build(packed: Source, output: Path, store: Path, tree: Path = TREE) -> list[Path]:
    """Build the packages and their source package, and return where they are."""
    if shutil.which("rpmbuild") is None:
        raise SystemExit("rpmbuild is not here: install rpm-build (EL) or rpm (Debian)")
    listed = git("show", f"{packed.commit}:{REQUIREMENTS}", tree=tree).decode()
    wanted = {name: pin for name, pin in pins(listed).items() if name in BUNDLED}
    found = wheels(wanted, store)
    more = list(bundled(found))
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        name = f"{NAME}-{packed.version}.tar.gz"
        (top / "SOURCES").mkdir()
        (top / "SOURCES" / name).write_bytes(tarball(packed, more, tree))
        file = top / f"{NAME}.spec"
        file.write_text(spec(packed, {key: pin.version for key, pin in wanted.items()}, tree))
        for each in (file, top / "SOURCES" / name):
            os.utime(each, (packed.epoch, packed.epoch))
            each.chmod(0o644)
        _rpmbuild(file, top, packed.epoch)
        made = sorted([*top.glob("RPMS/noarch/*.rpm"), *top.glob("SRPMS/*.rpm")])
        output.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copy(each, output)) for each in made]


def _rpmbuild(file: Path, top: Path, epoch: int) -> None:
    """Run rpmbuild; what it asks for to build is Python, which it has where it is not EL too."""
    command = ["rpmbuild", "-ba", "--nodeps", "--define", f"_topdir {top}"]
    command += ["--define", "_srcdefattr (-,root,root)", str(file)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
    )
    if done.returncode != 0:
        raise SystemExit("rpmbuild failed:\n" + "\n".join(done.stderr.splitlines()[-30:]))


def clear(folder: Path, made: Sequence[Path]) -> None:
    """Take away the packages of earlier builds: who installs all in the folder gets one of each."""
    for each in folder.glob(f"{NAME}-*.rpm"):
        if each not in made:
            each.unlink()


def main(arguments: Sequence[str] | None = None) -> None:
    """Build what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=TREE / "dist")
    parser.add_argument("--wheels", type=Path, default=TREE / "build" / "wheels")
    parser.add_argument("--commit")
    parser.add_argument("--release")
    given = parser.parse_args(arguments)
    packed = source(given.commit, given.release)
    made = build(packed, given.output, given.wheels)
    clear(given.output, made)
    for each in made:
        print(os.path.relpath(each))


if __name__ == "__main__":
    main()
