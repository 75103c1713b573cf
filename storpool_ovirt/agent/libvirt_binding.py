"""libvirt, by its own Python binding: the one place that loads it.

The connection is Vdsm's own: qemu:///system, by SASL as `vdsm@ovirt` with the password that Vdsm
keeps (oVirt's vdsm, common/libvirtconnection.py). Where libvirt asks for none, none is read. What
libvirt says of a failure is translated here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from storpool_ovirt import errors, rights, text
from storpool_ovirt.agent import hypervisor
from storpool_ovirt.agent.hypervisor import Disk, Domain

USER = "vdsm@ovirt"
PASSWORD_FILE = "/etc/pki/vdsm/keys/libvirt_password"  # noqa: S105  where it is, not what
# An agent that is there answers in milliseconds. Ours: as short as libvirt counts it, but for one
# pause of a busy guest; libvirt's own limit is 5 s.
ASK_SECONDS = 3
# A thaw goes through all file systems of a guest.
THAW_SECONDS = 10
# Where distributions have libvirt's binding; a virtual environment does not look there.
_SYSTEMS = (
    f"/usr/lib64/python3.{sys.version_info[1]}/site-packages",
    "/usr/lib/python3/dist-packages",
)
_ANSWER_MAX = 4096


def load() -> tuple[Any, Any]:
    """Return the modules `libvirt` and `libvirt_qemu`; raise ImportError where one is missing."""
    import importlib

    before = list(sys.path)
    sys.path.extend(_SYSTEMS)  # behind all else: what is installed for us comes first
    try:
        binding = importlib.import_module("libvirt")
        agents = importlib.import_module("libvirt_qemu")
    finally:
        sys.path[:] = before
    # Otherwise each failure is written to stderr too.
    binding.registerErrorHandler(lambda _context, _error: None, None)
    return binding, agents


class Libvirt:
    """A `Hypervisor`: one connection to libvirt, opened by the first call that needs it."""

    def __init__(self, address: str, root: str = "") -> None:
        self._address, self._root = address, root
        self._libvirt: Any = None
        self._agents: Any = None
        self._connection: Any = None

    def domains(self) -> list[Domain]:
        """Return the VMs that run here; one that ends meanwhile, or cannot be read, is left out."""
        connection = self._open()
        with self._translated("listAllDomains", ""):
            listed = connection.listAllDomains(self._libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        return [domain for each in listed for domain in self._read(each)]

    def _read(self, listed: Any) -> Iterator[Domain]:
        try:
            with self._translated("XMLDesc", listed.name()):
                document, run = listed.XMLDesc(0), listed.ID()
            yield hypervisor.parsed(listed.UUIDString(), run, listed.name(), document)
        except (errors.NotFound, errors.LibvirtRefused, errors.Locked, errors.InputError):
            return  # it costs no other VM its look

    def shown_bytes(self, domain: Domain, disk: Disk) -> int:
        """Return the size of a disk that QEMU has."""
        with self._of(domain, "blockInfo") as found:
            return int(found.blockInfo(disk.target)[0])

    def is_moving(self, domain: Domain) -> bool:
        """Return whether a migration of a VM is under way, by its state and by its job."""
        binding = self._libvirt_module()
        with self._of(domain, "jobStats") as found:
            state, reason = found.state()
            if (state, reason) in (
                (binding.VIR_DOMAIN_PAUSED, binding.VIR_DOMAIN_PAUSED_MIGRATION),
                (binding.VIR_DOMAIN_PAUSED, binding.VIR_DOMAIN_PAUSED_POSTCOPY),
                (binding.VIR_DOMAIN_PAUSED, binding.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED),
                (binding.VIR_DOMAIN_RUNNING, binding.VIR_DOMAIN_RUNNING_POSTCOPY),
            ):
                return True
            job = found.jobStats()
        if job.get("type", binding.VIR_DOMAIN_JOB_NONE) == binding.VIR_DOMAIN_JOB_NONE:
            return False
        return job.get("operation") in (
            None,  # a libvirt that does not tell: it may be one
            binding.VIR_DOMAIN_JOB_OPERATION_UNKNOWN,
            binding.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN,
            binding.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
        )

    def grow(self, domain: Domain, disk: Disk, size_bytes: int) -> None:
        """Show the guest a disk of this size (`virDomainBlockResize`)."""
        with self._of(domain, "blockResize") as found:
            found.blockResize(disk.target, size_bytes, self._libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def is_frozen(self, domain: Domain) -> bool:
        """Return what the guest's agent says of its file systems (`guest-fsfreeze-status`)."""
        said = self._asked(domain, "guest-fsfreeze-status", ASK_SECONDS)
        if said not in ("frozen", "thawed"):
            raise errors.GuestSilent(domain.name, "it says neither frozen nor thawed")
        return said == "frozen"

    def thaw(self, domain: Domain) -> None:
        """Thaw them (`guest-fsfreeze-thaw`)."""
        said = self._asked(domain, "guest-fsfreeze-thaw", THAW_SECONDS)
        if not isinstance(said, int):
            raise errors.GuestSilent(domain.name, "it does not say how many it thawed")

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except self._libvirt.libvirtError:
                return

    def _asked(self, domain: Domain, command: str, seconds: int) -> object:
        """Return what a guest's agent answers, which is the guest's to choose."""
        document = json.dumps({"execute": command})
        with self._of(domain, command) as found:
            answer = self._agents.qemuAgentCommand(found, document, seconds, 0)
        if not isinstance(answer, str) or len(answer) > _ANSWER_MAX:
            raise errors.GuestSilent(domain.name, "its answer is too long, or none")
        try:
            said = json.loads(answer)
        except (ValueError, RecursionError):
            raise errors.GuestSilent(domain.name, "its answer is no JSON") from None
        if not isinstance(said, dict):
            raise errors.GuestSilent(domain.name, "its answer is no object")
        return said.get("return")

    @contextmanager
    def _of(self, domain: Domain, call: str) -> Iterator[Any]:
        connection = self._open()
        with self._translated(call, domain.name):
            found = connection.lookupByUUIDString(domain.uuid)
            if found.ID() != domain.run:
                raise errors.NotFound("VM", domain.name, "any more: it was started again")
            yield found

    def _libvirt_module(self) -> Any:
        if self._libvirt is None:
            try:
                self._libvirt, self._agents = load()
            except ImportError as error:
                raise errors.LibvirtUnavailable(
                    f"{error}: install python3-libvirt", "the libvirt binding"
                ) from error
        return self._libvirt

    def _open(self) -> Any:
        if self._connection is None:
            binding = self._libvirt_module()
            asked = [binding.VIR_CRED_AUTHNAME, binding.VIR_CRED_PASSPHRASE]
            try:
                self._connection = binding.openAuth(self._address, [asked, self._told, None], 0)
            except binding.libvirtError as error:
                raise errors.LibvirtUnavailable(_words(error)) from error
        return self._connection

    def _told(self, asked: list[list[Any]], _data: object) -> int:
        """Answer what SASL asks for; libvirt fails with a sentence of its own where we cannot."""
        try:
            for each in asked:
                is_name = each[0] == self._libvirt.VIR_CRED_AUTHNAME
                each[4] = USER if is_name else _password(self._root)
        except OSError:
            return -1
        return 0

    @contextmanager
    def _translated(self, call: str, vm: str) -> Iterator[None]:
        """Translate what libvirt raises; a connection that is of no use any more is closed."""
        binding = self._libvirt
        try:
            yield
        except binding.libvirtError as error:
            code, words = error.get_error_code(), _words(error)
            if not self._is_alive():
                self.close()
                raise errors.LibvirtUnavailable(words) from error
            if code in (binding.VIR_ERR_NO_DOMAIN, binding.VIR_ERR_OPERATION_INVALID):
                raise errors.NotFound("VM", vm, "on this host any more") from error
            if code == binding.VIR_ERR_OPERATION_TIMEOUT:
                raise errors.Locked(f"VM {vm} ({words})", 30.0) from error
            if code in _agent_codes(binding):
                raise errors.GuestSilent(vm, words) from error
            raise errors.LibvirtRefused(call, vm, words) from error

    def _is_alive(self) -> bool:
        try:
            return self._connection is None or bool(self._connection.isAlive())
        except self._libvirt.libvirtError:
            return False


def _agent_codes(binding: Any) -> tuple[int, ...]:
    """Return the codes by which libvirt tells that a guest's agent failed; older ones lack some."""
    words = ("UNRESPONSIVE", "UNSYNCED", "COMMAND_TIMEOUT", "COMMAND_FAILED")
    found = (getattr(binding, f"VIR_ERR_AGENT_{each}", None) for each in words)
    return tuple(each for each in found if each is not None)


def _words(error: Any) -> str:
    return str(error.get_error_message() or error)


def _password(root: str) -> str:
    """Return the first line of Vdsm's file.

    It lies in a folder of Vdsm's. This service has no right to become another user, and none to
    read what its own group may not; a link is not followed.
    """
    with os.fdopen(rights.opened(root + PASSWORD_FILE, os.O_RDONLY), "rb") as file:
        lines = text.lines(text.decoded(file.read(_ANSWER_MAX), PASSWORD_FILE))
    return lines[0] if lines else ""
