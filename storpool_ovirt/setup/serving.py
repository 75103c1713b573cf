"""Who can serve a StorPool domain: this Engine, and each of its hosts; and in words why not.

It goes by what Engine knows (`engine_tables`); what is so on a host itself, that host's doctor
tells.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from storpool_ovirt import errors, names
from storpool_ovirt.engine import client_file
from storpool_ovirt.engine.engine_tables import UP, Host, Tables

# docs/releases.md: what was run, and what Vdsm takes.
OLDEST_ENGINE = (4, 5, 4)
LAST_WITHOUT_ADAPTERS = (4, 5, 7)
OLDEST_VDSM = (4, 50, 5, 1)
# Up to here Vdsm has no type `storpool`, so a host has to say under which it takes our volumes.
LAST_THAT_MUST_ASK = (4, 50, 7)
_NUMBERS = re.compile(r"(?:^|-)([0-9]+(?:\.[0-9]+)*)")
_SETUP_HOST = "run  storpool-ovirt setup host  there, then Refresh Capabilities in Engine"


class Verdict(NamedTuple):
    """Whether something serves a domain of ours; `why` it does not, or what it is, in words."""

    serves: bool
    why: str


def version(package: str) -> tuple[int, ...]:
    """Return the numbers of a package's version, like (4, 50, 7) of vdsm-4.50.7-1.el9."""
    found = _NUMBERS.search(package)
    return tuple(int(each) for each in found[1].split(".")) if found else ()


def engine(tables: Tables, root: str = "") -> Verdict:
    """Return whether the Engine of this machine gives domains of ours to our adapter."""
    release = version(tables.release)
    if release and release < OLDEST_ENGINE:
        return Verdict(False, f"it is {tables.release}: update it to 4.5.4 or newer")
    if tables.is_later:
        return Verdict(True, "it starts the adapter itself")
    try:
        client = client_file.Place(root).read().client
    except errors.InputError as error:
        return Verdict(False, f"whether the dispatcher is in its place is not known: {error}")
    if client.kind in (client_file.LINK, client_file.COPY):
        return Verdict(True, "it starts the adapter through our dispatcher")
    return Verdict(
        False,
        "it starts its own cinderlib client for each domain: run  storpool-ovirt setup engine",
    )


def host(known: Host) -> Verdict:
    """Return whether a host gets a disk of ours attached when a VM starts there."""
    why = _lack(known)
    if why:
        return Verdict(False, why)
    if known.status != UP:
        return Verdict(False, f"it is {known.status}")
    return Verdict(True, f"it takes volumes as {names.volume_type_of(known.connector)}")


def _lack(known: Host) -> str:
    vdsm = version(known.vdsm)
    if vdsm and vdsm < OLDEST_VDSM:
        return f"{known.vdsm} takes no volume of StorPool's: update it to 4.50.5.1 or newer"
    if known.connector is None:
        return f"it told Engine nothing about itself for managed block storage: {_SETUP_HOST}"
    if names.VOLUME_TYPE_KEY not in known.connector and vdsm and vdsm <= LAST_THAT_MUST_ASK:
        return f"{known.vdsm} has no type for StorPool's volumes of its own: {_SETUP_HOST}"
    try:
        names.volume_type_of(known.connector)
    except errors.InputError as error:
        return str(error)
    return ""
