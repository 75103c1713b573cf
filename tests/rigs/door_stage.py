"""A host whose storpool.conf only root can read, and Vdsm's user, who may ask root by the real
sudo.

The machine's own /etc/sudoers is not touched: each program runs in a mount namespace of its own, in
which the shipped file, with this user and this host's door in it, has that place. Root, sudo, and
the right to mount are needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovirt_demo import hooks, simulator
from rigs import clusters
from rigs.clock import wait_until
from rigs.hook_stage import POINTS
from rigs.shared_stage import new_id
from rigs.vdsm_user import USER, Programs
from storpool_ovirt import setup
from storpool_ovirt.fence import agent, door
from storpool_ovirt.host import vm_door
from storpool_ovirt.privilege import sudo_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SHIPPED = Path(setup.__file__).parent / "files" / "sudoers.d" / "storpool-ovirt"
HOOK_LOG = "/var/log/vdsm/storpool-hook.log"
LIMIT_SECONDS = 60.0
_IN_A_NAMESPACE = """
mount --bind "$1" /etc/sudoers && group=$2 && shift 2 &&
exec setpriv --reuid "$0" --regid "$group" --clear-groups -- "$@"
"""
# Where the user is allowed nothing of ours, as on a host without our file.
_NOTHING = f"{USER} ALL=(ALL) NOPASSWD: /bin/true\n"


class Volume:
    """A volume as oVirt makes it, and the name of it in a VM."""

    def __init__(self, cluster: simulator.Simulator, clients: Sequence[int], **tags: str) -> None:
        self.id = new_id()
        self.name = f"ovirt--{self.id}" if not tags else f"other-{self.id}"
        self.tags = tags or {"virt": "ovirt", "ovirt-uuid": self.id}
        given = {key: value for key, value in self.tags.items() if value}
        made = {"name": self.name, "size": 1 << 30, "template": "hybrid", "tags": given}
        self.global_id = str(cluster.api("VolumeCreate", made)["globalId"])
        if clients:
            cluster.api(
                "VolumesReassignWait", {"reassign": [{"volume": self.name, "rw": list(clients)}]}
            )

    @property
    def path(self) -> str:
        """Its device, as a VM names it."""
        return f"/dev/storpool-byid/{self.global_id}"

    def disk(self, **fields: Any) -> dict[str, Any]:
        """Return what the hook tells root of it, with other values in some fields."""
        return {
            "global_id": self.global_id,
            "path": self.path,
            "serial": self.id,
            "shareable": False,
            **fields,
        }


class DoorStage:
    """Host 1 with hook and door, host 2 that may have the disks, and the cluster."""

    def __init__(self, folder: Path, programs: Programs, cluster: simulator.Simulator) -> None:
        self.cluster, self.programs = cluster, programs
        self.root = Path(cluster.hosts[1])
        self.conf = self.local("/etc/storpool.conf")
        self.token = next(
            line.partition("=")[2]
            for line in self.conf.read_text().splitlines()
            if line.startswith("SP_AUTH_TOKEN=")
        )
        self.hook = programs.written(folder / "storpool-vm-hook", "host.vm_hook")
        self.agent = programs.written(folder / "fence_storpool", "fence.agent")
        self.door, self.fence_door = (
            self.local(sudo_request.DOOR),
            self.local(sudo_request.FENCE_DOOR),
        )
        self.have_door()
        for point in POINTS:
            link = self.local(f"{hooks.FOLDER}/{point}/50_storpool")
            link.parent.mkdir(parents=True)
            link.symlink_to(self.hook)
        self.log, self.door_log = self.local(HOOK_LOG), self.local(vm_door.LOG_FILE)
        self.agent_log, self.fence_log = self.local(agent.LOG_FILE), self.local(door.LOG_FILE)
        for log in (self.log, self.door_log):
            log.parent.mkdir(parents=True, exist_ok=True)
        os.chown(self.log.parent, programs.user.pw_uid, programs.user.pw_gid)
        self.door_log.parent.chmod(0o700)
        self._sudoers = folder / "sudoers"
        self.allow()

    def local(self, path: str) -> Path:
        """Return where a path of host 1 is on this machine."""
        return Path(f"{self.root}{path}")

    def have_door(self, before: str = "", **limits: float) -> None:
        """Install the doors, which are told their host here and nowhere else, and these limits in
        place of their own; `before` is what they do first."""
        for door_file, module in ((self.door, "host.vm_door"), (self.fence_door, "fence.door")):
            shorter = f"{module.partition('.')[2]}.LIMITS._replace(**{limits!r})"
            told = f"root={str(self.root)!r}, limits={shorter}"
            self.programs.written(door_file, module, told, before)

    def allow(self, text: str | None = None, before: str = "", running: bool = False) -> None:
        """Have these sudoers, or the shipped ones with something before them; `running`: as for
        even_if_it_runs."""
        if text is None:
            shipped = SHIPPED.read_text()
            for door in (sudo_request.DOOR, sudo_request.FENCE_DOOR):
                shipped = shipped.replace(door, f"{self.root}{door}")
            if running:
                shipped = shipped.rstrip() + ", STORPOOL_FENCE_RUNNING\n"
            text = before + shipped.replace("\nvdsm ", f"\n{USER} ")
        self._sudoers.unlink(missing_ok=True)
        self._sudoers.write_text(text)
        self._sudoers.chmod(0o440)

    def forbid(self) -> None:
        """Have the sudoers of a host on which nobody installed ours."""
        self.allow(_NOTHING)

    def start(
        self, *volumes: Volume, point: str = "before_vm_start", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the hook as Vdsm's user for a VM with these; more variables are the VM's custom
        properties."""
        process = self.starting(*volumes, point=point, **variables)
        out, err = process.communicate(timeout=LIMIT_SECONDS)
        assert self.token not in out + err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def starting(
        self, *volumes: Volume, point: str = "before_vm_start", **variables: str
    ) -> subprocess.Popen[str]:
        """Start the hook, as `start` does."""
        disks = [
            hooks.disk_xml({"path": each.path, "vol_id": each.id}, managed=False)
            for each in volumes
        ]
        document = self.root / f"{new_id()}.xml"
        document.write_text(
            disks[0] if point.endswith(("hotplug", "hotunplug")) else hooks.domain_xml(*disks)
        )
        vm_id = variables.pop("vmId", None) or new_id()
        own = {"STORPOOL_OVIRT_ROOT": str(self.root)}
        given = hooks.environment(own, document, vm_id, variables)
        link = self.local(f"{hooks.FOLDER}/{point}/50_storpool")
        return self.popen("env", *(f"{key}={value}" for key, value in given.items()), str(link))

    def fence(self, **options: str) -> subprocess.CompletedProcess[str]:
        """Run the fence agent as Vdsm does on a proxy, with these options on its stdin."""
        text = "".join(f"{key}={value}\n" for key, value in options.items())
        process = self.popen("env", f"STORPOOL_OVIRT_ROOT={self.root}", str(self.agent))
        out, err = process.communicate(text, timeout=LIMIT_SECONDS)
        assert self.token not in out + err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def popen(self, *command: str) -> subprocess.Popen[str]:
        """Start a command as Vdsm's user, where he may use sudo as this stage allows it."""
        inside = [_IN_A_NAMESPACE, USER, self._sudoers, str(self.programs.user.pw_gid), *command]
        return subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", *inside],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as `popen` does; its stdin stays open until it has ended."""
        with self.popen(*command) as process:
            if process.stdin is None or process.stdout is None or process.stderr is None:
                raise AssertionError("it has pipes")
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(stdin)
                process.stdin.flush()
            out, err = process.stdout.read(), process.stderr.read()
            code = process.wait(timeout=LIMIT_SECONDS)
        return subprocess.CompletedProcess(process.args, code, out, err)

    def ask(
        self, *disks: Mapping[str, Any], point: str = "before_vm_start", data: bytes | None = None
    ) -> tuple[int, str]:
        """Ask the door itself, by sudo, as one with Vdsm's rights and not its manners; return code
        and answer."""
        request = {"point": point, "vm": new_id(), "disks": list(disks)}
        text = json.dumps(request) + "\n" if data is None else data.decode("latin-1")
        done = self.run(sudo_request.SUDO, "-n", "--", str(self.door), stdin=text)
        assert self.token not in done.stdout + done.stderr
        assert done.stderr == ""
        assert done.stdout.endswith("\n")
        assert len(done.stdout) < 1100
        assert len(done.stdout.splitlines()) == 1
        return done.returncode, done.stdout[:-1]

    def clients(self, volume: Volume) -> set[int]:
        """List the clients that have a volume."""
        listed = self.cluster.api("AttachmentsList")
        return {each["client"] for each in listed if each["globalId"] == volume.global_id}

    def state(self) -> Any:
        """Return all that somebody could have changed: objects with their tags, and who has
        what."""
        objects = [*self.cluster.api("VolumesList"), *self.cluster.api("SnapshotsList")]
        kept = sorted(
            (each["name"], each["globalId"], each["size"], sorted(each["tags"].items()))
            for each in objects
        )
        held = sorted(
            (each["globalId"], each["client"], each["rights"])
            for each in self.cluster.api("AttachmentsList")
        )
        return kept, held

    def lines(self, log: Path) -> list[str]:
        """Return what is in a log, without times and process ids, and forget it."""
        text = log.read_text() if log.exists() else ""
        assert self.token not in text
        log.write_text("") if log.exists() else None
        return [line.split(" ", 3)[3] for line in text.splitlines()]

    def wait_for_line(self, log: Path, words: str) -> None:
        """Wait until a log has these words."""
        wait_until(lambda: log.exists() and words in log.read_text(), f"{words} in {log}")


