"""An os-brick connector for StorPool, over `storpool_ovirt.cluster.attachments`.

The contract is that of os-brick's `initiator/initiator_connector.py` (InitiatorConnector) and
`utils.py` (the two decorators for encrypted volumes). What a caller says about a volume
(`connection_properties`) is the connection info of our Cinder driver, or that of the upstream one:

    {"volume": Cinder's id, "access_mode": "rw" or "ro", "client_id": 7, "global_id": "bgu4.n.a1z"}

`global_id` is missing in upstream's, and the volume is then found by its name. Callers add
`device_path`. This host knows itself which client it is (`SP_OURID` in its storpool.conf):
`client_id` is only compared with that.

docs/connector.md says how a host comes to use it, and what differs from os-brick's own StorPool
connector.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from os_brick import exception, utils
from os_brick.initiator.connectors import base
from oslo_concurrency import lockutils
from oslo_config import cfg
from oslo_log import log as logging

from cinder_driver import names as cinder_names
from cinder_driver import words
from storpool_ovirt import config, errors, names, option_values, presence, storpool_conf
from storpool_ovirt.cluster import api, attachments, devices, identity
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.limits import LIMITS, Limits
from storpool_ovirt.log import Log

LOG = logging.getLogger(__name__)

_CLASSES = (
    ((errors.ConfigError, errors.Unseen), exception.BrickException),
    (errors.InputError, exception.InvalidParameterValue),
    (errors.NotFound, exception.NotFound),
    (errors.DeviceMissing, exception.VolumeDeviceNotFound),
    (errors.InUse, exception.VolumePathNotRemoved),
    (errors.Error, exception.BrickException),
)


class StorPoolConnector(base.BaseLinuxConnector):
    """A connector that attaches StorPool volumes to this host and detaches them.

    It keeps nothing between two calls. Every method raises `os_brick.exception.BrickException`, or
    one of its subclasses: InvalidParameterValue (what was said about the volume), NotFound,
    VolumeDeviceNotFound (attached, but no device node: undone), VolumePathNotRemoved (open, so not
    detached).
    """

    # Nova and Cinder wait 60 s for an answer (`rpc_response_timeout`).
    limits = LIMITS

    @staticmethod
    def get_connector_properties(
        root_helper: str | None, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Return this host's StorPool client id, and its cluster's where that is one of several;
        nothing where the host is no client.

        os-brick collects these from every connector, so a host without StorPool must not fail here.
        """
        try:
            settings = config.host(config.root())
        except errors.ConfigError as error:
            log = LOG.warning if _is_mistake() else LOG.debug
            log("this host is no StorPool client: %s", words.sentence(error))
            return {}
        told: dict[str, Any] = {"storpool_client_id": settings.client_id}
        if settings.api.multicluster:
            told["storpool_cluster_id"] = settings.api.cluster_id
        return told

    @utils.connect_volume_prepare_result
    def connect_volume(self, connection_properties: Mapping[str, Any]) -> dict[str, str]:
        """Attach the volume, wait for its device, and return `{"type": "block", "path": ...}`.

        Attaching what is attached already with the same mode is a success. After a failure nothing
        of it is left.
        """
        with _as_os_brick_errors():
            mode = connection_properties.get("access_mode")
            if mode not in ("rw", "ro"):
                raise errors.InputError("access_mode", f"is neither rw nor ro ({_shown(mode)})")
            host = _Host(self.limits)
            host.check_is_meant(connection_properties.get("client_id"))
            target = host.target(connection_properties)
            path = attachments.attach(host.client, host.side, target, mode)
            return {"type": "block", "path": host.root + path}

    @utils.connect_volume_undo_prepare_result(unlink_after=True)
    def disconnect_volume(
        self,
        connection_properties: Mapping[str, Any],
        device_info: Mapping[str, Any] | None = None,
        force: bool = False,
        ignore_errors: bool = False,
    ) -> None:
        """Detach the volume from this host; what is not attached, or does not exist, is a success.

        A device that is open stays, after a short wait, whatever `force` says. os-brick means by
        `force` that a failed flush is no obstacle. Here is nothing to flush, as the kernel writes
        everything back when the last user closes a device. With `force` and `ignore_errors` a
        failure is logged and not raised.

        `device_info` is what connect_volume returned. os-brick's own clean-up
        (`connect_volume_prepare_result`) has that in the place of `connection_properties` and
        nothing else; Nova gives None and `device_path`.
        """
        with _as_os_brick_errors(ignore=force and ignore_errors):
            host = _Host(self.limits)
            path = _path(connection_properties, device_info) or connection_properties.get("path")
            try:
                target = host.target(connection_properties, path or "")
            except errors.NotFound as error:
                LOG.info("nothing to detach: %s", words.sentence(error))
                return
            attachments.detach(host.client, host.side, target)

    @utils.connect_volume_undo_prepare_result
    def extend_volume(self, connection_properties: Mapping[str, Any]) -> int:
        """Wait until this host sees the size that the volume has in StorPool.

        Returns the device's size in bytes. os-brick lets a connector return None when that fails;
        we raise, as a size that is not new would be believed.
        """
        with _as_os_brick_errors():
            host = _Host(self.limits)
            target = host.target(connection_properties, _path(connection_properties, None))
            return devices.wait_for_size(host.client, host.side, target)

    def get_volume_paths(self, connection_properties: Mapping[str, Any]) -> list[str]:
        """Return the path that connect_volume returned, in a list; an empty list if it is gone."""
        with _as_os_brick_errors():
            host = _Host(self.limits)
            try:
                target = host.target(connection_properties, _path(connection_properties, None))
            except errors.NotFound:
                return []
            path = host.root + names.device_path(target.global_id)
            return [path] if presence.there(path) else []

    def get_search_path(self) -> str:
        """Return the folder that has a link for each attached volume.

        get_all_available_volumes lists it.
        """
        return config.root() + names.DEVICE_FOLDER


