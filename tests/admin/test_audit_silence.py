"""audit.py: of what is healthy, young, under way, elsewhere or another's, nothing is said that is
not so."""

from __future__ import annotations

from typing import Any

import pytest
from one_finding import check, only

from rigs.disk_model import GIB
from rigs.disk_rig import OTHERS_VOLUME
from rigs.yard import CLONE, DISK, FOREIGN, OTHER, Yard

pytestmark = pytest.mark.usefixtures("a_disk")


def test_a_healthy_system_gives_no_warning(yard: Yard) -> None:
    """T72: disks, snapshots, previews, clones, commits, attachments; a migration under way is only
    told."""
    snapshot = yard.verb("snapshot", DISK)
    committed = yard.verb("preview", snapshot)
    yard.verb("remove", snapshot)
    yard.verb("remove", DISK)
    yard.verb("clone", committed, CLONE)
    yard.verb("create", OTHER, 2 * GIB)
    yard.verb("preview", yard.verb("snapshot", OTHER))
    assert yard.see().rows[DISK].state == "removed"
    yard.shut(committed, 1)
    assert yard.report().findings == ()
    yard.shut(committed, 2)
    check(
        only(yard),
        "stale attachment",
        "info",
        None,
        cause="client 1, client 2 have it attached: a migr",
        mend="--detach",
    )


def test_the_rows_of_another_cluster_are_not_missed(yard: Yard) -> None:
    """One mapping serves the domains of several clusters; each is audited with its own options."""
    yard.verb("create", OTHER, GIB)
    yard.sql("UPDATE storpool_ovirt.node SET global_id = 'zz.z.1' WHERE uuid = %s", OTHER)
    yard.ask("VolumeDelete/ovirt--" + OTHER, {})
    report = yard.report()
    assert report.findings == ()
    assert [view.uuid for view in report.view.tree(OTHER) if not report.view.here(view)] == [OTHER]


def test_an_operation_of_another_cluster_is_left_to_its_own_audit(yard: Yard) -> None:
    """What the other cluster has cannot be seen from here: nothing is mended, and it is told where
    to look."""
    yard.die_made("clone", DISK, CLONE)
    yard.sql(
        """UPDATE storpool_ovirt.operation SET plan = jsonb_set(plan, '{api}', '"elsewhere:81"')"""
    )
    yard.ask("VolumeDelete/ovirt--" + CLONE, {})
    mend = f"storpool-ovirt reconcile --remove {CLONE} forgets it"
    check(
        only(yard),
        "unfinished",
        "info",
        None,
        cause="went to the StorPool API at elsewhere:81",
        mend=mend,
    )


def test_what_others_have_is_no_finding(yard: Yard) -> None:
    """T76: another Engine's disks under names like ours, other platforms' volumes, wherever they
    are attached."""
    listed = {each.name for each in yard.report().view.things.values()}
    assert {OTHERS_VOLUME, f"ovirt--{FOREIGN}"} < listed
    assert yard.report().findings == ()


def test_a_disk_that_is_being_changed_is_left_out(yard: Yard) -> None:
    """T72: half a change looks like a defect; the next audit tells."""
    yard.ask(f"VolumeUpdate/{yard.address(DISK)}", {"size": 3 * GIB})
    with yard.holder(DISK):
        report = yard.report()
        assert (report.findings, report.view.busy) == ((), {DISK})
    assert {each.kind for each in yard.report().findings} == {"unfinished"}


def test_a_disk_that_changes_while_it_is_looked_at_is_left_out(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T72: a whole verb ran between the two looks at the database."""
    from storpool_ovirt.cluster import api

    real = api.Client.attachments

    def meanwhile(client: api.Client, *known: Any) -> list[api.Attachment]:
        monkeypatch.setattr(api.Client, "attachments", real)
        yard.verb("create", OTHER, GIB)
        yard.verb("snapshot", DISK)
        return real(client, *known)

    monkeypatch.setattr(api.Client, "attachments", meanwhile)
    report = yard.report()
    assert report.findings == ()
    assert OTHER in report.view.busy


def test_what_is_young_is_told_and_left_alone(yard: Yard) -> None:
    """T72: a request of a dead process may still be under way, so reconcile waits."""
    from storpool_ovirt.admin import reconcile

    yard.die_made("snapshot", DISK)
    assert reconcile.plan(yard.report(60)) == []
    yard.sql("UPDATE storpool_ovirt.operation SET started_at = started_at - interval '61 s'")
    (found,) = reconcile.plan(yard.report(60))
    assert found.age_seconds is not None
    assert 61 <= found.age_seconds < 600
