"""The mapping: which StorPool object is which of oVirt's ids, and which ids form one disk.

One oVirt disk is a tree: the volume that Engine created (its id is the tree's `root`), snapshots,
and volumes made from them to preview one. A row is written before its object is made (`planned`)
and completed after it (`live`); `deleting` says that a delete has begun; `removed` keeps the id of
a root whose volume is gone while its tree is not. Every change is written together with its entry
in the journal, in one statement.
"""

from __future__ import annotations

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import changes, database, database_url, holds, intent, locks
from storpool_ovirt.engine.changes import Change
from storpool_ovirt.engine.intent import DROP, GROW, MAKE, Intent
from storpool_ovirt.engine.journal import PENDING, Caller, Journal, OwnOperation
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple, contextmanager

if TYPE_CHECKING:
    import collections.abc
    from collections.abc import Iterator, Sequence
    from typing import Any

PLANNED, LIVE, DELETING, REMOVED = "planned", "live", "deleting", "removed"

_COLUMNS = f"""
    uuid::text, kind, root::text, source::text, size_bytes, state, global_id, connected,
    active::text, replaced::text,
    EXISTS (SELECT FROM storpool_ovirt.operation WHERE disk = root AND {PENDING}) AS pending,
    visible_id, first_id, moment, reserved"""
SELECT_NODE = f"""
    SELECT {_COLUMNS}
    FROM storpool_ovirt.node"""
# The row of an id, and whether anything was said of any VM (`arrivals.py`).
SELECT_ASKED = f"""
    SELECT {_COLUMNS},
        EXISTS (SELECT FROM storpool_ovirt.policy WHERE scope = 'vm') AS says_of_vms
    FROM storpool_ovirt.node WHERE uuid = %s"""
_SELECT_TREE = f"""
    SELECT {_COLUMNS}, row_number() OVER (ORDER BY created_at, uuid) AS place
    FROM storpool_ovirt.node
    WHERE root = (SELECT root FROM storpool_ovirt.node WHERE uuid = %s)"""


_SELECT_SAID = """
    SELECT scope, id, qos, vc FROM storpool_ovirt.policy
    WHERE scope = 'domain' AND id = %s"""
# The same as one value, for questions that have another row: `_said` reads it.
_SAID = """(
    SELECT json_agg(json_build_array(scope, id, qos, vc))::text FROM storpool_ovirt.policy
    WHERE scope = 'domain' AND id = %s{})"""
_SELECT_SOURCE = f"""
    SELECT {_COLUMNS}, {_SAID.format(" OR scope = 'disk' AND id = root::text")},
        (SELECT active::text FROM storpool_ovirt.node AS disk WHERE disk.uuid = node.root)
    FROM storpool_ovirt.node WHERE uuid = %s"""

# What `policies.py` has of a domain and a disk, as rows of its table.
Said = list["list[str | None]"]


class Node(NamedTuple):
    """One row: an object of a disk's tree. Sizes are bytes; `active` is set on roots only.

    `pending`: the journal has something open on its disk. `global_id` is the one that its object
    has now, `visible_id` and `first_id` are told in `reverts.py`, `moment` in `moments.py`.
    `reserved`: no verb has told Engine its id yet.
    """

    uuid: str
    kind: str
    root: str
    source: str | None
    size_bytes: int
    state: str
    global_id: str | None = None
    connected: bool = False
    active: str | None = None
    replaced: str | None = None
    pending: bool = False
    visible_id: int | None = None
    first_id: str | None = None
    moment: int | None = None
    reserved: bool = False


def missing(uuid: str) -> errors.NotFound:
    """Return the error for an id that has no row."""
    return errors.NotFound("disk, volume or snapshot", uuid, "in the mapping database")


def there(node: Node | None, uuid: str) -> Node:
    """Return the row that was looked for under this id; raise NotFound where there is none."""
    if node is None:
        raise missing(uuid)
    return node


@contextmanager
def opened(  # noqa: PLR0913  what one process opens it with
    address: database_url.Database,
    deadline: Deadline,
    caller: Caller,
    own: OwnOperation | None = None,
    make: bool = True,
    *,
    without: bool = False,
    meanwhile: Iterator[None] | None = None,
) -> Iterator[Mapping]:
    """Open the database for one process, and close it at the end.

    `own` is the operation of a process that opens it a second time. Tables that are missing or old
    are made, or not (`make`), or may be missing (`without`). `meanwhile` is told in
    `connection.opened`. Raises what `database.opened` raises.
    """
    at_once = not make or without
    with database.opened(
        address, deadline, make, without, at_once=at_once, meanwhile=meanwhile
    ) as session:
        yield Mapping(session, Journal(session, caller, own))


