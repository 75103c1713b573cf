"""libvirtd as hosts have it: real, one for each host, alone with its VMs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigs import libvirt_daemon


def test_two_hosts_have_a_libvirtd_each(tmp_path: Path) -> None:
    """Each sees its host's folders, comes back after a crash, and leaves nothing behind."""
    links = {"/run/vdsm/managedvolumes": tmp_path / "links"}
    try:
        with libvirt_daemon.running(links) as one, libvirt_daemon.running() as other:
            one.virsh("define", str(domain(tmp_path / "one")))
            one.restart()
            assert one.virsh("list", "--all", "--name") == "vm"
            assert other.virsh("list", "--all", "--name") == ""
    except libvirt_daemon.Missing as error:
        pytest.skip(f"no libvirtd: {error}")
    assert not one.folder.exists()
    assert not other.folder.exists()


def domain(file: Path) -> Path:
    """Write the smallest domain that there is."""
    file.write_text(
        "<domain type='qemu'><name>vm</name><memory>1024</memory><os><type>hvm</type></os></domain>"
    )
    return file
