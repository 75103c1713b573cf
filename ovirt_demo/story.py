"""The story of the demo: a disk's whole life, by the programs that Engine and Vdsm will run."""

from __future__ import annotations

import time
from pathlib import Path

from ovirt_demo import (
    children,
    database,
    engine,
    engine_software,
    flows,
    guest,
    interruption,
    postgres,
    releases,
    scene,
    simulator,
    stay,
    vdsm,
)
from ovirt_demo.flows import Disk
from ovirt_demo.guest import Guest
from ovirt_demo.scene import Scene
from ovirt_demo.screen import Screen

GIB = 1 << 30
SIZE_GIB, GROWN_GIB = 1, 2
BACKGROUND_SECONDS = 60  # of the simulator's clock: StorPool deletes snapshots in the background
ANSWER_SECONDS = 60.0  # ours, for a verb that takes a tenth of a second
INTERRUPTED = 128  # what a shell adds to the number of the signal


class Wrong(Exception):
    """Something is not as it has to be: the story ends here."""


def run(
    screen: Screen,
    *,
    devices: str = "auto",
    release: scene.Pair | None = None,
    stays: bool = False,
) -> int:
    """Run the story, or with `stays` give a world to try things in; return the exit code.

    It is 0 if all was right and nothing is left, 1 if not, 128 + n for signal n. With a release
    the programs are installed as on its Engine and hosts, and taken off in the end.
    """
    try:
        with interruption.watched() as watch:
            screen.head(stay.TITLE if stays else _title(release))
            with scene.built(screen, watch, devices, release) as stage:
                (stay.play if stays else _play)(stage)
    except interruption.Interrupted as interrupted:
        screen.summary(f"{interrupted}: all that was started is stopped", good=False)
        return INTERRUPTED + interrupted.number
    except (
        Wrong,
        engine.VerbFailed,
        engine_software.StepFailed,
        vdsm.VdsmError,
        guest.ToolFailed,
    ) as error:
        screen.summary(f"Wrong: {error}", good=False)
        return 1
    except (
        children.ProgramMissing,
        database.BadAddress,
        postgres.WheelMissing,
        postgres.NoStart,
        simulator.NoStart,
        simulator.Refused,
        engine.AdapterMissing,
        OSError,
    ) as error:
        screen.summary(f"The demo cannot run here: {error}", good=False)
        return 1
    return 0


def _title(release: scene.Pair | None) -> str:
    of_release = f" on Engine {release[0].name} and Vdsm {release[1].name}" if release else ""
    return f"A disk's whole life{of_release}: oVirt's calls, a simulated StorPool, real data"


def _play(stage: Scene) -> None:
    began = time.monotonic()
    _Story(stage).play()
    stage.cluster.advance(BACKGROUND_SECONDS)
    left = {**stage.cluster.objects(being_deleted=True), "devices on hosts": stage.device_links()}
    stage.screen.gap()
    seconds = time.monotonic() - began
    calls = ", ".join(f"{count} calls of {whose}" for whose, count in stage.calls.items())
    stage.screen.summary(f"{calls}, {seconds:.1f} s", good=True)
    counts = ", ".join(f"{count} {what}" for what, count in left.items())
    stage.screen.summary(f"Left in the cluster: {counts}", good=not any(left.values()))
    if any(left.values()):
        raise Wrong("the cluster should be empty again")


