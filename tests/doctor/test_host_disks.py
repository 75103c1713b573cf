"""doctor host, disks: what is stale in Vdsm's books, what is left over, what is on top of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import host_cases
import pytest
from host_cases import Case
from host_ground import CONF, MULTIPATH, SD

from ovirt_demo import vdsm_rows

if TYPE_CHECKING:
    from host_ground import Host

CRITICAL, WARNING, UNKNOWN, OK = "critical", "warning", "unknown", "ok"
DROP_IN = "/etc/multipath/conf.d/storpool-ovirt.conf"
DATABASE = vdsm_rows.DATABASE
ALLOWED = MULTIPATH.replace("blacklist_exceptions {", 'blacklist_exceptions {\n\tdevnode "^sp-"')


def shown(text: str) -> str:
    """Return a script after which multipathd tells this configuration, until it reads its files."""
    return f"cat >/run/multipath <<'END'\n{text}\nEND"


CASES = [
    Case(
        "host-multipath",
        shown('blacklist {\n\tdevnode "^nvme"\n}'),
        CRITICAL,
        "and not what it runs with",
        "multipathd reconfigure",
        mends=True,
        alone=True,
    ),
    Case(
        "host-multipath",
        f"rm {DROP_IN}; {shown('defaults {}')}",
        CRITICAL,
        f"{DROP_IN} is not there",
        "storpool-ovirt setup host",
        mends=True,
        alone=True,
    ),
    Case("host-multipath", shown(ALLOWED), CRITICAL, "does not leave", mends=True, alone=True),
    Case("host-multipath", "rm /usr/sbin/multipathd", UNKNOWN, "multipathd is not here"),
    Case("host-multipath", "echo 'exit 1' >>/usr/sbin/multipathd", UNKNOWN, "show config"),
    Case(
        "host-lvm",
        "printf '#!/bin/sh\\necho use_devicesfile=0' >/usr/sbin/lvmconfig",
        WARNING,
        "uses each device",
        "vdsm-tool config-lvm-filter",
    ),
    Case("host-lvm", "rm /etc/lvm/devices/system.devices", WARNING, "no list and no filter"),
    Case(
        "host-lvm",
        """cat >/usr/sbin/lvmconfig <<'END'
#!/bin/sh
echo 'filter=["a|x|", "r|.*|"]'
END""",
        OK,
        "has a filter",
    ),
    Case(
        "host-lvm",
        "printf '#!/bin/sh\\necho \"  /dev/sp-3|guest|lvm2\"' >/usr/sbin/pvs",
        CRITICAL,
        "sees /dev/sp-3 (guest)",
    ),
    Case("host-lvm", "printf '#!/bin/sh\\nexit 1' >/usr/sbin/pvs", UNKNOWN, "pvs fails"),
    Case(
        "host-lvm", "printf '#!/bin/sh\\nexit 1' >/usr/sbin/lvmconfig", UNKNOWN, "lvmconfig fails"
    ),
    Case("host-lvm", "rm /usr/sbin/lvmconfig", UNKNOWN, "lvmconfig is not here"),
    Case("host-disk-stale", f"echo x >{DATABASE}", UNKNOWN, "cannot be used", alone=True),
    Case("host-disk-taken", f"rm {CONF}", UNKNOWN, "waits for host-storpool-conf", alone=True),
    Case("host-disk-rowless", f"rm {CONF}", UNKNOWN, "waits for host-storpool-conf", alone=True),
    Case("host-disk-idle", f"echo x >{DATABASE}", UNKNOWN, "cannot be used", alone=True),
    Case("host-disk-qemu", "sed -i /^qemu:/d /etc/group", UNKNOWN, "group qemu is not known"),
    Case("host-disk-holders", "ln -s storpool-byid /dev/storpool-byid", UNKNOWN, "may not look"),
]


@pytest.mark.parametrize("group", host_cases.rounds(CASES), ids=host_cases.named)
def test_what_uses_a_disk_beside_qemu_is_found(host: Host, group: list[Case]) -> None:
    """By its check, with the step that mends it; a tool that is missing is unknown."""
    host_cases.play(host, group)


def test_a_row_of_an_earlier_boot_is_stale(host: Host) -> None:
    """With a device or without; the row of a disk that is attached is not."""
    kept, rebooted, taken = (host.attach(number) for number in (1, 2, 3))
    host.do(f"rm {vdsm_rows.link(SD, rebooted.id)} /dev/storpool-byid/{taken.global_id}")
    host.row("00000000-0000-4000-8000-000000000000", "no id")
    found = {each.subject: each for each in host.look("host-disk-stale")}
    assert kept.id not in found
    assert "no run link of this boot" in found.pop(rebooted.id).cause
    lost = found.pop(taken.id)
    assert "its device is not here" in lost.cause
    assert (lost.result, lost.fix) == ("warning", "systemctl restart vdsmd")
    assert [each.cause for each in found.values()] == [
        "its row does not tell one volume of StorPool's"
    ]


def test_a_disk_that_was_taken_from_this_host_is_critical(host: Host) -> None:
    """Vdsm has it attached, StorPool does not."""
    disk = host.attach()
    assert host.worst("host-disk-taken").result == "ok"
    item = {"volume": disk.name, "detach": [1], "force": True}
    host.cluster.api("VolumesReassignWait", {"reassign": [item]})
    found = host.worst("host-disk-taken")
    assert (found.result, found.subject) == ("critical", disk.id)
    assert "nobody has it open here" in found.cause


def test_as_another_hosts_client_nothing_is_said_of_disks(host: Host) -> None:
    """They are that host's, and in use there: no fix may take them from it."""
    disk = host.attach(1)
    theirs = [host.volume() for _ in range(2)]
    items = [{"volume": each.name, "rw": [2]} for each in theirs]
    host.cluster.api("VolumesReassignWait", {"reassign": items})
    host.do(f"sed -i s/^SP_OURID=.*/SP_OURID=2/ {CONF}")
    found = host.look("host-disk-taken", "host-disk-rowless")
    assert {each.result for each in found} == {"unknown"}, found
    assert {each.cause for each in found} == {
        "waits for host-storpool-identity: correct SP_OURID first"
    }
    assert {each.fix for each in found} == {""}
    # One that both have tells nothing.
    shared = host.attach(2)
    host.cluster.api("VolumesReassignWait", {"reassign": [{"volume": shared.name, "ro": [2]}]})
    found = host.look("host-disk-taken", "host-disk-rowless")
    assert {(each.result, each.fix) for each in found} == {("unknown", "")}, (found, disk)


