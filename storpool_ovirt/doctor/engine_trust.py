"""fapolicyd, which Engine's package brings: whether it lets our programs start."""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt import installation, presence, text
from storpool_ovirt.doctor import asking, checks, engine_machine
from storpool_ovirt.doctor.checks import CRITICAL, WARNING, Check, Result, Site
from storpool_ovirt.doctor.engine_commands import command
from storpool_ovirt.engine import client_file, fapolicyd

_OFF = "fapolicyd does not run"
_NO_MATCH = "no matches"
_SHOWN_MAX = 300


def _is_active(site: Site) -> bool:
    if not presence.there(site.path(fapolicyd.PROGRAM)):
        return False
    answer = asking.ask(site, ["systemctl", "is-active", "fapolicyd"])
    if answer.code and not text.stripped(answer.out):
        raise asking.Silent(f"systemctl is-active fapolicyd: {answer.said}")
    return answer.code == 0


def trusted(site: Site) -> Iterator[Result]:
    """Ask it what of ours is not as it has it."""
    if not _is_active(site):
        yield checks.ok(_OFF)
        return
    # It hashes all that it trusts.
    answer = asking.ask(site, [fapolicyd.PROGRAM, "--check-trustdb"], seconds=site.left())
    ours = [line for line in text.lines(answer.out) if _is_ours(line)]
    for line in ours:
        path = line.partition(" ")[0]
        update = f"{fapolicyd.PROGRAM} --file update {{}}; {fapolicyd.PROGRAM} --update"
        fix = command(update, path)
        cause = f"it has another file in its database: {line}"
        yield Result(WARNING, cause, f"where it looks at more than paths {_NO_VERB}", fix, path)
    if answer.code and not ours and not any(line[:1] == "/" for line in text.lines(answer.out)):
        yield checks.unknown(f"{fapolicyd.PROGRAM} --check-trustdb: {answer.said}")
    elif not ours:
        yield checks.ok("it has our files as they are")


_NO_VERB = engine_machine.NO_VERB


def _is_ours(line: str) -> bool:
    return "storpool" in line or f"{client_file.FOLDER}/" in line


def refusals(site: Site) -> Iterator[Result]:
    """Ask the kernel's audit what fapolicyd refused of late."""
    if not _is_active(site):
        yield checks.ok(_OFF)
        return
    answer = asking.ask(site, ["ausearch", "-m", "fanotify", "-ts", "recent", "-i"])
    ours = [line for line in text.lines(answer.out) if _is_ours(line)]
    if ours:
        yield Result(
            CRITICAL,
            f"it refused {len(ours)} times of late, the last time: {ours[-1][:_SHOWN_MAX]}",
            _NO_VERB,
            engine_machine.installed(
                installation.mend(installation.ENGINE),
                f"{fapolicyd.PROGRAM} --file add {installation.PIPS_FOLDER}/ --trust-file"
                f" {fapolicyd.TRUST_FILE} && {fapolicyd.PROGRAM} --update",
            ),
        )
    elif answer.code and _NO_MATCH not in answer.out + answer.err:
        yield checks.unknown(f"ausearch: {answer.said}", "run this as root")
    else:
        yield checks.ok("it refused nothing of ours in the last ten minutes")


CHECKS = (
    Check("engine-fapolicyd", "fapolicyd trusts our programs", trusted),
    Check("engine-fapolicyd-refusals", "fapolicyd refused nothing of ours", refusals),
)
