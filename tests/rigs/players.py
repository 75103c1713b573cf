"""StorPool's own programs beside a rig's cluster: storpool_qos and VolumeCare, with settings that
take everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from storpool_simulator.players import qos, troupe, volumecare
from storpool_simulator.players.troupe import Files

if TYPE_CHECKING:
    from collections.abc import Mapping

    import storpool_simulator

HOUR = 3600
KEPT_HOURS = 4
# Which tags VolumeCare's snapshots have is not known: its own, none, or those of the volume.
SNAPSHOT_TAGS = ("own", "none", "copied")
IOPS, HIGH_IOPS = 300, 3000
_FREE: dict[str, float] = dict.fromkeys(
    ("min_iops", "min_bw", "max_iops", "max_bw", "iops_gb", "mbps_gb"), 0
)
_TIERS = {"silver": {**_FREE, "max_iops": IOPS}, "gold": {**_FREE, "max_iops": HIGH_IOPS}}
_CONFIG = """\
[format]
version=1.0
[volumecare]
mode=normal
id_tag=ovirt-uuid
[policy:hourly]
mode=basic
interval={every}
keep={keep}
[policy:daily]
mode=basic
interval={every}
keep={keep}
[template:*]
policy={of_all}
"""


def texts(every: str, keep: str, of_all: str) -> Mapping[str, str]:
    """Return the settings by player: the tiers `silver` and `gold`, and the policies `hourly` and
    `daily`, which are the same; `of_all` is that of all volumes that have none."""
    config = _CONFIG.format(every=every, keep=keep, of_all=of_all)
    return {qos.NAME: json.dumps(_TIERS), volumecare.NAME: config}


def files(
    folder: Path, every: str = "1h", keep: str = f"{KEPT_HOURS}h", of_all: str = "no"
) -> Files:
    """Write these settings."""
    made = Files(qos=folder / "tiers.json", volumecare=folder / "volumecare.conf")
    written = texts(every, keep, of_all)
    Path(made.qos or "").write_text(written[qos.NAME])
    Path(made.volumecare or "").write_text(written[volumecare.NAME])
    return made


def options(made: Files) -> list[str]:
    """Return the options of `storpool-simulator` that have both play beside it."""
    return [f"--qos={made.qos}", f"--volumecare={made.volumecare}"]


def begin(simulator: storpool_simulator.Simulator, folder: Path, token: str) -> None:
    """Have both play beside this cluster: volumes and VMs with the policy `hourly` and the tiers
    `silver` and `gold`."""
    settings = troupe.read(files(folder))
    simulator.players.begin(troupe.gathered(simulator.host, simulator.port, token, settings))
