"""What it costs that the start hook asks root: the hook by root's door beside the hook that reads
the token itself.

    pip install '.[demo]'              # as root, where user nobody can run it, for instance in /opt
    python benchmarks/door.py          # as root, with sudo installed; half a minute

Both run as user nobody, for a VM with one disk that is attached to this host alone, in turn,
against one simulator. Sudo has a sudoers file of its own in a mount namespace: nothing of this
machine is changed.
"""

from __future__ import annotations

import argparse
import os
import pwd
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from ovirt_demo import children, hooks, simulator
from storpool_ovirt import setup
from storpool_ovirt.privilege import sudo_request

USER = "nobody"
SHIPPED = Path(setup.__file__).parent / "files" / "sudoers.d" / "storpool-ovirt"
INSIDE = "STORPOOL_BENCHMARK_INSIDE"
DOOR = """#!{python}
import os
from storpool_ovirt.host import vm_door
os._exit(vm_door.main(root={root!r}))
"""


def main() -> int:
    """Measure, print the medians and the ratio; return 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    if os.geteuid() != 0:
        sys.exit("door.py: run it as root, with sudo and util-linux installed")
    if INSIDE not in os.environ:
        argv = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
        os.execvpe("unshare", argv, {**os.environ, INSIDE: "1"})  # noqa: S606
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with simulator.running(
            folder / "simulator", {1: folder / "host"}, devices="file"
        ) as cluster:
            measure(cluster, folder, runs)
    return 0


def measure(cluster: simulator.Simulator, folder: Path, runs: int) -> None:
    """Run both ways in turn and print what they took."""
    by_root, by_itself = Path(cluster.hosts[1]), folder / "acl"
    by_itself.mkdir()
    for each in ("etc", "dev"):
        (by_itself / each).symlink_to(by_root / each)
    user = pwd.getpwnam(USER)
    os.chown(by_root / "etc" / "storpool.conf", 0, user.pw_gid)
    (by_root / "etc" / "storpool.conf").chmod(0o640)
    install_door(by_root, folder / "sudoers")
    document = start(cluster, folder)
    seconds: dict[Path, list[float]] = {by_root: [], by_itself: []}
    for _ in range(runs + 1):
        for root, taken in seconds.items():
            taken.append(run(root, document, user))
    (door, token), (first, second) = (
        seconds.values(),
        [statistics.median(each[1:]) for each in seconds.values()],
    )
    ratios = [one / other for one, other in zip(door[1:], token[1:])]
    print(f"by root's door    {first * 1000:4.0f} ms\nby its own token  {second * 1000:4.0f} ms")
    print(f"ratio             {statistics.median(ratios):4.2f} (median of {runs} pairs)")


def install_door(root: Path, sudoers: Path) -> None:
    """Have a door on this host, and sudo let the user ask it."""
    door = Path(f"{root}{sudo_request.DOOR}")
    door.parent.mkdir(parents=True)
    door.write_text(DOOR.format(python=sys.executable, root=str(root)))
    door.chmod(0o755)
    sudoers.write_text(
        SHIPPED.read_text().replace(sudo_request.DOOR, str(door)).replace("\nvdsm ", f"\n{USER} ")
    )
    sudoers.chmod(0o440)
    subprocess.run(["mount", "--bind", sudoers, "/etc/sudoers"], check=True)


def start(cluster: simulator.Simulator, folder: Path) -> Path:
    """Make a disk that this host has, and return the XML of a VM with it."""
    disk = str(uuid.uuid4())
    volume = {"name": f"ovirt--{disk}", "size": 1 << 30, "template": "hybrid"}
    made = cluster.api("VolumeCreate", {**volume, "tags": {"virt": "ovirt", "ovirt-uuid": disk}})
    cluster.api("VolumesReassignWait", {"reassign": [{"volume": volume["name"], "rw": [1]}]})
    device = {"path": f"/dev/storpool-byid/{made['globalId']}", "vol_id": disk}
    document = folder / "vm.xml"
    document.write_text(hooks.domain_xml(hooks.disk_xml(device, managed=False)))
    return document


def run(root: Path, document: Path, user: pwd.struct_passwd) -> float:
    """Run the hook as the user, and return the seconds it took."""
    link = Path(f"{root}{hooks.FOLDER}/{hooks.BEFORE_VM_START}/50_storpool")
    if not link.exists():
        link.parent.mkdir(parents=True)
        link.symlink_to(children.find("storpool-vm-hook"))
    environment = {
        "STORPOOL_OVIRT_ROOT": str(root),
        "_hook_domxml": str(document),
        "PATH": "/usr/bin:/bin",
    }
    began = time.perf_counter()
    done = subprocess.run(
        [link],
        env=environment,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        cwd="/",
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    took = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"door.py: the hook as user {USER} failed: {done.stderr.decode()}")
    return took


if __name__ == "__main__":
    sys.exit(main())
