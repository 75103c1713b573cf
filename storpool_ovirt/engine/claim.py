"""The claim of a snapshot that another verb of the same action has made: without StorPool.

A guest may be frozen, and its disks are asked for one after the other, each by a process of its
own. So nothing here needs StorPool's binding, or what works with it: the adapter asks this module
first, and imports that only where there is something to do (`snapshots.py`).
"""

from __future__ import annotations

from storpool_ovirt import config, errors, names, option_values
from storpool_ovirt.cluster.plans import Owner, Plan
from storpool_ovirt.engine import intent, mapping, moments, operations
from storpool_ovirt.engine.moments import Moment, Place
from storpool_ovirt.light import NamedTuple, dataclass
from storpool_ovirt.log import Log

NO_UUID = "the correlation id is no UUID"
_BROKEN_OFF = "an earlier verb of it was broken off"


class Request:
    """One verb for one volume, and what is known by now of the action that it is of.

    `key` is by what the verbs of one action are known; `why` tells why it can have no others.
    `moment` is remembered as failed when the verb fails; None: nothing has to be. `is_known_key`:
    this volume was asked for under the key before, so a client may give it to several actions.
    """

    def __init__(self, volume: str, key: str, why: str, moment: Moment | None) -> None:
        self.volume = volume
        self.key = key
        self.why = why
        self.moment = moment
        self.is_known_key = False


class Claim(NamedTuple):
    """How far a verb has come without StorPool: `answer` is the snapshot that it claimed; `node` is
    the row of its volume, whose disk is held, None where nothing was looked for. `was_asked`: it
    was asked for under the same key before."""

    request: Request
    node: mapping.Node | None = None
    answer: str | None = None
    was_asked: bool = False


@dataclass(frozen=True)
class Tools:
    """What a claim works with; `root` is the folder that stands for `/`."""

    domain: config.Domain
    mapping: mapping.Mapping
    log: Log
    root: str


def tried(tools: Tools, volume: str) -> Claim:
    """Hold the disk of a volume and claim the snapshot that is reserved for it, if there is one.

    Raises NotFound, Locked, and Conflict where another verb of the same action has failed.
    """
    request = _asked(tools, volume)
    if request.why:
        return Claim(request)
    try:
        found = moments.held_place(tools.mapping, request.key, volume)
    except errors.Locked as error:
        silent_remember(tools, request, error)
        raise
    if found is None:
        raise mapping.missing(volume)
    node, place = found
    request.is_known_key = place is not None
    try:
        # What dead operations left is for those who can ask StorPool
        answer = None if node.pending else taken(tools, request, node, place)
    except Exception as error:
        silent_remember(tools, request, error)
        raise
    return Claim(request, node, answer, was_asked=place is not None and place.was_asked)


def _asked(tools: Tools, volume: str) -> Request:
    key = tools.mapping.journal.caller.correlation_id.lower()
    why = ""
    if not tools.domain.group_snapshot:
        why = "sp_group_snapshot is off"
    elif not names.UUID.fits(key) and tools.domain.snapshot_key == option_values.CORRELATION_KEY:
        why = NO_UUID
    return Request(volume, key, why, moments.thought_of(key, "", (volume,)))


def taken(
    tools: Tools,
    request: Request,
    node: mapping.Node,
    place: Place | None,
    was_asked: bool = False,
) -> str | None:
    """Claim the snapshot of a volume whose disk is held, as its place in a moment tells; None where
    there is none.

    `was_asked`: a verb has asked for it before, so this one is of another action. Raises Conflict
    where the action has failed.
    """
    if place is None or not place.has_to_say(request.volume):
        return None
    moment, snapshot = place.moment, place.snapshot
    if was_asked or place.was_asked:
        moments.refuse(tools.mapping.session, moment, request.volume, _BROKEN_OFF)
        return None
    if not moment.is_of(action(tools, moment.vm, bool(moment.action))):
        return None
    if snapshot is None or not place.is_usable:
        raise refused(tools, request, moment)
    if not (_is_here(tools, node) and _is_here(tools, snapshot)):
        return None  # whoever asks StorPool tells what is wrong
    api = tools.domain.api
    made = plan(tools, snapshot, moment.mark)
    written = intent.making("snapshot", made, api.address, api.cluster_id)
    aim = intent.Intent(intent.MAKE, snapshot.root, snapshot.uuid, written)
    change = moments.claimed(snapshot)
    if not tools.mapping.journal.begin(aim, change, only_if_changed=True, state=operations.DONE):
        raise refused(tools, request, moment)
    log(tools, snapshot, moment)
    return snapshot.uuid


def _is_here(tools: Tools, node: mapping.Node) -> bool:
    """Return whether a row's object is there as far as the mapping tells, in the pinned cluster."""
    pinned = tools.domain.api.cluster_id
    is_there = node.state == mapping.LIVE and node.global_id is not None
    return is_there and pinned in (None, names.cluster_of(str(node.global_id)))


def action(tools: Tools, vm: str, is_wanted: bool) -> str:
    """Return the id that Engine gave the action that goes on with a VM; "" where that is not
    asked for, or not told.

    `is_wanted`: also where no option asks for it. Engine gives each action a correlation id of its
    own, and a second of Engine's databases costs a frozen guest time; so that is where a client has
    used its id before.
    """
    if not is_wanted and tools.domain.snapshot_key != option_values.ENGINE_KEY:
        return ""
    from storpool_ovirt.engine import actions

    return actions.of(tools.mapping.session, tools.root, tools.log, vm)


def refused(tools: Tools, request: Request, moment: Moment) -> errors.Conflict:
    """Write that Engine is told of a failed action for this volume too; return the error."""
    why = moment.note if moment.state == moments.FAILED else _BROKEN_OFF
    told = f", as {why}" if why == _BROKEN_OFF else f' with "{why}"'
    moments.refuse(tools.mapping.session, moment, request.volume, why)
    request.moment = None
    return errors.Conflict(
        f"volume {request.volume}",
        f"is not snapshotted, as the snapshot of its VM's disks has failed{told}",
        "make the VM's snapshot again",
    )


def silent_remember(tools: Tools, request: Request, error: Exception) -> None:
    """Write that the action has failed, for the verbs of the other disks; never raises.

    Engine takes a VM's snapshot back only where none of its disks succeeded (CreateSnapshotDisk,
    isSnapshotUsed).
    """
    if request.moment is None:
        return
    try:
        why = tools.log.sentence(error)
        moments.remember_failure(tools.mapping.session, request.moment, why)
    except Exception as unwritten:
        tools.log.line("failure_not_remembered", volume=request.volume, reason=unwritten)


def plan(tools: Tools, node: mapping.Node, mark: str) -> Plan:
    """Return what is to be made for a snapshot of a moment: it says of which."""
    tags = names.tags(node.uuid, tools.mapping.location, node.root)
    return Plan(Owner(names.object_name(node.uuid), {**tags, names.TAG_MOMENT: mark}))


def log(tools: Tools, node: mapping.Node, moment: Moment) -> None:
    """Write the line of a snapshot that is answered."""
    why = {"why": moment.note} if moment.note else {}
    tools.log.line(
        "snapshot_created",
        snapshot=node.uuid,
        global_id=node.global_id,
        volume=node.source,
        consistency="part" if moment.note else "vm",
        **why,
        moment=moment.mark,
        disks=len(moment.volumes),
    )
