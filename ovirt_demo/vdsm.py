"""Vdsm's way to run a helper, and what Vdsm keeps about managed volumes.

This is what oVirt's vdsm does in managedvolume.py (docs/host.md), in our own words; a host is a
folder here. It has what matters to a helper: one row for each volume with its connection
information, the run link that the VM opens, the udev rule (these three in vdsm_rows.py), the order
of the steps, and which step is undone by which. There is no lock and no time limit, but the one
that tests need to end. What differs between its releases is in releases.py, and what a release puts
on a host in host_software.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ovirt_demo import children, releases, vdsm_rows

HELPER_LIMIT_SECONDS = 150.0  # ours: Vdsm waits without limit, Engine gives up after 180 s
RUN_FOLDER = vdsm_rows.RUN_FOLDER
# Vdsm's own helper (lib/vdsm/storage/managedvolume.py, HELPER); an adapter's is beside it.
STOCK_HELPER = "/usr/libexec/vdsm/managedvolume-helper"
ATTACH, CONNECTOR_INFO = "attach", "connector_info"

# What Vdsm's schema knows of what a host says about itself, and of a volume's connection (master
# has `adapter` too): lib/vdsm/api/vdsm-api.yml, ConnectorInfo and ManagedVolumeConnection.
CONNECTOR_KEYS = (
    "initiator",
    "ip",
    "platform",
    "host",
    "do_local_attach",
    "os_type",
    "multipath",
)
CONNECTION_KEYS = ("driver_volume_type", "data")

INVALID_PARAMETERS = -32602
GENERAL_EXCEPTION = 100
NOT_SUPPORTED = 925
HELPER_FAILED = 926
ALREADY_ATTACHED = 927
CONNECTION_MISMATCH = 929
UNSUPPORTED_DRIVER = 2009


class VdsmError(Exception):
    """A verb of Vdsm failed: its error code, and the reason."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"Vdsm error {code}: {reason}")


@dataclasses.dataclass(frozen=True)
class HelperRun:
    """One run of the helper.

    `returncode` is None when it did not end within the limit and was killed.
    """

    verb: str
    sent: dict[str, Any]
    returncode: int | None
    stdout: bytes
    stderr: bytes
    seconds: float

    def document(self) -> Any:
        """Return the answer of the helper: exit code 0 and exactly one JSON document.

        Raises VdsmError when it is anything else.
        """
        if self.returncode != 0:
            ended = f"ended with code {self.returncode}"
            if self.returncode is None:
                ended = "gave no answer"
            said = self.stderr.decode(errors="replace").strip()
            raise VdsmError(HELPER_FAILED, f"helper {self.verb} {ended}: {said}")
        try:
            return json.loads(self.stdout)
        except ValueError as error:
            reason = f"the answer of helper {self.verb} is not one JSON document"
            raise VdsmError(HELPER_FAILED, reason) from error


class Daemon(Protocol):
    """The process that starts a host's helpers, where there is one (host_software.py)."""

    imports_os_brick: bool

    def run(
        self, argv: Sequence[str], sent: bytes | None, limit_seconds: float
    ) -> tuple[int | None, bytes, bytes]:
        """Run a program; return its exit status (None: killed after the limit) and its output."""


