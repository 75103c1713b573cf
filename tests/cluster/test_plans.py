"""plans.py: what is to be made."""

from __future__ import annotations

from storpool_ovirt.cluster.plans import Owner, Plan, Policy

OWNER = Owner("ovirt--x", {"virt": "ovirt", "ovirt-uuid": "x"})


def test_an_object_gets_the_tags_of_owner_policy_and_source() -> None:
    """The owner's are never those that a policy says."""
    plan = Plan(OWNER, policy=Policy({"qc": "gold", "virt": "else"}))
    assert plan.tags == {**OWNER.tags, "qc": "gold"}
    clone = Plan(OWNER, base_on="bgu4.n.a1z", source_tag="ovirt-src")
    assert clone.tags == {**OWNER.tags, "ovirt-src": "bgu4.n.a1z"}
    assert (clone.name, clone.source, plan.source) == ("ovirt--x", "bgu4.n.a1z", None)
