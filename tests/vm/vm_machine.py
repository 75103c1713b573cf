"""A virtual machine: one qemu process without hardware help, and what can be done to it.

Disks are known by their serial: the first 20 characters of the disk's id, which is all that a
virtio disk has room for.
"""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vm_guest import KERNEL_OPTIONS, MEMORY_MB, Guest
from vm_site import VmSite
from vm_wire import LIMIT_SECONDS, Monitor, SilenceError, Wire, looks

MOVED = ("completed", "failed", "cancelled")
SLOW_BYTES = 1 << 20  # a second: a migration that is to be met half-way takes a minute then


@dataclasses.dataclass(frozen=True)
class Drive:
    """A disk as QEMU opens it; `shared`: others may write too.

    `stops`: the VM stops at an error, as Vdsm has it for a disk that it plugs
    (error_policy="stop"). For one that is there at the start nobody chooses, and QEMU's own choice
    is to tell the guest.
    """

    serial: str
    path: Path
    shared: bool = False
    stops: bool = False

    @property
    def node(self) -> str:
        """Its name below QEMU's device."""
        return f"d-{self.serial}"

    @property
    def device(self) -> str:
        """Its name as a device."""
        return f"disk-{self.serial}"

    def blockdev(self) -> dict[str, Any]:
        """The arguments of blockdev-add: past the host's page cache, as oVirt does."""
        file = {
            "driver": "host_device",
            "filename": str(self.path),
            "aio": "native",
            "cache": {"direct": True},
        }
        return {"driver": "raw", "node-name": self.node, "cache": {"direct": True}, "file": file}

    def virtio(self) -> dict[str, Any]:
        """The arguments of device_add."""
        errors = {"werror": "stop", "rerror": "stop"} if self.stops else {}
        names = {
            "driver": "virtio-blk-pci",
            "id": self.device,
            "drive": self.node,
            "serial": self.serial,
        }
        return {**names, **errors, "share-rw": self.shared}