class _Host:
    """This host for one call: who it is, its cluster, and how it finds a volume."""

    def __init__(self, limits: Limits) -> None:
        self.root = config.root()
        settings = config.host(self.root)
        words.hide(settings.api.token)
        deadline = Deadline(limits.deadline_seconds)
        self.client = api.Client(
            settings.api.preferring(option_values.BINDING), deadline, limits=limits
        )
        self.side = attachments.HostSide(
            settings.client_id,
            self.root,
            deadline,
            _Journal(),
            lock_folder=_lock_folder(),
            limits=limits,
        )

    def check_is_meant(self, client_id: object) -> None:
        """Raise InputError when the driver described another client of StorPool than this host."""
        if client_id not in (None, self.side.client_id, str(self.side.client_id)):
            raise errors.InputError(
                f"client_id {_shown(client_id)}",
                f"is not this host, which is client {self.side.client_id}",
                "correct SP_OURID in this host's section of storpool.conf, here and where Cinder"
                " runs",
            )

    def target(self, properties: Mapping[str, Any], path: object = "") -> attachments.Target:
        """Return which volume is meant: by its device path, else its global id, else its name.

        Raises InputError when they contradict each other or are missing, NotFound when there is
        none of that name.
        """
        known = self._known_id(_global_id(properties), path)
        volume = properties.get("volume")
        if volume is not None and not isinstance(volume, str):
            raise errors.InputError("volume", f"is not the id of a volume ({_shown(volume)})")
        name = self._name(volume) if volume else None
        if known:
            return attachments.Target(known, name)
        if name is None:
            raise errors.InputError(
                "the connection info", "names no volume", "it needs volume, global_id or a path"
            )
        self.client.be_current()  # "there is none" ends a detach, so it must be as of now
        found = self.client.volume(name)
        return attachments.Target(found.global_id, name)

    def _known_id(self, global_id: str | None, path: object) -> str | None:
        """Return the global id by the device path, else the given one; None when there is none."""
        if not isinstance(path, str):
            raise errors.InputError("the device path", f"is not a text ({_shown(path)})")
        attached = names.global_id_of(path, self.root)
        if attached and global_id and not self._are_one(attached, global_id):
            raise errors.InputError(
                f"the device path {names.shown(path)}",
                f"is not that of volume {names.address(global_id)}",
            )
        return attached or global_id

    def _are_one(self, attached: str, global_id: str) -> bool:
        """Return whether a device's id and the one that the driver tells now are one volume's: a
        revert since it was attached may have given it another one."""
        if attached == global_id:
            return True
        self.client.be_current()
        with suppress(errors.NotFound):
            return identity.are_one(self.client, "volume", global_id, attached)
        return False

    def _name(self, volume: str) -> str:
        return cinder_names.volume_name(cinder_names.prefix(storpool_conf.read(self.root)), volume)


def _global_id(properties: Mapping[str, Any]) -> str | None:
    global_id = properties.get("global_id")
    if global_id is None or (isinstance(global_id, str) and names.GLOBAL_ID.fits(global_id)):
        return global_id
    raise errors.InputError("global_id", f"is not one of StorPool's ({_shown(global_id)})")


def _path(properties: Mapping[str, Any], device_info: Mapping[str, Any] | None) -> Any:
    try:
        return utils.get_dev_path(properties, device_info)
    except UnicodeDecodeError as error:
        raise errors.InputError(
            "the device path", "is not a text (its bytes are not UTF-8)"
        ) from error


def _is_root() -> bool:
    return os.geteuid() == 0


def _shown(value: object) -> str:
    # The text of a number of thousands of digits is an error for Python.
    is_plain = not isinstance(value, int) or abs(value) < 1 << 63
    return names.shown(str(value)) if is_plain else "a number that is too large"


class _Journal(Log):
    """The log of the program that uses os-brick, for changes of the world."""

    def __init__(self) -> None:
        super().__init__("os-brick", None)

    def line(self, event: str, **facts: object) -> None:
        shown = [f"{key}={words.sentence(fact)}" for key, fact in facts.items()]
        LOG.info("%s %s", event, " ".join(shown))


def _is_mistake() -> bool:
    """Return whether a host that is no client has a storpool.conf: most hosts have none."""
    try:
        return storpool_conf.is_there(config.root())
    except errors.Unseen:
        return True


def _lock_folder() -> str:
    """Return where the locks are: root has those of the Vdsm helper, others os-brick's folder.

    `[os_brick] lock_path` is `[oslo_concurrency] lock_path` unless set (os-brick's opts.py;
    releases before it have only the latter).
    """
    if _is_root():
        return devices.LOCK_FOLDER
    own = "os_brick" in cfg.CONF and cfg.CONF.os_brick.lock_path
    folder = own or lockutils.get_lock_path(cfg.CONF)
    if not folder:
        advice = "set it in the section [oslo_concurrency]"
        raise errors.ConfigError("lock_path", "is not set", advice)
    return f"{folder}/storpool-{os.geteuid()}"


@contextmanager
def _as_os_brick_errors(ignore: bool = False) -> Iterator[None]:
    """Turn our errors into os-brick's; `ignore` logs them instead."""
    try:
        yield
    except errors.Error as error:
        if ignore:
            LOG.warning("ignored, as asked: %s", words.sentence(error))
            return
        theirs = next(theirs for ours, theirs in _CLASSES if isinstance(error, ours))
        raise theirs(words.sentence(error)) from words.cause(error)
