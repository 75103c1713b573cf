"""What the packages are, as rpm tells it of files that nobody has installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rigs import built_packages
from rigs.built_packages import PACKAGES, TREE, query

CODE = "/usr/lib/storpool-ovirt"
LICENCES = {"common": ("six", "storpool"), "admin": ("click", "rich")}


def files(package: Path) -> dict[str, tuple[str, str, str]]:
    """Return what a package has by path: mode, owner, target of a link."""
    form = r"[%{FILENAMES}\t%{FILEMODES:perms}\t%{FILEUSERNAME}:%{FILEGROUPNAME}\t%{FILELINKTOS}\n]"
    rows = (line.split("\t") for line in query(package, "--queryformat", form))
    return {path: (mode, owner, target) for path, mode, owner, target in rows}


def test_each_is_for_every_machine(packages: dict[str, Path]) -> None:
    """No machine code, no version of Python, but that of two .pth files."""
    assert set(packages) == {*PACKAGES, "src"}
    for name in PACKAGES:
        assert query(packages[name], "--queryformat", "%{ARCH}") == ["noarch"]
        assert not [each for each in files(packages[name]) if each.endswith((".so", ".pyc"))]
    versioned = [each for name in PACKAGES for each in files(packages[name]) if "/python3." in each]
    assert sorted(versioned) == [
        f"/usr/lib/python3.{minor}/site-packages/00-storpool-ovirt.pth" for minor in (12, 9)
    ]


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("common", {"/usr/bin/python3", "python3 >= 3.9"}),
        ("admin", set()),
        ("engine", {"ovirt-engine-backend >= 4.5.4", "python3-psycopg2", "logrotate"}),
        ("host", {"vdsm >= 4.50.5.1", "sudo", "logrotate"}),
        ("cinder", set()),
    ],
)
def test_each_needs_what_a_distribution_has(
    name: str, needs: set[str], packages: dict[str, Path]
) -> None:
    """And nothing by the name that it has in the Python package index."""
    asked = set(query(packages[name], "--requires"))
    own = {each for each in asked if each.startswith(("storpool-ovirt-", "config(", "rpmlib("))}
    rest = asked - own - {"/bin/sh", "/usr/bin/python3", "ovirt-engine-backend"}
    assert rest == needs - {"/usr/bin/python3"}
    assert needs <= asked
    if name != "common":
        release = query(packages[name], "--queryformat", "%{VERSION}-%{RELEASE}")[0]
        needed = "admin" if name in ("engine", "host") else "common"
        assert f"storpool-ovirt-{needed} = {release}" in own


def test_what_only_engines_machine_has_is_recommended(packages: dict[str, Path]) -> None:
    """The command works on a host without it; no other package asks for more than it needs."""
    for name in PACKAGES:
        told = {"python3-psycopg2", "python3-ovirt-engine-sdk4"} if name == "admin" else set()
        assert set(query(packages[name], "--recommends")) - {"user(ovirt)", "group(ovirt)"} == told


def test_what_is_bundled_is_told_with_its_licence(packages: dict[str, Path]) -> None:
    """By rpm's way to say so, in the versions of requirements/."""
    pinned = (TREE / "requirements" / "engine.txt").read_text()
    for name, libraries in LICENCES.items():
        provided = query(packages[name], "--provides")
        for library in libraries:
            told = [each for each in provided if f"python3dist({library}))" in each]
            assert len(told) == 1
            assert f"{library}=={told[0].split(' = ')[1]}" in pinned
            assert any(
                path.startswith(f"/usr/share/licenses/storpool-ovirt-{name}")
                and f"/{library}/LICENSE" in path
                for path in files(packages[name])
            )
    for name in PACKAGES:
        assert any(path.endswith("/LICENSE") for path in query(packages[name], "--licensefiles"))