class Mapping:
    """The rows of all disks, and the journal of their changes."""

    def __init__(self, session: database.Session, journal: Journal) -> None:
        self.session = session
        self.journal = journal

    @property
    def location(self) -> str:
        """This Engine's location."""
        return self.session.location

    def node(self, uuid: str) -> Node | None:
        """Return the row of this id, whatever its state."""
        rows = self.session.read(f"{SELECT_NODE} WHERE uuid = %s", uuid)
        return next((Node(*row) for row in rows), None)

    def tree(self, root: str) -> list[Node]:
        """Return all rows of a disk, oldest first."""
        return self.nodes("WHERE root = %s ORDER BY created_at, uuid", root)

    def nodes(self, where: str, *args: object) -> list[Node]:
        """Return the rows that a condition, with what follows it, is met by."""
        return [Node(*row) for row in self.session.rows(f"{SELECT_NODE} {where}", *args)]

    def newest_empty(self, besides: str) -> Node | None:
        """Return the newest volume, `besides` this one, that was made without a source and is
        there."""
        found = self.nodes(
            """
            WHERE kind = 'volume' AND state = 'live' AND source IS NULL AND uuid <> %s
            ORDER BY created_at DESC, uuid
            LIMIT 1
            """,
            besides,
        )
        return next(iter(found), None)

    def lock(self, root: str) -> None:
        """Hold a disk (by its root's id) against all other operations until this mapping is closed.

        Raises Locked when another operation does not end in time.
        """
        locks.hold(self.session, root)

    def held_new(self, root: str, domain: str) -> Said:
        """Hold a disk that is about to be made as `lock` does; return what an administrator has
        said of the domain of this key."""
        _, rows = locks.read(self.session, holds.of(root), _SELECT_SAID, domain)
        return [[*row] for row in rows]

    def check(self, domain: str) -> tuple[str, Said]:
        """Prove that entries can be written; return the server's own id, and what an administrator
        has said of the domain of this key."""
        server, written = self.journal.check(_SAID.format(""), domain)
        return server, _said(written)

    def held_tree(self, uuid: str, or_itself: bool = False) -> list[Node]:
        """Hold the disk that this node belongs to as `lock` does; return the rows of its tree as
        they are then, oldest first.

        Empty where there is no such node; `or_itself`: the disk that would have this id is held
        then. Raises Locked.
        """
        wanted = holds.of_node(uuid, or_itself)
        while True:
            held, rows = locks.read(self.session, wanted, _SELECT_TREE, uuid)
            nodes = [Node(*row[:-1]) for row in sorted(rows, key=lambda row: row[-1])]
            if not nodes or nodes[0].root in held:
                return nodes
            wanted = holds.of(nodes[0].root)  # it was made while we waited

    def held_source(self, source: str, root: str, domain: str = "") -> tuple[Node | None, Said]:
        """Hold the disk `root` as `lock` does, and against changes only that of the node `source`,
        whose row is returned as it is then, but with the active volume of its disk; None where
        there is none. Return also what an administrator has said of its disk, and of the domain of
        this key.

        Where its disk is `pending` that is held too as `lock` does. Raises Locked.
        """
        wanted = holds.of_both(root, source)
        held, rows = locks.read(self.session, wanted, _SELECT_SOURCE, domain, source)
        node, said = _source(rows)
        if node is None or (node.root in held and not node.pending):
            return node, said
        self.session.unlock_all()
        locks.hold_all(self.session, sorted({root, node.root}))
        return _source(self.session.read(_SELECT_SOURCE, domain, source))

    def lock_all(self, roots: Sequence[str]) -> None:
        """Hold these disks against all other operations, in the order of their ids.

        Raises Locked when another operation on one of them does not end in time.
        """
        locks.hold_all(self.session, sorted(set(roots)))

    def plan(self, node: Node, plan: collections.abc.Mapping[str, object]) -> Node | None:
        """Write the intent to make `node`.

        Where a row of this id is there already, change nothing and return that one.
        """
        return None if self._planned(node, plan) else self.node(node.uuid)

    def plan_snapshot(
        self, node: Node, plan: collections.abc.Mapping[str, object], most: int
    ) -> None:
        """Write the intent to make a snapshot, if its disk has fewer than `most` (0: any number);
        raise Conflict where it has not."""
        if not most:
            self._planned(node, plan)
            return
        from storpool_ovirt.engine import snapshot_limit

        if not self._planned(node, plan, *snapshot_limit.condition([node.root], most)):
            raise snapshot_limit.reached(self.session, [node.root], most)

    def _planned(
        self,
        node: Node,
        plan: collections.abc.Mapping[str, object],
        condition: str = "true",
        args: tuple[object, ...] = (),
    ) -> bool:
        """Write the intent to make `node`, if a condition is met and there is no row of its id."""
        insert = Change(
            f"""
            INSERT INTO storpool_ovirt.node
                (uuid, kind, root, source, size_bytes, state, active, replaced, correlation_id)
            SELECT %s::uuid, %s, %s::uuid, %s::uuid, %s, 'planned', %s::uuid, %s::uuid, %s
            WHERE {condition}
            ON CONFLICT (uuid) DO NOTHING
            RETURNING 1
            """,
            (
                node.uuid,
                node.kind,
                node.root,
                node.source,
                node.size_bytes,
                node.active,
                node.replaced,
                self.journal.caller.correlation_id,
                *args,
            ),
        )
        if node.uuid == node.root:
            insert = insert.after(changes.unsaid_of_new(node.uuid))
        aim = Intent(MAKE, node.root, node.uuid, plan)
        return self.journal.begin(aim, insert, only_if_changed=True)

    def begin_again(self, node: Node, plan: collections.abc.Mapping[str, object]) -> None:
        """Write that `node` was asked for again, as its first answer was lost.

        This answer too may be lost.
        """
        self.journal.begin(Intent(MAKE, node.root, node.uuid, plan))
        self.journal.finish(changes.unchanged())

    def complete(self, uuid: str, global_id: str) -> None:
        """Write the result of a create: the object exists under this global id."""
        self.journal.finish(changes.completed(uuid, global_id))

    def complete_preview(self, uuid: str, global_id: str, root: str) -> None:
        """Write that a preview volume exists and is now the active one."""
        self.journal.finish(changes.preview_completed(uuid, global_id, root))

    def begin_growth(self, node: Node, size_bytes: int) -> None:
        """Write the intent to give a volume this size."""
        self.journal.begin(
            Intent(GROW, node.root, node.uuid, intent.growing(size_bytes, node.size_bytes))
        )

    def complete_growth(self, uuid: str, size_bytes: int) -> None:
        """Write the size that the volume now has."""
        self.journal.finish(changes.resized(uuid, size_bytes))

    def begin_delete(
        self,
        uuid: str,
        root: str,
        uuids: Sequence[str],
        trash: intent.Trash | None = None,
        beside: tuple[str | None, Sequence[changes.Part]] = (None, ()),
    ) -> None:
        """Write the intent to delete these, what is kept of them, and `beside`: the id of the copy
        that is sent to another location before, and what takes effect together with it; `uuid` is
        what was named."""
        copy, parts = beside
        change = changes.marked(uuids, DELETING).after(*parts)
        self.journal.begin(
            Intent(DROP, root, uuid, intent.dropping(uuids, trash, copy)),
            change,
        )

    def complete_delete(self, uuids: Sequence[str], *parts: changes.Part) -> None:
        """Delete the rows of what is gone, and what was said of disks among it, together with these
        parts."""
        self.journal.finish(changes.forgotten(uuids).after(*parts, changes.unsaid(uuids)))

    def make(self, location: str) -> None:
        """Make the tables, where they are missing, of an Engine that has this location.

        Raises Conflict.
        """
        if not self.session.is_made:
            self.session.make(location)

    def relocate(self, location: str) -> None:
        """Write the location that this Engine's objects carry."""
        self.session.relocate(location)

    def now(self) -> float:
        """Return the time by the database's clock, in seconds since 1970. How old what it has dated
        is, it alone tells: the clock of this machine may be another one."""
        [[now]] = self.session.rows("SELECT extract(epoch FROM clock_timestamp())::float")
        return float(now)

    def write(self, change: Change) -> None:
        """Write a change that is a part of a larger one, or only the mapping's own."""
        sql, args = change.whole()
        self.session.rows(sql, *args)

    def connect(self, uuid: str, root: str) -> Node | None:
        """Write that a volume was described to a host, and that it is the one in use, if it is
        there; return its row as it was before.

        Its disk is held meanwhile, so that no delete is under way, against changes only: clones of
        a template may take long and do no harm. Raises Locked.
        """
        change = changes.connected(uuid, root)
        _, rows = locks.read(
            self.session,
            holds.of(root, shared=[root]),
            f"{SELECT_NODE} WHERE uuid = %s",
            *change.args,
            uuid,
            before=f"WITH change AS ({change.sql})",
        )
        return next((Node(*row) for row in rows), None)


def _source(rows: Sequence[Sequence[Any]]) -> tuple[Node | None, Said]:
    """Return what `_SELECT_SOURCE` has found."""
    for *columns, written, active in rows:
        return Node(*columns)._replace(active=active), _said(written)
    return None, []


def _said(written: str | None) -> Said:
    if written is None:
        return []
    from storpool_ovirt import documents

    found: Said = documents.parse(written, "the table policy", "it is made by this program alone")
    return found
