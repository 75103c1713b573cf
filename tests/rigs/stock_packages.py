"""Packages that stand in for those of oVirt and of the system.

They have names, versions, files and owners as theirs have them (ovirt-engine.spec.in of the tags
ovirt-engine-4.5.6, 4.5.7 and master, vdsm.spec.in of v4.50.7), and nothing in them that works.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import ovirt_demo

PLAYERS = Path(ovirt_demo.__file__).parent / "players"
# Engine's client is a program that says who it is and what it was given.
_SPEC = r"""
%global __os_install_post %{{nil}}
%global _build_id_links none
Name: {name}
Version: {version}
Release: 1
Summary: A stand-in
License: Apache-2.0
BuildArch: noarch
AutoReqProv: no
{head}
%description
A stand-in.
%install
{install}
%files
{files}
"""
CLIENT = "/usr/share/ovirt-engine/cinderlib/cinderlib-client.py"
_CLIENT = """#!/usr/bin/python3
import sys

import config

print(f"stock {config.VERSION}", *sys.argv[1:])
"""
ENGINES = ("4.5.6", "4.5.7", "4.5.8")
VDSMS = ("4.50.5.1", "4.50.7")
HOOKS = (
    "before_vm_start",
    "before_disk_hotplug",
    "before_vm_migrate_source",
    "after_disk_hotunplug",
    "before_vdsm_start",
)


def system(folder: Path, python: str) -> Path:
    """Build what the system has for ours to need."""
    provided = ["/bin/sh", "/usr/bin/python3", f"python3 = {python}", "python3-psycopg2"]
    provided += ["sudo", "logrotate"]
    return _built(folder, "system", "1", "\n".join(f"Provides: {each}" for each in provided))


def python3(folder: Path, version: str) -> Path:
    """Build the system's python3, which has its one program: a link, as EL's is."""
    minor = version.rpartition(".")[0]
    install = "mkdir -p %{buildroot}/usr/bin\n"
    install += f"ln -s /opt/python/bin/python{minor} %{{buildroot}}/usr/bin/python3\n"
    return _built(folder, "python3", version, "", install, "/usr/bin/python3")


def engine(folder: Path, version: str) -> list[Path]:
    """Build ovirt-engine and its backend; from 4.5.8 on the client is in another folder."""
    new = tuple(map(int, version.split("."))) >= (4, 5, 8)
    data = f"/usr/share/ovirt-engine/{'managedblock' if new else 'cinderlib'}"
    install = f"""
mkdir -p %{{buildroot}}{data}
cat >%{{buildroot}}{data}/cinderlib-client.py <<'END'
{_CLIENT}END
chmod 755 %{{buildroot}}{data}/cinderlib-client.py
echo "VERSION = '{version}'" >%{{buildroot}}{data}/config.py
echo >%{{buildroot}}{data}/logger.conf
"""
    files = f"%dir {data}\n{data}/cinderlib-client.*\n{data}/config.*\n{data}/logger.conf"
    logs = "/var/log/ovirt-engine"
    more = [f"{logs}/managedblock"] if new else [f"{logs}/cinderlib"]
    top = data.rpartition("/")[0]
    etc = "/etc/ovirt-engine"
    made = "".join(f"mkdir -p %{{buildroot}}{each}\n" for each in (*more, logs, top, etc))
    owned = f"%dir {top}\n%dir {etc}\n" + "\n".join(
        f"%attr(0700, ovirt, ovirt) %dir {each}" for each in (logs, *more)
    )
    return [
        _built(folder, "ovirt-engine-backend", version, "", made, owned),
        _built(
            folder,
            "ovirt-engine",
            version,
            f"Requires: ovirt-engine-backend = {version}-1\nRequires: /usr/bin/python3",
            install,
            files,
        ),
    ]


def vdsm(folder: Path, version: str) -> list[Path]:
    """Build vdsm."""
    top = "/usr/libexec/vdsm"
    folders = [f"{top}/hooks/{each}" for each in HOOKS]
    install = "".join(f"mkdir -p %{{buildroot}}{each}\n" for each in folders)
    helper = (PLAYERS / "managedvolume_helper.py").read_text()
    install += (
        f"cat >%{{buildroot}}{top}/managedvolume-helper <<'END'\n#!/usr/bin/python3\n{helper}END\n"
    )
    install += f"echo '# {version}' >>%{{buildroot}}{top}/managedvolume-helper\n"
    install += f"chmod 755 %{{buildroot}}{top}/managedvolume-helper\n"
    install += "mkdir -p %{buildroot}/var/log/vdsm %{buildroot}/etc/multipath\n"
    files = "\n".join(f"%dir {each}" for each in (top, f"{top}/hooks", *folders, "/etc/multipath"))
    files += f"\n{top}/managedvolume-helper\n%attr(0755, vdsm, kvm) %dir /var/log/vdsm"
    head = "Requires: /usr/bin/python3"
    return [_built(folder, "vdsm", version, head, install, files)]


def _built(
    folder: Path, name: str, version: str, head: str = "", install: str = "", files: str = ""
) -> Path:
    place = folder / f"{name}-{version}"
    place.mkdir(parents=True)
    spec = place / f"{name}.spec"
    spec.write_text(
        _SPEC.format(name=name, version=version, head=head, install=install, files=files)
    )
    command = ["rpmbuild", "-bb", "--nodeps", "--define", f"_topdir {place}", str(spec)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return next(place.glob("RPMS/noarch/*.rpm"))
