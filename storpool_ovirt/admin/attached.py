"""What hosts have attached and should not, or for no reason that is seen: a part of the audit."""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt import names
from storpool_ovirt.admin import findings, survey
from storpool_ovirt.admin.findings import ATTACHMENT, DETACH, INFO, WARNING, Action, Finding
from storpool_ovirt.cluster import api
from storpool_ovirt.engine import candidates, mapping, records


def of_attachments(view: survey.View) -> Iterator[Finding]:
    """Yield what hosts have and should not, or may have for no reason."""
    for record in view.records.values():
        if record.global_id is None or record.root in view.busy:
            continue
        thing = view.things.get(record.global_id)
        if thing is not None and candidates.owner(thing, view.location):
            continue  # who has it is that owner's affair; `drift.py` tells that it is another's
        held = view.attachments_of(record.global_id, names.object_name(record.uuid))
        if held:
            yield from _held(view, record, held)


def _held(
    view: survey.View, record: records.Record, held: list[api.Attachment]
) -> Iterator[Finding]:
    node = record.node
    what = f"{node.kind} {node.uuid} (~{node.global_id})"
    where = ", ".join(f"client {each.client_id}" for each in held)
    root = view.records.get(node.root)
    if node.kind == "volume" and root is not None and (root.node.active or node.root) != node.uuid:
        yield _inactive(view, node, what, where, str(root.node.active))
    for each in held:
        if view.clients.get(each.client_id, api.DOWN) == api.DOWN:
            yield findings.of_node(
                node,
                kind=ATTACHMENT,
                severity=WARNING,
                what=what,
                cause=f"client {each.client_id} has it attached and is down",
                mend=(
                    f"bring the host with SP_OURID={each.client_id} back; if it is lost for good,"
                    f" make sure that it is off, then {_fence(each.client_id)}"
                ),
            )
    if len([each for each in held if each.access_mode == "rw"]) > 1:
        yield findings.of_node(
            node,
            kind=ATTACHMENT,
            severity=INFO,
            what=what,
            cause=(
                f"{where} have it attached: a migration under way, a shareable disk, or what a"
                " failed migration left"
            ),
            mend=(
                f"if it should not be so: storpool-ovirt reconcile --detach {node.uuid} detaches it"
                " where it is closed"
            ),
        )


def _fence(client_id: int) -> str:
    """Return the command that takes everything from a client; it is given in its own cluster."""
    command = f"storpool-ovirt fence-host {int(client_id)}"
    if isinstance(client_id, api.RemoteClient):
        return f"{command} with sp_cluster_id={client_id.cluster_id}"
    return command


def _inactive(view: survey.View, node: mapping.Node, what: str, where: str, active: str) -> Finding:
    """Return the finding on a volume that is attached and is not the one that the VM writes; or the
    mapping is wrong about which that is."""
    record = view.records.get(active)
    other = (
        record is not None
        and record.node.global_id is not None
        and view.attachments_of(record.node.global_id, names.object_name(active))
    )
    if other:
        return findings.of_node(
            node,
            kind=ATTACHMENT,
            severity=WARNING,
            what=what,
            cause=f"{where} has it attached, but the VM's volume is {active}",
            mend="storpool-ovirt reconcile detaches it where it is closed",
            action=Action(DETACH, node.uuid, node.root, node.global_id or ""),
        )
    return findings.of_node(
        node,
        kind=ATTACHMENT,
        severity=INFO,
        what=what,
        cause=(
            f"{where} has it attached; the mapping takes {active} for the VM's volume, which no"
            " host has"
        ),
        mend=(
            "a copy left it attached, or the mapping is older than the cluster: the next"
            " connect_volume, or storpool-ovirt rebuild, puts it right"
        ),
    )
