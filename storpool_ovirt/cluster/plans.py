"""What is to be made in the cluster: whose it is, how it shall be, and of what it is made.

The three are apart because a repeat treats them differently. Under its *owner* an earlier try is
found again. Its *policy* belongs to an administrator from the moment that the object exists: a
repeat leaves the policy that is there as it is.
"""

from __future__ import annotations

from storpool_ovirt.light import TYPE_CHECKING, dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

KIB_OF_MIB = 1024


@dataclass(frozen=True)
class Owner:
    """Whose an object is: the name that makes its create repeatable, and the tags that say so.

    What has a tag of `never` is another owner's, or was made of another source, although it has
    the name.
    """

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    never: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """How fast a volume may be; 0 says nothing.

    `iops` are requests a second, `bandwidth_mib` MiB a second: StorPool takes KiB
    (`storpool.sptypes.VolumeLimits` says KB).
    """

    iops: int = 0
    bandwidth_mib: int = 0

    def body(self) -> dict[str, int]:
        """Return how a request says it."""
        said = {"iops": self.iops, "bw": self.bandwidth_mib * KIB_OF_MIB}
        return {key: value for key, value in said.items() if value}


@dataclass(frozen=True)
class Policy:
    """How an object shall be when it is made; an administrator may change all of it afterwards.

    The tags are those of services and people: the QoS class, VolumeCare, the VM. `replication` is
    for clusters without templates, `limits` are for volumes. `delete_after` is when StorPool
    deletes a snapshot by itself, in seconds from its making; 0 is never.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None
    replication: int | None = None
    delete_after: int = 0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    `parent` is the global id of a snapshot, `base_on` that of a volume; with neither the volume is
    empty. `source_tag` is the tag that tells what a volume was made of, where its name may be that
    of an earlier plan with another source; a name that was chosen for this plan alone needs none.
    """

    owner: Owner
    size_bytes: int | None = None
    policy: Policy = field(default_factory=Policy)
    parent: str | None = None
    base_on: str | None = None
    source_tag: str = ""

    @property
    def name(self) -> str:
        """The name that the object gets."""
        return self.owner.name

    @property
    def source(self) -> str | None:
        """The global id of what it is made of; None for an empty volume."""
        return self.parent or self.base_on

    @property
    def tags(self) -> dict[str, str]:
        """All tags that the object gets; those of its owner stand above the policy's."""
        made_of = {self.source_tag: self.source} if self.source_tag and self.source else {}
        return {**self.policy.tags, **self.owner.tags, **made_of}
