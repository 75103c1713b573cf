"""Virtual machines that libvirt runs on the stage's hosts, each with its own libvirtd, and the
agent there.

A pytest plugin, named in conftest.py behind vm_fixtures.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import vm_site
from vm_domain import Description, Domain
from vm_fixtures import Machines
from vm_wire import LIMIT_SECONDS

from rigs import libvirt_daemon
from storpool_ovirt import errors
from storpool_ovirt.agent.libvirt_binding import Libvirt

if TYPE_CHECKING:
    from ovirt_demo.flows import Disk
    from ovirt_demo.vdsm import Host

AGENT = "storpool-vm-agent"
AGENT_LOG = "/var/log/storpool-ovirt/vm-agent.log"
# What the agents of tests do not wait for; where it matters a test says its own.
QUICK = {"period": "1", "thaw_period": "0.2"}


class Domains:
    """The domains of one test."""

    def __init__(
        self,
        machines: Machines,
        site: vm_site.VmSite,
        daemon_of: Callable[[Host], libvirt_daemon.Daemon],
        folder: Path,
    ) -> None:
        self.machines = machines
        self.daemon_of = daemon_of
        self._site = site
        self._folder = folder
        self._descriptions: dict[str, Description] = {}
        self._made: list[Domain] = []

    def start(self, host: Host, *disks: Disk) -> Domain:
        """Run a VM as Engine and Vdsm do, and wait until its guest and the guest agent answer."""
        vm_id = str(uuid.uuid4())
        devices = self.machines.attach(vm_id, host, *disks)
        description = Description(self._site, self._folder, devices, vm_id)
        self._descriptions[vm_id] = description
        self._made.append(description.run(self.daemon_of(host)))
        return self._made[-1]

    def migrate(self, vm: Domain, destination: Host, *disks: Disk) -> Domain:
        """Migrate a VM in Engine's order of calls; return what it is on the destination."""
        from ovirt_demo import flows

        def move() -> None:
            description = self._descriptions[vm.name]
            self._made.append(description.migrate(vm, self.daemon_of(destination)))

        flows.migrate(self.machines.play.domain, destination, *disks, move=move)
        return self._made[-1]

    def close(self) -> None:
        """End all of them."""
        for domain in self._made:
            domain.kill()
        for description in self._descriptions.values():
            description.close()

    @contextlib.contextmanager
    def agent(self, host: Host, **options: str) -> Iterator[Path]:
        """Have the agent run on a host, with these options; give its log. It ends at once when it
        is told to."""
        from ovirt_demo import children

        given = {**QUICK, "libvirt": self.daemon_of(host).uri, **options}
        lines = [f"SP_OVIRT_AGENT_{key.upper()}={value}" for key, value in given.items()]
        conf, log = host.local("/etc/storpool.conf"), host.local(AGENT_LOG)
        before = conf.read_text()
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        conf.write_text("\n".join([before, *lines, ""]))
        try:
            with subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", str(children.find(AGENT))],
                env=host.environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            ) as process:
                try:
                    yield log
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(LIMIT_SECONDS) == 0, log.read_text()
                finally:
                    process.kill()
        finally:
            conf.write_text(before)


@pytest.fixture(scope="session")
def agent_parts(tmp_path_factory: pytest.TempPathFactory) -> vm_site.VmSite:
    """Give what guests with a guest agent are made of; where something is missing the tests are
    skipped, and say so."""
    try:
        Libvirt("qemu:///none")._libvirt_module()
        return vm_site.make(tmp_path_factory.mktemp("guest_with_agent"), agent=True)
    except vm_site.Missing as error:
        pytest.skip(f"no virtual machines: {error}")
    except errors.LibvirtUnavailable as error:
        pytest.skip(f"no libvirt binding for this Python: {error.why}")


@pytest.fixture(scope="module")
def daemon_of() -> Iterator[Callable[[Host], libvirt_daemon.Daemon]]:
    """Give the libvirtd of a host, started when it is first asked for."""
    from ovirt_demo import vdsm

    made: dict[str, libvirt_daemon.Daemon] = {}

    def get(host: Host) -> libvirt_daemon.Daemon:
        if host.name not in made:
            links = {vdsm.RUN_FOLDER: host.local(vdsm.RUN_FOLDER)}
            try:
                made[host.name] = running.enter_context(libvirt_daemon.running(links))
            except libvirt_daemon.Missing as error:
                pytest.skip(f"no libvirtd: {error}")
        return made[host.name]

    with contextlib.ExitStack() as running:
        yield get


@pytest.fixture
def domains(
    machines: Machines,
    agent_parts: vm_site.VmSite,
    daemon_of: Callable[[Host], libvirt_daemon.Daemon],
    tmp_path: Path,
) -> Iterator[Domains]:
    """Give the means to have libvirt run VMs; none of them outlives the test."""
    domains = Domains(machines, agent_parts, daemon_of, tmp_path)
    yield domains
    domains.close()