@pytest.fixture(scope="module")
def _door_stage(reachable: Path, user_programs: Programs) -> Iterator[DoorStage]:
    if not Path(sudo_request.SUDO).exists():
        pytest.skip("sudo is not installed here")
    if shutil.which("setpriv") is None or shutil.which("unshare") is None:
        pytest.skip("util-linux's unshare and setpriv are not here")
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "true"], capture_output=True, check=False
    )
    if tried.returncode != 0:
        pytest.skip(
            "this machine lets nobody have a mount namespace, in which sudo would have sudoers of"
            " its own"
        )
    folders = {number: reachable / f"host{number}" for number in (1, 2)}
    with clusters.process(reachable / "simulator", folders, devices="file") as cluster:
        yield DoorStage(reachable, user_programs, cluster)


@pytest.fixture
def doors(_door_stage: DoorStage) -> DoorStage:
    """The host as README installs it: only root reads storpool.conf, and Vdsm's user may ask
    root."""
    _door_stage.conf.chmod(0o600)
    os.chown(_door_stage.conf, 0, 0)
    _door_stage.have_door()
    _door_stage.allow()
    _door_stage.cluster.clear_faults()
    _door_stage.cluster.set_client(2, status="running")
    for log in (
        _door_stage.log,
        _door_stage.door_log,
        _door_stage.agent_log,
        _door_stage.fence_log,
    ):
        log.unlink(missing_ok=True)
    return _door_stage
