"""brake.py: who deletes disks faster than a person would is held, and told what lifts it; a normal
day, and what undoes a create, is not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from rigs import disk_rig
from rigs.disk_model import GIB
from rigs.shared_stage import new_id
from rigs.yard import DISK, OTHER
from storpool_ovirt import config, errors
from storpool_ovirt.engine import brake, disks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rigs.yard import Yard

MOST = 20  # with 2 a minute


@pytest.fixture
def braked(yard: Yard) -> Yard:
    """Give a domain whose brake holds from 20 disks within ten minutes on."""
    yard.given(max_deletes=2)
    emptied(yard)
    return yard


def emptied(yard: Yard) -> None:
    """Forget what was counted, and lifts."""
    for table in ("asked_delete", "brake"):
        yard.sql(f"DELETE FROM storpool_ovirt.{table}")


def asked(yard: Yard, count: int, seconds_ago: float = 1.0) -> None:
    """Have the deletes of so many other disks been asked for."""
    with yard.engine() as work:
        domain = brake.key(work.domain)
        work.mapping.session.rows(
            """
            INSERT INTO storpool_ovirt.asked_delete (disk, domain, at)
            SELECT gen_random_uuid(), %s, clock_timestamp() - make_interval(secs => %s)
            FROM generate_series(1, %s)
            """,
            domain,
            seconds_ago,
            count,
        )


def counted(yard: Yard) -> int:
    """Return how many disks are counted."""
    return int(yard.sql("SELECT count(*) FROM storpool_ovirt.asked_delete")[0][0])


def used(yard: Yard, disk: str = DISK) -> str:
    """Make a disk that is in use for some time."""
    yard.verb("create", disk, GIB)
    yard.verb("connection", disk)
    aged(yard, disk)
    return disk


def aged(yard: Yard, disk: str) -> None:
    """Have a disk be of eleven minutes ago."""
    earlier = "created_at = created_at - interval '11 minutes'"
    yard.sql(f"UPDATE storpool_ovirt.node SET {earlier} WHERE uuid = %s", disk)


def refused(yard: Yard, disk: str) -> str:
    """See that a delete is refused and nothing is different; return the sentence."""
    before = yard.see(), yard.entries()
    yard.queries()
    with pytest.raises(errors.Conflict) as raised:
        yard.verb("delete", disk)
    assert yard.queries() == []
    assert (yard.see(), yard.entries()) == before
    return str(raised.value)


def test_one_too_many_is_refused_with_the_command_that_lifts_it(braked: Yard) -> None:
    """T84: and nothing of the disk is touched; other verbs go on."""
    used(braked)
    asked(braked, MOST)
    assert refused(braked, DISK) == (
        f"disk {DISK} is not deleted: the deletes of 20 other disks of its domain were asked for"
        " within 10 min, and sp_max_deletes allows 2 a minute: if they are meant, storpool-ovirt"
        " brake lift --for 15m on Engine's machine lets them go; else stop who deletes, see"
        " Engine's events"
    )
    snapshot = braked.verb("snapshot", DISK)
    braked.verb("remove", snapshot)
    braked.verb("delete", braked.verb("preview", braked.verb("snapshot", DISK)))
    with lifted(braked, 60):
        braked.verb("delete", DISK)
    assert braked.uuids() == set()


def test_the_last_one_that_is_allowed_goes(braked: Yard) -> None:
    """As many as the option says."""
    used(braked)
    asked(braked, MOST - 1)
    braked.verb("delete", DISK)
    assert counted(braked) == MOST


def test_it_frees_itself(braked: Yard) -> None:
    """T84: what was asked for before the last ten minutes counts no more, and is forgotten."""
    used(braked)
    asked(braked, MOST, brake.WINDOW_SECONDS + 1)
    braked.verb("delete", DISK)
    assert counted(braked) == 1


def test_who_goes_on_is_held(braked: Yard) -> None:
    """T84: what is refused counts too, each disk once: a script that does not stop gets no disk
    more."""
    used(braked)
    used(braked, OTHER)
    asked(braked, MOST)
    for _ in range(3):
        refused(braked, DISK)
        refused(braked, OTHER)
    assert counted(braked) == MOST + 2


def test_snapshots_and_previews_are_not_counted(braked: Yard) -> None:
    """Backup programs delete many snapshots, and the disk keeps its data."""
    used(braked)
    for _ in range(3):
        braked.verb("delete", braked.verb("preview", braked.verb("snapshot", DISK)))
    for snapshot in braked.uuids() - {DISK}:
        braked.verb("remove", snapshot)
    assert counted(braked) == 0


# What is never held back


def test_a_repeat_of_a_delete_that_was_begun_goes(braked: Yard) -> None:
    """T84: it is not counted again, and it is not refused."""
    used(braked)
    braked.die_when(lambda: not braked.uuids(), "delete", DISK)
    asked(braked, MOST)
    braked.verb("delete", DISK)
    assert braked.see().rows == {}
    assert counted(braked) == MOST + 1


def test_what_is_gone_is_a_success(braked: Yard) -> None:
    """T7: also while it holds."""
    asked(braked, MOST)
    braked.verb("delete", DISK)
    assert counted(braked) == MOST


@pytest.mark.parametrize("how", ["planned", "made", "undelivered", "delivered", "copied"])
def test_what_undoes_a_create_goes(braked: Yard, how: str) -> None:
    """T84: Engine was not told of the disk, or takes back what it made a moment ago; it gives the
    disk of a copy to a host before it copies (CopyManagedBlockDiskCommand)."""
    asked(braked, MOST)
    if how == "planned":
        braked.die_planned("create", DISK, GIB)
    elif how == "made":
        braked.die_made("create", DISK, GIB)
    elif how == "undelivered":
        braked.undelivered("create", DISK, GIB)
    else:
        braked.verb("create", DISK, GIB)
    if how == "copied":
        braked.verb("connection", DISK)
    braked.verb("delete", DISK)
    assert braked.uuids() == set()
    assert counted(braked) == MOST


def test_a_disk_that_is_old_counts_also_if_no_host_has_seen_it(braked: Yard) -> None:
    """A template's disk is attached to no host."""
    braked.verb("create", DISK, GIB)
    aged(braked, DISK)
    asked(braked, MOST)
    refused(braked, DISK)


