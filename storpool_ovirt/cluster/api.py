"""The StorPool API: each call of it that we use, with typed replies and our errors.

`binding.py` has the official binding, `calls.py` what is repeated and how a failure becomes one of
our errors, `reading.py` when an answer is believed.
"""

from __future__ import annotations

import time

from storpool_ovirt import config, errors
from storpool_ovirt.cluster import reading, replies, several, ways
from storpool_ovirt.cluster.replies import (
    DOWN,
    Attachment,
    ClientStatus,
    Pair,
    RemoteClient,
    Template,
    Volume,
)
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.light import TYPE_CHECKING, replace, suppress
from storpool_ovirt.limits import LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Callable, TypeVar

    _T = TypeVar("_T")
    _Made = TypeVar("_Made")

    from storpool_ovirt.cluster import calls
    from storpool_ovirt.cluster.words import Words

__all__ = [
    "DOWN",
    "Attachment",
    "Client",
    "ClientStatus",
    "Pair",
    "RemoteClient",
    "Template",
    "Volume",
]


class Client(reading.Reading):
    """One cluster's API for one process: a method for each call of it that we use.

    Every method raises NotFound, Exists, InUse, NoSpace, Rejected, WrongCluster, ApiUnavailable,
    AddressUnknown or DeadlineExceeded; `repeat=False` says that an ambiguous failure must come back
    to the caller.
    """

    def __init__(
        self,
        settings: config.Api,
        deadline: Deadline,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        super().__init__(settings, deadline, sleep, jitter, limits)
        self._pinned: dict[str, Client] = {}

    def limited(self, deadline: Deadline) -> Client:
        """Return a client of the same cluster with another limit, for what must not eat the whole
        of this one's.

        It knows what this one knows: it takes no answer that this one would refuse as too old.
        """
        made = self._like(deadline)
        made._freshness.take_over(self._freshness)
        return made

    def _like(self, deadline: Deadline | None = None, **changes: Any) -> Client:
        """Return a client through the same address with these settings changed; it knows nothing
        yet, and what it asks is counted as this one's."""
        settings, limit = replace(self._settings, **changes), deadline or self._deadline
        made = Client(settings, limit, self._sleep, self._jitter, self.limits)
        made.tally = self.tally
        made._rehearse = self._rehearse
        return made

    def rehearsing(self, rehearse: calls.Rehearse) -> Client:
        """Return a client that reads as this one, and sends nothing that changes the cluster:
        `rehearse` (`rehearsal.Rehearsal.of`) notes it. What it asks raises `rehearsal.Unforeseen`
        too."""
        made = self.limited(self._deadline)
        made._rehearse = rehearse
        return made

    def _alone(self, cluster_id: str | None) -> Client:
        """Return a client of one cluster that knows nothing of others."""
        return self._like(multicluster=False, cluster_id=cluster_id)

    def pinned_to(self, cluster_id: str) -> Client:
        """Return the client that asks this cluster by its id, through the same address; the same
        one each time.

        It raises WrongCluster where that address does not lead there. It has several clusters as
        this one has, so it compares no generations; `of_hosts` does.
        """
        if cluster_id not in self._pinned:
            self._pinned[cluster_id] = self._like(cluster_id=cluster_id)
        return self._pinned[cluster_id]

    @property
    def has_several(self) -> bool:
        """Whether several clusters are one name space here."""
        return self._settings.multicluster

    def of_hosts(self, cluster_id: str | None = None) -> Client:
        """Return the client to ask how far the hosts of a cluster are, by default of the own one.

        Of several clusters it is one of that cluster alone, whose generations can be compared, and
        which believes no answer from before this moment: what a `MultiCluster/` call answers may
        have the generation of another one, or be of before a host lost a disk.
        """
        if not self._settings.multicluster:
            return self
        made = self._alone(cluster_id or self._settings.cluster_id)
        made.be_current()
        return made

    def volume(self, address: str) -> Volume:
        """Return one volume by `~globalId` or name (`Volume/{v}`)."""
        return self._one("volume", address)

    def limited_volume(self, address: str) -> tuple[Volume, Mapping[str, object]]:
        """Return one volume with its limits (`Volume/{v}`)."""
        return self._by_key(lambda: self._only_as("volume", address, replies.limited))

    def snapshot(self, address: str) -> Volume:
        """Return one snapshot by `~globalId` or name (`Snapshot/{s}`)."""
        return self._one("snapshot", address)

    def volume_create(self, body: Mapping[str, object]) -> str:
        """Create a volume (`VolumeCreateDesc`) and return its global id. Not repeated here."""
        try:
            return self._new_id(
                "source or template for", "volumeCreate", "globalId", str(body["name"]), (body,)
            )
        except ways.Apart:
            return self._create_apart(body)

    def _create_apart(self, body: Mapping[str, Any]) -> str:
        """Create a volume by a call to one cluster alone: that of its source, as StorPool does it,
        else the pinned one.

        Raises Exists for a name that any cluster has: that one would not know it.
        """
        with suppress(errors.NotFound):
            there = self._only("volume", str(body["name"]))
            raise errors.Exists(there.name, f"exists already (in cluster {there.cluster_id})")
        self._check_all_answer()
        owner = self._settings.cluster_id
        if "parent" in body:
            owner = self.snapshot(str(body["parent"])).cluster_id
        elif "baseOn" in body:
            owner = self.volume(str(body["baseOn"])).cluster_id
        return self._alone(str(owner)).volume_create(body)

    def volume_snapshot(self, address: str, body: Mapping[str, object]) -> str:
        """Snapshot a volume (`VolumeSnapshotDesc`) and return the snapshot's global id.

        Not repeated here.
        """
        return self._new_id(
            "volume", "snapshotCreate", "snapshotGlobalId", address, (address, body)
        )

    def volume_update(self, address: str, body: Mapping[str, object]) -> int:
        """Change a volume (`VolumeUpdateDesc`, absolute values only) and return the cluster's new
        generation."""
        kind = "volume or template" if "template" in body else "volume"
        return self._generation(
            "volumeUpdate", self._ask(kind, "volumeUpdate", address, (address, body))
        )

    def volume_delete(self, address: str) -> None:
        """Delete a volume; InUse when it is attached anywhere (`VolumeDelete/{v}` without
        `onAttached`)."""
        self._delete("volume", "volumeDelete", address)

    def snapshot_delete(self, address: str) -> None:
        """Delete a snapshot; volumes made from it keep their data (`SnapshotDelete/{s}`)."""
        self._delete("snapshot", "snapshotDelete", address)

    def _delete(self, kind: str, method: str, address: str) -> None:
        """Delete an object; of several clusters "does not exist" counts when each answers."""
        try:
            self._ask(kind, method, address, (address,))
        except errors.NotFound:
            self._check_all_answer()
            raise

    def volume_revert(self, address: str, snapshot_address: str) -> str | None:
        """Give a volume the data of a snapshot; what it holds now is lost (`VolumeRevert/{v}`).

        Return the global id that it has then, None where that is not in the answer (OpenNebula's
        add-on for StorPool reads it).
        """
        data = self._ask(
            "volume or snapshot",
            "volumeRevert",
            address,
            (address, {"toSnapshot": snapshot_address}),
        )
        return self._read(
            "volumeRevert", lambda raw: replies.global_id(raw, "globalId", None), data
        )

    def snapshot_update(self, address: str, body: Mapping[str, object]) -> None:
        """Change a snapshot (`SnapshotUpdateDesc`, absolute values only).

        The binding has no form of it for several clusters, so its owner is asked; who that is may
        change just now.
        """
        for attempt in range(reading.LOOKS_AGAIN + 1):
            owner = self._owner(address) if self._settings.multicluster else self
            try:
                owner._ask("snapshot", "snapshotUpdate", address, (address, body))
            except errors.NotFound:
                if owner is self or attempt == reading.LOOKS_AGAIN:
                    raise
            else:
                return

    def _owner(self, address: str) -> Client:
        """Return the client of the cluster that has a snapshot."""
        cluster_id = self.snapshot(address).cluster_id
        return self if cluster_id is None else self.pinned_to(cluster_id)

    def group_snapshot(self, body: Mapping[str, object], what: str) -> dict[str, str]:
        """Snapshot several volumes at one moment (`GroupSnapshotsSpec`); all of them or none.

        Not repeated here.

        Returns the global id of each new snapshot by that of its volume.
        """
        if self._settings.multicluster:
            self._check_one_owner(body, what)
        data = self._ask("volume", "snapshotCreateGroup", what, (body,), repeat=False)
        return self._read_made("snapshotCreateGroup", replies.group, data)

    def _check_one_owner(self, body: Mapping[str, Any], what: str) -> None:
        """Raise Conflict when the volumes of a group live in several clusters: what StorPool makes
        of that is not documented, and two groups are not one moment."""
        owners = {self.volume(each["volume"]).cluster_id for each in body["volumes"]}
        if len(owners) > 1:
            raise errors.Conflict(
                what,
                f"would be of volumes in clusters {' and '.join(sorted(map(str, owners)))}",
                "bring them to one cluster first: only there a group is one moment",
            )

    def volumes(self, known: Words | None = None) -> list[Volume]:
        """Return all volumes of the cluster (`VolumesList`).

        `known`: the texts of several lists, so that each is held once.
        """
        words = known or self._words()
        listed = self._complete("volumesList", lambda raw: replies.volume("volume", raw, words))
        return replies.owners(listed)

    def snapshots(self, known: Words | None = None) -> list[Volume]:
        """Return all snapshots of the cluster, dying and transient ones too (`SnapshotsList`);
        `known` as in `volumes`."""
        words = known or self._words()
        listed = self._complete("snapshotsList", lambda raw: replies.volume("snapshot", raw, words))
        return replies.owners(listed)

    def _words(self) -> Words:
        from storpool_ovirt.cluster.words import Words  # who asks for no such list does without

        return Words()

    def snapshot_spaces(self) -> dict[str, int]:
        """Return how many bytes a delete of each snapshot would free (`SnapshotsSpace`), by global
        id."""
        return dict(self._all("cluster", "snapshotsSpace", replies.space))

    def scanned(
        self, kind: str, make: Callable[[Volume, int, int], _Made], words: Words
    ) -> list[_Made]:
        """Return what `make` makes of each volume, or snapshot, of the cluster, what it stores
        itself and its `spaceUsed` (`VolumesSpace`, `SnapshotsSpace`); what two clusters list is
        there twice.

        StorPool looks at all of its objects for that: it is asked once, and never again after a
        failure; it may take all of the time that is left.
        """
        patient = self._like()
        patient.limits = self.limits._replace(request_seconds=self._deadline.remaining())
        patient.give_up_after(0.0)
        patient._freshness.take_over(self._freshness)

        def made(raw: Mapping[str, Any]) -> _Made:
            return make(replies.volume(kind, raw, words), *replies.held(raw))

        if kind == "volume":
            return patient._complete("volumesSpace", made)
        return patient._complete("snapshotsSpace", made)

    def attachments(
        self, known: Words | None = None, wanted: Callable[[Attachment], bool] | None = None
    ) -> list[Attachment]:
        """Return all attachments of the cluster (`AttachmentsList`); `known` as in `volumes`,
        `wanted`: those alone of which it says so.

        With several clusters they are those of all, each asked for its own clients behind a barrier
        of its own: a list of all of them has no generation that tells how old its parts are, and a
        host that attached a disk there a moment ago would be missed. Other clusters' clients are
        `RemoteClient`.
        """
        pinned = self._settings.cluster_id
        clusters = self.clusters() if self.has_several else frozenset()
        if clusters and pinned:
            clusters |= {pinned}
        parts = [self.of_hosts(each)._attached(each, known, wanted) for each in sorted(clusters)]
        if not clusters:
            parts = [self._attached(None, known, wanted)]
        return [each.seen_from(pinned) for part in parts for each in part]

    def _attached(
        self,
        cluster_id: str | None,
        known: Words | None,
        wanted: Callable[[Attachment], bool] | None,
    ) -> list[Attachment]:
        """Return what is attached to the clients of a cluster; None: to those that it lists."""

        def kept(raw: Mapping[str, Any]) -> Attachment | None:
            found = replies.attachment(raw, known)
            if cluster_id is not None:
                if found.cluster_id not in (None, cluster_id):
                    return None  # that cluster is asked itself
                found = found._replace(cluster_id=cluster_id)
            return found if wanted is None or wanted(found) else None

        listed = self._complete("attachmentsList", kept)
        return [each for each in listed if each is not None]

    def reassign(
        self,
        items: Sequence[Mapping[str, object]],
        attach_timeout: int,
        what: str,
        repeat: bool = True,
    ) -> int:
        """Attach and detach in one atomic request (`VolumesReassignWait`) and return the cluster's
        new generation.

        `attach_timeout` is in seconds; the generation is 0 where StorPool gives none. `what`
        names the objects, each with its kind. What is taken from other clusters' clients is asked
        of their clusters, in a request for each, after ours.
        """
        mine, others = several.by_cluster(items)
        generation = self._reassign(mine, attach_timeout, what, repeat) if mine else 0
        for cluster_id, theirs in others.items():
            try:
                self.pinned_to(cluster_id)._reassign(theirs, attach_timeout, what, repeat)
            except errors.InUse as error:
                there = (f"{each} of cluster {cluster_id}" for each in error.openers)
                raise errors.InUse(error.name, tuple(there)) from error
        return generation

    def _reassign(
        self, items: Sequence[Mapping[str, object]], attach_timeout: int, what: str, repeat: bool
    ) -> int:
        if self._settings.multicluster:
            items = [several.kept_there(item) for item in items]
        body = {"reassign": list(items), "attachTimeout": attach_timeout}
        try:
            data = self._ask("", "volumesReassignWait", what, (body,), repeat)
        except ways.Apart:
            return self._reassign_apart(items, attach_timeout, what, repeat)
        except errors.NotFound as error:
            if error.kind != "client":
                raise
            raise errors.NotFound(
                "client", _clients_of(items) or error.name, error.where
            ) from error
        return self._generation("volumesReassignWait", data)

    def _reassign_apart(
        self, items: Sequence[Mapping[str, object]], attach_timeout: int, what: str, repeat: bool
    ) -> int:
        """Detach by a call to one cluster alone: it knows what its clients have, whoever owns it.

        An attach may have to bring a volume there first, which needs the call for all.
        """
        if any(item.get("rw") or item.get("ro") for item in items):
            raise errors.Conflict(
                what,
                f"is for a host of cluster {self._settings.cluster_id}, which the API at"
                f" {self.address} is not, and that takes no such call for another cluster",
                "correct SP_API_HTTP_HOST: it has to be the API of the host's own cluster",
            )
        there = self._alone(str(self._settings.cluster_id))
        return there.reassign(items, attach_timeout, what, repeat)

    def clients(self) -> list[ClientStatus]:
        """Return how far each client has come with the configuration (`ClientsConfigDump`)."""
        return self._list("client", "clientsConfigDump", (), replies.client_status)

    def statuses(self, attached: Sequence[Attachment]) -> dict[int, str]:
        """Return StorPool's word for each client of this cluster, and of those others whose
        clients have something attached."""
        found: dict[int, str] = {each.client_id: each.status for each in self.clients()}
        holders = several.clients_by_cluster(each.client_id for each in attached)
        for cluster_id in sorted(filter(None, holders)):
            for each in self.pinned_to(cluster_id).clients():
                found[RemoteClient(each.client_id, cluster_id)] = each.status
        return found

    def client_wait(self, client_id: int) -> list[ClientStatus]:
        """Wait until a client has the cluster's configuration of now
        (`ClientConfigWait/{clientId}`)."""
        return self._list("client", "clientConfigWait", (client_id,), replies.client_status)

    def templates(self) -> list[Template]:
        """Return each template's capacity and free space in bytes (`VolumeTemplatesStatus`)."""
        return self._list("cluster", "volumeTemplatesStatus", (), replies.template)

    def template_parent(self, name: str) -> str:
        """Return the snapshot that a template's volumes stand on, "" where they are empty
        (`VolumeTemplateDesc`)."""
        data = self._ask("template", "volumeTemplateDescribe", name, (name,))
        return self._read("volumeTemplateDescribe", replies.parent, data)

    def all_of_space(self) -> list[Volume]:
        """Return the volumes and snapshots of all clusters of the name space, for a domain of one
        cluster; nothing where the release has no several clusters.

        Raises ApiUnavailable while one of them does not answer.
        """
        space = self._space()
        try:
            return [*space.volumes(), *space.snapshots()]
        except errors.Rejected:
            return []

    def _space(self) -> Client:
        """Return a client of the same cluster for which the others of the name space count too."""
        space = self._like(multicluster=True)
        space.give_up_after(min(self._patience_seconds, self.limits.longest_pause_seconds))
        return space

    def elsewhere(self, kind: str, address: str) -> str | None:
        """Return the cluster in which an object lives that is not here, None for nowhere.

        It is for a domain of one cluster: one that somebody moved to another cluster is not gone.
        The answer may be of a moment ago, and name this cluster then.
        """
        space = self._space()
        try:
            found = space._only(kind, address)
        except errors.NotFound:
            space._check_all_answer()
            return None
        except errors.Rejected:  # a release that has no several clusters
            return None
        return None if found.dying else found.cluster_id

    def _new_id(self, kind: str, method: str, key: str, name: str, args: tuple[object, ...]) -> str:
        data = self._ask(kind, method, name, args, repeat=False)

        def read(raw: Any) -> str:
            global_id = str(replies.global_id(raw, key))
            self.check_cluster(global_id, name)
            return global_id

        # Where it is no id, the object was made, but we do not know which: the caller looks for it
        # by name.
        return self._read_made(method, read, data)

    def _read_made(self, method: str, parse: Callable[[Any], _T], data: Any) -> _T:
        """Return what `parse` makes of the answer to a call that makes something; until it is known
        to be ours it is none."""
        self.tally.unanswered += 1
        made = self._read(method, parse, data)
        self.tally.unanswered -= 1
        return made

    def _generation(self, method: str, data: Any) -> int:
        return self._read(method, lambda raw: replies.number(raw, "generation", 0), data)


def _clients_of(items: Sequence[Mapping[str, Any]]) -> str:
    """Return the clients that a reassign names: those that it attaches to, or takes from."""
    named = {
        each
        for item in items
        for key in ("rw", "ro", "detach")
        for each in item.get(key) or ()
        if each != "all"
    }
    return " or ".join(str(each) for each in sorted(named) if isinstance(each, int))
