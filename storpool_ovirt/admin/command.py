"""storpool-ovirt: for those who set the integration up, watch it and try it.

Exit codes: 0 done; 1 refused or failed; 2 wrongly typed, or the name or id of nothing; 3 output not
read, or a bug; 130 interrupted. Audit and doctor have others: their help tells.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from storpool_ovirt import errors, installation, introduction, secret
from storpool_ovirt.admin import console
from storpool_ovirt.limits import LIMITS, Limits

PROGRAM = "storpool-ovirt"
# The variable by which a shell asks how a line may go on; its name is click's choice.
COMPLETE = "_STORPOOL_OVIRT_COMPLETE"
# Monitoring takes this exit code for "could not look"; so does who has to know that it was no
# ordinary refusal.
UNKNOWN = 3
MISUSED = 2
# Monitoring runs these: it takes 1 and 2 for what they found.
WATCHES = ("audit", "doctor")

# The demo is part of the sources, and what it needs is fetched there.
_DEMO = "make demo  in a clone of the sources"


def main(argv: Sequence[str] | None = None, limits: Limits = LIMITS) -> int:
    """Run one verb; return the exit code.

    Those of the module's docstring; 3 is also that of an audit that could not look. Whatever
    happens inside comes out as one sentence.
    """
    asked = os.environ.get(COMPLETE)
    if asked:
        return _completed(asked)
    arguments = list(sys.argv if argv is None else argv)[1:]
    out = console.Console(PROGRAM, as_json="--json" in arguments, limits=limits)
    try:
        with _uncollected():
            return _run(arguments, out)
    finally:
        out.close()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Have Python look for no cycles meanwhile.

    With 300,000 objects at hand it looks through all of them again and again, and finds nothing:
    what a command makes is let go of by whoever held it last.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _run(arguments: Sequence[str], out: console.Console) -> int:
    verb = arguments[0] if arguments else ""
    misused = UNKNOWN if verb in WATCHES else MISUSED
    try:
        for each in arguments:  # what is wrong with one is told with its text
            out.hide(*secret.found_in(each))
        out.check()
        from storpool_ovirt.admin import group  # a host may not have its library

        about = f"{__doc__}\n{introduction.log(out.log_file)}"
        code = group.run(arguments or ["--help"], out, about, misused)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return _failed(out, error, verb)
    return code if arguments else MISUSED


def _completed(asked: str) -> int:
    """Answer a shell: how the line that is being typed may go on.

    It opens no log and asks nobody. Where it fails that is not told, as somebody is typing there.
    """
    try:
        from storpool_ovirt.admin import completion

        return completion.answer(PROGRAM, COMPLETE, asked)
    except (Exception, KeyboardInterrupt):
        return 1


def _failed(out: console.Console, error: BaseException, verb: str) -> int:
    """Tell why a command did not do its work; return the exit code."""
    refused = UNKNOWN if verb in WATCHES else 1
    unread = out.unread(error)
    if unread or isinstance(error, SystemExit):  # click's end, where nobody reads its own words
        return out.complain(
            f"the output could not be written ({unread or 'nobody reads it'})", UNKNOWN
        )
    if isinstance(error, (KeyboardInterrupt, errors.Interrupted)):
        return out.complain(
            "interrupted: what was done is done, run it again for the rest", console.INTERRUPTED
        )
    if isinstance(error, errors.Error):
        is_typo = isinstance(error, (errors.Mistyped, errors.Unnamed))
        return out.complain(str(error), MISUSED if is_typo and verb not in WATCHES else refused)
    name = getattr(error, "name", None) or ""
    if isinstance(error, ModuleNotFoundError) and not name.startswith("storpool_ovirt"):
        how = _DEMO if verb == "demo" else installation.mend(installation.COMMAND, error)
        return out.complain(f"{name.partition('.')[0]} is not installed: run  {how}", refused)
    return _broken(out, error)


def _broken(out: console.Console, error: BaseException) -> int:
    """Tell of a bug: for people one sentence, its trace is for the log."""
    out.log.line("internal_error", kind=error.__class__.__name__)
    out.log.trace()
    return out.complain(
        f"internal error {error.__class__.__name__}: the trace, and what was done before, is in"
        f" {out.log_file} or syslog",
        UNKNOWN,
    )
