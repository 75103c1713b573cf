"""The connector and an API that answers oddly: each case is one call and one damage to one kind of
reply.

    python tests/brick/fuzz_connector.py [CASES [SEED]]

What must hold: the call succeeds and it is true, or one exception of os-brick's with one sentence;
within its limit; with no token in it; what a failed attach attached is detached again; other hosts
and volumes are as they were.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import brick_rig
from brick_rig import GIB, Host
from os_brick import exception

from rigs import fuzz_cases, odd_api

LIMIT_SECONDS = 2.0
GRACE_SECONDS = 6.0  # an undo, on a busy machine
QUERIES = ("Volume", "AttachmentsList", "VolumesReassignWait", "KV")
CALLS = ("connect", "connect again", "disconnect", "extend", "paths")


def case(host: Host, proxy: odd_api.Proxy, seed: int) -> str | None:
    """Run one case; return what did not hold, None when all did."""
    chance = random.Random(seed)
    call, kind, query = chance.choice(CALLS), chance.choice(odd_api.KINDS), chance.choice(QUERIES)
    by_name = chance.random() < 0.5
    damage = odd_api.Damage(query, kind, seed, times=chance.choice((1, 1, 1000)))
    name = f"seed {seed}: {call}{' by name' * by_name}, {kind} in {damage.times} replies to {query}"
    info = host.volume(f"v{seed}")
    said_info = {key: value for key, value in info.items() if not (by_name and key == "global_id")}
    mine = (f"os--volume-v{seed}", 1, "rw")
    if call != "connect":
        host.core.client().reassign([{"volume": f"~{info['global_id']}", "rw": [1]}], 5, "v")
    before = host.attached()
    proxy.damage = damage
    begun, said, result = time.monotonic(), "", None
    try:
        result = _do(host, call, said_info)
    except exception.BrickException as error:
        said = str(error)
    except Exception:
        return f"{name}: {traceback.format_exc()}"
    finally:
        proxy.damage = None
    seconds, now = time.monotonic() - begun, host.attached()
    fault = fuzz_cases.fault_of(said, seconds, LIMIT_SECONDS + GRACE_SECONDS)
    is_undone = damage.times == 1 or query not in ("VolumesReassignWait", "KV")
    expected = (
        before | {mine}
        if call.startswith("connect")
        else before - {mine}
        if call == "disconnect"
        else before
    )
    if fault is None and not said and now != expected:
        fault = f"a success that is not true: {now}"
    if (
        fault is None
        and said
        and is_undone
        and now not in (before, expected if call == "disconnect" else before)
    ):
        fault = f"a failure that changed something: {now}"
    if fault is None and not said and call == "extend" and result != GIB:
        fault = f"the size is {result}"
    if (
        fault is None
        and not said
        and call in ("paths", "connect")
        and str(host.device(info)) not in str(result)
    ):
        fault = f"the path is {result}"
    if now - {mine} != before - {mine}:
        fault = "others were touched"
    if mine in now:
        host.core.client().reassign([{"volume": f"~{info['global_id']}", "detach": [1]}], 5, "v")
    host.core.client().volume_delete(f"~{info['global_id']}")
    return f"{name}: {fault} ({said[:300]})" if fault else None


def _do(host: Host, call: str, info: dict[str, Any]) -> Any:
    if call.startswith("connect"):
        return host.connector.connect_volume(info)
    if call == "disconnect":
        return host.connector.disconnect_volume(info, None)
    return (
        host.connector.extend_volume(info)
        if call == "extend"
        else host.connector.get_volume_paths(info)
    )


def run(cases: int, seed: int) -> list[str]:
    """Run so many cases, the first with this seed; return what did not hold."""
    import pytest

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder, root = Path(name), Path(name) / "host1"
        patch.setenv("STORPOOL_OVIRT_ROOT", str(root))
        with (
            brick_rig.limited(
                deadline_seconds=LIMIT_SECONDS,
                undo_seconds=1.0,
                device_seconds=0.5,
                close_seconds=0.3,
                retry_seconds=0.6,
                last_try_seconds=0.3,
                first_pause_seconds=0.01,
            ),
            brick_rig.cluster(folder, root) as core,
            odd_api.before(core.simulator.host, core.simulator.port) as proxy,
            brick_rig.without_privsep(),
            brick_rig.lock_path(),
        ):
            conf = root / "etc" / "storpool.conf"
            conf.write_text(
                conf.read_text().replace(f"PORT={core.simulator.port}", f"PORT={proxy.port}")
            )
            host = Host(core, root, brick_rig.connector())
            other = host.volume("other")
            core.client().reassign([{"volume": f"~{other['global_id']}", "rw": [1, 2]}], 5, "other")
            return [fault for number in range(cases) if (fault := case(host, proxy, seed + number))]


if __name__ == "__main__":
    sys.exit(fuzz_cases.main(run, sys.argv[1:]))
