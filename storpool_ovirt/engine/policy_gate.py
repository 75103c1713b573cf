"""What a domain's options, and storpool.conf, say of new disks that cannot be, or is no good.

By its options alone a domain is refused, as nobody can correct them afterwards. What storpool.conf
says too may change any day: it is told, and no verb fails for it.
"""

from __future__ import annotations

from storpool_ovirt import errors, names, option_table, option_values, storpool_conf
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.policy import budget, values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_RISK = "new disks get another class, or none, and nobody is told by StorPool"


class Doubt(NamedTuple):
    """What is wrong with an option, or a key of storpool.conf (`key`), what happens if nobody does
    anything, and whether no such domain is to be made."""

    key: str
    error: errors.ConfigError
    risk: str
    refuses: bool = False


class _Said(NamedTuple):
    """What is said, by the names of the options."""

    of: Mapping[str, Any]
    where: Mapping[str, str]  # what says it, for sentences

    def get(self, name: str) -> Any:
        """Return the value of an option; None where nothing is said."""
        return self.of.get(name)


def faults(options: Mapping[str, object], conf: Mapping[str, str]) -> Iterator[Doubt]:
    """Yield what is wrong. How a single option is read is config.domain's matter, not so the keys
    of storpool.conf (`conf`), for which no verb fails."""
    for key, error in option_table.conf_faults(conf):
        yield Doubt(key, error, f"{key} counts as not said")
    own = _said(options, {})
    known = dict(_wrong(own))
    for key, error in known.items():
        yield Doubt(key, error, _RISK, refuses=True)
    for key, error in _wrong(_said(options, conf)):
        if key not in known:
            yield Doubt(key, error, _RISK)


def _said(options: Mapping[str, object], conf: Mapping[str, str]) -> _Said:
    found: dict[str, Any] = {}
    where: dict[str, str] = {}
    for option in option_table.OPTIONS:
        if not (option.is_policy or option.name == "sp_vm_tag"):
            continue
        given, place = options.get(option.name), f"driver option {option.name}"
        if given in (None, ""):
            given = conf.get(option.conf_key or "")
            place = f"{option.conf_key} in {storpool_conf.FILE}"
        if given in (None, ""):
            continue
        try:
            found[option.name] = option_values.parsed(option.parse, str(given).strip(), place)
            where[option.name] = place
        except errors.ConfigError:
            continue
    return _Said(found, where)


def _wrong(said: _Said) -> Iterator[tuple[str, errors.ConfigError]]:
    yield from _unknown_class(said)
    yield from _two_limits(said)
    yield from _tag_of_the_vm(said)
    yield from _too_long(said)


def _unknown_class(said: _Said) -> Iterator[tuple[str, errors.ConfigError]]:
    qos = said.get("sp_qos_class")
    fault = values.class_fault(qos or "", said.get("sp_qos_classes") or ())
    if fault:
        where = f"{said.where['sp_qos_class']} ({names.shown(qos)})"
        advice = "correct it, or sp_qos_classes"
        yield "sp_qos_class", errors.ConfigError(where, fault, advice)


def _two_limits(said: _Said) -> Iterator[tuple[str, errors.ConfigError]]:
    for key in ("sp_iops", "sp_bw"):
        if said.get(key) and said.get("sp_qos_class"):
            yield (
                key,
                errors.ConfigError(
                    said.where[key],
                    f"does nothing beside {said.where['sp_qos_class']}: storpool_qos sets the"
                    " limits of the class once a minute",
                    "leave one of them out",
                ),
            )


def _tag_of_the_vm(said: _Said) -> Iterator[tuple[str, errors.ConfigError]]:
    key = said.get("sp_vm_tag") or names.TAG_VM
    if key in dict(said.get("sp_tags") or ()):
        why = f"has the tag {key}, which names a volume's VM (sp_vm_tag)"
        yield "sp_tags", errors.ConfigError(said.where["sp_tags"], why, "give another one")


def _too_long(said: _Said) -> Iterator[tuple[str, errors.ConfigError]]:
    """Yield the values that the volume of a preview, which has the longest tags of ours, has no
    room for beside its VM: the VM would have disks with several policies then, and VolumeCare
    leaves such a VM alone."""
    policy = {
        values.TAG[field]: said.get(name) or ""
        for field, name in ((values.QOS, "sp_qos_class"), (values.VC, "sp_vc_policy"))
    }
    left_out = budget.left_out_of_previews(policy, said.get("sp_vm_tag") or names.TAG_VM)
    for field, name in ((values.QOS, "sp_qos_class"), (values.VC, "sp_vc_policy")):
        if values.TAG[field] in left_out:
            yield (
                name,
                errors.ConfigError(
                    said.where[name],
                    "has no room on the volume of a preview beside the VM"
                    f" ({names.NAME_AND_TAGS_MAX_BYTES - 1} bytes of name and tags)",
                    "give class and policy shorter names",
                ),
            )
