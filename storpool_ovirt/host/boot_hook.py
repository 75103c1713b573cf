"""storpool-boot-hook: what Vdsm's hook point before_vdsm_start runs as root, before each start of
vdsmd.

It clears what an earlier boot left, so that no stale row of Vdsm blocks a start. The first run
that comes to its end does all the work of a boot; later ones only clear rows whose device was taken
away since.

Vdsm runs a hook by its full path, without arguments, drops its stdout, logs its stderr and ignores
its exit code here, but waits for it without limit (oVirt's vdsm, common/hooks.py): so it ends by
itself, and never holds up the start of vdsmd with a failure. The exit code is 0 whatever came of
it, with one sentence on stderr for what is left to do, and 1 for a wrong use.
"""

from __future__ import annotations

import sys

from storpool_ovirt import config, errors, presence, program, storpool_conf
from storpool_ovirt.cluster import api, attachments
from storpool_ovirt.deadline import Deadline, enforced
from storpool_ovirt.host import boot_sweep, vdsm_rows
from storpool_ovirt.light import TYPE_CHECKING
from storpool_ovirt.limits import Limits
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

PROGRAM = "storpool-boot-hook"
# vdsmd waits, and with it the whole host; systemd gives up its start after 90 s.  An attach or a
# detach that outlived the Vdsm that asked for it takes a second, mostly.
LIMITS = Limits(deadline_seconds=18.0, last_seconds=8.0, lock_seconds=5.0)
USAGE = f"run it as Vdsm does: {PROGRAM}, with nothing behind it"


def run() -> NoReturn:
    """Run the program: as `main`."""
    sys.exit(main())


def main(argv: Sequence[str] | None = None, limits: Limits = LIMITS) -> int:
    """Clear what an earlier boot left; return 0 whatever came of it, 1 for a wrong use."""
    arguments = list(sys.argv if argv is None else argv)
    if program.is_asked_who_it_is(arguments):
        from storpool_ovirt import introduction

        return introduction.given(
            PROGRAM, arguments[1], __doc__, [introduction.log(config.HELPER_LOG)]
        )
    if len(arguments) != 1:
        program.Answer(None).give(f"{PROGRAM} takes no arguments: {USAGE}", error=True)
        return 1
    log = Log(PROGRAM, config.root() + config.HELPER_LOG)
    answer = program.Answer(log.descriptor)
    done, reason = program.guarded(lambda: _run(log, limits), log, config.HELPER_LOG)
    problems = [reason] if done is None else done
    if problems:  # whatever happened, vdsmd starts
        sentence = log.sentence(_told(problems))
        log.line("boot_hook_incomplete", reason=sentence)
        program.delivered(answer, sentence, log, error=True)
    return 0


def _run(log: Log, limits: Limits) -> list[str]:
    """Return what could not be done, a sentence each."""
    root = config.root()
    deadline = Deadline(limits.deadline_seconds)
    with enforced(deadline, "the clearing of an earlier boot's rows", limits.last_seconds):
        rows = vdsm_rows.read(root, limits.busy_seconds)
        if boot_sweep.is_done(root):
            lost = [row for row in rows if boot_sweep.is_stale(root, row, later=True)]
            return _cleared(lost, _sweep(root, deadline, log, limits)) if lost else []
        if not any(row.ours for row in rows) and not presence.there(root + storpool_conf.FILE):
            return []  # no host of StorPool's
        sweep = _sweep(root, deadline, log, limits)
        sweep.rows(rows)
        sweep.leftovers()
        if not sweep.problems:
            boot_sweep.mark_done(root)
    return sweep.problems


def _cleared(lost: Sequence[vdsm_rows.Row], sweep: boot_sweep.Sweep) -> list[str]:
    sweep.later = True
    sweep.rows(lost)
    return sweep.problems


def _sweep(root: str, deadline: Deadline, log: Log, limits: Limits) -> boot_sweep.Sweep:
    try:
        host = config.host(root)
    except errors.ConfigError as error:
        side = attachments.HostSide(0, root, deadline, log, limits=limits)
        return boot_sweep.Sweep(side, None, error)
    log.hide(host.api.token.reveal())
    side = attachments.HostSide(host.client_id, root, deadline, log, limits=limits)
    return boot_sweep.Sweep(side, api.Client(host.api, deadline, limits=limits))


def _told(problems: Sequence[str]) -> str:
    more = f" (and {len(problems) - 1} more: see {config.HELPER_LOG})" if len(problems) > 1 else ""
    return (
        "not all that an earlier boot left is cleared, the next start of vdsmd tries again:"
        f" {problems[0]}{more}"
    )
