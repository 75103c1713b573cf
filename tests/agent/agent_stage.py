"""A hypervisor behind the agent's seam, in memory, for what no real one does when it is asked to:
VMs that hang, guests that answer nonsense, two hundred of both. Real ones are in
test_agent_libvirt.py and in tests/vm."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rigs.clock import wait_until
from storpool_ovirt import errors
from storpool_ovirt.agent import options, service
from storpool_ovirt.agent.hypervisor import Disk, Domain
from storpool_ovirt.log import Log

GIB = 1 << 30
LIMIT_SECONDS = 30.0
OURS = "/dev/storpool-byid/a.b.{}"
until = functools.partial(wait_until, limit_seconds=LIMIT_SECONDS)


@dataclass
class Vm:
    """A VM: what its guest is shown, whether it is frozen, and what happens to who asks."""

    domain: Domain
    shown: dict[str, int]
    frozen: bool = False
    moving: bool = False
    fails: errors.Error | None = None
    hangs: threading.Event | None = None
    asked: int = 0
    thaws: int = 0
    grown: list[tuple[str, int]] = field(default_factory=list)


class Hypervisor:
    """VMs that run, for any number of connections at once."""

    def __init__(self) -> None:
        self.vms: dict[str, Vm] = {}
        self.fails: errors.Error | None = None
        self.hangs: threading.Event | None = None
        self.listed = 0

    def domains(self) -> list[Domain]:
        """List them."""
        self.listed += 1
        self._wait(self.hangs)
        if self.fails is not None:
            raise self.fails
        return [each.domain for each in list(self.vms.values())]

    def shown_bytes(self, domain: Domain, disk: Disk) -> int:
        """Tell what the guest sees."""
        return self._vm(domain).shown[disk.target]

    def is_moving(self, domain: Domain) -> bool:
        """Tell whether it migrates."""
        return self._vm(domain).moving

    def grow(self, domain: Domain, disk: Disk, size_bytes: int) -> None:
        """Show another size."""
        vm = self._vm(domain)
        vm.grown.append((disk.target, size_bytes))
        vm.shown[disk.target] = size_bytes

    def is_frozen(self, domain: Domain) -> bool:
        """Ask the guest."""
        vm = self._vm(domain)
        vm.asked += 1
        return vm.frozen

    def thaw(self, domain: Domain) -> None:
        """Thaw it."""
        vm = self._vm(domain)
        vm.thaws += 1
        vm.frozen = False

    def close(self) -> None:
        """Nothing is open."""

    def _vm(self, domain: Domain) -> Vm:
        vm = self.vms.get(domain.uuid)
        if vm is None or vm.domain.run != domain.run:
            raise errors.NotFound("VM", domain.name, "on this host any more")
        self._wait(vm.hangs)
        if vm.fails is not None:
            raise vm.fails
        return vm

    @staticmethod
    def _wait(hangs: threading.Event | None) -> None:
        if hangs is not None:
            assert hangs.wait(2 * LIMIT_SECONDS), "a test forgot one that hangs"


class Stage:
    """A host that is a folder, its hypervisor, and the agent's log."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hypervisor = Hypervisor()
        (root / "dev/storpool-byid").mkdir(parents=True, exist_ok=True)
        (root / "dev/mapper").mkdir()
        (root / "var/log/storpool-ovirt").mkdir(parents=True)
        self._file = root / "var/log/storpool-ovirt/vm-agent.log"
        self.log = Log("storpool-vm-agent", str(self._file))

    def device(self, number: int, size_bytes: int) -> str:
        """Make a device of ours, or give it another size."""
        path = self.root / OURS.format(number)[1:]
        with path.open("ab") as file:
            file.truncate(size_bytes)
        return OURS.format(number)

    def vm(self, number: int, *paths: str, agent: bool = True, run: int = 1) -> Vm:
        """Start a VM that has these disks, each shown as large as 1 GiB."""
        disks = tuple(Disk(f"vd{at:c}", path) for at, path in enumerate(paths, 97))
        uuid = f"00000000-0000-0000-0000-{number:012}"
        domain = Domain(uuid, run, f"vm{number}", disks, agent)
        vm = self.hypervisor.vms[uuid] = Vm(domain, {each.target: GIB for each in disks})
        return vm

    def lines(self, event: str = "") -> list[str]:
        """Return what the log has of an event."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [each for each in lines if f" - {event}" in each]

    @contextmanager
    def serving(self, stuck_seconds: float = 60.0, **given: float) -> Iterator[service.Service]:
        """Run the service, with short pauses, until the end of the block."""
        wanted = options.Options(**{"period": 0.1, "thaw_period": 0.05, **given})  # type: ignore[arg-type]
        made = service.Service(
            str(self.root), wanted, self.log, lambda: self.hypervisor, stuck_seconds
        )
        thread = threading.Thread(target=made.serve)
        thread.start()
        try:
            yield made
        finally:
            made.end()
            thread.join(LIMIT_SECONDS)
            assert not thread.is_alive(), "it ends at once, whatever hangs"