def test_the_check_of_a_new_domain_goes(braked: Yard) -> None:
    """T84: storage_stats makes a volume and deletes it, while a domain is added."""
    asked(braked, MOST)
    braked.verb("stats")
    assert braked.uuids() == set()


def test_what_reconcile_mends_goes(braked: Yard) -> None:
    """T84: it deletes what is nobody's, and ends deletes that were begun."""
    used(braked)
    braked.verb("snapshot", DISK)
    braked.die_when(lambda: f"ovirt--{DISK}" not in braked.see().things, "delete", DISK)
    asked(braked, MOST)
    braked.reconcile()
    assert braked.uuids() == set()


def test_a_delete_that_fails_is_counted_once(braked: Yard) -> None:
    """Whatever it failed for, and however often."""
    used(braked)
    braked.shut(DISK, declared_open=True)
    for _ in range(3):
        with pytest.raises(errors.InUse):
            braked.verb("delete", DISK)
    assert counted(braked) == 1


# Lifting it


@contextlib.contextmanager
def lifted(yard: Yard, seconds: int) -> Iterator[None]:
    """Lift the brake, and put it back."""
    with yard.engine() as work:
        brake.lift(work.mapping.session, brake.key(work.domain), seconds)
    yield
    with yard.engine() as work:
        brake.lift(work.mapping.session, brake.key(work.domain), 0)


def test_a_lift_ends(braked: Yard) -> None:
    """T84: after its time, or when it is put back; what went meanwhile was counted."""
    used(braked)
    asked(braked, MOST)
    with lifted(braked, 60):
        with braked.engine() as work:
            assert 0 < brake.state(work.mapping.session, work.domain).lifted_seconds <= 60
        braked.sql("UPDATE storpool_ovirt.brake SET lifted_at = lifted_at - interval '61 s'")
        refused(braked, DISK)
    refused(braked, DISK)


def test_the_brakes_of_all_domains_are_lifted_at_once(braked: Yard) -> None:
    """T84: who does not say which domain means all, whatever their options are, and puts all
    back."""
    used(braked)
    asked(braked, MOST)
    with braked.engine() as work:
        brake.lift(work.mapping.session, brake.EVERY, 60)
        [(_, number)], left = brake.everywhere(work.mapping.session)
        assert number == MOST
        assert 0 < left <= 60
        assert 0 < brake.state(work.mapping.session, work.domain).lifted_seconds <= 60
        brake.lift(work.mapping.session, brake.key(work.domain), 60)
        brake.lift(work.mapping.session, brake.EVERY, 0)
    refused(braked, DISK)
    with braked.engine() as work:
        brake.lift(work.mapping.session, brake.EVERY, 60)
    braked.verb("delete", DISK)


@pytest.mark.parametrize("seconds", [5, 3600, 10 * 86400])
def test_a_clock_that_went_back_neither_locks_nor_opens_it(braked: Yard, seconds: int) -> None:
    """T84: what is dated in the future counts as of now, so it ends within ten minutes; a lift from
    then is over."""
    used(braked)
    asked(braked, MOST, -float(seconds))
    braked.sql(
        "INSERT INTO storpool_ovirt.brake SELECT domain, clock_timestamp() + make_interval(secs =>"
        " %s), 86400 FROM storpool_ovirt.asked_delete LIMIT 1",
        seconds,
    )
    refused(braked, DISK)
    [(latest,)] = braked.sql(
        "SELECT max(extract(epoch FROM at - clock_timestamp()))::float"
        " FROM storpool_ovirt.asked_delete"
    )
    assert latest <= 0
    braked.sql(
        "UPDATE storpool_ovirt.asked_delete SET at = at - make_interval(secs => %s)",
        brake.WINDOW_SECONDS + 1,
    )
    braked.verb("delete", DISK)


