"""StorPool's own programs beside a rig's cluster: storpool_qos and VolumeCare, with settings that
take everything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from storpool_simulator.players import troupe

if TYPE_CHECKING:
    from pathlib import Path

    import storpool_simulator

HOUR = 3600
KEPT_HOURS = 4
IOPS, HIGH_IOPS = 300, 3000
_FREE: dict[str, float] = dict.fromkeys(
    ("min_iops", "min_bw", "max_iops", "max_bw", "iops_gb", "mbps_gb"), 0
)
_TIERS = {"silver": {**_FREE, "max_iops": IOPS}, "gold": {**_FREE, "max_iops": HIGH_IOPS}}
_CONFIG = f"""\
[format]
version=1.0
[volumecare]
mode=normal
id_tag=ovirt-uuid
[policy:hourly]
mode=basic
interval=1h
keep={KEPT_HOURS}h
[template:*]
policy=no
"""


def begin(simulator: storpool_simulator.Simulator, folder: Path, token: str) -> None:
    """Have both play beside this cluster: volumes and VMs with the policy `hourly` and the tiers
    `silver` and `gold`."""
    qos, volumecare = folder / "tiers.json", folder / "volumecare.conf"
    qos.write_text(json.dumps(_TIERS))
    volumecare.write_text(_CONFIG)
    files = troupe.Files(qos=qos, volumecare=volumecare)
    simulator.players.begin(troupe.gathered(simulator.host, simulator.port, token, files))