class Machine(Guest):
    """A virtual machine; `incoming` means that it waits for another one's migration in place of
    booting."""

    def __init__(
        self,
        site: VmSite,
        folder: Path,
        name: str,
        drives: Sequence[Drive],
        *,
        incoming: bool = False,
    ) -> None:
        super().__init__(name, Wire(f"{name}'s guest"), folder / f"{name}.console")
        qmp = Wire(f"{name}'s QMP")
        self.arrival, landing = socket.socketpair()  # where a migration comes in
        self._wires = (self._talk, qmp)
        self.monitor = Monitor(qmp)
        handed = [self._talk.theirs, qmp.theirs, *([landing] if incoming else [])]
        argv = [*_argv(site, name, drives, self.console, [end.fileno() for end in handed])]
        with (folder / f"{name}.qemu").open("wb") as log:
            # setpriv: it shall not outlive a test run that was killed (nor the thread, so start it
            # in the main one).
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv],
                pass_fds=[end.fileno() for end in handed],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for end in (*handed, landing):
            end.close()
        try:
            self.monitor.greet()
        except SilenceError as error:
            self.kill()
            raise SilenceError(
                (folder / f"{name}.qemu").read_text(errors="replace").strip()
            ) from error
        except BaseException:
            self.kill()
            raise

    def status(self) -> str:
        """Tell QEMU's word: running, paused, io-error, postmigrate ..."""
        return str(self.monitor.ask("query-status")["status"])

    def until_status(self, *wanted: str) -> str:
        """Wait for one of these states."""
        for _ in looks(f"{self.name} to be {' or '.join(wanted)}"):
            if (status := self.status()) in wanted:
                return status
        raise AssertionError

    # Disks

    def plug(self, drive: Drive) -> None:
        """Plug a disk into the running machine, and wait until the guest has it."""
        self.monitor.ask("blockdev-add", **drive.blockdev())
        self.monitor.ask("device_add", **dataclasses.replace(drive, stops=True).virtio())
        self.run(f"disk {drive.serial}")

    def unplug(self, drive: Drive) -> None:
        """Take a disk out, with the guest's consent, and close it."""
        self.monitor.ask("device_del", id=drive.device)
        self.monitor.event("DEVICE_DELETED", wanted=lambda data: data.get("device") == drive.device)
        self.monitor.ask("blockdev-del", **{"node-name": drive.node})

    def resize(self, drive: Drive, size_bytes: int) -> None:
        """Tell that a disk has grown, as `virsh blockresize` does."""
        self.monitor.ask("block_resize", **{"node-name": drive.node, "size": size_bytes})

    # Migration

    def migrate_to(self, destination: Machine) -> None:
        """Migrate to a machine that waits for it; it goes on there."""
        self.start_migration(destination)
        assert self.migration_end() == "completed", self.monitor.ask("query-migrate")
        destination.until_status("running")
        destination.take_over(self)

    def start_migration(
        self, destination: Machine, *, slow: bool = False, pause: bool = False
    ) -> None:
        """Begin; `slow`: so that it will not end for a while, `pause`: stop before the switch, as
        libvirt does."""
        wanted = {"events": True, "pause-before-switchover": pause}
        states = [{"capability": name, "state": state} for name, state in wanted.items()]
        self.monitor.ask("migrate-set-capabilities", capabilities=states)
        self.monitor.ask(
            "migrate-set-parameters", **{"max-bandwidth": SLOW_BYTES if slow else 1 << 30}
        )
        self.monitor.ask("getfd", descriptor=destination.arrival.fileno(), fdname="way")
        destination.arrival.close()
        self.monitor.ask("migrate", uri="fd:way")

    def until_migration(self, status: str) -> None:
        """Wait until the migration has come to this state."""
        self.monitor.event("MIGRATION", wanted=lambda data: data["status"] == status)

    def migration_end(self) -> str:
        """Wait for the end of the migration and tell which it was."""
        return str(
            self.monitor.event("MIGRATION", wanted=lambda data: data["status"] in MOVED)["status"]
        )

    # The end

    def freeze(self) -> None:
        """Stop the process where it stands, in the midst of anything: what a host is that nobody
        reaches."""
        self.process.send_signal(signal.SIGSTOP)
        stopped = Path(f"/proc/{self.process.pid}/task")
        for _ in looks(f"{self.name} to stop"):
            states = [
                re.sub(r".*\) ", "", (task / "stat").read_text(), flags=re.S)[0]
                for task in stopped.iterdir()
            ]
            if {*states} <= {"T"}:
                return

    def wake(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Have the guest end by itself: all that it wrote is on its disks."""
        self.catch_up()
        self._talk.send("sync; poweroff -f")
        self.process.wait(LIMIT_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it, in whatever state it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for wire in self._wires:
            wire.close()
        self.arrival.close()


def _argv(
    site: VmSite, name: str, drives: Sequence[Drive], console: Path, ends: Sequence[int]
) -> Iterator[str]:
    talk, qmp, *arrival = ends
    yield from (
        site.qemu,
        "-name",
        name,
        "-machine",
        "pc,accel=tcg",
        "-cpu",
        "max",
        "-m",
        str(MEMORY_MB),
    )
    yield from ("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-smp", "1")
    yield from ("-kernel", str(site.kernel), "-initrd", str(site.initramfs))
    yield from ("-append", KERNEL_OPTIONS)
    yield from ("-chardev", f"file,id=console,path={console}", "-serial", "chardev:console")
    yield from ("-chardev", f"socket,id=talk,fd={talk}", "-serial", "chardev:talk")
    yield from ("-chardev", f"socket,id=qmp,fd={qmp}", "-mon", "chardev=qmp,mode=control")
    for drive in drives:
        yield from (
            "-blockdev",
            json.dumps(drive.blockdev()),
            "-device",
            json.dumps(drive.virtio()),
        )
    for end in arrival:
        yield from ("-incoming", f"fd:{end}")
