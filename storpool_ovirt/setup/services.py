"""Services that read files of ours, and when they were started: none is ever restarted here."""

from __future__ import annotations

import time
from collections.abc import Sequence

from storpool_ovirt import errors, presence, text, tool

SYSTEMD = "/run/systemd/system"  # sd_booted(3): there where systemd runs this machine
_DEVICES = "^sp-[0-9]+"  # as the file in multipath's folder names StorPool's


class Multipathd:
    """multipathd, which must leave StorPool's devices alone."""

    def __init__(self, root: str) -> None:
        self._root = root

    def has(self, path: str) -> bool:  # noqa: ARG002 it tells what it knows, not from where
        """Whether it leaves them alone; True where it does not run. Raises one of our errors where
        it does not say."""
        if not is_active(self._root, "multipathd"):
            return True
        ended = tool.run("multipathd", "show", "config")
        if ended.code != 0:
            raise errors.InputError(
                "multipathd", f"does not say what it has read ({ended.said})", "look at its log"
            )
        return _DEVICES in ended.out

    def tell(self) -> None:
        """Have it read its files again."""
        if not is_active(self._root, "multipathd"):
            return
        ended = tool.run("multipathd", "reconfigure")
        if ended.code != 0:
            raise errors.InputError(
                "multipathd", f"does not read its files again ({ended.said})", "look at its log"
            )


class Systemd:
    """systemd, which has to read a unit's drop-in before that unit is started again."""

    def __init__(self, root: str, unit: str) -> None:
        self._root = root
        self._unit = unit

    def has(self, path: str) -> bool:
        """Whether it has read the drop-in as it is; True where it does not run, or has no such
        unit."""
        if not is_booted(self._root):
            return True
        known = properties(self._unit, "DropInPaths", "NeedDaemonReload", "LoadState")
        if known["LoadState"] == "not-found":
            return True
        return path in known["DropInPaths"].split() and known["NeedDaemonReload"] != "yes"

    def tell(self) -> None:
        """Have it read its units again, which starts and stops nothing."""
        if not is_booted(self._root):
            return
        ended = tool.run("systemctl", "daemon-reload")
        if ended.code != 0:
            raise errors.InputError(
                "systemd", f"does not read its units again ({ended.said})", "look at its journal"
            )


class Unit(Systemd):
    """systemd, which has to read a unit before that can be started."""

    def has(self, path: str) -> bool:  # noqa: ARG002 somebody's own unit of this name counts too
        """Whether it has read the unit as it is; True where it does not run."""
        if not is_booted(self._root):
            return True
        known = properties(self._unit, "NeedDaemonReload", "LoadState")
        return known["LoadState"] != "not-found" and known["NeedDaemonReload"] != "yes"


def is_booted(root: str) -> bool:
    """Return whether systemd runs this machine."""
    return presence.there(root + SYSTEMD)


def is_active(root: str, unit: str) -> bool:
    """Return whether a service runs."""
    return is_booted(root) and tool.run("systemctl", "--quiet", "is-active", unit).code == 0


def started_at(root: str, unit: str) -> float:
    """Return when a service that runs was started, in seconds since 1970; 0 where it does not run,
    or nobody knows."""
    if not is_active(root, unit):
        return 0.0
    since = text.number(
        properties(unit, "ActiveEnterTimestampMonotonic")["ActiveEnterTimestampMonotonic"],
        1,
        1 << 62,
    )
    return 0.0 if since is None else time.time() - time.monotonic() + since / 1e6


def properties(unit: str, *names: str) -> dict[str, str]:
    """Return what systemd says of a unit, a text for each name."""
    ended = tool.run("systemctl", "show", f"--property={','.join(names)}", unit)
    if ended.code != 0:
        raise errors.InputError(
            f"systemd, asked about {unit},",
            f"does not answer ({ended.said})",
            "look at its journal",
        )
    return told(ended.out, names)


def told(said: str, names: Sequence[str]) -> dict[str, str]:
    """Return what `systemctl show` says, a text for each name."""
    pairs = [line.partition("=") for line in text.lines(said)]
    return {**dict.fromkeys(names, ""), **{key: value for key, _, value in pairs}}
