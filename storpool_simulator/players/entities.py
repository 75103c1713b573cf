"""What VolumeCare makes backups of: a VM with all its volumes, or a volume of no VM.

A VM is all volumes with one value of one tag, and has the policy that all of them have. Where they
have several "it is considered a misconfiguration and the virtual machine will be ignored" [kb].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from storpool_simulator.players.vc_config import OFF, Config, Policy


@dataclass(frozen=True)
class Volume:
    """A volume as the list tells it; `key` names it in the map of a backup."""

    global_id: str
    name: str
    key: str
    policy: str
    tags: Mapping[str, str]

    @property
    def address(self) -> str:
        """How the API finds it."""
        return f"~{self.global_id}"


@dataclass(frozen=True)
class Entity:
    """A VM or a lone volume; `name` is `<tag>=<value>` [dr], or `~<first id>` of a volume."""

    kind: str
    name: str
    volumes: tuple[Volume, ...]

    def policy(self, config: Config) -> Policy | None:
        """Return the policy, None where no snapshots are to be taken.

        Raises ValueError, a sentence, where the volumes have several, or one that there is not.
        """
        names = {volume.policy for volume in self.volumes}
        if len(names) > 1:
            each = ", ".join(f"{one.address} has {one.policy}" for one in self.volumes)
            raise ValueError(f"its volumes have several policies: {each}")
        (name,) = names
        if name == OFF:
            return None
        if name not in config.policies:
            raise ValueError(f"there is no policy '{name}'")
        return config.policies[name]


def found(config: Config, listed: Iterable[Mapping[str, Any]]) -> list[Entity]:
    """Return the entities of the volumes of a list, in its order."""
    members: dict[tuple[str, str], list[Volume]] = {}
    for view in listed:
        tags = view.get("tags") or {}
        vm = tags.get(config.vm_tag)
        named = ("vm", f"{config.vm_tag}={vm}") if vm else ("volume", _first_address(view))
        members.setdefault(named, []).append(_volume(config, view, tags))
    return [Entity(kind, name, tuple(each)) for (kind, name), each in members.items()]


def _volume(config: Config, view: Mapping[str, Any], tags: Mapping[str, str]) -> Volume:
    key = (tags.get(config.id_tag) if config.id_tag else None) or _first_address(view)
    policy = config.policy_name(tags, view.get("templateName") or "")
    return Volume(view["globalId"], view["name"], key, policy, tags)


def _first_address(view: Mapping[str, Any]) -> str:
    """Return `~` and the global id that a volume had first: reverts give it others [addon].

    Where that is not told, an unnamed volume has it as its name [git 76ce668].
    """
    if view.get("preservedGlobalId"):
        return f"~{view['preservedGlobalId']}"
    name = str(view["name"])
    return name if name.startswith("~") else f"~{view['globalId']}"
