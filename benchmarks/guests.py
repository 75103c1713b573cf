"""Guests that do nothing but freeze and thaw, and the agent of their host with them in libvirt's
place.

    python benchmarks/guests.py FOLDER ROOT

is `storpool-vm-agent` for the guests in FOLDER, on the host in ROOT; `freeze.py` starts it. How the
agent reaches a real guest is the matter of tests/vm: libvirt and qemu-ga take some milliseconds of
a freeze, which are not measured here.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ovirt_demo import children
from storpool_ovirt import storpool_conf
from storpool_ovirt.agent import hypervisor, options, service
from storpool_ovirt.log import Log

THAW_LIMIT_SECONDS = 60.0
END_LIMIT_SECONDS = 10.0
LOOK_SECONDS = 0.001


class Guests:
    """The guests of one host: each a file that says its disks, and one beside it while it is
    frozen."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root
        folder.mkdir(exist_ok=True)

    def add(self, vm: str, paths: Sequence[str]) -> None:
        """Have a guest with disks under these paths of the host."""
        (self.folder / f"{vm}.json").write_text(json.dumps(list(paths)))

    def freeze(self, vm: str) -> None:
        """Freeze a guest, as Engine has it done."""
        (self.folder / f"{vm}.frozen").touch()

    def until_thawed(self, vm: str) -> float:
        """Return when a guest was thawed, by the clock of time.monotonic()."""
        frozen, limit = self.folder / f"{vm}.frozen", time.monotonic() + THAW_LIMIT_SECONDS
        while frozen.exists():
            if time.monotonic() > limit:
                raise SystemExit(f"the agent has not thawed the guest: {self.log.read_text()}")
            time.sleep(LOOK_SECONDS)
        return float((self.folder / f"{vm}.thawed").read_text())

    @property
    def log(self) -> Path:
        """The agent's."""
        return self.folder / "agent.log"

    @contextlib.contextmanager
    def looked_after(self) -> Iterator[None]:
        """Have the agent run while the block lasts."""
        argv = [sys.executable, __file__, str(self.folder), str(self.root)]
        agent = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        try:
            yield
        finally:
            children.end(agent, signal.SIGTERM, END_LIMIT_SECONDS)


class Files:
    """These guests as the agent sees a hypervisor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def domains(self) -> list[hypervisor.Domain]:
        """Return all guests."""
        return [self._domain(path) for path in sorted(self._folder.glob("*.json"))]

    def _domain(self, path: Path) -> hypervisor.Domain:
        paths = json.loads(path.read_text())
        disks = [hypervisor.Disk(f"vd{number}", each) for number, each in enumerate(paths)]
        return hypervisor.Domain(path.stem, 1, path.stem, disks, has_agent=True)

    def shown_bytes(self, domain: hypervisor.Domain, disk: hypervisor.Disk) -> int:
        """Return 0, so that nothing is to be grown."""
        del domain, disk
        return 0

    def is_moving(self, domain: hypervisor.Domain) -> bool:
        """Return that it is not."""
        del domain
        return False

    def grow(self, domain: hypervisor.Domain, disk: hypervisor.Disk, size_bytes: int) -> None:
        """Do nothing."""

    def is_frozen(self, domain: hypervisor.Domain) -> bool:
        """Return whether its second file is there."""
        return (self._folder / f"{domain.uuid}.frozen").exists()

    def thaw(self, domain: hypervisor.Domain) -> None:
        """Write when, and remove it."""
        (self._folder / f"{domain.uuid}.thawed").write_text(str(time.monotonic()))
        (self._folder / f"{domain.uuid}.frozen").unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is open."""


def main() -> None:
    """Be the agent until a signal asks to end."""
    folder, root = Path(sys.argv[1]), sys.argv[2]
    log = Log(service.PROGRAM, str(folder / "agent.log"))
    wanted = options.parsed(storpool_conf.read(root, environment=False))
    service.Service(root, wanted, log, opened=lambda: Files(folder)).serve()


if __name__ == "__main__":
    main()
