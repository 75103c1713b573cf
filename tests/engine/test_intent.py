"""intent.py: what the journal tells of an operation is read once, whatever version wrote it."""

from __future__ import annotations

import pytest

from storpool_ovirt.cluster.plans import Owner, Plan, Policy
from storpool_ovirt.engine import intent

OWNER = Owner("ovirt--1", {"virt": "ovirt", "ovirt-uuid": "1"})
CLONE = Plan(OWNER, 1 << 30, Policy(template="hybrid"), base_on="a.b.1", source_tag="ovirt-src")
# What the version before owner and policy were apart has written of the same clone.
BEFORE = {
    "kind": "volume",
    "name": "ovirt--1",
    "tags": {"virt": "ovirt", "ovirt-uuid": "1"},
    "size_bytes": 1 << 30,
    "template": "hybrid",
    "parent": None,
    "base_on": "a.b.1",
    "replication": None,
    "never": [],
    "source_tag": "ovirt-src",
    "api": "127.0.0.1:81",
    "cluster": "a.b",
}


def test_what_is_to_be_made_is_read_again() -> None:
    """T72: whoever comes after a make knows kind, cluster, address and what it was made of."""
    policy = Policy(template="hybrid")
    plan = Plan(OWNER, policy=policy, parent="a.b.1", source_tag="ovirt-src")
    read = intent.parse(intent.making("volume", plan, "127.0.0.1:81", "a.b"))
    assert read == intent.Plan(
        kind="volume",
        api="127.0.0.1:81",
        cluster="a.b",
        template="hybrid",
        parent="a.b.1",
        source_tag="ovirt-src",
    )


def test_the_journal_has_the_same_keys_in_all_versions() -> None:
    """T72: this version reads what the one before has written, and that one what this has."""
    assert intent.making("volume", CLONE, "127.0.0.1:81", "a.b") == BEFORE
    policy = Policy({"qc": "gold"}, "hybrid")
    with_policy = Plan(OWNER, 1 << 30, policy, base_on="a.b.1", source_tag="ovirt-src")
    written = intent.making("volume", with_policy, "127.0.0.1:81", "a.b")
    assert written == {**BEFORE, "policy_tags": {"qc": "gold"}}
    assert intent.parse(written) == intent.parse(BEFORE)
    assert intent.parse(BEFORE).base_on == "a.b.1"


def test_what_is_to_be_deleted_is_read_again() -> None:
    """T72: the audit finds which operation was to delete an object."""
    assert intent.parse(intent.dropping(["one", "two"])).nodes == ("one", "two")


@pytest.mark.parametrize("written", [{}, {"kind": None, "nodes": None}, {"template": 7}])
def test_what_an_older_version_did_not_tell_is_nothing(written: object) -> None:
    """T72: a row that was migrated has a kind, or not even that; a hint that is odd is none."""
    assert intent.parse(written) == intent.Plan()


@pytest.mark.parametrize("written", [None, [], "volume", {"kind": 1}, {"api": []}, {"cluster": {}}])
def test_what_no_version_wrote_is_not_read(written: object) -> None:
    """T24: nothing is decided from a row that others have changed."""
    with pytest.raises(ValueError, match=r"kind|api|cluster|not an object"):
        intent.parse(written)


@pytest.mark.parametrize(("api", "elsewhere"), [(None, False), ("here", False), ("there", True)])
def test_where_it_went(api: str | None, elsewhere: bool) -> None:
    """T85: "does not exist" proves nothing where another address was asked."""
    assert intent.Plan(api=api).is_elsewhere("here") is elsewhere
