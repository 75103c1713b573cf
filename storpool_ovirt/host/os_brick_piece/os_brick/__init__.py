"""os_brick as Vdsm's programs find it: our volumes go to our helper, all else to the real os-brick.

Vdsm's daemons and its stock helper have /usr/libexec/vdsm first in their path (oVirt's vdsm,
init/daemonAdapter), so they import this one through the link `/usr/libexec/vdsm/os_brick`. It puts
the real os_brick that is further down the path in its own place. Where there is none, which is so
on EL10, vdsmd takes this one for it: vdsmd only asks whether os_brick can be imported.

In the stock helper's process (managedvolume-helper, which has done nothing yet when it imports
os_brick) the program beside it, managedvolume-helper-storpool, takes over what is StorPool's:

    attach, detach     where the connection information on stdin has our adapter, that program
                       runs in place of this process, with what Vdsm's master would send
    connector_info     its answer is added to the real os-brick's, or is all that there is

docs/releases.md has what is behind it. This file needs nothing of storpool_ovirt, as Vdsm's Python
need not have that. It does its work on Python 3.9 and newer. On the 3.6 of an EL8 host it must be
read all the same, as Vdsm takes an ImportError alone for "no os-brick" and would not start over a
SyntaxError: there the real os-brick is found as if this were not here, and no volume is ours.
"""

import ast
import importlib
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from typing import Any, NoReturn

STOCK_HELPER = "managedvolume-helper"
ADAPTER = "storpool"
KEY = "storpool_volume_type"  # storpool_ovirt.names.VOLUME_TYPE_KEY
# The program's own limit is far below; vdsmd waits for it with all that Engine asked this host.
LIMIT_SECONDS = 20.0
LIST, LOCAL = "SUPPORTED_DRIVERS", "local"  # as storpool_ovirt.host.volume_type reads them
OLDEST = (3, 9)
TOO_OLD = "no os-brick is here, and storpool-ovirt's piece of it needs Python 3.9 in Vdsm's process"
NO_OS_BRICK = (
    "this host has no os-brick: without it only StorPool's volumes can be attached and detached"
)


def _take_place() -> None:
    if sys.version_info < OLDEST:
        _keep_out()
        return
    stock = os.path.basename(sys.argv[0]) == STOCK_HELPER
    verb = sys.argv[-1] if stock else ""
    if verb in ("attach", "detach"):
        _hand_over_ours(verb)
    real = _real()
    if verb == "connector_info":
        _add_to(real)
    elif real is not None:
        _step_aside(real)
    elif verb in ("attach", "detach"):
        sys.exit(NO_OS_BRICK)


def _keep_out() -> None:
    """Let Vdsm have its real os-brick; raise ImportError where there is none."""
    real = _real()
    if real is None:
        raise ImportError(TOO_OLD)
    _step_aside(real)


def _hand_over_ours(verb: str) -> None:
    """Run our program in place of this one where the volume on stdin is ours; else leave stdin as
    it was."""
    try:
        sent = b"".join(iter(lambda: os.read(0, 1 << 16), b""))
    except OSError:  # it is closed: whoever reads it next says so
        return
    request = _parsed(sent)
    info = request.get("connection_info", request)  # releases send it bare for an attach
    is_ours = isinstance(info, dict) and info.get("adapter") == ADAPTER
    if is_ours and info is request:
        sent = b'{"connection_info": %s}' % sent
    again = os.memfd_create("stdin")
    rest = sent
    while rest:
        rest = rest[os.write(again, rest) :]
    os.lseek(again, 0, os.SEEK_SET)
    os.dup2(again, 0)
    os.close(again)
    if is_ours:
        _run_ours(verb)


def _parsed(text: bytes) -> "dict[str, Any]":
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


def _real() -> "importlib.machinery.ModuleSpec | None":
    """Return where the real os_brick is, None where there is none further down the path."""
    own = os.path.realpath(os.path.dirname(__file__))
    path = [each for each in sys.path if os.path.realpath(os.path.join(each, __name__)) != own]
    found = importlib.machinery.PathFinder.find_spec(__name__, path)
    return found if found is not None and found.loader is not None else None


def _step_aside(real: importlib.machinery.ModuleSpec) -> None:
    """Load the real os_brick in our place: `import` returns what sys.modules has at its end."""
    module = importlib.util.module_from_spec(real)
    sys.modules[__name__] = module
    assert real.loader is not None  # noqa: S101  `_real` sees to it
    real.loader.exec_module(module)


def _add_to(real: "importlib.machinery.ModuleSpec | None") -> None:
    """Have the real os-brick's answer to connector_info get our key; where it cannot be loaded or
    fails, answer in its place."""
    if real is None:
        _run_ours("connector_info", _vdsms_file())
    try:
        _step_aside(real)
        connector: Any = importlib.import_module(f"{__name__}.initiator.connector")
        theirs = connector.get_connector_properties
    except (Exception, SystemExit) as error:  # other libraries than we know: ours needs none
        _answer_for(error, "loaded")
    added = _asked()

    def both(*args: Any, **named: Any) -> "dict[str, Any]":
        try:
            return {**theirs(*args, **named), **added}
        except (Exception, SystemExit) as error:  # it asks multipathd, sudo and others
            _answer_for(error, "asked")

    connector.get_connector_properties = both


def _answer_for(error: BaseException, what: str) -> NoReturn:
    sys.stderr.write(f"os-brick cannot be {what} ({error.__class__.__name__}: {error})\n")
    sys.stderr.flush()
    _run_ours("connector_info", _vdsms_file())


def _asked() -> "dict[str, Any]":
    """Return our key as our program gives it. Where it gives none the host has the rest of what it
    is all the same, and Vdsm's list decides."""
    file = _vdsms_file()
    command = [_program(), "connector_info", file]
    try:
        done = subprocess.run(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=LIMIT_SECONDS,
            check=True,
        )
        answer = {**json.loads(done.stdout)}
        return {key: answer[key] for key in (KEY,) if key in answer}
    except (OSError, ValueError, TypeError, RecursionError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"{error}\n")
        return {KEY: LOCAL} if _takes_local_alone(file) else {}


def _takes_local_alone(file: str) -> bool:
    """Return whether this Vdsm takes volumes of type `local` and none of type `storpool`."""
    try:
        with open(file, "rb") as opened:
            body = ast.parse(opened.read()).body
        lists = [
            ast.literal_eval(each.value)
            for each in body
            if isinstance(each, ast.Assign)
            and any(isinstance(one, ast.Name) and one.id == LIST for one in each.targets)
        ]
        return LOCAL in lists[-1] and ADAPTER not in lists[-1]
    except Exception:  # it is not as we know it
        return False


def _run_ours(*arguments: str) -> NoReturn:
    program = _program()
    try:
        os.execve(program, [program, *arguments], _environment())  # noqa: S606  no shell is meant
    except OSError as error:
        sys.exit(f"{program} cannot be run ({error.strerror}): install storpool-ovirt on this host")


def _program() -> str:
    return f"{sys.argv[0]}-{ADAPTER}"  # as Vdsm's master names the helper of an adapter


def _environment() -> "dict[str, str]":
    """Return this process's environment without what is for Vdsm's Python alone."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return {**kept, "PYTHONNOUSERSITE": "1"}


def _vdsms_file() -> str:
    """Return where Vdsm says which types of volumes it takes; "" where there is no Vdsm."""
    vdsm = importlib.util.find_spec("vdsm")
    folders = [*((vdsm and vdsm.submodule_search_locations) or ())]
    return os.path.join(folders[0], "storage", "managedvolume.py") if folders else ""


if __name__ == "os_brick":
    _take_place()
