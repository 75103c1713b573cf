"""What an earlier boot left on this host: Vdsm's rows, and attachments that StorPool made again
when the host started.

A row with a run link that leads to a device is of this boot and is left alone, whether its VM runs,
starts or is about to arrive. Of any other row StorPool is asked to detach the volume, never by
force:

    StorPool says       the device is not there               it is there
    detached            row, rule and link go                 they stay: another host is meant
    open on this host   they stay                             they stay
    nothing             they go: nothing here can be lost     they stay: nobody knows if it is open

Then attachments of this host that have a device here, and no row and no link, are detached where
the volume is ours and closed.

That is for the first start of vdsmd in a boot. At a later one VMs may run, and only rows whose
device was taken away since (a run link that leads nowhere, or none) go, where StorPool itself says
that nothing is attached.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from storpool_ovirt import errors, names, presence, rights
from storpool_ovirt.cluster import api, attachments, devices, identity
from storpool_ovirt.host import run_links, vdsm_rows

MARKER = f"{devices.LOCK_FOLDER}/boot-hook.done"
POINT = "before_vdsm_start"  # Vdsm's hook point, at which it is made


@dataclass
class Sweep:
    """One round over this host.

    `client` is None while StorPool cannot be asked, `doubt` then says why.

    `problems` is what stays though it should not, each a sentence. `later`: vdsmd was here before
    in this boot.
    """

    host: attachments.HostSide
    client: api.Client | None
    doubt: errors.Error | None = None
    problems: list[str] = field(default_factory=list)
    later: bool = False

    def rows(self, rows: Sequence[vdsm_rows.Row]) -> None:
        """Clear these rows, where they are ours and of an earlier boot."""
        for row in rows:
            try:
                if is_stale(self.host.root, row, self.later):
                    self._clear(row)
            except errors.InputError as error:
                # It is about files of this host: the next row would meet the same.
                self._stays(row.vol_id, error)
                break
            except errors.Error as error:
                self._stays(row.vol_id, error)
        if self.doubt is not None:
            self._add(self.doubt)

    def leftovers(self) -> None:
        """Detach what is attached to this host, closed and ours, and of which Vdsm does not
        know."""
        if self.client is None:
            return
        try:
            self.client.be_current()
            for thing in self._unknown(self.client):
                self._let_go(self.client, thing)
        except errors.Error as error:
            self._add(error)

    def _clear(self, row: vdsm_rows.Row) -> None:
        if row.global_id is None:
            raise errors.Conflict(
                f"the row of volume {row.vol_id}",
                "does not tell one StorPool volume",
                "look at it with sqlite3",
            )
        kind = "snapshot" if row.is_snapshot else "volume"
        target = attachments.Target(row.global_id, _name(row.vol_id), kind)
        with devices.locked(self.host, target):
            if self.later and not is_stale(self.host.root, row, self.later):
                return  # an attach that was under way has ended
            doubt = self._ask(target)
            if doubt is not None and self.later:
                raise doubt  # a VM may run: a device that is away for a moment is no proof
            if devices.stays(
                self.host, target, self.host.limits.gone_seconds if doubt is None else 0.0
            ):
                raise doubt or devices.still_here(target)
            vdsm_rows.forget(self.host.root, row, self.host.limits.busy_seconds)
            self.host.log.line(
                "stale_row_removed", volume=row.vol_id, global_id=row.global_id, asked=doubt is None
            )

    def _ask(self, target: attachments.Target) -> errors.Error | None:
        """Ask StorPool to detach; return why nobody knows whether it is detached, None when it is.

        Raises InUse, Conflict and Unseen, for what is known to stay.
        """
        if self.client is None:
            return self.doubt
        try:
            attachments.detach_within(self.client, self.host, target, 0.0)
        except (errors.InUse, errors.Conflict, errors.Unseen):
            raise
        except errors.Error as error:
            if isinstance(error, errors.Unavailable):
                self.client = None  # the time for asking is used up: what is left is done without
            self.doubt = error
            return error
        return None

    def _unknown(self, client: api.Client) -> list[api.Volume]:
        here = [each for each in client.attachments() if each.client_id == self.host.client_id]
        is_known = self._known()
        here = [each for each in here if each.global_id is None or not is_known(_words_of(each))]
        things = identity.of_attachments(client, here).values()
        return [
            thing
            for thing in {each.global_id: each for each in things}.values()
            if thing.tags.get(names.TAG_PLATFORM) == names.PLATFORM
            # Without a device it blocks nobody, and with a wrong SP_OURID it would be another
            # host's.
            and presence.there(self.host.root + names.device_path(thing.global_id))
            and any(each.is_of(thing.global_id, thing.name) for each in here)
            and not is_known(_words_of(thing))
        ]

    def _known(self) -> Callable[[Sequence[str]], bool]:
        """Return a function that says whether a row or a run link has one of an object's words."""
        rows = vdsm_rows.read(self.host.root, self.host.limits.busy_seconds)
        linked = run_links.linked(self.host.root)

        def known(words: Sequence[str]) -> bool:
            is_linked = not linked.isdisjoint(words)
            return is_linked or any(row.mentions(word) for row in rows for word in words)

        return known

    def _let_go(self, client: api.Client, thing: api.Volume) -> None:
        target = attachments.Target(thing.global_id, thing.name or None, thing.kind)
        with contextlib.ExitStack() as held:
            # An attach that is under way may know it by an id of before a revert
            for global_id in sorted(identity.ids_of(thing)):
                held.enter_context(
                    devices.locked(self.host, attachments.Target(global_id, thing.name))
                )
            if self._known()(_words_of(thing)):
                return
            try:
                attachments.detach_within(client, self.host, target, 0.0)
            except errors.InUse:
                self.host.log.line("open_without_a_row", target=target, global_id=target.global_id)

    def _stays(self, vol_id: str, error: errors.Error) -> None:
        self.host.log.line("stale_row_stays", volume=vol_id, reason=error)
        self._add(error)

    def _add(self, error: errors.Error) -> None:
        if str(error) not in self.problems:
            self.problems.append(str(error))