def test_a_disk_that_is_not_here_is_offered_to_nobody(host: Host) -> None:
    """It is attached to a client that this host may not be."""
    shared, other = host.attach(1), host.volume()
    items = [{"volume": shared.name, "ro": [1, 2]}, {"volume": other.name, "rw": [2]}]
    host.cluster.api("VolumesReassignWait", {"reassign": [{"volume": shared.name, "detach": [1]}]})
    host.cluster.api("VolumesReassignWait", {"reassign": items})
    host.do(f"sed -i s/^SP_OURID=.*/SP_OURID=2/ {CONF}")
    assert [each.result for each in host.look("host-disk-rowless")] == ["ok"]


def test_what_has_no_row_is_told_with_who_has_it_open(host: Host) -> None:
    """storpool-host-in-use does not see it."""
    disk = host.attach(1)
    host.sql("DELETE FROM volumes")
    host.do(f"rm {vdsm_rows.link(SD, disk.id)}")
    found = host.worst("host-disk-rowless")
    assert (found.result, found.subject) == ("warning", disk.name)
    assert found.fix.startswith(f"detach {disk.name} from client 1 alone")
    host.machine.start("/bin/sh", "-c", "exec 3</dev/sp-1; sleep 1000; true")
    for _ in range(100):
        found = host.worst("host-disk-rowless")
        if found.fix == "stop what has it open":
            break
    assert "(sh (pid" in found.cause


def test_what_nobody_uses_for_long_is_told(host: Host) -> None:
    """Not what was attached a moment ago, nor what somebody has open."""
    fresh, old, used = (host.attach(number) for number in (1, 2, 3))
    for disk in (old, used):
        host.do(f"touch -h -d '2 hours ago' /dev/storpool-byid/{disk.global_id}")
    user = host.machine.start("/bin/sh", "-c", "exec 3</dev/sp-3; echo; sleep 1000; true")
    assert user.stdout is not None
    user.stdout.readline()
    assert [each.subject for each in host.look("host-disk-idle")] == [old.id]
    assert fresh.id


def test_qemu_has_to_own_the_device_and_read_it(host: Host) -> None:
    """Its owner is given back by `--fix`; what keeps qemu from it otherwise is told."""
    disk = host.attach()
    assert host.worst("host-disk-qemu").result == "ok"
    host.do("chown root:disk /dev/sp-1")
    found = host.look("host-disk-qemu", fix=True)[0]
    assert (found.result, found.subject) == ("critical", disk.id)
    assert found.action == found.fix == "chown vdsm:qemu /dev/sp-1"
    assert host.worst("host-disk-qemu").result == "ok"
    host.do("chmod 0 /dev/sp-1")
    found = host.worst("host-disk-qemu")
    assert (found.result, "user qemu cannot read" in found.cause) == ("critical", True)
    host.do("rm /bin/dd /usr/bin/dd || true")
    assert host.worst("host-disk-qemu").result == "unknown"


def test_a_link_that_is_not_udevs_is_told(host: Host) -> None:
    """Vdsm's rule finds no device by it."""
    disk = host.attach()
    assert host.worst("host-disk-links").result == "ok"
    host.tool("udevadm", "echo disk/by-id/x")
    found = host.worst("host-disk-links")
    assert (found.result, found.subject) == ("warning", disk.global_id)
    host.machine.without("udevadm")
    assert host.worst("host-disk-links").result == "unknown"


def test_a_map_on_top_of_a_device_is_critical(host: Host) -> None:
    """What the kernel tells of its holders."""
    numbers = sorted(each.parent.name for each in Path("/sys/dev/block").glob("*/holders"))
    if not numbers:
        pytest.skip("this machine has no block device whose holders could be shown")
    disk = host.attach()
    host.do(f"rm /dev/sp-1; mknod /dev/sp-1 b {numbers[0].replace(':', ' ')}")
    host.do(f"mkdir -p /held/dm-7; mount --bind /held /sys/dev/block/{numbers[0]}/holders")
    found = host.worst("host-disk-holders")
    assert (found.result, found.subject) == ("critical", disk.global_id), found
    assert "dm-7" in found.cause
    assert found.fix.startswith("multipath -f dm-7")
