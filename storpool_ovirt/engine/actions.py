"""Which of Engine's actions a verb belongs to, by Engine's own word.

Before the first disk of a snapshot Engine gives the ACTIVE row of its table `snapshots` a new id
(oVirt's CreateSnapshotForVmCommand), so that id is one action's. That is no interface, and may be
out of reach: then the correlation id alone has to tell.
"""

from __future__ import annotations

from storpool_ovirt import errors, names
from storpool_ovirt.engine import database
from storpool_ovirt.log import Log

# A server on the same machine answers in some milliseconds, and a guest is frozen.
SECONDS = 1.0
_QUESTION = """
    SELECT snapshot_id::text FROM snapshots
    WHERE vm_id = %s::uuid AND snapshot_type = 'ACTIVE'
"""


def of(session: database.Session, root: str, log: Log, vm: str) -> str:
    """Return the id that Engine gave the action that goes on with a VM; "" where it is not told."""
    if not names.UUID.fits(vm):
        log.line("action_unknown", vm=vm, reason="the VM's tag is no UUID")
        return ""
    try:
        limit = session.deadline.within(SECONDS)
        rows = database.ask_engine(root, log, limit, _QUESTION, vm)
    except errors.Error as error:
        log.line("action_unknown", vm=vm, reason=error)
        return ""
    if len(rows) != 1 or not names.UUID.fits(str(rows[0][0])):
        why = f"Engine's database has {len(rows)} active snapshots of this VM"
        log.line("action_unknown", vm=vm, reason=why)
        return ""
    return str(rows[0][0])