class _Story:
    """One disk, its VM, and what is on the disk now."""

    def __init__(self, stage: Scene) -> None:
        self.stage = stage
        self.domain = stage.domain
        self.written: dict[str, str] = {}

    def play(self) -> None:
        """Play it from the beginning to the end."""
        if self.stage.release:
            self._install(*self.stage.release)
        disk = self._create()
        vm = self._run("Run a VM on host 1", 1, disk, new_disk=True)
        self._write(vm, "letter")
        first = self._snapshot("Snapshot while it runs", disk, vm)
        at_first = dict(self.written)
        self._write(vm, "photo")
        self._snapshot("Another snapshot", disk, vm)
        self._stop(disk, vm)
        self._preview_and_undo(disk, first, at_first)
        self._preview_and_commit(disk, first, at_first)
        clone = self._clone(disk)
        vm = self._run("Run the VM on host 1", 1, disk)
        self._write(vm, "report")
        self._extend(disk, vm)
        vm = self._migrate(disk, vm)
        self._write(vm, "postcard")
        vm = self._lose_host(disk, vm)
        self._refused_delete(disk)
        self._stop(disk, vm)
        self._lost_answer(disk)
        disk = self._delete_by_mistake(disk)
        self._delete(disk, clone)
        if self.stage.release:
            self._take_off()

    def _install(self, of_engine: releases.Engine, of_vdsm: releases.Vdsm) -> None:
        self.stage.step(f"Install storpool-ovirt on Engine {of_engine.name}")
        self.stage.screen.quote("Admin", f"storpool-engine-divert {self.stage.install_engine()}")
        program, folder = self.stage.engine_starts()
        self.stage.screen.note("Engine", f"starts {Path(program).name}", f"in {folder}")
        self.stage.step(f"Install it on two hosts with Vdsm {of_vdsm.name}")
        for number, host in self.stage.hosts.items():
            kind = self.stage.install_host(number)
            self.stage.screen.note(f"Vdsm {number}", f"{host.name} is ready", f"takes type: {kind}")

    def _take_off(self) -> None:
        self.stage.step("Host 2, which was lost, boots")
        self.stage.boot_host(2)
        self.stage.step("Take storpool-ovirt off Engine and hosts")
        left = self.stage.take_off()
        if left:
            raise Wrong(f"this is left of it: {', '.join(left)}")
        self.stage.screen.note("Admin", "finds nothing of it", "as before")

    def _create(self) -> Disk:
        self.stage.step("Add the storage domain")
        stats = flows.add_domain(self.domain)
        free, total = (f"{float(stats[f'{what}_capacity_gb']):.0f}" for what in ("free", "total"))
        self.stage.screen.note("Engine", "sees the capacity", f"{free} of {total} GiB free")
        self.stage.step(f"Create a disk of {SIZE_GIB} GiB")
        return flows.create_disk(self.domain, SIZE_GIB)

    def _run(self, title: str, host_number: int, disk: Disk, *, new_disk: bool = False) -> Guest:
        self.stage.step(title)
        device = self.stage.run_vm(host_number, disk)
        path = self.stage.device(self.stage.hosts[host_number], device)
        vm = self.stage.start_guest(path, new_disk=new_disk)
        if new_disk:
            self.stage.screen.note("Guest", vm.makes, device["path"])
        self._check(vm)
        return vm

    def _write(self, vm: Guest, name: str) -> None:
        sha256 = self.written[name] = vm.write(name)
        text = f"writes {guest.MEGABYTES} MiB: {name}"
        self.stage.screen.note("Guest", text, f"sha256 {sha256[:16]}..")

    def _check(self, vm: Guest) -> None:
        found = vm.contents()
        if found != self.written:
            raise Wrong(
                f"the disk holds {sorted(found)}, but {sorted(self.written)} were written, or they"
                " differ"
            )
        if found:
            self.stage.screen.note("Guest", f"reads {', '.join(found)}", "as written")

    def _snapshot(self, title: str, disk: Disk, vm: Guest) -> str:
        self.stage.step(title)
        with vm.frozen():
            return flows.create_snapshot(self.domain, disk)

    def _stop(self, disk: Disk, vm: Guest) -> None:
        self.stage.step("Stop the VM")
        vm.stop()
        flows.stop_vm(self.domain, disk)

    def _preview_and_undo(self, disk: Disk, snapshot: str, at_snapshot: dict[str, str]) -> None:
        self.stage.step("Preview the first snapshot")
        flows.preview(self.domain, disk, snapshot)
        before, self.written = self.written, dict(at_snapshot)
        vm = self._run("Run the VM on it, on host 2", 2, disk)
        self._stop(disk, vm)
        self.stage.step("Undo the preview")
        flows.undo_preview(self.domain, disk)
        self.written = before
        vm = self._run("Run the VM on host 2", 2, disk)
        self._stop(disk, vm)

    def _preview_and_commit(self, disk: Disk, snapshot: str, at_snapshot: dict[str, str]) -> None:
        self.stage.step("Preview the first snapshot again")
        flows.preview(self.domain, disk, snapshot)
        self.stage.step("Commit the preview: later snapshots go")
        flows.commit_preview(self.domain, disk)
        self.written = dict(at_snapshot)

    def _clone(self, disk: Disk) -> Disk:
        self.stage.step("Clone the disk")
        clone = flows.clone_disk(self.domain, disk)
        vm = self._run("Run the clone on host 2", 2, clone)
        self._stop(clone, vm)
        return clone

    def _extend(self, disk: Disk, vm: Guest) -> None:
        self.stage.step(f"Extend the disk to {GROWN_GIB} GiB while the VM runs")
        flows.extend_disk(self.domain, disk, GROWN_GIB)
        size_bytes = vm.device_bytes()
        if size_bytes != GROWN_GIB * GIB:
            raise Wrong(f"the device has {size_bytes} bytes after extending to {GROWN_GIB} GiB")
        self.stage.screen.note("Guest", "sees the device grow", f"{size_bytes // GIB} GiB")

    def _migrate(self, disk: Disk, source_vm: Guest) -> Guest:
        """Migrate live; return the guest on the destination.

        Both hosts have the disk for a while. The guest goes on on the second one, and the first one
        loses it.
        """
        self.stage.step("Migrate the VM live to host 2")
        source, destination = self.stage.hosts[1], self.stage.hosts[2]
        [device] = flows.start_migration(self.domain, destination, disk)
        path = self.stage.device(destination, device)
        with path.open("rb"):  # as the destination's qemu, while the source still runs
            source_vm.stop()
            vm = self.stage.start_guest(path)
        self._check(vm)
        flows.finish_migration(self.domain, disk)
        if source.local(device["path"]).exists():
            raise Wrong(f"{source.name} still has the device after the migration")
        return vm

    def _lose_host(self, disk: Disk, lost: Guest) -> Guest:
        """Lose host 2, which hangs with its VM; return the guest on host 1.

        The hook takes the disk from host 2, so what hangs there writes nothing any more.
        """
        vm = self._run("Lose host 2, and start the VM on host 1", 1, disk)
        self.stage.screen.note("Guest", "of the lost host wakes up and writes", lost.struggle())
        self._check(vm)
        return vm

    def _refused_delete(self, disk: Disk) -> None:
        """Check that a disk that is in use stays, and that the reason says where it is used."""
        self.stage.step("Delete the disk while the VM uses it")
        host = self.stage.hosts[1]
        try:
            flows.delete_disk(self.domain, disk)
        except engine.VerbFailed as refused:
            reason = refused.result.answer or ""
        else:
            raise Wrong("a disk that a running VM holds open was deleted")
        self.stage.screen.quote("Engine", f"is refused: {reason}")
        if not host.local(host.rows[disk.active]["path"]).exists():
            raise Wrong(f"the refused delete took the device away from {host.name}")

    def _lost_answer(self, disk: Disk) -> None:
        """Take Engine away before it has read a snapshot's id: only the journal has it then."""
        self.stage.step("Lose the answer to a snapshot, and mend it")
        caller = self.domain.engine
        with caller.started("create_snapshot", disk.active, correlation_id="lost") as process:
            if process.stdout:
                process.stdout.close()
            process.wait(ANSWER_SECONDS)
        undelivered = [line for line in self.stage.administer("audit") if "undelivered" in line]
        self.stage.screen.quote("Admin", undelivered[0] if undelivered else "finds nothing")
        done = self.stage.administer("reconcile", "--grace", "0")
        self.stage.screen.quote("Admin", f"storpool-ovirt reconcile: {done[-1]}")
        verdict = self.stage.administer("audit")[-1]
        self.stage.screen.quote("Admin", f"storpool-ovirt audit: {verdict}")
        if not verdict.startswith("OK"):
            raise Wrong("the audit should find nothing any more")

    def _delete_by_mistake(self, disk: Disk) -> Disk:
        """Delete the disk, and get its data back; return the disk that has them."""
        self.stage.step("Delete the disk by mistake")
        flows.delete_disk(self.domain, disk)
        self.stage.step("Make a new one, and get all of it back")
        new = flows.create_disk(self.domain, GROWN_GIB)
        done = self.stage.administer("trash restore", disk.id, "--into", new.id)
        self.stage.screen.quote("Admin", f"storpool-ovirt trash: {done[-1]}")
        if not done[-1].startswith("restored disk"):
            raise Wrong("what was deleted a moment ago should have come back")
        vm = self._run("Run the VM on what came back", 1, new)
        self._stop(new, vm)
        return new

    def _delete(self, *disks: Disk) -> None:
        self.stage.step("Delete the disk, and its clone")
        for disk in disks:
            flows.delete_disk(self.domain, disk)
        self.stage.step("Let go what is in the trash")
        done = self.stage.administer("trash purge", "--all")
        self.stage.screen.quote("Admin", f"storpool-ovirt trash purge --all: {done[-1]}")
