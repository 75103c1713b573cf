"""The errors of this project.

A class is a question that a caller asks; an instance stores facts; its text is one sentence made
from them.

    Error
    +-- InputError            is it my input?  nothing was changed
    |   +-- ConfigError       ... in the options or in storpool.conf?
    |   +-- Unseen            ... something on this host that cannot be looked at?
    |   +-- Unnamed           ... a name that is that of several, or that nobody here can look up?
    +-- NotFound              is there no such object?
    |   +-- Mistyped          ... by the id or the name that a person typed?
    +-- WrongCluster          is it in another StorPool cluster than the one that is pinned?
    +-- Conflict              does the id exist with other arguments, another owner, another state?
    |   +-- Exists            ... is only the name taken (StorPool's `objectExists`)?
    |   +-- Foreign           ... is it another owner's?
    +-- InUse                 does a host hold the device open?
    +-- Locked                does another operation hold the object?
    +-- NoSpace               does the cluster or a client have no room for it?
    +-- Rejected              did StorPool say no for another reason?
    +-- EngineRefused         did oVirt Engine's own API say no?
    +-- LibvirtRefused        did libvirt say no?
    +-- Unavailable           may it work later?
    |   +-- ApiUnavailable    ... the StorPool API; `ambiguous`: the request may have taken effect
    |   +-- AddressUnknown    ... the name of the StorPool API cannot be resolved
    |   +-- DatabaseUnavailable
    |   +-- EngineUnavailable ... oVirt Engine's own API
    |   +-- LibvirtUnavailable ... libvirt on this host
    |   +-- GuestSilent       ... the guest agent of a VM
    |   +-- ClientDown        ... StorPool's client on a host
    |   +-- DeadlineExceeded  ... our own time was up
    |   +-- Interrupted       ... a signal asked the program to end
    +-- DeviceMissing         did StorPool attach, but no device node appeared?
    +-- NotDelivered          was the work done, but did nobody read the answer?

Errors of the libraries below are translated once, at their border: `cluster/calls.py` (StorPool),
`engine/connection.py` (PostgreSQL), `setup/engine_api.py` (Engine's API),
`agent/libvirt_binding.py` (libvirt), `cinder_driver/failures.py` (for Cinder).
"""

from __future__ import annotations


class Error(Exception):
    """Anything that we report; the text is one clear sentence."""


class InputError(Error):
    """An argument is wrong. `what` names it, `why` says what is wrong, `advice` what to do."""

    def __init__(self, what: str, why: str, advice: str = "") -> None:
        super().__init__(what, why, advice)
        self.what, self.why, self.advice = what, why, advice

    def __str__(self) -> str:
        return f"{self.what} {self.why}" + (f": {self.advice}" if self.advice else "")


class ConfigError(InputError):
    """An option of the storage domain, or /etc/storpool.conf, is wrong or missing."""


class Unseen(InputError):
    """A file or folder of this host cannot be looked at: nobody knows whether it is there."""


class Unnamed(InputError):
    """What a person typed is the name of several things, or a name where only ids can be known."""


class NotFound(Error):
    """There is no such object.

    `kind` is volume, snapshot, disk, client or template; empty where the name has it.
    """

    def __init__(self, kind: str, name: str, where: str = "") -> None:
        super().__init__(kind, name, where)
        self.kind, self.name, self.where = kind, name, where

    def __str__(self) -> str:
        return " ".join(word for word in ("there is no", self.kind, self.name, self.where) if word)


class Mistyped(NotFound):
    """What a person typed names nothing that there is."""


class Conflict(Error):
    """The object exists, but it is not what was asked for."""

    def __init__(self, name: str, why: str, advice: str = "") -> None:
        super().__init__(name, why, advice)
        self.name, self.why, self.advice = name, why, advice

    def __str__(self) -> str:
        return f"{self.name} {self.why}" + (f": {self.advice}" if self.advice else "")


class Exists(Conflict):
    """StorPool has an object of this name already; whose it is, is not yet known."""


