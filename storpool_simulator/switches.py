"""What is not known for certain about StorPool's API, as switches with values and a default.

A client that has to work with a real cluster should work with every value. docs/simulator.md lists
them; a test holds that page against this table.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from storpool_simulator import errors

_BOOLEAN = ("true", "false")


@dataclass(frozen=True)
class Switch:
    """One uncertain point; the first value is the default, and a number has no `values`."""

    name: str
    values: tuple[str, ...]
    default: str
    meaning: str


def _choice(name: str, values: tuple[str, ...], meaning: str) -> Switch:
    return Switch(name, values, values[0], meaning)


_ALL = (
    _choice(
        "strict",
        _BOOLEAN,
        "unknown keys and nulls in a request are refused [readme 5.1.0]; false: ignored",
    ),
    _choice(
        "busy_error",
        ("busy", "invalidParam", "preconditionViolation"),
        "error name for an open device [brick]: newer and older releases; the last one [addon]",
    ),
    _choice(
        "detach_absent",
        ("ok", "error"),
        "detach:[id] of a client that does not have it [addon] relies on ok",
    ),
    _choice(
        "attach_timeout_expiry",
        ("error_keep", "error_undo", "ok"),
        "attachTimeout ran out: error and the attachment stays, error and it is taken back, or"
        " success",
    ),
    _choice(
        "attach_timeout_covers",
        ("all", "missing"),
        "attachTimeout ends the whole wait, or only that for clients that are missing [sptypes]",
    ),
    _choice(
        "reassign_wait_for",
        ("affected", "gaining"),
        "VolumesReassignWait waits for those that lose something too [git 73efeb8], or for those"
        " that gain it",
    ),
    _choice(
        "empty_item",
        ("ok", "error"),
        "an item of a reassign that asks for nothing",
    ),
    _choice(
        "detach_and_rw",
        ("ok", "error"),
        "a client in detach and in rw or ro of one item: it has it afterwards, or is refused",
    ),
    _choice("array_on_wait", _BOOLEAN, "VolumesReassignWait takes a bare array too [pve]"),
    _choice(
        "default_placement",
        _BOOLEAN,
        "VolumeCreate without template, placement, parent or baseOn works [sp-os]",
    ),
    _choice(
        "unnamed_auto_name",
        ("serial", "gid"),
        "list name of a snapshot of an unnamed volume that was asked for without a name: generated"
        " [pve b3e0726], or its id",
    ),
    _choice(
        "empty_name",
        ("unnamed", "generated"),
        'a snapshot that was asked for with the name "": listed by its id [cs], or as one without',
    ),
    _choice(
        "unknown_cluster_error",
        ("objectDoesNotExist", "invalidParam"),
        "RemoteCommand to an unconnected cluster",
    ),
    _choice("unauthorized_error", ("unauthorized", "invalidParam"), "error name for a wrong token"),
    _choice(
        "bad_json_error",
        ("jsonError", "invalidParam", "badRequest"),
        "error name for a body that is not JSON [addon mc]",
    ),
    _choice(
        "bad_name_error",
        ("invalidParam", "objectDoesNotExist"),
        "error name for a name or id that no object can have [sptypes]",
    ),
    _choice("string_numbers", _BOOLEAN, "numbers may come as strings of digits [addon mc] [spapi]"),
    _choice(
        "empty_reference",
        ("absent", "error"),
        "template, parent, baseOn and the like that are '': as if not given, or refused",
    ),
    _choice("limit_type", _BOOLEAN, "limitType is a parameter [kb]; false: an unknown field"),
    _choice(
        "reply_fields",
        ("newest", "binding"),
        "replies have what peers read beyond the binding [pve] [addon mc], or what that knows only",
    ),
    _choice(
        "unknown_query_error", ("unknownQuery", "invalidParam"), "error name for an unknown query"
    ),
    _choice(
        "error_status", ("by_name", "500"), "HTTP status of a refusal: by its name, or always 500"
    ),
    _choice(
        "tag_update",
        ("merge", "replace"),
        "tags of an update are merged into the old ones [cs-up] [pve]",
    ),
    _choice(
        "tag_empty", ("remove", "keep"), "an empty tag value in an update removes the key [sp-os]"
    ),
    _choice("tag_empty_new", ("keep", "drop"), "a tag of a new object whose value is empty"),
    _choice("config_wait_down", ("block", "error"), "ClientConfigWait for a client that is down"),
    _choice(
        "revert_attached",
        ("open", "attached", "allow"),
        "when VolumeRevert is busy: open, attached, never",
    ),
    _choice(
        "revert_identity",
        ("unnamed", "all", "keep"),
        "which volumes get another global id by VolumeRevert: those without a name [git 76ce668],"
        " all [pve 7d8e8b0], none",
    ),
    _choice(
        "preserved_id", _BOOLEAN, "a volume is shown with its first id as preservedGlobalId [addon]"
    ),
    _choice(
        "kept_id_counts",
        ("false", "true"),
        "the id that a reverted unnamed volume keeps as its name counts among the 200 bytes",
    ),
    _choice(
        "revert_size",
        ("grow", "keep", "snapshot"),
        "size after VolumeRevert without revertSize: never less than the snapshot's [pve a536de7],"
        " as before, or the snapshot's",
    ),
    _choice("revert_limits", ("keep", "snapshot"), "bw and iops after VolumeRevert [cs]"),
    _choice(
        "freeze_attached",
        ("ro", "never"),
        "VolumeFreeze of a volume that is attached: where all have it read-only, or never",
    ),
    _choice(
        "group_twice",
        ("refuse", "each"),
        "VolumesGroupSnapshot with a volume twice: refused, or a snapshot for each",
    ),
    _choice(
        "group_partial",
        ("none", "error", "listed"),
        "VolumesGroupSnapshot of which one snapshot cannot be made: none is [inf], or all others"
        " are, with an error or with a reply that lists those alone",
    ),
    _choice(
        "group_ok",
        _BOOLEAN,
        "the reply to VolumesGroupSnapshot says ok [addon]; false: it has the snapshots alone"
        " [sptypes]",
    ),
    _choice(
        "on_attached_everywhere",
        _BOOLEAN,
        "VolumeDelete takes onAttached also without MultiCluster/ [cs]",
    ),
    _choice(
        "on_volume",
        ("chain", "parent"),
        "onVolume of a snapshot: a volume that it is anywhere below [sptypes] [spapi], or directly",
    ),
    _choice(
        "on_volume_none",
        ("dash", "empty"),
        "onVolume of a snapshot that no volume stands on: '-' or ''",
    ),
    _choice("update_name", ("false", "true"), "the VolumeUpdate reply carries the name [cs]"),
    _choice("zero_limit", ("unlimited", "zero"), "bw:0 and iops:0 mean unlimited [cs]"),
    _choice("small_child", ("refuse", "truncate"), "a clone smaller than its parent"),
    _choice("name_tags_limit", _BOOLEAN, "name and tags together are at most 200 bytes [kb]"),
    _choice(
        "list_multicluster", ("false", "true"), "VolumesAndSnapshotsList has a MultiCluster/ form"
    ),
    _choice(
        "delete_attached_snapshot",
        ("busy", "invalidParam", "preconditionViolation"),
        "error name for deleting an attached snapshot",
    ),
    _choice("downgrade_open", ("ok", "busy"), "rw to ro while the device is open"),
    _choice(
        "own_device",
        ("keep", "reattach"),
        "detach:all with rw:[me]: my open device is left alone [pve], or not",
    ),
    _choice(
        "space_limit",
        ("none", "stored", "provisioned"),
        "sizes are not limited [kb]; or by what the template has free, counting data or sizes"
        " [csi]",
    ),
    _choice(
        "template_in_use",
        ("busy", "preconditionViolation", "keep"),
        "deleting a template that volumes have: an error of that name, or they stay without one",
    ),
    _choice("qos_service", ("on", "off"), "storpool_qos makes its passes"),
    _choice("qos_wins", ("tag", "template"), "which tier counts: the tag's, or the template's"),
    _choice(
        "qos_template",
        ("keep", "follow"),
        "a tier moves a volume to the template of its name too [sp-os]",
    ),
    _choice("volumecare_service", ("on", "off"), "VolumeCare makes its passes"),
    _choice(
        "volumecare_tags",
        ("own", "none", "copied"),
        "tags of VolumeCare's snapshots: its own, none, or those of the volume",
    ),
    _choice(
        "volumecare_retention",
        ("date", "delete"),
        "how a snapshot goes: by its targetDeleteDate, or deleted by VolumeCare",
    ),
    _choice(
        "backup_base",
        ("remove", "keep"),
        "the snapshot that VolumeBackup makes here goes when the backup is done, or stays",
    ),
    _choice(
        "backup_base_tags",
        ("given", "none"),
        "that snapshot gets the tags of the backup too",
    ),
    _choice(
        "backup_field",
        ("either", "location"),
        "VolumeBackup takes `remote` for `location` [addon mc], or not [spapi]",
    ),
    _choice(
        "group_backup_key",
        ("schema", "listed"),
        "VolumesGroupBackup's key of an unnamed volume: its bare id, as [sptypes] has it, or ~id",
    ),
    _choice(
        "cut_copy",
        ("wait", "fail"),
        "a copy to this cluster while the bridge is cut: it waits, or its snapshot is gone",
    ),
    _choice(
        "recovering_use",
        ("forward", "refuse"),
        "data that are still coming are read over the bridge [kb] [cloudstack-dr], or busy",
    ),
    _choice(
        "remote_list_cut",
        ("without", "error"),
        "SnapshotsRemoteList when a bridge is cut: without what is behind it, or an error",
    ),
    _choice("delete_exported", ("ok", "busy"), "SnapshotDelete of an exported snapshot"),
    _choice("export_again", ("error", "ok"), "SnapshotExport of what is exported already"),
    _choice(
        "fetched_tags",
        ("given", "remote"),
        "tags after SnapshotFromRemote without tags: none, or those that it has there",
    ),
    _choice(
        "deferred_deletion",
        ("on", "local", "off"),
        "dates to delete a snapshot count: all, not those of other clusters [kb], none",
    ),
    _choice("list_order", ("created", "reversed"), "order of lists; nothing is promised"),
    _choice(
        "bridge_down_error",
        ("multiCluster", "notReady"),
        "error name for a cluster that can not be reached [addon mc], the second one transient",
    ),
    _choice(
        "mc_unreachable",
        ("error", "omit"),
        "a MultiCluster/ call while a cluster can not be reached: an error, or it is left out",
    ),
    _choice(
        "mc_detach_all",
        ("all", "asked"),
        "`detach: all` of a MultiCluster/ call: clients of all clusters [cs], or of the asked one",
    ),
    _choice(
        "mc_create_from",
        ("owner", "refuse"),
        "MultiCluster/VolumeCreate from an object of another cluster: made there, or refused",
    ),
    _choice(
        "remote_multicluster",
        ("take", "refuse"),
        "RemoteCommand/<name>/MultiCluster/: sent by [addon mc], not supported by [cloudstack-dr]",
    ),
    _choice(
        "mc_group",
        ("refuse", "split"),
        "a MultiCluster/ group over two clusters: refused, or a group in each",
    ),
    _choice(
        "move_template",
        ("refuse", "drop"),
        "a move to a cluster without a template of that name: refused, or the template is dropped",
    ),
    _choice(
        "mc_generation",
        ("asked", "owner"),
        "whose generation a MultiCluster/ reply has: the asked cluster's, or the object's owner's",
    ),
    _choice(
        "snapshot_update_multicluster",
        _BOOLEAN,
        "SnapshotUpdate has a MultiCluster/ form [addon mc]; the binding knows none [spapi]",
    ),
    Switch("latency", (), "0", "milliseconds that each call takes longer, before it is made"),
    Switch(
        "lag",
        (),
        "0",
        "every other reading call is answered from so many changes ago: an instance that is behind",
    ),
    Switch(
        "linger", (), "1", "seconds for which deleted and transient snapshots stay visible [sptest]"
    ),
)
SWITCHES: Mapping[str, Switch] = {switch.name: switch for switch in _ALL}


class Switches:
    """The values of all switches; reading and setting are safe from any thread."""

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        self._lock = threading.Lock()
        self._values = {switch.name: switch.default for switch in _ALL}
        self.set(given or {})

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def on(self, name: str) -> bool:
        """Return whether a switch of true and false is true."""
        return self._values[name] == "true"

    def seconds(self, name: str) -> float:
        """Return the value of a switch that is a number of seconds."""
        return float(self._values[name])

    def number(self, name: str) -> int:
        """Return the value of a switch that is a whole number."""
        return int(float(self._values[name]))

    def items(self) -> dict[str, str]:
        """Return all values by name."""
        return dict(self._values)

    def set(self, given: Mapping[str, object]) -> None:
        """Set some switches: all of them or, with InvalidParamError, none."""
        checked = {name: _checked(name, value) for name, value in given.items()}
        with self._lock:
            self._values.update(checked)


def _checked(name: str, value: object) -> str:
    switch = SWITCHES.get(name)
    if switch is None:
        raise errors.InvalidParamError(
            f"there is no switch '{name}'; known are: {', '.join(SWITCHES)}"
        )
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if switch.values:
        if text not in switch.values:
            raise errors.InvalidParamError(
                f"switch '{name}' is one of {', '.join(switch.values)}, not '{text}'"
            )
        return text
    try:
        if float(text) >= 0:
            return text
    except ValueError:
        pass
    raise errors.InvalidParamError(f"switch '{name}' is a number of at least 0, not '{text}'")
