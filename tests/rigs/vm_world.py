"""A host on which a VM is, and what its volumes have by its properties."""

from __future__ import annotations

from rigs.clock import Clock
from rigs.core_fixtures import Core
from rigs.starts import UUIDS, bare, disk, made, side
from storpool_ovirt import config, names
from storpool_ovirt.cluster import api, vm_tags
from storpool_ovirt.host import plug, takeover, unplug, vm_policy

VM, OTHER = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", "bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee"
TAG = vm_tags.Tag("cvm", VM)


class World:
    """A host on which a VM is, whose disks are attached there."""

    def __init__(self, core: Core, count: int = 1, **policy: str) -> None:
        self.core, self.client = core, core.client()
        self.targets = [made(core, uuid, 2) for uuid in UUIDS[:count]]
        for uuid in UUIDS[:count] if policy else ():
            self.by_hand(uuid, **policy)

    def wish(
        self, vm: str = VM, classes: tuple[str, ...] = (), key: str = "cvm", **given: str
    ) -> vm_policy.Wish:
        """Return what a VM with these properties wishes; an empty key is one that cannot be
        used."""
        log = side(self.core, Clock()).log
        log.correlation_id = vm
        host = config.HostSettings(self.core.settings(), 2, qos_classes=classes, vm_tag=key)
        return vm_policy.wish(log, host, given)

    def start(self, *, classes: tuple[str, ...] = (), shareable: bool = False, **given: str) -> int:
        """Start the VM with these properties; return how many volumes were written."""
        disks = [
            disk(target, serial=uuid, shareable=shareable)
            for target, uuid in zip(self.targets, UUIDS)
        ]
        self.core.queries()
        wished = self.wish(classes=classes, **given)
        takeover.take(self.core.client(), side(self.core, Clock()), disks, "os", wished)
        return self.core.queries().count("VolumeUpdate")

    def plug(self, **given: str) -> None:
        """Plug the first disk into the VM."""
        disks = [disk(self.targets[0], serial=UUIDS[0])]
        plug.take(self.core.client(), side(self.core, Clock()), disks, "os", self.wish(**given))

    def unplug(self, tag: vm_tags.Tag = TAG, at: int = 0) -> None:
        """Unplug a disk by its number."""
        disks = [disk(self.targets[at], serial=UUIDS[at])]
        unplug.untag(self.core.client(), side(self.core, Clock()), disks, "os", tag)

    def volume(self, uuid: str = UUIDS[0]) -> api.Volume:
        """Return a volume as it is now."""
        at = UUIDS.index(uuid)
        return self.core.client().volume(f"~{self.targets[at].global_id}")

    def has(self, uuid: str = UUIDS[0]) -> tuple[str, str]:
        """Return the class and the policy of a volume."""
        tags = self.volume(uuid).tags
        return tags.get(names.TAG_QOS_CLASS, ""), tags.get(names.TAG_POLICY, "")

    def all(self) -> list[tuple[str, str]]:
        """Return those of all."""
        return [self.has(uuid) for uuid in UUIDS[: len(self.targets)]]

    def by_hand(self, uuid: str = UUIDS[0], **tags: str) -> None:
        """Have somebody tag a volume; `_` stands for `-`."""
        given = {key.replace("_", "-"): value for key, value in tags.items()}
        there = self.volume(uuid)
        self.core.post(f"VolumeUpdate/~{there.global_id}", {"tags": {**there.tags, **given}})

    def log(self) -> str:
        """Return the log."""
        return (self.core.folder / "test.log").read_text()


def preview(world: World) -> api.Volume:
    """Make what a preview's volume is by name and tags, the longest of ours, attached."""
    tags = names.tags(UUIDS[1], "0a1b2c3d", UUIDS[0])
    world.targets.append(bare(world.core, names.object_name(UUIDS[1]), tags, 2))
    return world.volume(UUIDS[1])
