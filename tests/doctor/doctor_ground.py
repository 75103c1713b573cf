"""A machine whose doctor has the checks of a test: the command, its processes and its files are
real, what the checks find is the test's."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from rigs.machine import PREFIX

if TYPE_CHECKING:
    import subprocess

    from rigs.machine import Machine

CHECKS = """
import functools, os, pathlib, time
from storpool_ovirt.doctor.checks import Action, CRITICAL, Check, Result, WARNING, ok, unknown

def made(path, root):
    if os.path.exists("/var/hindered"):
        raise OSError(28, "No space left on device", path)
    pathlib.Path(root + path).write_text("")
    return f"{path} is there"

def there(path, site):
    if os.path.exists(path):
        return [ok(f"{path} is there")]
    action = Action(f"make {path}", functools.partial(made, path))
    return [Result(CRITICAL, f"{path} is not there", "nothing works", f"touch {path}", "", action)]

def told(site):
    site.hide("SECRET-words-1")
    password = "the server said SECRET-words-1 to postgresql://ovirt:SECRET-words-2@h:1/d"
    return [Result(WARNING, password, "risk", "fix it"), ok(f"place {site.place}", "place")]

def silent(site):
    time.sleep(300)
"""


def give_checks(machine: Machine, **rows: str) -> None:
    """Have the doctor of a machine do these checks alone: rows of the tables as they are written,
    by place."""
    (site,) = machine.path(f"{PREFIX}/lib").glob("python3*/site-packages")
    inside = f"{PREFIX}/lib/{site.parent.name}/site-packages/storpool_ovirt/doctor"
    for place in ("engine", "host"):
        row = f"CHECKS = ({rows.get(place, '')})\n"
        machine.write(f"{inside}/{place}_of_test.py", CHECKS + row)
    tables = machine.read(f"{inside}/tables.py")
    machine.write(
        f"{inside}/tables.py",
        f"{tables}\nMODULES = {{'engine': ['engine_of_test'], 'host': ['host_of_test']}}\n",
    )


def doctor(
    machine: Machine, *arguments: str, user: str = "root", code: int
) -> subprocess.CompletedProcess[str]:
    """Run the command, and check how it ended."""
    done = machine.run("storpool-ovirt", "doctor", *arguments, user=user)
    assert done.returncode == code, done
    assert "Traceback" not in done.stdout + done.stderr
    assert "SECRET" not in done.stdout + done.stderr
    return done


def document(machine: Machine, *arguments: str, code: int) -> dict[str, Any]:
    """Return what the command tells programs."""
    done = doctor(machine, *arguments, "--json", code=code)
    assert done.stderr == ""
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def patience() -> float:
    """Return the ten seconds that a person has for a doctor; up to three times as many where others
    keep this machine so busy that whoever asks for a moment waits."""
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return 10 * min(3.0, max(1.0, waiting / 2))
