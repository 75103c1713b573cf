"""doctor host, what is installed of ours: whole, of one release, root's alone, kept by Node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import host_cases
import pytest
from host_cases import Case
from host_ground import DOORS, PREFIX

if TYPE_CHECKING:
    from host_ground import Host

CRITICAL, WARNING, UNKNOWN, OK = "critical", "warning", "unknown", "ok"
DOOR = DOORS[0]
PACKAGES = r"""
cat >/usr/sbin/rpm <<'END'
#!/bin/sh
case $* in
"-q --qf "*) printf 'storpool-ovirt-host\nstorpool-ovirt-common\n' ;;
"-V storpool-ovirt-host storpool-ovirt-common") cat /rpm-says ;;
*) exit 0
esac
END
"""
RPM = "/usr/sbin/rpm"
BROKEN = f"""
printf '#!/bin/sh\necho package is not installed
echo error: cannot open Packages database >&2; exit 1' >{RPM}
"""
NODE = """
rm /etc/os-release; printf 'NAME=x\\nVARIANT_ID="ovirt-node"\\n' >/etc/os-release
mkdir -p /var/imgbased/persisted-rpms
"""
KEPT = "touch /var/imgbased/persisted-rpms/storpool-ovirt-host-1-1.noarch.rpm"

CASES = [
    Case("host-programs", f"ln -sfn {DOOR} {DOOR}", CRITICAL, "cannot be started", alone=True),
    Case("host-programs", f"chmod 0644 {PREFIX}/bin/storpool-vm-door", CRITICAL, "cannot be"),
    Case(
        "host-programs",
        f"sed -i 's/import vm_door/import x/' {PREFIX}/bin/*-door",
        CRITICAL,
        "fails:",
    ),
    Case(
        "host-programs",
        f"rm {DOOR}; printf '#!/bin/sh\\necho storpool-vm-door 0.0.1' >{DOOR}; chmod 755 {DOOR}",
        WARNING,
        "is storpool-vm-door 0.0.1, and this is",
        f"{PREFIX}/bin/pip install",
    ),
    Case("host-programs", f"rm {DOOR}", CRITICAL, "is not there", mends=True, alone=True),
    Case("host-programs", "sed -i /^vdsm:/d /etc/passwd", UNKNOWN, "user vdsm", alone=True),
    Case(
        "host-packages",
        f"{PACKAGES} echo 'missing     /usr/libexec/x' >/rpm-says",
        WARNING,
        "/usr/libexec/x",
        "dnf reinstall storpool-ovirt-host",
    ),
    Case(
        "host-packages",
        f"{PACKAGES} echo 'S.5....T.  c /etc/multipath/conf.d/x.conf' >/rpm-says",
        OK,
        "as installed: storpool-ovirt-host",
    ),
    Case(
        "host-packages",
        BROKEN,
        UNKNOWN,
        "rpm -q fails: error: cannot open Packages database",
        alone=True,
    ),
    Case(
        "host-packages",
        f"{PACKAGES} echo 'echo no database >&2; exit 1' >/x; sed -i 's,cat.*,sh /x ;;,' {RPM}",
        UNKNOWN,
        "rpm -V fails: no database",
        alone=True,
    ),
    Case("host-packages", "rm -f /usr/sbin/rpm /usr/bin/rpm", UNKNOWN, "rpm is not here"),
    Case(
        "host-installed-twice",
        "mkdir -p /usr/lib/storpool-ovirt/storpool_ovirt/host",
        WARNING,
        "both packages and pip",
        f"rm -r {PREFIX}",
    ),
    Case(
        "host-code-owner",
        f"chown vdsm {PREFIX}/bin/storpool-vm-door",
        CRITICAL,
        "/bin/storpool-vm-door can be written by others",
        "look at what is in it; then  chown -R root:root",
        alone=True,
    ),
    Case(
        "host-code-owner",
        f"cp /usr/bin/true /x; chown vdsm /x; ln -s /x {PREFIX}/bin/python9",
        CRITICAL,
        "/x, or a folder above it, can be written by others",
        "have it be root's alone",
        alone=True,
    ),
    Case(
        "host-code-owner",
        f"install -m 0777 /usr/bin/true /x; sed -i '1s,.*,#!/x,' {PREFIX}/bin/storpool-vm-door",
        CRITICAL,
        "/x, or a folder above it, can be written by others",
        alone=True,
    ),
    Case("host-code-owner", f"chmod g+w {PREFIX}/lib", CRITICAL, f"{PREFIX}/lib can be written"),
    Case("host-code-owner", "rm -f /usr/bin/find /bin/find", UNKNOWN, "find is not here"),
    Case("host-node", NODE, WARNING, "Node does not keep", "dnf install ./", alone=True),
    Case("host-node", NODE + KEPT, CRITICAL, "Node has lost", "dnf install", alone=True),
    Case("host-node", PACKAGES + NODE + KEPT, OK, "Node keeps", alone=True),
    Case("host-node", NODE + KEPT + BROKEN, UNKNOWN, "cannot open Packages", alone=True),
    Case("host-node", "rm /etc/os-release", UNKNOWN, "/etc/os-release"),
]


@pytest.mark.parametrize("group", host_cases.rounds(CASES), ids=host_cases.named)
def test_what_is_wrong_with_an_installation_is_found(host: Host, group: list[Case]) -> None:
    """By its check, with the step that mends it; a tool that is missing is unknown."""
    host_cases.play(host, group)
