"""What a volume type asks of StorPool: the template and the QoS class.

`storpool_template` is the upstream driver's extra spec, `storpool:qos_class` that of StorPool's own
patches for Cinder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cinder_driver import options
from storpool_ovirt import errors
from storpool_ovirt.policy import values

TEMPLATE = "storpool_template"
QOS_CLASS = "storpool:qos_class"


@dataclass(frozen=True)
class Policy:
    """Where a volume shall live and how fast it may be."""

    template: str | None
    qos_class: str | None

    @property
    def tags(self) -> dict[str, str]:
        """The tags of a new object with this policy."""
        return {} if self.qos_class is None else {values.TAG[values.QOS]: self.qos_class}


def template_of(settings: options.Settings, volume: Any) -> str | None:
    """Return the template of a volume, whatever else its type says."""
    return _extra_specs(_type_of(volume)).get(TEMPLATE) or settings.template


def of_volume(settings: options.Settings, volume: Any) -> Policy:
    """Return the policy of a volume: that of its type, completed by the backend's options."""
    return of_type(settings, _type_of(volume))


def of_before(settings: options.Settings, volume: Any) -> Policy:
    """Return the policy of a volume whose type is about to be another one: what can be no class is
    taken as it is written, as it goes."""
    volume_type = _type_of(volume)
    try:
        return of_type(settings, volume_type)
    except errors.InputError:
        return Policy(template_of(settings, volume), _extra_specs(volume_type)[QOS_CLASS])


def of_type(settings: options.Settings, volume_type: Any) -> Policy:
    """Return the policy of a volume type (None: a volume without a type).

    A class `none` is none, whatever the backend's options say. Raises InputError for what can be no
    class.
    """
    extra_specs = _extra_specs(volume_type)
    said = extra_specs.get(QOS_CLASS)
    qos_class = values.given(values.QOS, said) or None if said else settings.qos_class
    return Policy(extra_specs.get(TEMPLATE) or settings.template, qos_class)


def _type_of(volume: Any) -> Any:
    return volume["volume_type"] if volume["volume_type_id"] else None


def _extra_specs(volume_type: Any) -> Mapping[str, str]:
    return (volume_type["extra_specs"] or {}) if volume_type else {}


def refused_difference(diff: Mapping[str, Any]) -> str | None:
    """Return what of a change of type cannot be done in place, None when all of it can.

    `diff` is that of cinder.volume.volume_types.volume_types_diff: each entry is a pair, old and
    new.
    """
    if _changed(diff, "encryption"):
        return "encryption"
    consumers = set((diff.get("qos_specs") or {}).get("consumer") or ())
    if consumers - {None, "front-end"} and _changed(diff, "qos_specs"):
        return "QoS specs for the back-end"
    others = sorted(_changed(diff, "extra_specs") - {TEMPLATE, QOS_CLASS})
    foreign = [key for key in others if _is_placing(key)]
    return f"extra spec {foreign[0]}" if foreign else None


def _changed(diff: Mapping[str, Any], part: str) -> set[str]:
    return {key for key, (old, new) in (diff.get(part) or {}).items() if old != new}


def _is_placing(key: str) -> bool:
    return key == "volume_backend_name" or key.startswith("storpool")
