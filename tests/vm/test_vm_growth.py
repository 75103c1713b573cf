"""A disk that grows while a guest runs, and the guest sees it: the agent tells libvirt, and nobody
unplugs anything.

The VM is a domain of a real libvirtd, one for each host, and the agent is the installed program.
"""

from __future__ import annotations

import re

from vm_domains import Domains
from vm_fixtures import VIRTUAL, serial
from vm_stream import BLOCK

from ovirt_demo import flows
from rigs.shared_stage import GIB

pytestmark = VIRTUAL
BESIDE = True  # StorPool's services make passes all the while


def test_a_guest_sees_its_disk_grow(domains: Domains) -> None:
    """3.7: on its first host, and after a migration on the other one, also where libvirtd has
    crashed there; it writes behind the old end without an error."""
    machines = domains.machines
    play = machines.play
    root, disk = (flows.create_disk(play.domain, 1) for _ in range(2))
    with domains.agent(play.host1) as log, domains.agent(play.host2) as other_log:
        vm = domains.start(play.host1, root, disk)
        vm.run(f"stream {serial(root)} 0 &")
        flows.extend_disk(play.domain, disk, 2)
        vm.run(f"size {serial(disk)} {2 * GIB}")
        vm.run(f"stream {serial(disk)} {last(2)} {last(2) + 8}")

        vm = domains.migrate(vm, play.host2, root, disk)
        domains.daemon_of(play.host2).restart()
        flows.extend_disk(play.domain, disk, 3)
        vm.run(f"size {serial(disk)} {3 * GIB}")
        vm.run(f"stream {serial(disk)} {last(3)} {last(3) + 8}")
        assert [vm.capacity(name) for name in ("vda", "vdb")] == [GIB, 3 * GIB]
    assert [len(re.findall(r" disk_grown ", each.read_text())) for each in (log, other_log)] == [
        1,
        1,
    ]
    end = machines.halt(vm, root)
    assert vm.troubles() == []
    vm.stop()
    flows.stop_vm(play.domain, root, disk)
    assert machines.stream(root).of(vm.boot_id) == [*range(end)]
    written = machines.stream(disk)
    assert [*written.writers] == [*range(last(2), last(2) + 8), *range(last(3), last(3) + 8)]
    assert not written.broken
    machines.delete(root, disk)


def last(gib: int) -> int:
    """Return where the last blocks of a disk of this size begin."""
    return gib * GIB // BLOCK - 8
