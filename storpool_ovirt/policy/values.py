"""The two things that a policy says of a disk: its QoS class, and VolumeCare's policy.

Each is a text or None. None says nothing, and whoever is asked next decides; an empty text says
that there is none, whoever is asked next.
"""

from __future__ import annotations

from storpool_ovirt import errors, names, option_values, text
from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# What the two are called in options, in tables and by people, and their tags.
FIELDS = QOS, VC = ("qos", "vc")
TAG = {QOS: names.TAG_QOS_CLASS, VC: names.TAG_POLICY}
_WHAT = {QOS: "the QoS class", VC: "VolumeCare's policy"}
# VolumeCare leaves a volume with this policy alone; without one it may have that of its template.
NO = "no"


def given(field: str, said: str) -> str:
    """Return what somebody has said of this field; the word `none` is an empty text.

    Raises InputError for what can be no value.
    """
    try:
        return option_values.policy_value(text.stripped(said))
    except ValueError as error:
        why, advice = error.args
        what = f"{_WHAT[field]} {names.shown(said)}"
        raise errors.InputError(what, why, advice) from None


def class_fault(value: str, classes: Sequence[str]) -> str:
    """Return what is wrong with a class, where it is known which there are; "" where it is right.

    StorPool says nothing of a class that it does not know, and sets no limits.
    """
    if not value or not classes or value in classes:
        return ""
    near = option_values.nearest(value, classes)
    meant = f" (do you mean {near}?)" if near else ""
    return f"is none of {', '.join(classes)}{meant}"


def fault(field: str, value: str, classes: Sequence[str]) -> str:
    """Return what is wrong with a value of a field; "" where nothing is known to be."""
    return class_fault(value, classes) if field == QOS else ""
