"""What an Engine and a Vdsm of each release do, as far as a storage integration meets it.

Each fact has its source: a file of oVirt's at the tag of that release (vdsm: v4.50.7, ovirt-engine:
ovirt-engine-4.5.7; master: vdsm fd4b0df2, ovirt-engine 0111fc63). Who plays a release is in vdsm.py
and engine.py; docs/releases.md tells what of it was run with the releases' own code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# lib/vdsm/storage/managedvolume.py, SUPPORTED_DRIVERS at each tag; `local` is new in v4.50.5.1
# (2023-11), where it is LINBIT's, `storpool` in master (its pull request 449).
_UP_TO_4_50_5 = ("rbd", "iscsi", "lightos")
_FROM_4_50_5_1 = (*_UP_TO_4_50_5, "local")
_MASTER = (*_FROM_4_50_5_1, "storpool")


class Unknown(Exception):
    """There is no release of this name here; says which there are."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = known
        super().__init__(f"{name!r} is no release that is played here: take {', '.join(known)}")


@dataclass(frozen=True)
class Vdsm:
    """A release of Vdsm.

    `driver_types` are the kinds of volumes that it takes. It looks at a volume's kind only after
    its helper has attached it (attach_volume at every tag).

    `dispatches`: the key `adapter` of the connection information chooses the helper, which is
    started as a program; the helper gets `{"connection_info": ...}` for an attach (master:
    run_helper, attach_volume). Without it there is one helper, started by `sys.executable`
    whatever its mode is, which gets the bare connection information (v4.50.7: the same functions).
    For a detach both send the row, for the undoing of an attach the row without id and path.

    `by_link`: a volume counts as attached as long as its run link is there, whether it leads
    anywhere or not; the row of one without a link is an old one and goes (oVirt/vdsm pull request
    483, merged 2026-07-04). Else it counts as attached as long as the row's path is there.
    """

    name: str
    driver_types: tuple[str, ...]
    dispatches: bool = False
    by_link: bool = False


@dataclass(frozen=True)
class Engine:
    """A release of Engine.

    `folder`, below Engine's `usr`, is where it starts the adapter (E457
    .../utils/cinderlib/CinderlibExecutor.java: CINDERLIB_DIR; master: ManagedBlockExecutor.java).

    `dispatches`: the option `adapter` names the file, which is started by its absolute path, and
    Engine refuses by itself where there is none (getStorageAdapter). Without it that is always
    `./cinderlib-client.py`, relative, whatever the options say (CINDERLIB_PREFIX).

    `database_keys` is what the keys of the database begin with, `database_file` where engine-setup
    writes them, in engine.conf.d (packaging/setup/ovirt_engine_setup/{cinderlib,managedblock}/
    constants.py). An upgrade renames them and keeps database and user (master:
    .../managedblock/config/cinderlib_rename.py).
    """

    name: str
    folder: str
    dispatches: bool
    database_keys: str
    database_file: str


VDSM_4_50_5 = Vdsm("4.50.5", _UP_TO_4_50_5)
VDSM_4_50_5_1 = Vdsm("4.50.5.1", _FROM_4_50_5_1)
VDSM_4_50_7 = Vdsm("4.50.7", _FROM_4_50_5_1)
VDSM_MASTER = Vdsm("master", _MASTER, dispatches=True)
VDSM_MASTER_483 = Vdsm("master with PR 483", _MASTER, dispatches=True, by_link=True)
# Those that take a volume of ours, oldest first.
VDSMS = (VDSM_4_50_5_1, VDSM_4_50_7, VDSM_MASTER, VDSM_MASTER_483)

_CINDERLIB = ("cinderlib", False, "CINDERLIB_DB_", "10-setup-cinderlib-database.conf")
# `git diff ovirt-engine-4.5.4 ovirt-engine-4.5.7` of the executor shows blanks alone.
ENGINE_4_5_4 = Engine("4.5.4", *_CINDERLIB)
ENGINE_4_5_7 = Engine("4.5.7", *_CINDERLIB)
ENGINE_MASTER = Engine(
    "master",
    "managedblock",
    dispatches=True,
    database_keys="MANAGEDBLOCK_DB_",
    database_file="10-setup-managedblock-database.conf",
)
ENGINES = (ENGINE_4_5_4, ENGINE_4_5_7, ENGINE_MASTER)

# Which Vdsm the demo plays beside an Engine: 4.50.7 is that of 4.5.7 (both of 2025-12-17); 4.5.4
# came with an older one than we support, and gets the oldest that we do.
PAIRS: Mapping[str, tuple[Engine, Vdsm]] = {
    "4.5.4": (ENGINE_4_5_4, VDSM_4_50_5_1),
    "4.5.7": (ENGINE_4_5_7, VDSM_4_50_7),
    "master": (ENGINE_MASTER, VDSM_MASTER),
}


def pair(name: str) -> tuple[Engine, Vdsm]:
    """Return the Engine of this name and the Vdsm that is played beside it; raises Unknown."""
    try:
        return PAIRS[name]
    except KeyError:
        raise Unknown(name, [*PAIRS]) from None
