"""The start hook on the hosts of the shared stage: VMs whose disks Vdsm has attached, and Vdsm's
way to run it.

A pytest plugin, named in conftest.py behind helper_stage.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rigs import hasty, refusals
from rigs.shared_stage import attached
from rigs.stage_fixtures import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.flows import Disk
    from ovirt_demo.hooks import Hooks
    from ovirt_demo.vdsm import Host

# For what would else be a minute of waiting.
HASTY = {
    "deadline_seconds": 3.0,
    "last_seconds": 1.0,
    "attach_timeout_seconds": 1,
    "device_seconds": 0.5,
    "loser_seconds": 0.5,
    "request_seconds": 0.8,
    "retry_seconds": 0.8,
}
LIMIT_SECONDS = 60.0
POINTS = (
    "before_vm_start",
    "before_disk_hotplug",
    "before_vm_migrate_source",
    "after_disk_hotunplug",
)


@dataclasses.dataclass
class Starts:
    """The stage with the hook installed on its hosts."""

    stage: Stage
    hooks: dict[int, Hooks]

    def disks(self, count: int = 1) -> list[Disk]:
        """Make disks."""
        from ovirt_demo import flows

        return [flows.create_disk(self.stage.domain, 1) for _ in range(count)]

    def attach(self, host: int, *disks: Disk) -> list[dict[str, Any]]:
        """Attach these for a VM on a host, as Engine does before it has Vdsm create the VM; return
        the devices."""
        from ovirt_demo import flows

        return flows.run_vm(self.stage.domain, self.stage.hosts[host], *disks)

    def start(self, host: int, *disks: Disk, **looks: bool) -> None:
        """Attach these and run the hook for a VM that has them; raises vdsm.VdsmError: the VM does
        not start."""
        self.hooks[host].before_vm_start(self.xml(*self.attach(host, *disks), **looks))

    def xml(self, *devices: dict[str, Any], **looks: bool) -> str:
        """Return the domain of a VM with these."""
        from ovirt_demo import hooks

        return hooks.domain_xml(
            *(hooks.disk_xml(each, f"vd{at:c}", **looks) for at, each in enumerate(devices, 97))
        )

    def global_id(self, disk: Disk) -> str:
        """Return the global id of a disk's active object."""
        return str(self._listed(f"ovirt--{disk.active}")["globalId"])

    def on_hosts(self, disk: Disk) -> set[tuple[int, str]]:
        """List the clients that have a disk's active volume, and how."""
        found = attached(self.stage.simulator, self.global_id(disk))
        return {(client_id, rights) for _, client_id, rights in found}

    def clients_of(self, name: str) -> set[int]:
        """List the clients that have an object of this name."""
        return {
            client_id
            for _, client_id, _ in attached(self.stage.simulator, self._listed(name)["globalId"])
        }

    def device(self, host: int, disk: Disk) -> Path:
        """Return a disk's device on a host."""
        return self.stage.hosts[host].local(f"/dev/storpool-byid/{self.global_id(disk)}")

    @contextlib.contextmanager
    def writing(self, host: int, disk: Disk) -> Iterator[Writer]:
        """Hold a disk open on a host, as a VM does."""
        writer = Writer(self.device(host, disk))
        try:
            yield writer
        finally:
            writer.stop()

    def run_link(self, disk: Disk) -> str:
        """Return the path under which a VM gets a disk, the same on every host."""
        from ovirt_demo import vdsm

        return f"{vdsm.RUN_FOLDER}/{self.stage.domain.id}_{disk.active}"

    def vm(self, *disks: Disk) -> str:
        """Return the domain of a VM with these disks."""
        return self.xml(
            *({"managed_path": self.run_link(disk), "vol_id": disk.id} for disk in disks)
        )

    def run_by_hand(
        self, host: int, file: Path, point: str = "before_vm_start"
    ) -> subprocess.CompletedProcess[str]:
        """Run the hook of a point with this XML, and nothing around it."""
        with self.popen(host, file, point) as process:
            stdout, stderr = process.communicate(timeout=LIMIT_SECONDS)
        return subprocess.CompletedProcess(
            process.args, process.returncode, stdout.decode(), stderr.decode()
        )

    @contextlib.contextmanager
    def popen(
        self,
        host: int,
        file: Path,
        point: str = "before_vm_start",
        stderr: int = subprocess.PIPE,
        environment: dict[str, str] | None = None,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start the hook of a point with this XML; kill it at the end if it still runs."""
        own = self.stage.hosts[host]
        process = subprocess.Popen(
            [own.local(f"/usr/libexec/vdsm/hooks/{point}/50_storpool")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**own.environment, "_hook_domxml": str(file), **(environment or {})},
        )
        try:
            with process:
                yield process
        finally:
            process.kill()

    @contextlib.contextmanager
    def starting(self, host: int, *disks: Disk) -> Iterator[subprocess.Popen[bytes]]:
        """Start the hook for a VM with these disks; kill it at the end if it still runs."""
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(self.vm(*disks))
            file.flush()
            with self.popen(host, Path(file.name)) as process:
                try:
                    yield process
                finally:
                    process.kill()

    @contextlib.contextmanager
    def conf(self, host: int, **keys: str | None) -> Iterator[Path]:
        """Have other values in a host's storpool.conf, or none, for as long as this lasts."""
        path = self.stage.hosts[host].local("/etc/storpool.conf")
        before = path.read_text()
        lines = [line for line in before.splitlines() if line.partition("=")[0] not in keys]
        given = {key: value for key, value in keys.items() if value is not None}
        path.write_text("\n".join([*lines, *(f"{key}={value}" for key, value in given.items())]))
        try:
            yield path
        finally:
            path.write_text(before)

    def _listed(self, name: str) -> Any:
        cluster = self.stage.simulator
        listed = [*cluster.api("VolumesList"), *cluster.api("SnapshotsList")]
        [found] = [each for each in listed if each["name"] == name]
        return found


def last_refusal(hooks: Hooks) -> str:
    """Check that the last hook refused, and return its sentence."""
    return refusals.of_hook(hooks.runs[-1])


def installed(host: Host, program: Path | None = None, user: int | None = None) -> Hooks:
    """Link the hook into the folders of a host's Vdsm."""
    from ovirt_demo import children, hooks

    made = hooks.Hooks(host, user)
    for point in POINTS:
        made.install(point, program or children.find("storpool-vm-hook"))
    return made


@contextlib.contextmanager
def replaced(host: Host, program: Path) -> Iterator[Hooks]:
    """Have another program in the place of the hook, for as long as this lasts."""
    from ovirt_demo import hooks

    links = [host.local(f"{hooks.FOLDER}/{point}/50_storpool") for point in POINTS]
    before = [link.readlink() for link in links]
    for link in links:
        link.unlink()
        link.symlink_to(program)
    try:
        yield hooks.Hooks(host)
    finally:
        for link, target in zip(links, before):
            link.unlink()
            link.symlink_to(target)


@pytest.fixture(scope="module")
def _hooks(module_stage: Stage) -> dict[int, Hooks]:
    return {number: installed(host) for number, host in module_stage.hosts.items()}


@pytest.fixture
def hasty_hook(starts: Starts, tmp_path: Path) -> Iterator[Hooks]:
    """Give the hooks of host 2 with one that gives up much sooner in the place of the installed
    one."""
    program = hasty.written(tmp_path / "hasty-hook", "host.vm_hook", **HASTY)
    with replaced(starts.stage.host2, program) as hooks:
        yield hooks


@pytest.fixture
def starts(shared: Stage, _hooks: dict[int, Hooks]) -> Iterator[Starts]:
    """Give the shared stage with the hook on both hosts; what Vdsm keeps of a test's VMs is
    forgotten after it."""
    yield Starts(shared, _hooks)
    for host in shared.hosts.values():
        host.rows.clear()
        host.reboot()


class Writer:
    """A VM as far as storage sees it: a process's open device, to which it writes."""

    def __init__(self, device: Path) -> None:
        self._device = device
        self._descriptor = os.open(device, os.O_RDWR | os.O_SYNC)

    def write(self, octet: int) -> bool:
        """Write a block at the beginning, down to the storage; false when it does not get there.

        Where a plain file stands in for the device, one that was taken away can be written, and
        leads nowhere.
        """
        try:
            written = os.pwrite(self._descriptor, bytes([octet]) * 4096, 0) == 4096
            return written and os.path.samestat(os.fstat(self._descriptor), self._device.stat())
        except OSError:
            return False

    def stop(self) -> None:
        """Close the device."""
        os.close(self._descriptor)
