"""VolumeCare's configuration: sections `format`, `volumecare`, `policy:NAME`, `template:NAME` [kb].

    [format]
    version=1.0
    [volumecare]
    mode=normal
    id_tag=ovirt-uuid
    [policy:hourly]
    mode=basic
    interval=1h
    keep=4h
    [template:*]
    policy=no

What a policy's own options are called is not known: `interval` and `keep` are ours, as is `vm_tag`
of the section `volumecare` [inf].
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass

OFF = "no"  # the policy that takes no snapshots [kb]
POLICY_TAG = "vc-policy"  # [kb]
VM_TAG = "cvm"  # of CloudStack [cs]; OpenNebula has nvm, Proxmox pve-vm, OpenStack osvm
_MODES = ("normal", "primary", "backup", "multi_backup", "primary_backup")  # [kb]
_ANY = "*"
_DURATION = re.compile(r"(\d+)([mhd]?)")
_SECONDS = {"m": 60, "h": 3600, "": 3600, "d": 86400}


@dataclass(frozen=True)
class Policy:
    """One policy: a snapshot each `interval` seconds, which lives for `keep` seconds."""

    name: str
    interval: int
    keep: int


@dataclass(frozen=True)
class Config:
    """The configuration, checked.

    `id_tag` is the tag whose value names a volume in the map of a backup, None for its global id
    [dr]; `vm_tag` is the tag whose value is the VM.
    """

    id_tag: str | None
    vm_tag: str
    policies: Mapping[str, Policy]
    templates: Mapping[str, str]

    def policy_name(self, tags: Mapping[str, str], template: str) -> str:
        """Return the name of a volume's policy: its tag, its template's, that of all [kb].

        It may be the name of no policy that there is.
        """
        return tags.get(POLICY_TAG) or self.templates.get(template) or self.templates[_ANY]


def parse(text: str) -> Config:
    """Return a configuration; raises ValueError, a sentence, for one that VolumeCare refuses."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    try:
        parser.read_string(text)
    except configparser.Error as problem:
        first = str(problem).splitlines()[0]
        raise ValueError(f"VolumeCare's configuration cannot be read: {first}") from None
    sections = {name: dict(parser.items(name)) for name in parser.sections()}
    _check_head(sections)
    policies = {
        name: _policy(name, options) for name, options in _named(sections, "policy").items()
    }
    templates = {
        name: options.get("policy", OFF) for name, options in _named(sections, "template").items()
    }
    if _ANY not in templates:  # "mandatory, otherwise VolumeCare will refuse to start" [kb]
        raise ValueError("VolumeCare's configuration has no section [template:*]")
    for name, policy in templates.items():
        if policy != OFF and policy not in policies:
            raise ValueError(f"[template:{name}] names the policy '{policy}', which there is not")
    options = sections["volumecare"]
    return Config(options.get("id_tag"), options.get("vm_tag", VM_TAG), policies, templates)


def _check_head(sections: Mapping[str, Mapping[str, str]]) -> None:
    if sections.get("format", {}).get("version") != "1.0":  # "only version 1.0 is available" [kb]
        raise ValueError("VolumeCare's configuration has no [format] with version=1.0")
    mode = sections.get("volumecare", {}).get("mode")
    if mode not in _MODES:
        raise ValueError(f"[volumecare] has no mode of {', '.join(_MODES)}")
    if mode != "normal":
        raise ValueError(f"[volumecare] mode={mode} is not simulated: only mode=normal is")
    kinds = {name.partition(":")[0] for name in sections}
    unknown = sorted(kinds - {"format", "volumecare", "policy", "template"})
    if unknown:
        raise ValueError(f"VolumeCare's configuration has no section [{unknown[0]}]")


def _named(sections: Mapping[str, Mapping[str, str]], kind: str) -> dict[str, Mapping[str, str]]:
    """Return the sections of a kind by the name behind the colon."""
    prefix = f"{kind}:"
    return {
        key[len(prefix) :]: options for key, options in sections.items() if key.startswith(prefix)
    }


def _policy(name: str, options: Mapping[str, str]) -> Policy:
    if options.get("mode") != "basic":  # "the mode option should be specified in each" [kb]
        raise ValueError(f"[policy:{name}] has no mode that is simulated: mode=basic is")
    if name == OFF:
        raise ValueError(f"[policy:{OFF}] cannot be defined: it takes no snapshots")
    return Policy(name, _seconds(name, "interval", options), _seconds(name, "keep", options))


def _seconds(name: str, key: str, options: Mapping[str, str]) -> int:
    """Return a duration of an option such as 30m, 4h, 2d; a bare number counts hours."""
    found = _DURATION.fullmatch(options.get(key, ""))
    if found is None or not int(found[1]):
        raise ValueError(f"[policy:{name}] {key} is not a duration such as 30m, 4h or 2d")
    return int(found[1]) * _SECONDS[found[2]]
