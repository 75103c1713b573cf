"""Run cinderlib's own functional tests on our driver: a simulated cluster, this machine as its only
host, loop devices.

    python3 tests/cinder/cinderlib_functional.py [--sdist FILE] [unittest's arguments]

The tests are in cinderlib's source distribution alone, so that is fetched by name and version.
Needs root. docs/driver.md tells how to run them on a real cluster.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path

import storpool_simulator
from cinder_driver import releases

VERSION = "5.2.0"
TESTS = "cinderlib/tests/functional/"
TEMPLATE = "nvme"
CONFIG = f"""\
logs: false
debug: false
backends:
    - volume_backend_name: storpool
      volume_driver: cinder_driver.driver.StorPoolDriver
      storpool_template: {TEMPLATE}
"""
# cinderlib's own tests are no part of its wheel, so they are put where its package looks for them.
RUN = """
import sys, unittest, warnings
warnings.simplefilter("ignore")
import cinderlib.tests
cinderlib.tests.__path__.insert(0, sys.argv.pop(1))
tests = "cinderlib.tests.functional.test_basic"
unittest.main(module=tests, warnings="ignore", argv=["cinderlib-functional", *sys.argv[1:]])
"""


def main(argv: list[str]) -> int:
    """Fetch, start, run; return 0 when all tests have passed and none was skipped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sdist", type=Path, help="cinderlib's source distribution, if it is here already"
    )
    given, rest = parser.parse_known_args(argv)
    reason = unfit()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="cinderlib-functional-") as folder:
        work = Path(folder)
        tests = unpack(given.sdist or fetch(work), work / "tests")
        host = work / "host1"
        host.mkdir()
        (work / "config.yaml").write_text(CONFIG)
        cluster = storpool_simulator.running(
            work / "state", templates={TEMPLATE: None}, hosts={1: host}, devices="loop"
        )
        with cluster as running:
            return run(tests, work, host, rest, f"{running.devices} devices on {running.address}")


def unfit() -> str | None:
    """Return why the tests cannot run here, None when they can."""
    needs_root = None if os.geteuid() == 0 else "loop devices need root: run this as root"
    return releases.cinderlib_fault() or needs_root


def fetch(work: Path) -> Path:
    """Download cinderlib's source distribution."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    wanted = ["--no-binary", "cinderlib", "--dest", str(work), f"cinderlib=={VERSION}"]
    subprocess.run([*pip, *wanted], check=True)
    return next(work.glob("cinderlib-*.tar.gz"))


def unpack(sdist: Path, into: Path) -> Path:
    """Unpack the functional tests alone; return the folder that has them as `functional`."""
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            _, _, inside = member.name.partition("/")
            if member.isfile() and inside.startswith(TESTS):
                path = into / "functional" / inside[len(TESTS) :]
                path.parent.mkdir(parents=True, exist_ok=True)
                file = archive.extractfile(member)
                assert file is not None
                path.write_bytes(file.read())
    return into


def run(tests: Path, work: Path, host: Path, arguments: list[str], where: str) -> int:
    """Run the tests in a process of their own, show its last lines, and return its exit code."""
    environment = {
        **os.environ,
        "CL_FTEST_CFG": str(work / "config.yaml"),
        "CL_FTEST_ROOT_HELPER": "env",  # we are root; `env` runs a command as it is
        "STORPOOL_OVIRT_ROOT": str(host),
    }
    command = [sys.executable, "-c", RUN, str(tests), "--verbose", *arguments]
    done = subprocess.run(
        command, cwd=work, env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("cinder", "cinderlib", "os-brick")
    )
    print(done.stderr)
    print(f"cinderlib {VERSION}'s functional tests: {versions}, {where}")
    skipped = "skipped=" in done.stderr.splitlines()[-1]
    return done.returncode or int(skipped)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
