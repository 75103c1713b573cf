"""`storpool-ovirt policy`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Callable

import click

from storpool_ovirt import errors
from storpool_ovirt.admin import (
    access,
    console,
    policy_changes,
    policy_defaults,
    policy_explain,
    policy_sync,
    policy_targets,
    twins,
)
from storpool_ovirt.admin import dry_run as rehearsals
from storpool_ovirt.admin.limits import LOOK_SECONDS, MEND_SECONDS
from storpool_ovirt.admin.options import DATABASE, DRY_RUN, JSON, OPTIONS, Text, all_of, limit
from storpool_ovirt.engine import tree
from storpool_ovirt.policy import values

_UNCHANGED = "this was --dry-run: nothing was changed"
_TARGET = click.argument("target", metavar="DISK|VM", type=Text())
_QOS = click.option(
    "--qos", metavar="CLASS", help="The QoS class; none takes it away, whatever other levels say."
)
_VC = click.option(
    "--vc-policy",
    metavar="NAME",
    help="VolumeCare's policy; no: it takes no backups; none: it goes by the template.",
)


@click.group()
def command() -> None:
    """Which QoS class and which policy of VolumeCare's disks have, and who says so.

    DISK and VM are oVirt's ids, or names where Engine's database can be read. docs/policy.md has
    the levels, of which the strongest decides.
    """


@command.command("set", short_help="Give a disk, or the disks of a VM, a class or a policy.")
@_TARGET
@all_of((_QOS, _VC, DATABASE, OPTIONS, DRY_RUN, limit(MEND_SECONDS)))
@click.pass_obj
def set_command(
    out: console.Console,
    *,
    target: str,
    qos: str | None,
    vc_policy: str | None,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Give a disk, or all disks of a VM, a QoS class or a policy of VolumeCare's.

    It takes effect at once, on volumes that are in use too: StorPool's services look each minute.
    What an administrator sets is stronger than a VM's property and than the domain.
    """
    given = _given(qos, vc_policy)
    if not given:
        raise click.UsageError("Give --qos, --vc-policy, or both.")
    where = access.Where(database, options, limit)
    with access.opened(out, "policy-set", where) as work:
        meant = policy_targets.found(work, target)
        alone = _alone(out, work, dry_run, database)
        _done(out, work, dry_run, lambda there: policy_changes.put(there, meant, given))
    return int(not alone)


