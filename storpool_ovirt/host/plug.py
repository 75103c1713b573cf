"""A plug: a disk comes to a VM that runs, and it is not certain whether others may have it too.

What Vdsm hands over never says that a managed disk is shareable (`sharing.py` has the reason). So
a plug takes nothing by force from a host that is up: a disk that is marked as shareable is left to
whoever has it; of any other, whoever has it closed loses it, whoever is down loses it, and where it
is open elsewhere the plug is refused.
"""

from __future__ import annotations

import itertools

from storpool_ovirt import errors, names
from storpool_ovirt.cluster import api, attachments, devices, force, held
from storpool_ovirt.host import takeover, vm_disks, vm_policy
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# So many requests that succeed: a client that has it again after each of them attaches it as often
# as it loses it, and is named in the error.
REQUESTS = 3


def take(
    client: api.Client,
    host: attachments.HostSide,
    disks: vm_disks.Pairs,
    openstack_prefix: str,
    wished: vm_policy.Wish = vm_policy.NOTHING,
) -> takeover.StartResult:
    """Make this host the only one that has the disk, or one of several where it is shareable.

    Each step may be the last one: who lost the disk by then had it closed, or is down. Raises what
    `takeover.take` does, and Conflict, with nothing changed, when a host that is up has it open.
    """
    vm_disks.check_each_once(disks)
    all_found = vm_disks.candidates(client, disks, openstack_prefix)
    if all_found:
        takeover.check_up(client, host.client_id)
    targets = [found.target for found in all_found]
    before = held.Held(targets, client.attachments() if targets else ())
    single: list[vm_disks.Candidate] = []
    shared: list[vm_disks.Candidate] = []
    for found in all_found:
        if not found.proved and not found.is_wanted_shared:
            takeover.check_nobody_else(host.client_id, found.target, before)
            continue
        takeover.check_here(host, found.target, before)
        is_shared = found.is_wanted_shared or names.is_shared(found.there.tags)
        (shared if is_shared else single).append(found)
    for found in single:
        _take(client, host, found, before)
    vm_policy.silent_follow(
        client,
        host,
        wished,
        alone=[found.there for found in single],
        not_its=[found.there for found in shared if found.proved],
    )
    return takeover.result([found.target for found in single], disks)


def _take(
    client: api.Client,
    host: attachments.HostSide,
    found: vm_disks.Candidate,
    before: held.Held,
) -> None:
    losers, generation = _let_go(client, host, found, before)
    takeover.check_alone(client, host, [found.target])
    takeover.wait_for_clients(client, host, generation, losers)
    devices.wait_for_device(host, found.target.global_id)


def _let_go(
    client: api.Client,
    host: attachments.HostSide,
    found: vm_disks.Candidate,
    now: held.Held,
) -> tuple[set[int], int]:
    """Have all others let go of it; return who had it, and the cluster's generation then, 0 where
    that was not in the answer.

    Before it is repeated the lists are read again: who has it, and who is up, may have changed.
    """
    patience = host.deadline.within(host.limits.retry_seconds)
    losers: set[int] = set()
    generation = answered = 0
    for attempt in itertools.count():
        others = _others(now, found.target, host.client_id)
        if not others or answered == REQUESTS:
            break
        if attempt:
            # Who has started the VM meanwhile has taken it from us, and keeps it.
            takeover.check_attached(host.client_id, found.target, now)
            client.pause(attempt)
        losers.update(others)
        try:
            generation = _ask(client, host, found, others)
            answered += 1
        except (errors.ApiUnavailable, errors.NotFound, errors.Rejected):
            # Whether a detach of what was just let go of is an error is not documented: the list
            # decides.
            if patience.remaining() <= 0:
                raise
            client.be_current()  # what is looked at must not be from before that request
        now = held.Held([found.target], client.attachments())
    return losers, generation


def _ask(
    client: api.Client, host: attachments.HostSide, found: vm_disks.Candidate, others: Sequence[int]
) -> int:
    """Ask those that are up first, all of them at once: where one has it open, nothing has
    changed."""
    target = found.target
    down = {each.client_id for each in client.of_hosts().clients() if each.status == api.DOWN}
    running = [client_id for client_id in others if client_id not in down]
    lost = [client_id for client_id in others if client_id in down]
    generation = 0
    if running:
        try:
            generation = _reassign(client, target, attachments.detach_item(target, running))
        except errors.InUse as error:
            raise _open_elsewhere(
                found, error.openers or [f"client {client_id}" for client_id in running]
            ) from error
        for client_id in running:
            host.log.line(
                "let_go", volume=target.name, global_id=target.global_id, client=client_id
            )
    if lost:
        generation = _reassign(client, target, force.torn_off(target, lost))
        for client_id in lost:
            host.log.line(
                "taken",
                volume=target.name,
                global_id=target.global_id,
                client=client_id,
                by=host.client_id,
            )
    return generation


def _reassign(client: api.Client, target: attachments.Target, item: dict[str, object]) -> int:
    return client.reassign([item], client.limits.attach_timeout_seconds, str(target), repeat=False)


def _open_elsewhere(found: vm_disks.Candidate, openers: Sequence[str]) -> errors.Conflict:
    return errors.Conflict(
        str(found.target),
        f"is open at {', '.join(openers)}, and nothing tells whether it is shareable",
        "stop the VM there or unplug it, or, where oVirt has the disk as shareable, run"
        f" storpool-ovirt shareable {found.uuid} on Engine's machine; then plug it again",
    )


def _others(now: held.Held, target: attachments.Target, client_id: int) -> list[int]:
    return sorted({each.client_id for each in now.of(target)} - {client_id})
