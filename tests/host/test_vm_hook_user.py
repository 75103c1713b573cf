"""storpool-vm-hook as Vdsm's own user, where root cannot be asked: what it has to read, and what it
says if it cannot.

Where root can be asked is in test_vm_door.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovirt_demo import hooks, vdsm
from rigs import clusters
from rigs.hook_stage import installed, last_refusal
from rigs.vdsm_user import USER, Programs
from storpool_ovirt.privilege import sudo_request

IMAGE = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"


def test_the_user_of_vdsm(reachable: Path, user_programs: Programs) -> None:
    """It needs to read storpool.conf and nothing else; where it cannot, it names both ways to mend
    that."""
    program = user_programs.written(reachable / "storpool-vm-hook", "host.vm_hook")
    tags = {"virt": "ovirt", "ovirt-uuid": IMAGE}
    name = f"ovirt--{IMAGE}"
    with clusters.process(
        reachable / "simulator", {1: reachable / "host"}, devices="file"
    ) as cluster:
        cluster.api(
            "VolumeCreate", {"name": name, "size": 1 << 30, "template": "hybrid", "tags": tags}
        )
        cluster.api("VolumesReassignWait", {"reassign": [{"volume": name, "rw": [1]}]})
        host = vdsm.Host(cluster.hosts[1], Path("/bin/false"))
        own = installed(host, program, user=user_programs.user.pw_uid)
        document = hooks.domain_xml(
            hooks.disk_xml({"managed_path": f"/dev/storpool/{name}", "vol_id": IMAGE})
        )
        conf = host.local("/etc/storpool.conf")
        conf.chmod(0o640)
        with pytest.raises(vdsm.VdsmError):
            own.before_vm_start(document)
        sentence = last_refusal(own)
        assert f"{conf} cannot be read (Permission denied)" in sentence
        assert f"{host.local(sudo_request.DOOR)} is not there" in sentence
        assert "run storpool-ovirt setup host" in sentence
        assert f"make it readable for user {USER}" in sentence
        os.chown(conf, -1, user_programs.user.pw_gid)
        own.read_only = True
        assert own.before_vm_start(document) == document
        assert own.runs[-1].stderr == ""