def is_stale(root: str, row: vdsm_rows.Row, later: bool) -> bool:
    """Return whether a row is ours and nothing here uses its volume; raise Unseen where that cannot
    be seen.

    `later`: as long as there is a device, a VM may use it.
    """
    if not row.ours or run_links.is_live(root, row.vol_id):
        return False
    if not later:
        return True
    return row.global_id is not None and not presence.there(root + names.device_path(row.global_id))


def is_done(root: str) -> bool:
    """Return whether a sweep came to its end since this host was started; raise Unseen where that
    cannot be seen."""
    return presence.there(root + MARKER)


def mark_done(root: str) -> None:
    """Remember that a sweep came to its end, until the host is started again; raise
    ConfigError."""
    path = root + MARKER
    try:
        os.close(rights.private(*os.path.split(path)))
    except OSError as error:
        raise errors.ConfigError(
            f"the marker {path}", f"cannot be made ({error.strerror})"
        ) from error


def _words_of(thing: api.Volume | api.Attachment) -> list[str]:
    """Return by what Vdsm may know an object: ids that it has or had, its name, oVirt's id in it or
    in its tags."""
    ids: tuple[str | None, ...] = (thing.global_id, names.kept_id(thing.name))
    uuids = [names.uuid_of(thing.name), names.cinder_id_of(thing.name)]
    if isinstance(thing, api.Volume):
        ids = identity.ids_of(thing)
        uuids.append(thing.tags.get(names.TAG_UUID))
    return [word for word in (*ids, thing.name, *uuids) if word]


def _name(vol_id: str) -> str | None:
    return names.object_name(vol_id) if names.UUID.fits(vol_id) else None
