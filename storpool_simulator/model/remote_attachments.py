"""Reassign with `MultiCluster/`: the clients are the asked cluster's, the volumes are anywhere.

A volume of another cluster is brought here, or exported to here and left, by `mcMode`; what becomes
of the other clusters' attachments says `onRemoteAttached`: with `export`, its default, it is
exported back to them and they keep it [sptypes] [git 2152d9a]. `detach: all` is meant for the
clients of all clusters, as a delete needs it [cs].
"""

from __future__ import annotations

from collections.abc import Sequence

from storpool_simulator import errors
from storpool_simulator.model import attachments, moves, requests
from storpool_simulator.model.attachments import Done, Plan
from storpool_simulator.model.cluster import Change, Cluster
from storpool_simulator.model.federation import changing
from storpool_simulator.model.objects import Attachment, Entry, VolumeExport


def reassign(asked: Cluster, items: Sequence[requests.Reassign]) -> Done:
    """Apply all items or none; return what is newly attached, and whom it has changed for."""
    with asked.lock:
        with changing(_involved(asked, items)) as changes:
            request = _Request(asked, changes)
            for item in items:
                request.apply(item)
            done = attachments.carry_out(changes, *request.plans.values())
        for entry in request.moved:
            asked.show_again(entry)
        return done


def _involved(asked: Cluster, items: Sequence[requests.Reassign]) -> list[Cluster]:
    """Return the clusters that will be changed; the asked one, to which others move, is last."""
    federation = asked.federation
    involved: dict[str, Cluster] = {}
    for item in items:
        owner, entry = _subject(asked, item)
        remote = [one for one, _ in federation.attached(entry.global_id)]
        brings = owner is not asked and bool(item.rw or item.ro)
        takes = brings and item.on_remote_attached in ("detach", "detachForce")
        detaches = item.detach is None or takes
        clusters = [*(remote if detaches else ()), *([owner] if brings else ())]
        involved.update((one.cluster_id, one) for one in clusters)
    involved.pop(asked.cluster_id, None)
    return [*involved.values(), asked]


def _subject(asked: Cluster, item: requests.Reassign) -> tuple[Cluster, Entry]:
    owner = asked.federation.owner(asked, item.target)
    if item.snapshot:
        return owner, owner.catalog.usable_snapshot(item.target)
    return owner, owner.catalog.volume(item.target)


class _Request:
    """What the items of a request make of it, one after the other."""

    def __init__(self, asked: Cluster, changes: dict[str, Change]) -> None:
        self._asked = asked
        self._changes = changes
        clusters = (one for one in asked.federation.clusters if one.cluster_id in changes)
        self.plans = {one.cluster_id: Plan(one) for one in clusters}
        self.moved: list[Entry] = []

    def apply(self, item: requests.Reassign) -> None:
        """Plan what one item asks for; raises ApiError for what cannot be."""
        asked = self._asked
        owner, entry = _subject(asked, item)
        wanted = {**dict.fromkeys(item.rw, False), **dict.fromkeys(item.ro, True)}
        self._detach(item, entry, set(wanted))
        if wanted and owner is not asked:
            self._bring(item, owner, entry)
        for client_id, read_only in wanted.items():
            attachments.attach(self.plans[asked.cluster_id], entry, client_id, read_only=read_only)

    def _detach(self, item: requests.Reassign, entry: Entry, wanted: set[int]) -> None:
        asked = self._asked
        attached = asked.federation.attached(entry.global_id)
        mine = {one.client_id for cluster, one in attached if cluster is asked}
        absent = sorted(set(item.detach or ()) - mine)
        if absent and asked.switches["detach_absent"] == "error":
            raise errors.InvalidParamError(
                f"'{entry.listed_name}' is not attached to client {absent[0]}"
            )
        kept = wanted if asked.switches["own_device"] == "keep" else set()
        for cluster, one in attached:
            is_named = cluster is asked and one.client_id in (item.detach or ())
            is_kept = cluster is asked and one.client_id in kept
            everywhere = asked.switches["mc_detach_all"] == "all"
            is_meant = item.detach is None and (everywhere or cluster is asked)
            if (is_meant or is_named) and not is_kept:
                self._leave(cluster, entry, one, force=item.force)

    def _bring(self, item: requests.Reassign, owner: Cluster, entry: Entry) -> None:
        """Have the volume where the asked cluster's clients can have it."""
        asked = self._asked
        if item.snapshot:
            raise errors.InvalidParamError(f"Snapshot '{item.target}' is in another cluster.")
        remote = [one for one in asked.federation.attached(entry.global_id) if one[0] is not asked]
        if remote and item.on_remote_attached == "fail":
            attachments.check_detached(owner, entry)
        if item.mc_mode == "export":
            owner.catalog.volume_exports.put(VolumeExport(entry.global_id, asked.cluster_id))
            return
        if item.on_remote_attached in ("detach", "detachForce"):
            force = item.on_remote_attached == "detachForce"
            for cluster, one in remote:
                self._leave(cluster, entry, one, force=force)
        moves.begin(self._changes, owner, asked, entry)
        self.moved.append(entry)

    def _leave(self, cluster: Cluster, entry: Entry, one: Attachment, *, force: bool) -> None:
        attachments.leave(self.plans[cluster.cluster_id], entry, one, force=force)
