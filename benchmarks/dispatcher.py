"""What it costs that a released Engine reaches the adapter through storpool-engine-dispatcher.

    pip install '.[demo]'              # not --editable: its import hook would be measured too
    python benchmarks/dispatcher.py    # some ten seconds

The client of a released Engine is a link to the dispatcher here, the adapter and the stock client
are links to `true`. In each round run, side by side: `true` itself, a Python that does nothing,
and a verb of either kind, once with the dispatcher as packages start it (`python3 -ISB`) and once
as pip installs it. The exit code is 1 when a verb takes 25 ms more than that Python.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import installed

from ovirt_demo import children
from storpool_ovirt.engine import dispatcher

TARGET_SECONDS = 0.025
OPTIONS = {
    "adapter": "storpool",
    "sp_api_http_host": "10.1.2.3",
    "sp_auth_token_file": "/etc/ovirt-engine/storpool-ovirt/token",
    "sp_template": "nvme",
    "volume_backend_name": "sp-domain",
}
OTHERS = {"volume_driver": "cinder.volume.drivers.rbd.RBDDriver", "rbd_pool": "ovirt"}
URL = "postgresql+psycopg2://ovirt_cinderlib:0123456789@localhost:5432/ovirt_cinderlib"


def main() -> int:
    """Measure, print the medians, and return 1 where the target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=60)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        commands = prepared(Path(name))
        seconds: dict[str, list[float]] = {each: [] for each in commands}
        for number in range(runs + 1):
            for each in sorted(commands, reverse=bool(number % 2)):
                seconds[each].append(taken(*commands[each]))
    return told({each: times[1:] for each, times in seconds.items()}, runs)


def prepared(folder: Path) -> Mapping[str, tuple[Path, Sequence[str]]]:
    """Make two Engines and return what is run: where, and with which arguments."""
    launcher = installed.this(installed.PACKAGE, folder / "programs").find(dispatcher.PROGRAM)
    found: dict[str, tuple[Path, Sequence[str]]] = {
        "true": (folder, ["./true"]),
        "python": (folder, [installed.bare(), "-IS", "-c", "pass"]),
    }
    (folder / "true").symlink_to(shutil.which("true") or "/usr/bin/true")
    for kind, program in (("package", launcher), ("pip", children.find(dispatcher.PROGRAM))):
        client = folder / kind / "cinderlib"
        adapters = folder / kind / dispatcher.ADAPTERS
        client.mkdir(parents=True)
        adapters.mkdir()
        (client / dispatcher.CLIENT).symlink_to(program)
        (client / dispatcher.STOCK).symlink_to(folder / "true")
        (adapters / "storpool-adapter").symlink_to(folder / "true")
        for whose, options in (("adapter", OPTIONS), ("stock", OTHERS)):
            argv = [f"./{dispatcher.CLIENT}", "save_device", json.dumps(options), URL, "id", "x"]
            found[f"{whose}, {kind}"] = (client, argv)
    return found


def taken(folder: Path, argv: Sequence[str]) -> float:
    """Run one command and return the seconds it took."""
    began = time.perf_counter()
    subprocess.run(argv, cwd=folder, check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def told(seconds: Mapping[str, Sequence[float]], runs: int) -> int:
    """Print a line for each way; return 1 where one misses the target."""
    print(f"{'program':18} {'median':>8}  beyond true  beyond python   ({runs} rounds)")
    missed = 0
    for each, times in seconds.items():
        beyond = [
            statistics.median(a - b for a, b in zip(times, seconds[other]))
            for other in ("true", "python")
        ]
        missed += beyond[1] >= TARGET_SECONDS
        cells = "".join(f"{each * 1000:9.1f} ms" for each in beyond)
        print(f"{each:18} {statistics.median(times) * 1000:5.1f} ms {cells}")
    verdict = "missed" if missed else "met   "
    print(f"\n{verdict}  a verb takes less than {TARGET_SECONDS * 1000:.0f} ms beyond python")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