class Host:
    """A host as Vdsm sees it: its folder, the helper, and the managed volumes attached on it.

    `rows` is what Vdsm keeps in its own database for each volume; it survives a reboot. `observe`
    is called with each HelperRun. `release` is the Vdsm that runs there. `daemon` is None for a
    host of which only the helper matters: it is started from here then, and os_brick taken for
    given. `is_strict` is its devel.api_strict_mode: what its schema does not know it only logs, or
    refuses, before it does anything, in its own answers too (lib/vdsm/api/vdsmapi.py).

    `connector_info` is what Engine has stored of the host's own words about itself, and passes to
    connect_volume. It stays what it is until `refresh_capabilities`, as Engine's does.
    """

    def __init__(  # noqa: PLR0913  what makes a host; no two of them belong together
        self,
        root: Path,
        helper_path: Path,
        *,
        name: str = "host.example",
        environment: Mapping[str, str] | None = None,
        observe: Callable[[HelperRun], None] | None = None,
        release: releases.Vdsm = releases.VDSM_MASTER,
    ) -> None:
        self.root = root
        self.helper_path = helper_path
        self.name = name
        self.observe = observe
        self.release = release
        self.daemon: Daemon | None = None
        self.is_strict = False
        self.connector_info: dict[str, Any] = connector_info(name)
        self.rows = vdsm_rows.Rows(self.local(vdsm_rows.DATABASE))
        self.environment: dict[str, str] = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "STORPOOL_OVIRT_ROOT": str(root),
            **(environment or {}),
        }

    def refresh_capabilities(self) -> None:
        """Have Engine ask the host for its capabilities, and store what it says about itself.

        Raises VdsmError where Vdsm could not tell: Engine's copy is as before then. (Engine stores
        that there is none, and does not start a VM there any more.)
        """
        self._need_os_brick()
        told = self.helper(CONNECTOR_INFO, None).document()
        self._verify(told, CONNECTOR_KEYS)
        self.connector_info = told

    def attach_volume(
        self, sd_id: str, vol_id: str, connection_info: dict[str, Any]
    ) -> dict[str, Any]:
        """Attach a volume; return the device description that Engine passes to save_device.

        Raises VdsmError.
        """
        connection_info = json.loads(json.dumps(connection_info))  # it comes over the wire
        self._verify(connection_info, (*CONNECTION_KEYS, *["adapter"] * self.release.dispatches))
        self._need_os_brick()
        self._refuse_second_attach(sd_id, vol_id, connection_info)
        attachment: dict[str, Any] | None = None
        try:
            if vol_id not in self.rows:
                self.rows[vol_id] = {"vol_id": vol_id, "connection_info": connection_info}
            attachment = self.attach(connection_info)
            path = attachment["path"]
            self._complete_row(vol_id, path, attachment)
            self._refuse_unknown_driver(connection_info["driver_volume_type"])
            managed_path = self._add_link(sd_id, vol_id, path)
            self._add_rule(sd_id, vol_id, path)
        except (VdsmError, KeyError, TypeError, OSError) as error:
            if attachment is not None:
                self._silent_detach({"connection_info": connection_info, "attachment": attachment})
            self._forget(sd_id, vol_id)
            if isinstance(error, VdsmError):
                raise
            raise VdsmError(GENERAL_EXCEPTION, repr(error)) from error
        return {
            "vol_id": vol_id,
            "path": path,
            "managed_path": managed_path,
            "attachment": attachment,
        }

    def detach_volume(self, sd_id: str, vol_id: str) -> None:
        """Detach a volume; what Vdsm does not know, or whose path is gone, is forgotten.

        Raises VdsmError.
        """
        self._need_os_brick()
        row = self.rows.get(vol_id)
        if row is None:
            return
        if "path" in row and self.local(row["path"]).exists():
            self.detach(row)  # a failure leaves everything as it is, to be tried again
        self._forget(sd_id, vol_id)

    def attach(self, connection_info: dict[str, Any]) -> Any:
        """Run the helper's attach and return its answer; raises VdsmError."""
        whole = {"connection_info": connection_info}
        sent = whole if self.release.dispatches else connection_info
        return self.helper(ATTACH, sent).document()

    def detach(self, row: dict[str, Any]) -> Any:
        """Run the helper's detach for a row, or for what the undoing of an attach sends.

        Returns its answer. Raises VdsmError.
        """
        return self.helper("detach", row).document()

    def helper(
        self, verb: str, sent: dict[str, Any] | None, limit_seconds: float = HELPER_LIMIT_SECONDS
    ) -> HelperRun:
        """Run the helper: one word, JSON on stdin and then its end, or nothing to read."""
        request = None if sent is None else json.dumps(sent).encode()
        start = self._start if self.daemon is None else self.daemon.run
        began = time.monotonic()
        returncode, stdout, stderr = start(self.helper_argv(verb), request, limit_seconds)
        took = time.monotonic() - began
        run = HelperRun(verb, sent or {}, returncode, stdout, stderr, took)
        if self.observe:
            self.observe(run)
        return run

    def helper_argv(self, verb: str) -> list[str]:
        """Return how Vdsm starts a helper for a volume of ours: that of the adapter if it knows of
        adapters, else its own."""
        stock = str(self.local(STOCK_HELPER))
        if not self.release.dispatches:
            return [sys.executable, stock, verb]
        return [stock if verb == CONNECTOR_INFO else str(self.helper_path), verb]

    def local(self, path: str) -> Path:
        """Return where a path of the host is on this machine."""
        return path_in(self.root, path)

    def reboot(self) -> None:
        """Lose what a reboot loses: /run.

        Rows and rules stay, and devices, as StorPool attaches them at boot.
        """
        shutil.rmtree(self.local("/run"), ignore_errors=True)

    def _start(
        self, argv: Sequence[str], sent: bytes | None, limit_seconds: float
    ) -> tuple[int | None, bytes, bytes]:
        with subprocess.Popen(
            argv,
            cwd="/",
            env=self.environment,
            umask=0o022,
            start_new_session=True,
            stdin=subprocess.DEVNULL if sent is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            return children.communicate(process, sent, limit_seconds)

    def _verify(self, given: dict[str, Any], known: Sequence[str]) -> None:
        unknown = [key for key in given if key not in known]
        if unknown and self.is_strict:
            raise VdsmError(INVALID_PARAMETERS, f"parameters {unknown} were not recognized")

    def _need_os_brick(self) -> None:
        if self.daemon is not None and not self.daemon.imports_os_brick:
            raise VdsmError(NOT_SUPPORTED, "Cannot import os_brick")

    def _refuse_second_attach(
        self, sd_id: str, vol_id: str, connection_info: dict[str, Any]
    ) -> None:
        row = self.rows.get(vol_id)
        if row is None:
            return
        # The order in which PR 483 asks could not be read: this is the one that refuses more.
        if row["connection_info"] != connection_info:
            raise VdsmError(
                CONNECTION_MISMATCH, f"volume {vol_id} is known with other connection information"
            )
        if self.release.by_link:
            attached = self.local(vdsm_rows.link(sd_id, vol_id)).is_symlink()
        else:
            attached = "path" in row and self.local(row["path"]).exists()
        if attached:
            raise VdsmError(ALREADY_ATTACHED, f"volume {vol_id} is already attached")

    def _refuse_unknown_driver(self, driver_volume_type: str) -> None:
        if driver_volume_type not in self.release.driver_types:
            raise VdsmError(UNSUPPORTED_DRIVER, f"unsupported driver {driver_volume_type}")

    def _complete_row(self, vol_id: str, path: str, attachment: dict[str, Any]) -> None:
        row = self.rows.get(vol_id)
        # Vdsm's update of a row that somebody removed meanwhile changes nothing, unnoticed.
        if row is not None:
            self.rows[vol_id] = {**row, "path": path, "attachment": attachment}

    def _add_link(self, sd_id: str, vol_id: str, path: str) -> str:
        managed_path = vdsm_rows.link(sd_id, vol_id)
        link = self.local(managed_path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(self.local(path))  # an old one in the way is an error: the attach is undone
        return managed_path

    def _add_rule(self, sd_id: str, vol_id: str, path: str) -> None:
        file = self.local(vdsm_rows.rule(sd_id, vol_id))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(vdsm_rows.rule_text(path))
        self.local(path).stat()  # udevadm's failure for a path that does not exist

    def _silent_detach(self, sent: dict[str, Any]) -> None:
        with contextlib.suppress(VdsmError):
            self.detach(sent)

    def _forget(self, sd_id: str, vol_id: str) -> None:
        self.local(vdsm_rows.rule(sd_id, vol_id)).unlink(missing_ok=True)
        self.local(vdsm_rows.link(sd_id, vol_id)).unlink(missing_ok=True)
        self.rows.pop(vol_id, None)


def path_in(root: Path, path: str) -> Path:
    """Return where a path of a host is on this machine, where the host is a folder."""
    return root / path.lstrip("/")


def connector_info(name: str) -> dict[str, Any]:
    """Return what os-brick tells Engine about a host of this name."""
    return {
        "initiator": f"iqn.1994-05.com.redhat:{name}",
        "ip": "127.0.0.1",
        "platform": "x86_64",
        "host": name,
        "do_local_attach": False,
        "os_type": "linux",
        "multipath": True,
    }
