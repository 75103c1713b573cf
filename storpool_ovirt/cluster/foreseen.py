"""How a cluster would look after calls that were not sent: what its lists say of now, changed by
what those calls mean (`rehearsal.py`).

Each rule is the plain one of `storpool.sptypes`. Whether a host has a device open is not in any
list, so a detach that would be refused for it is taken here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable

from storpool_ovirt import names
from storpool_ovirt.cluster import transport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Raw = dict[str, Any]
    # Asks the cluster of now for the objects of a kind under an address, as they are foreseen.
    Look = Callable[[str, str], "list[Raw]"]

KINDS = {
    "volumesList": "volume",
    "volumeList": "volume",
    "snapshotsList": "snapshot",
    "snapshotList": "snapshot",
}
_NOWHERE = "0.0"  # a cluster that no global id names


class World:
    """What is different from the cluster of now; `home` is the cluster's id, as far as it is
    known."""

    def __init__(self, home: str | None) -> None:
        self._home = home
        self._gone: set[str] = set()
        self._changed: dict[str, Raw] = {}
        self._made: dict[str, list[Raw]] = {"volume": [], "snapshot": []}
        self._lost: list[tuple[str, object]] = []  # an object's address, a client or "all"
        self._got: list[Raw] = []
        self._pairs: dict[tuple[str, str], str] = {}
        self._copies = 0  # in other locations
        self.is_changed = False

    def seen(self, method: str, raw: Raw) -> Raw | None:
        """Return an entry of a list as it would be; None where it would not be there."""
        if method == "attachmentsList":
            return None if self._is_lost(raw) else raw
        if method not in KINDS:
            return None if raw.get("globalId") in self._gone else raw
        if raw.get("globalId") in self._gone:
            return None
        return {**raw, **self._changed.get(str(raw.get("globalId")), {})}

    def added(self, method: str, args: Sequence[object]) -> list[Raw]:
        """Return what a list, or the read of one object, has beside what is there now."""
        if method == "attachmentsList":
            return [*self._got]
        made = [
            seen
            for each in self._made.get(KINDS.get(method, ""), [])
            if (seen := self.seen(method, each)) is not None
        ]
        if not args:
            return made
        return [each for each in made if args[0] in (each["name"], names.address(each["globalId"]))]

    def renamed(self, method: str, name: str) -> str | None:
        """Return the address of now of what would have this name; None where nothing got it."""
        kind = KINDS[method]
        for global_id, change in self._changed.items():
            if change.get("name") == name and change["_kind"] == kind:
                return names.address(global_id)
        return None

    def pair(self, bucket: str, key: str) -> str | None:
        """Return what a pair of the key-value store would be; None where it is as it is now."""
        return self._pairs.get((bucket, key))

    def carry_out(self, method: str, args: Sequence[Any], look: Look, attached: Look) -> Raw | None:
        """Note what a call means; return the answer that it would get, None for a call of which
        that is not known. Raises Refusal as StorPool would."""
        effect = getattr(self, f"_{method}", None)
        if effect is None:
            return None
        self.is_changed = True
        answer: Raw = effect(look, attached, *args)
        return {"ok": True, **answer}

    # What each call means

    def _volumeDelete(self, look: Look, attached: Look, address: str) -> Raw:  # noqa: N802  the binding's names
        return self._delete("volume", look, attached, address)

    def _snapshotDelete(self, look: Look, attached: Look, address: str) -> Raw:  # noqa: N802
        return self._delete("snapshot", look, attached, address)

    def _delete(self, kind: str, look: Look, attached: Look, address: str) -> Raw:
        there = _one(kind, look, address)
        held = attached("attachment", names.address(there["globalId"]))
        if held:
            client = held[0].get("client")
            raise _refusal("busy", f"'{there['name']}' is attached to client {client}")
        self._gone.add(there["globalId"])
        return {}

    def _volumeUpdate(self, look: Look, _attached: Look, address: str, body: Raw) -> Raw:  # noqa: N802
        return self._update("volume", look, address, body)

    def _snapshotUpdate(self, look: Look, _attached: Look, address: str, body: Raw) -> Raw:  # noqa: N802
        return self._update("snapshot", look, address, body)

    def _update(self, kind: str, look: Look, address: str, body: Raw) -> Raw:
        there = _one(kind, look, address)
        change = _fields(body, there)
        if change.get("name", there["name"]) != there["name"]:
            _check_free(look, change["name"])
        known = self._changed.setdefault(there["globalId"], {"_kind": kind})
        known.update(change)
        return {}

    def _snapshotCreate(self, look: Look, _attached: Look, address: str, body: Raw) -> Raw:  # noqa: N802
        made = self._snapshot(look, address, body)
        return {"snapshotGlobalId": made["globalId"]}

    def _snapshotCreateGroup(self, look: Look, _attached: Look, body: Raw) -> Raw:  # noqa: N802
        rows = []
        for each in body["volumes"]:
            volume = _one("volume", look, each["volume"])
            made = self._snapshot(look, each["volume"], each)
            rows.append(
                {
                    "volume": volume["name"],
                    "volumeGlobalId": volume["globalId"],
                    "snapshot": made["name"],
                    "snapshotGlobalId": made["globalId"],
                }
            )
        return {"snapshots": rows}

    def _snapshot(self, look: Look, address: str, body: Raw) -> Raw:
        volume = _one("volume", look, address)
        made = self._new(look, "snapshot", body, volume)
        made["createdFromGlobalId"] = volume["globalId"]
        made["createdFromVisibleVolumeId"] = volume.get("visibleVolumeId", 0)
        return made

    def _volumeCreate(self, look: Look, _attached: Look, body: Raw) -> Raw:  # noqa: N802
        source: Raw = {}
        if "parent" in body:
            source = _one("snapshot", look, body["parent"])
        elif "baseOn" in body:
            source = _one("volume", look, body["baseOn"])
        made = self._new(look, "volume", body, source)
        made["parentName"] = source.get("name", "") if "parent" in body else ""
        return {"globalId": made["globalId"]}

    def _volumeRevert(self, look: Look, _attached: Look, address: str, body: Raw) -> Raw:  # noqa: N802
        there = _one("volume", look, address)
        snapshot = _one("snapshot", look, body["toSnapshot"])
        self._changed.setdefault(there["globalId"], {"_kind": "volume"})["parentName"] = snapshot[
            "name"
        ]
        return {"globalId": there["globalId"]}

    def _volumesGroupBackup(self, look: Look, _attached: Look, body: Raw) -> Raw:  # noqa: N802
        """Their copies are elsewhere; nobody here looks at their bases, which are StorPool's."""
        made = {}
        for address in body["volumes"]:
            volume = _one("volume", look, address)
            self._copies += 1
            made[volume["name"]] = {"remoteId": f"{_NOWHERE}.copy{self._copies}"}
        return {"backups": made}

    def _volumesReassignWait(self, look: Look, _attached: Look, body: Raw) -> Raw:  # noqa: N802
        for item in body["reassign"]:
            kind = "volume" if "volume" in item else "snapshot"
            there = _one(kind, look, item[kind])
            address = names.address(there["globalId"])
            lost = item.get("detach", [])
            for client in ["all"] if lost == "all" else lost:
                self._lost.append((address, client))
                self._got = [each for each in self._got if not is_of(each, address, client)]
            for mode in ("rw", "ro"):
                self._got += [_attachment(there, client, mode) for client in item.get(mode, [])]
        return {}

    def _kvsUpdate(self, _look: Look, _attached: Look, bucket: str, body: Raw) -> Raw:  # noqa: N802
        self._pairs.update({(bucket, key): value for key, value in body["set"].items()})
        return {}

    def _kvsCreate(self, _look: Look, _attached: Look, _bucket: str) -> Raw:  # noqa: N802
        return {}

    def _new(self, look: Look, kind: str, body: Raw, source: Raw) -> Raw:
        _check_free(look, body["name"])
        if source:
            self._home = names.cluster_of(source["globalId"])
        count = sum(map(len, self._made.values())) + 1
        made = {
            "size": 0,
            "templateName": "",
            **source,
            "tags": {},
            "targetDeleteDate": 0,
            "visibleVolumeId": 0,
            **_fields(body, {}),
            "globalId": f"{self._home or _NOWHERE}.new{count}",
            "creationTimestamp": int(time.time()),
        }
        self._made[kind].append(made)
        return made

    def _is_lost(self, raw: Raw) -> bool:
        return any(is_of(raw, address, client) for address, client in self._lost)