class Foreign(Conflict):
    """The object does not carry our tags: it is another owner's, and is left alone."""


class WrongCluster(Error):
    """The object or the API belongs to another StorPool cluster than `sp_cluster_id` says."""

    def __init__(self, name: str, why: str, advice: str) -> None:
        super().__init__(name, why, advice)
        self.name, self.why, self.advice = name, why, advice

    def __str__(self) -> str:
        return f"{self.name} {self.why}: {self.advice}"


class InUse(Error):
    """A host holds the device open.

    `openers` are client ids, or host names where storpool.conf has them.
    """

    def __init__(self, name: str, openers: tuple[str, ...]) -> None:
        super().__init__(name, openers)
        self.name, self.openers = name, openers

    def __str__(self) -> str:
        where = ", ".join(self.openers) or "a host that StorPool did not name"
        return f"{self.name} is open at {where}: stop what uses the device there, then try again"


class Locked(Error):
    """Another operation holds the object; it did not end within `waited_seconds`.

    `holder` says which, if known.
    """

    def __init__(self, name: str, waited_seconds: float, holder: str = "") -> None:
        super().__init__(name, waited_seconds, holder)
        self.name, self.waited_seconds, self.holder = name, waited_seconds, holder

    def __str__(self) -> str:
        holder = f" ({self.holder})" if self.holder else ""
        return (
            f"another operation works on {self.name} and did not end within"
            f" {self.waited_seconds:.0f} s{holder}: wait for it, then try again"
        )


class NoSpace(Error):
    """StorPool has no room for what was asked (its error `insufficientResources`)."""

    def __init__(self, name: str, descr: str) -> None:
        super().__init__(name, descr)
        self.name, self.descr = name, descr

    def __str__(self) -> str:
        return (
            f"StorPool has no room for {self.name} ({self.descr}): free space or choose another"
            " template"
        )


_UNAUTHORIZED = (
    "correct the token in sp_auth_token, in the file of sp_auth_token_file, or as SP_AUTH_TOKEN in"
    " /etc/storpool.conf"
)


class Rejected(Error):
    """StorPool refused a call; `name` and `descr` are its own words (`storpool.spapi.ApiError`)."""

    def __init__(self, call: str, name: str, descr: str) -> None:
        super().__init__(call, name, descr)
        self.call, self.name, self.descr = call, name, descr

    def __str__(self) -> str:
        advice = f": {_UNAUTHORIZED}" if self.name == "unauthorized" else ""
        return f"StorPool refused {self.call}: {self.name}: {self.descr}{advice}"


class LibvirtRefused(Error):
    """libvirt did not do for a VM what it was asked for; `why` is in its own words."""

    def __init__(self, call: str, vm: str, why: str) -> None:
        super().__init__(call, vm, why)
        self.call, self.vm, self.why = call, vm, why

    def __str__(self) -> str:
        return f"libvirt refused {self.call} for VM {self.vm} ({self.why}): see libvirt's log"


class EngineRefused(Error):
    """oVirt Engine did not do what it was asked for; `why` is in its own words, as far as it has
    any."""

    def __init__(self, what: str, why: str, advice: str) -> None:
        super().__init__(what, why, advice)
        self.what, self.why, self.advice = what, why, advice

    def __str__(self) -> str:
        return f"Engine refused {self.what} ({self.why}): {self.advice}"


class Unavailable(Error):
    """It may work later; nothing says that the request itself is wrong."""


# For people, what is in no documentation under its name.
_SPOKEN = {"kvsUpdate": "a write to its key-value store (KV/Set)"}


class ApiUnavailable(Unavailable):
    """The StorPool API at `address` did not give a usable answer to `call`.

    `ambiguous`: the request may have taken effect, so only what is safe to repeat may be repeated.
    """

    def __init__(self, address: str, call: str, why: str, ambiguous: bool) -> None:
        super().__init__(address, call, why, ambiguous)
        self.address, self.call, self.why, self.ambiguous = address, call, why, ambiguous

    def __str__(self) -> str:
        return (
            f"the StorPool API at {self.address} gave no usable answer to"
            f" {_SPOKEN.get(self.call, self.call)} ({self.why}): check the address, the network and"
            " the StorPool management service, then try again"
        )


