"""What Engine's machine does at regular times: a timer that is turned on runs, and what it started
last did not fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from storpool_ovirt.doctor import asking, checks
from storpool_ovirt.doctor.checks import WARNING, Check, Result, Site
from storpool_ovirt.setup import services, timers

_ON = ("enabled", "enabled-runtime")
_RISKS = {
    timers.POLICY: "disks keep classes and policies that they are not to have any more",
    timers.BACKUP: "copies in other locations are not given up, and take space there",
}


def last_runs(site: Site) -> Iterator[Result]:
    """Ask systemd for each timer that somebody turned on, and for what it starts."""
    if not services.is_booted(site.root):
        yield checks.ok("systemd does not run this machine")
        return
    for timer, risk in _RISKS.items():
        yield _looked(site, timer, risk)


def _looked(site: Site, timer: timers.Timer, risk: str) -> Result:
    unit, service = timer.unit.name, f"{timer.name}.service"
    found = _shown(site, unit, "UnitFileState", "ActiveState")
    if isinstance(found, Result):
        return found
    if found["UnitFileState"] not in _ON:
        return checks.ok(f"it is {found['UnitFileState'] or 'not there'}", unit)
    if found["ActiveState"] != "active":
        cause = f"it is enabled, and {found['ActiveState']}: nothing starts before the next boot"
        return Result(WARNING, cause, risk, f"systemctl restart {unit}", unit)
    ran = _shown(site, service, "Result", "ExecMainStatus")
    if isinstance(ran, Result):
        return ran
    if ran["Result"] == "success":
        return checks.ok("it is enabled, and its last run did not fail", unit)
    code = ran["ExecMainStatus"]
    more = f", exit code {code}" if code not in ("", "0") else ""
    cause = f"its last run failed ({ran['Result']}{more})"
    return Result(WARNING, cause, risk, f"journalctl -u {service}", unit)


def _shown(site: Site, unit: str, *names: str) -> Mapping[str, str] | Result:
    """Return what systemd has of a unit, or why it does not say all of that."""
    options = [f"--property={each}" for each in names]
    answer = asking.ask(site, ["systemctl", "show", *options, unit])
    if answer.code:
        return checks.unknown(f"systemctl show {unit}: {answer.said}", subject=unit)
    return services.told(answer.out, names)


CHECKS = (Check("engine-timers", "what runs at regular times does its work", last_runs),)