def is_of(attachment: Mapping[str, Any], address: str, client: object = "all") -> bool:
    """Return whether an attachment is of this object on this client, or on any ("all")."""
    there = attachment.get("globalId")
    own = names.address(there) if there else attachment.get("volume")
    return own == address and client in ("all", attachment.get("client"))


def _attachment(there: Raw, client: int, mode: str) -> Raw:
    return {
        "volume": there["name"],
        "globalId": there["globalId"],
        "client": client,
        "rights": mode,
    }


def _fields(body: Raw, there: Raw) -> Raw:
    """Return the fields of an entry that a body writes."""
    found: Raw = {}
    for key, field in (("rename", "name"), ("name", "name"), ("template", "templateName")):
        if key in body:
            found[field] = body[key]
    if "size" in body:
        found["size"] = body["size"]
    if "tags" in body:
        tags = {**there.get("tags", {}), **body["tags"]}
        found["tags"] = {key: value for key, value in tags.items() if value}
    if "deleteAfter" in body:
        delay = body["deleteAfter"]
        found["targetDeleteDate"] = int(time.time()) + delay if delay else 0
    return found


def _one(kind: str, look: Look, address: str) -> Raw:
    found = look(kind, address)
    if len(found) != 1:
        raise absent(kind, address)
    return found[0]


def _check_free(look: Look, name: str) -> None:
    for kind in ("volume", "snapshot"):
        try:
            found = look(kind, name)
        except transport.Refusal:
            continue
        if found:
            raise _refusal("objectExists", f"{kind} '{name}' exists")


def absent(kind: str, address: object) -> transport.Refusal:
    """Return StorPool's refusal for what is not there."""
    return _refusal("objectDoesNotExist", f"{kind} '{address}' does not exist")


def _refusal(name: str, descr: str) -> transport.Refusal:
    return transport.Refusal({"name": name, "descr": descr}, 0)