@command.command("clear", short_help="Take back what was set on a disk or a VM.")
@_TARGET
@all_of(
    (
        click.option("--qos", is_flag=True, help="Only the QoS class."),
        click.option("--vc-policy", is_flag=True, help="Only VolumeCare's policy."),
        *(DATABASE, OPTIONS, DRY_RUN, limit(MEND_SECONDS)),
    )
)
@click.pass_obj
def clear_command(
    out: console.Console,
    *,
    target: str,
    qos: bool,
    vc_policy: bool,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Take back what was set on a disk or a VM: the next level decides again."""
    both = qos == vc_policy
    said: dict[str, str | None] = {
        field: None
        for field, is_meant in ((values.QOS, qos), (values.VC, vc_policy))
        if both or is_meant
    }
    where = access.Where(database, options, limit)
    with access.opened(out, "policy-clear", where) as work:
        meant = policy_targets.said_of(work, target)
        alone = _alone(out, work, dry_run, database)
        _done(out, work, dry_run, lambda there: policy_changes.put(there, meant, said))
    return int(not alone)


@command.command("default", short_help="What new disks of a storage domain get.")
@click.argument("domain", metavar="[DOMAIN]", type=Text(), required=False)
@all_of((_QOS, _VC))
@click.option("--clear", is_flag=True, help="Take back what was set: the domain's options count.")
@all_of((DATABASE, OPTIONS, DRY_RUN, limit(LOOK_SECONDS)))
@click.pass_obj
def default_command(
    out: console.Console,
    *,
    domain: str | None,
    qos: str | None,
    vc_policy: str | None,
    clear: bool,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Say what new disks of a storage domain get, in place of its options sp_qos_class and
    sp_vc_policy, which Engine never lets anybody change.

    DOMAIN is its name or its id in oVirt, on Engine's machine; elsewhere give its driver options
    with --options. Without both, all that was said is listed. Disks that are there stay as they
    are.
    """
    given = _given(qos, vc_policy)
    if clear and given:
        raise click.UsageError("Give --clear, or --qos and --vc-policy: not both.")
    is_of_all = domain is None and options is None
    if is_of_all and (given or clear):
        raise click.UsageError("Give the DOMAIN, or its options with --options.")
    where = access.Where(database, options, limit)
    with access.opened(out, "policy-default", where) as work:
        if is_of_all:
            out.say_all(policy_defaults.listed(work))
            return 0
        meant = policy_defaults.of_domain(work, domain, out.hide)
        said: dict[str, str | None] = dict(_checked(meant, given))
        if clear:
            said = dict.fromkeys(values.FIELDS)
        _done(out, meant, dry_run, lambda there: policy_defaults.put(there, domain, said))
    return 0


@command.command("explain", short_help="What a disk has, which level says so, and what follows.")
@_TARGET
@all_of((DATABASE, OPTIONS, JSON, limit(LOOK_SECONDS)))
@click.pass_obj
def explain_command(
    out: console.Console,
    *,
    target: str,
    database: str | None,
    options: str | None,
    as_json: bool,
    limit: float,
) -> int:
    """Tell what each level says of a disk, or of a VM's disks, which one decides, what StorPool
    has, and what its services make of that; change nothing."""
    with access.opened(out, "policy-explain", access.Where(database, options, limit)) as work:
        found = policy_explain.look(work, policy_targets.found(work, target))
    if as_json:
        out.document(policy_explain.document(found))
    else:
        out.say_all(policy_explain.text(found))
    return 0


@command.command("sync", short_help="Have all disks be what the levels say; by a timer too.")
@click.argument("target", metavar="[DISK|VM]", type=Text(), required=False)
@click.option(
    "--timer/--no-timer",
    default=None,
    help="Have that done every hour, or not any more, on Engine's machine; run it as root.",
)
@all_of((DATABASE, OPTIONS, DRY_RUN, limit(MEND_SECONDS)))
@click.pass_obj
def sync_command(
    out: console.Console,
    *,
    target: str | None,
    timer: bool | None,
    database: str | None,
    options: str | None,
    dry_run: bool,
    limit: float,
) -> int:
    """Have all disks be what the levels say, or those of a disk or a VM.

    What starts and plugs of VMs do by themselves it does for VMs that are down, for disks that were
    attached or detached meanwhile, and where somebody changed a tag by hand. The exit code is 1
    where something was left.
    """
    if timer is not None:
        if target is not None or database is not None or options is not None:
            raise click.UsageError("--timer and --no-timer go alone, or with --dry-run.")
        return _switch_timer(out, timer, dry_run)
    where = access.Where(database, options, limit)
    with access.opened(out, "policy-sync", where) as work:
        meant = None if target is None else policy_targets.found(work, target)
        alone = _alone(out, work, dry_run, database)
        plan = policy_sync.plan(work, meant)
        failed = 0
        for group in plan.groups:
            work.mapping.session.deadline.left("the end of policy-sync")
            out.say_all(policy_sync.told(group))
            try:
                _quietly(out, work, dry_run, functools.partial(policy_sync.mend, group))
            except (errors.NotDelivered, errors.DeadlineExceeded, errors.Interrupted):
                raise
            except errors.Error as error:
                failed += 1
                out.say(f"  {'would not be' if dry_run else 'not'} done: {error}")
        out.say(policy_sync.summary(plan, failed, dry_run))
    return 1 if failed or not alone else 0


def _switch_timer(out: console.Console, wanted: bool, dry_run: bool) -> int:
    from storpool_ovirt.admin import timers as switching
    from storpool_ovirt.setup import engine, timers

    return switching.switch(out, timers.POLICY, engine.Wishes(policy_timer=wanted), dry_run)


def _given(qos: str | None, vc_policy: str | None) -> dict[str, str]:
    """Return what was typed, by field; raise InputError for what can be no value."""
    typed = {values.QOS: qos, values.VC: vc_policy}
    return {field: values.given(field, said) for field, said in typed.items() if said is not None}


def _checked(work: tree.Work, given: Mapping[str, str]) -> Mapping[str, str]:
    """Return it; raise InputError for a class that there is not."""
    for field, value in given.items():
        fault = values.fault(field, value, work.domain.qos_classes)
        if fault:
            raise errors.InputError(f"{policy_changes.OPTION[field]} {value}", fault)
    return given


def _alone(out: console.Console, work: tree.Work, dry_run: bool, database: str | None) -> bool:
    """Return whether no other Engine has our location; raise Conflict where one has, but for a dry
    run: the copy of an Engine has its volumes, and not its users' will."""
    return twins.is_alone(work, out.say, here=database is None, is_dry_run=dry_run)


def _done(
    out: console.Console, work: tree.Work, dry_run: bool, act: Callable[[tree.Work], list[str]]
) -> None:
    """Do it, or rehearse it, and say its lines; who reads those of a rehearsal alone is told."""
    out.say_all(_quietly(out, work, dry_run, act) or [])
    if dry_run:
        out.say(_UNCHANGED)


def _quietly(
    out: console.Console, work: tree.Work, dry_run: bool, act: Callable[[tree.Work], Any]
) -> Any:
    return rehearsals.played(work, out.say, act) if dry_run else act(work)
