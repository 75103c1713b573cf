"""Tiers of storpool_qos: how they are written, and what they mean for a size.

    {"gold": {"min_iops": 100, "min_bw": 10, "max_iops": 5000, "max_bw": 200,
              "iops_gb": 3.0, "mbps_gb": 0.5}}

All six are given: there are no defaults; 0 is no limit [kb].
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_GIB = 1 << 30
_KIB_IN_MIB = 1024
UNLIMITED = "-"  # of bw and iops [sptypes]
_WHOLE = ("min_iops", "min_bw", "max_iops", "max_bw")
_PER_GIB = ("iops_gb", "mbps_gb")


@dataclass(frozen=True)
class Limits:
    """What a volume or snapshot shall have: numbers, or "-"; `bw` in KiB per second [sptypes]."""

    bw: int | str
    iops: int | str


@dataclass(frozen=True)
class Tier:
    """One tier: `*_bw` in MiB per second, `*_gb` for each GiB of size [kb]."""

    min_iops: int
    min_bw: int
    max_iops: int
    max_bw: int
    iops_gb: float
    mbps_gb: float

    def limits(self, size_bytes: int) -> Limits:
        """Return the limits of an object of this size."""
        size_gib = size_bytes / _GIB
        iops = _held(self.iops_gb * size_gib, self.min_iops, self.max_iops)
        mib = _held(self.mbps_gb * size_gib, self.min_bw, self.max_bw)
        bw = UNLIMITED if mib is None else max(1, round(mib * _KIB_IN_MIB))
        return Limits(bw, UNLIMITED if iops is None else max(1, round(iops)))


def parse(text: str) -> dict[str, Tier]:
    """Return the tiers of a file by name.

    Raises ValueError, a sentence, for what is no tier: a key that lacks or is unknown, a number
    that is none, a least value above the most.
    """
    try:
        value = json.loads(text)
    except ValueError as problem:
        raise ValueError(f"the tiers are not JSON ({problem})") from None
    if not isinstance(value, dict):
        raise ValueError("the tiers are not a JSON object of names")  # noqa: TRY004  a bad text
    return {name: _tier(name, facts) for name, facts in value.items()}


def _held(value: float, least: int, most: int) -> float | None:
    """Return a value of so much per GiB between least and most; None for no limit [inf]."""
    if not value:
        return float(most) or None
    return min(max(value, least), most or math.inf)


def _tier(name: str, facts: Any) -> Tier:
    if not isinstance(facts, Mapping):
        raise ValueError(f"tier '{name}' is not a JSON object")  # noqa: TRY004  a bad text
    wrong = sorted(set(facts) ^ {*_WHOLE, *_PER_GIB})
    if wrong:
        what = "is unknown" if wrong[0] in facts else "is missing: all six are given"
        raise ValueError(f"tier '{name}': '{wrong[0]}' {what}")
    for key in _WHOLE:
        if isinstance(facts[key], bool) or not isinstance(facts[key], int) or facts[key] < 0:
            raise ValueError(f"tier '{name}': '{key}' is not a whole number of at least 0")
    for key in _PER_GIB:
        if not _is_amount(facts[key]):
            raise ValueError(f"tier '{name}': '{key}' is not a number of at least 0")
    for least, most in (("min_iops", "max_iops"), ("min_bw", "max_bw")):
        if facts[most] and facts[least] > facts[most]:
            raise ValueError(f"tier '{name}': '{least}' is above '{most}'")
    return Tier(**facts)


def _is_amount(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0