class AddressUnknown(Unavailable):
    """The name of the StorPool API cannot be resolved.

    That is a mistake in the settings, or a name server that is away.
    """

    def __init__(self, address: str, why: str) -> None:
        super().__init__(address, why)
        self.address, self.why = address, why

    def __str__(self) -> str:
        return (
            f"the StorPool API's address {self.address} cannot be resolved ({self.why}): correct it"
            " or the DNS"
        )


class DatabaseUnavailable(Unavailable):
    """The mapping database, or the one that `what` names, did not do what was asked.

    `where` has no password in it.
    """

    def __init__(self, where: str, why: str, what: str = "the mapping database") -> None:
        super().__init__(where, why, what)
        self.where, self.why, self.what = where, why, what

    def __str__(self) -> str:
        return (
            f"{self.what} {self.where} is not usable ({self.why}): check PostgreSQL and"
            " Engine's settings"
        )


class EngineUnavailable(Unavailable):
    """oVirt Engine's API at `url` gave no usable answer."""

    def __init__(self, url: str, why: str, advice: str) -> None:
        super().__init__(url, why, advice)
        self.url, self.why, self.advice = url, why, advice

    def __str__(self) -> str:
        return f"Engine's API at {self.url} gave no usable answer ({self.why}): {self.advice}"


class LibvirtUnavailable(Unavailable):
    """libvirt on this host cannot be asked, as `what` is not to be had.

    `why` is in libvirt's own words, as far as it has any.
    """

    def __init__(self, why: str, what: str = "libvirt") -> None:
        super().__init__(why, what)
        self.why, self.what = why, what

    def __str__(self) -> str:
        return f"{self.what} cannot be used ({self.why}): check libvirt's service and vdsmd"


class GuestSilent(Unavailable):
    """The guest agent of a VM gave no usable answer."""

    def __init__(self, vm: str, why: str) -> None:
        super().__init__(vm, why)
        self.vm, self.why = vm, why

    def __str__(self) -> str:
        return (
            f"the guest agent of VM {self.vm} gave no usable answer ({self.why}): check"
            " qemu-guest-agent in the guest"
        )


class ClientDown(Unavailable):
    """StorPool's client on this host is down: it can use no volume.

    `storpool.sptypes.ClientConfigStatus` says so.
    """

    def __init__(self, client_id: int) -> None:
        super().__init__(client_id)
        self.client_id = client_id

    def __str__(self) -> str:
        return (
            f"StorPool's client {self.client_id} on this host is down: start its service"
            " storpool_block"
        )


class DeadlineExceeded(Unavailable):
    """Our own time was up while waiting for `what`."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(what, seconds)
        self.what, self.seconds = what, seconds

    def __str__(self) -> str:
        return f"waited for {self.what}, but the time limit of {self.seconds:g} s was up: try again"


class Interrupted(Unavailable):
    """A signal (`SIGTERM`) asked the program to end before it was done."""

    def __init__(self, what: str, signal_name: str) -> None:
        super().__init__(what, signal_name)
        self.what, self.signal_name = what, signal_name

    def __str__(self) -> str:
        return f"waited for {self.what}, but was told to end ({self.signal_name}): try again"


class DeviceMissing(Error):
    """StorPool attached the volume, but its device node did not appear on this host."""

    def __init__(self, path: str, waited_seconds: float) -> None:
        super().__init__(path, waited_seconds)
        self.path, self.waited_seconds = path, waited_seconds

    def __str__(self) -> str:
        return (
            f"{self.path} did not appear within {self.waited_seconds:g} s of attaching: "
            "check the storpool_block service and udev on this host"
        )


class NotDelivered(Error):
    """The answer could not be written: whoever called is not there any more."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return (
            f"nobody read the answer ({self.why}): the caller does not know that the work is done"
        )
