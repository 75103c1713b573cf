"""The start of the programs that Vdsm starts, where pip has installed them: nothing of the
environment's decides what they import.

Vdsm has its own folder in PYTHONPATH, a hook has a VM's properties in its environment, and a name
like json.py in any folder there would be found before Python's own. The launchers of our packages
keep all that out (python3 -I); those that pip writes cannot, so what has come by PYTHONPATH, and
the folder of a user's own libraries, leave here, before anything is imported that is not in use by
Python itself. docs/security.md has what is too late then.
"""

from __future__ import annotations

import os
import sys


def helper() -> None:
    """Run managedvolume-helper-storpool."""
    _run("host.helper")


def vm_hook() -> None:
    """Run storpool-vm-hook."""
    _run("host.vm_hook")


def vm_door() -> None:
    """Run storpool-vm-door."""
    _run("host.vm_door")


def boot_hook() -> None:
    """Run storpool-boot-hook."""
    _run("host.boot_hook")


def fence_agent() -> None:
    """Run fence_storpool."""
    _run("fence.agent")


def fence_door() -> None:
    """Run storpool-fence-door."""
    _run("fence.door")


def _run(module: str) -> None:
    if not sys.flags.isolated:
        _forget_the_environment()
    # Without the package importlib, which nobody else here needs.
    __import__(f"storpool_ovirt.{module}", fromlist=["run"]).run()


def _forget_the_environment() -> None:
    """Take off the path what the environment has put there, but where we, or Python, are ourselves;
    children do not get it either."""
    import site  # which Python itself has loaded, unless it was told not to

    given = os.environ.pop("PYTHONPATH", "").split(os.pathsep)
    away = {os.path.abspath(each) for each in given} | {site.USER_SITE}
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    away -= {ours, os.path.dirname(os.__file__), *site.getsitepackages()}
    sys.path[:] = [each for each in sys.path if os.path.abspath(each) not in away]
