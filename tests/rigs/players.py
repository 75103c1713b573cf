"""StorPool's own programs beside a rig's cluster: storpool_qos and VolumeCare, with settings that
take everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from storpool_simulator.players import troupe
from storpool_simulator.players.troupe import Files

if TYPE_CHECKING:
    import storpool_simulator

HOUR = 3600
KEPT_HOURS = 4
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
[template:*]
policy={of_all}
"""


def files(
    folder: Path, every: str = "1h", keep: str = f"{KEPT_HOURS}h", of_all: str = "no"
) -> Files:
    """Write the settings: the tiers `silver` and `gold`, and a policy `hourly`, that of all volumes
    where `of_all` says so."""
    made = Files(qos=folder / "tiers.json", volumecare=folder / "volumecare.conf")
    Path(made.qos or "").write_text(json.dumps(_TIERS))
    text = _CONFIG.format(every=every, keep=keep, of_all=of_all)
    Path(made.volumecare or "").write_text(text)
    return made


def options(made: Files) -> list[str]:
    """Return the options of `storpool-simulator` that have both play beside it."""
    return [f"--qos={made.qos}", f"--volumecare={made.volumecare}"]


def begin(simulator: storpool_simulator.Simulator, folder: Path, token: str) -> None:
    """Have both play beside this cluster: volumes and VMs with the policy `hourly` and the tiers
    `silver` and `gold`."""
    settings = troupe.read(files(folder))
    simulator.players.begin(troupe.gathered(simulator.host, simulator.port, token, settings))