def test_only_cinders_has_a_dist_info(packages: dict[str, Path]) -> None:
    """It asks for nothing: that of pip would ask for psycopg2-binary."""
    for name in PACKAGES:
        found = [path for path in files(packages[name]) if "dist-info" in path or "egg" in path]
        assert bool(found) == (name == "cinder"), name
        assert all(path.startswith(CODE) for path in found)


def test_what_vdsm_runs_has_nothing_of_engines(packages: dict[str, Path]) -> None:
    """Nor of the administrators' command, which its package needs; simulator and demo are in
    none."""
    hosts = {path for name in ("common", "host") for path in files(packages[name])}
    rooms = [f"{CODE}/storpool_ovirt/{each}" for each in ("admin", "doctor", "engine", "setup")]
    assert not [each for each in hosts if each.startswith((*rooms, f"{CODE}/bundled-admin"))]
    assert not [each for each in hosts if "click" in each or "psycopg2" in each]
    all_files = {path for name in PACKAGES for path in files(packages[name])}
    assert not [each for each in all_files if "storpool_simulator" in each or "ovirt_demo" in each]


def test_no_file_is_in_two_of_them(packages: dict[str, Path]) -> None:
    """So that any of them may be with any other."""
    found = [
        path
        for name in PACKAGES
        for path, (mode, _, _) in files(packages[name]).items()
        if mode[0] != "d"
    ]
    assert len(found) == len(set(found))


def test_rights_and_owners(packages: dict[str, Path]) -> None:
    """Root's, and nobody else's to write; what sudo and two folders want is theirs."""
    others = {
        "/var/log/ovirt-engine/managedblock": ("drwx------", "ovirt:ovirt"),
        "/var/log/storpool-ovirt": ("drwx------", "root:root"),
        "/etc/ovirt-engine/storpool-ovirt": ("drwxr-x---", "root:ovirt"),
        "/etc/sudoers.d/storpool-ovirt": ("-r--r-----", "root:root"),
    }
    found = {path: each for name in PACKAGES for path, each in files(packages[name]).items()}
    for path, wanted in others.items():
        assert found.pop(path)[:2] == wanted
    for path, (mode, owner, _) in found.items():
        assert owner == "root:root", path
        runs = path.startswith("/usr/libexec/storpool-ovirt/")
        allowed = {"-": "-rwxr-xr-x" if runs else "-rw-r--r--", "d": "drwxr-xr-x"}
        assert mode == allowed.get(mode[0], "lrwxrwxrwx"), path


def test_what_an_administrator_may_change_is_kept(packages: dict[str, Path]) -> None:
    """Settings are settings for rpm too; nothing else is."""
    for name in PACKAGES:
        settings = query(packages[name], "--configfiles")
        assert settings == [path for path in files(packages[name]) if _is_setting(path)]


def _is_setting(path: str) -> bool:
    folders = ("/etc/multipath/conf.d", "/etc/ovirt-engine/storpool-ovirt")
    return path.startswith("/etc/") and path not in folders


def test_two_builds_give_the_same_files(packages: dict[str, Path], tmp_path: Path) -> None:
    """Of one commit, byte for byte, whenever and by whoever they are built."""
    again = built_packages.build(tmp_path, umask=0o077, TZ="Pacific/Auckland", LC_ALL="POSIX")
    assert {path.name for path in again.values()} == {path.name for path in packages.values()}
    for name, path in packages.items():
        assert again[name].read_bytes() == path.read_bytes(), name


def test_rpmlint_finds_nothing_new(packages: dict[str, Path]) -> None:
    """What it finds and we mean is in packaging/rpmlint.toml, each with its reason."""
    if shutil.which("rpmlint") is None:
        pytest.skip("rpmlint is not installed here (.ci/packages)")
    command = ["rpmlint", "--config", str(TREE / "packaging" / "rpmlint.toml")]
    done = subprocess.run(
        [*command, *map(str, packages.values())],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    found = [line for line in done.stdout.splitlines() if ": W: " in line or ": E: " in line]
    assert found == []
    assert done.returncode == 0, done.stdout + done.stderr