def test_domains_of_one_database_are_counted_apart(braked: Yard) -> None:
    """By cluster and template, which is what their options have."""
    asked(braked, MOST)
    with braked.engine() as work:
        api = work.domain.api
    one, two, three = (
        brake.key(config.Domain(each, template, 100.0))
        for each, template in (
            (api, disk_rig.TEMPLATE),
            (api, "ssd"),
            (api._replace(cluster_id="b.c") if hasattr(api, "_replace") else api, None),
        )
    )
    assert len({one, two, three}) == 3
    used(braked)
    braked.sql("UPDATE storpool_ovirt.asked_delete SET domain = %s", two)
    braked.verb("delete", DISK)


@pytest.mark.parametrize("most", [0, 1])
def test_it_can_be_turned_off(yard: Yard, most: int) -> None:
    """0 is no brake, and asks nothing of the database."""
    yard.given(max_deletes=most)
    emptied(yard)
    used(yard)
    asked(yard, 10 * MOST)
    if most:
        refused(yard, DISK)
        return
    yard.verb("delete", DISK)
    assert counted(yard) == 10 * MOST


# A day and a bad hour, on the real statement


@pytest.fixture
def day(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[float]], list[float]]:
    """Give a function that asks for the delete of another disk at each of these times, in seconds,
    by a clock of its own, and returns those at which it was refused; by default's option."""
    yard.given(max_deletes=default())
    clock = "current_setting('storpool_ovirt.test_now')::timestamptz"
    monkeypatch.setattr(brake, "_ASK", brake._ASK.replace("clock_timestamp()", clock))

    def played(times: Iterable[float]) -> list[float]:
        emptied(yard)
        held = []
        with yard.engine() as work:
            session = work.mapping.session
            for at in times:
                now = "to_timestamp(1800000000 + %s)::text"
                session.rows(f"SELECT set_config('storpool_ovirt.test_now', {now}, false)", at)
                try:
                    brake.check(work, new_id())
                except errors.Conflict:
                    held.append(at)
        return held

    return played


def default() -> int:
    """Return what a domain has that says nothing."""
    options = {"sp_api_http_host": "h", "sp_auth_token": "t", "sp_api_http_port": "81"}
    return config.domain({**options, "sp_vm_tag": "cvm", "sp_transport": "auto"}).max_deletes


def test_the_deletes_of_1000_disks_in_an_hour_are_held(
    day: Callable[[Iterable[float]], list[float]],
) -> None:
    """T84: a script goes on and on: of a thousand disks it gets a hundred, whether it spreads them
    or takes them as fast as Engine can."""
    for count, pause in ((1000, 3600 / 1000), (300, 0.4)):
        held = day([number * pause for number in range(count)])
        assert len(held) == count - 100
        assert held[0] == 100 * pause


def test_a_normal_day_is_not_held(day: Callable[[Iterable[float]], list[float]]) -> None:
    """T84: eight hours with a disk deleted each two minutes; a VM with 32 disks, a pool of 50
    desktops and a template's three disks within two minutes; two more such VMs later."""
    each = [120.0 * number for number in range(240)]
    burst = [3600 + 1.3 * number for number in range(32 + 50 + 3)]
    later = [2 * 3600 + 1.0 * number for number in range(64)]
    assert day(sorted([*each, *burst, *later])) == []


def test_a_large_day_that_is_meant_is_lifted_first(yard: Yard) -> None:
    """T84: after a thousand disks more go, with one command before."""
    yard.given(max_deletes=default())
    emptied(yard)
    asked(yard, 1000)
    disks_left = [used(yard, new_id()) for _ in range(3)]
    with lifted(yard, 7200):
        for disk in disks_left:
            yard.verb("delete", disk)
    assert yard.uuids() == set()


def test_the_verb_asks_once(braked: Yard) -> None:
    """One statement for a whole disk, none for anything else."""
    counts = []
    for most in (0, 2):
        braked.given(max_deletes=most)
        used(braked)
        with braked.engine("delete") as work:
            disks.delete(work, DISK)
            work.mapping.journal.delivered()
            counts.append(work.mapping.session.statements)
    assert counts[1] == counts[0] + 1


def test_a_clock_that_went_back_makes_no_disk_a_new_one(braked: Yard) -> None:
    """T84: all that were made before would be dated in the future, and go without a brake."""
    braked.verb("create", DISK, GIB)
    braked.sql("UPDATE storpool_ovirt.node SET created_at = now() + interval '1 day'")
    asked(braked, MOST)
    refused(braked, DISK)
