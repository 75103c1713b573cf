"""What doctor tells of what was found: facts for programs and pages, lines for people."""

from __future__ import annotations

import calendar
import json
import re
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import storpool_ovirt
from storpool_ovirt import secret, sentences
from storpool_ovirt.doctor import checks, mending, run

Row = Mapping[str, Any]

PROGRAM = "storpool-ovirt doctor"
# Those of monitoring plug-ins (Monitoring Plugins Development Guidelines), as an audit's.
EXIT_CODES = {checks.OK: 0, checks.WARNING: 1, checks.CRITICAL: 2, checks.UNKNOWN: 3}
# The word of a result begins its lines; what follows is aligned behind it on any terminal.
WIDTH = 80
_INDENT = 10
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_SUMMARY = {
    checks.CRITICAL: "critical",
    checks.WARNING: "warning",
    checks.UNKNOWN: "not known",
    checks.OK: "fine",
}
# Where a line is broken a command cannot be copied: what looks like one stays whole.
_SIGN_OF_A_COMMAND = re.compile(r"/|(?:.*\s(?:-{1,2}\w|&&|\|))")
_SIGN_OF_A_SENTENCE = re.compile(r"[,:.]\s|\s\s")
_CREDENTIALS = re.compile(r"(?<=://)[^\s/:@]*:([^\s@]+)(?=@)")


class Look(NamedTuple):
    """One look at a machine: what it is ("engine", "host", "engine and host"), when it was looked
    at, for how long, and what was found."""

    place: str
    host: str
    time: float
    seconds: float
    findings: Sequence[checks.Finding]
    versions: Sequence[tuple[str, str]] = ()


def document(look: Look, mended: Sequence[mending.Step] | None = None) -> dict[str, Any]:
    """Return all of a look as facts for one JSON document: docs/doctor-schema.json tells them.

    `mended`: what was done before it, None where nothing was asked for.
    """
    facts: dict[str, Any] = {
        "program": f"{PROGRAM} {storpool_ovirt.__version__}",
        "version": storpool_ovirt.__version__,
        "place": look.place,
        "host": look.host,
        "time": time.strftime(_TIME, time.gmtime(look.time)),
        "seconds": round(look.seconds, 2),
        "result": checks.worst(each.result.result for each in look.findings),
        "checks": [_facts(each) for each in look.findings],
        "versions": [{"of": name, "version": version} for name, version in look.versions],
    }
    if mended is not None:
        facts["mended"] = [each._asdict() for each in mended]
    masked: dict[str, Any] = _without_secrets(facts)
    for given, shown in zip(facts["checks"], masked["checks"]):
        if given["fix"] != shown["fix"]:  # what is left of it could be another command
            shown["fix"] = run.UNSHOWN_FIX
    return masked


def as_json(facts: Row) -> str:
    """Return a document as the text of a file."""
    return json.dumps(facts, indent=2)


def text(facts: Row) -> Iterator[str]:
    """Yield the lines of a document for people: worst first, what is fine in one line last."""
    yield (
        f"{facts['place'].capitalize()} on {facts['host']},"
        f" {facts['time'].replace('T', ' ').replace('Z', ' UTC')}, storpool-ovirt"
        f" {facts['version']}"
    )
    yield ""
    yield from steps(facts.get("mended", ()))
    for result in checks.ORDER[:-1]:
        for each in _of(result, facts):
            yield from _problem(each)
            yield ""
    yield from _fine(facts)
    yield from _verdict(facts)


def steps(mended: Sequence[Row]) -> Iterator[str]:
    """Yield what `--fix` did, or would do: each step by its lines, and an empty one."""
    words = {mending.DONE: "done", mending.FAILED: "FAILED", mending.WOULD: "would"}
    for each in mended:
        yield from _told(words[each["state"]], f"{each['id']}: {each['what']}")
        if each["outcome"]:
            yield from _told("", each["outcome"])
    if mended:
        yield ""


def prometheus(facts: Row) -> Iterator[str]:
    """Yield the lines of a document for node_exporter's textfile collector: the code of each check,
    as an exit code, and the time of the look."""
    worst: dict[str, int] = {}
    severity = [EXIT_CODES[each] for each in checks.ORDER]
    for each in facts["checks"]:
        code, known = EXIT_CODES[each["result"]], worst.get(each["id"])
        if known is None or severity.index(code) < severity.index(known):
            worst[each["id"]] = code
    yield f"# {facts['program']}"
    yield "# HELP storpool_ovirt_doctor_check 0 fine, 1 warning, 2 critical, 3 could not look"
    yield "# TYPE storpool_ovirt_doctor_check gauge"
    for name, code in worst.items():
        yield f'storpool_ovirt_doctor_check{{check="{name}"}} {code}'
    yield "# HELP storpool_ovirt_doctor_result the worst of them"
    yield "# TYPE storpool_ovirt_doctor_result gauge"
    yield f"storpool_ovirt_doctor_result {EXIT_CODES[facts['result']]}"
    yield "# HELP storpool_ovirt_doctor_time_seconds when it was looked"
    yield "# TYPE storpool_ovirt_doctor_time_seconds gauge"
    moment = calendar.timegm(time.strptime(facts["time"], _TIME))
    yield f"storpool_ovirt_doctor_time_seconds {moment}"


def _facts(finding: checks.Finding) -> dict[str, Any]:
    result = finding.result
    return {
        "id": finding.check.id,
        "title": finding.check.title,
        "subject": result.subject,
        "result": result.result,
        "cause": result.cause,
        "risk": result.risk,
        "fix": result.fix,
        "fixable": mending.is_mendable(finding),
        "seconds": round(finding.seconds, 2),
    }


def headline(each: Row) -> str:
    """Return what is wrong in the words of the check: its title tells what should be so."""
    return f"{doubt(each)} {each['title']}"


def doubt(each: Row) -> str:
    """Return what a title begins with that is not so, or may not be."""
    return "is it so?" if each["result"] == checks.UNKNOWN else "not so:"


def parts(each: Row) -> list[str]:
    """Return which parts of something wrong are told: the risk of what nobody knows is always the
    same."""
    told = ("cause", "fix") if each["result"] == checks.UNKNOWN else ("cause", "risk", "fix")
    return [key for key in told if each[key]]


def _problem(each: Row) -> Iterator[str]:
    yield from _told(each["result"].upper(), headline(each))
    if each["subject"]:
        yield from _told("", each["subject"])
    for key in parts(each):
        yield from _told(f"  {key}", each[key], whole=key == "fix" and _is_command(each[key]))
    also = " (--fix does it)" if each["fixable"] else ""
    yield f"  check   {each['id']}{also}"


def _told(word: str, told: str, *, whole: bool = False) -> list[str]:
    """Return the lines of a text behind its word."""
    first = f"{word:{_INDENT - 1}} "
    if whole or len(first) + len(told) <= WIDTH:
        return [f"{first}{told}".rstrip()]
    return textwrap.wrap(
        told,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _is_command(fix: str) -> bool:
    return bool(_SIGN_OF_A_COMMAND.match(fix)) and not _SIGN_OF_A_SENTENCE.search(fix)


def _fine(facts: Row) -> Iterator[str]:
    """Yield one line for what is fine, and an empty one: at night nobody reads more of it."""
    others = {each["id"] for each in facts["checks"] if each["result"] != checks.OK}
    fine = {each["id"] for each in facts["checks"]} - others
    if fine:
        number = sentences.counted(len(fine), "other check" if others else "check")
        yield from _told("fine", f"{number}; --json and --html tell what each has seen")
        yield ""


def _verdict(facts: Row) -> Iterator[str]:
    counted = [
        f"{len(found)} {name}" for result, name in _SUMMARY.items() if (found := _of(result, facts))
    ]
    yield f"{facts['result'].upper()}: {', '.join(counted)}, in {facts['seconds']:.1f} s"
    following = _following(facts)
    if following:
        yield f"next: {following}"


def _following(facts: Row) -> str:
    """Return the next command that a person types; "" where there is nothing to do."""
    wrong = [each for each in facts["checks"] if each["result"] != checks.OK]
    mendable = sum(each["fixable"] for each in wrong)
    again = f"{PROGRAM} {facts['place']}" if " " not in facts["place"] else PROGRAM
    if mendable:
        of_them = "this" if len(wrong) == 1 else f"{mendable} of these"
        return f"{again} --fix   mends {of_them}; --dry-run tells how"
    if wrong:
        return f'do what stands beside "fix", then  {again}'
    return ""


def _of(result: str, facts: Row) -> list[Row]:
    return [each for each in facts["checks"] if each["result"] == result]


def _without_secrets(facts: Any) -> Any:
    """Return facts in which nothing is left of what looks like a secret.

    Each check has masked those that it knows; this is for what a tool told that nobody expected.
    """
    if isinstance(facts, dict):
        return {key: _without_secrets(each) for key, each in facts.items()}
    if isinstance(facts, list):
        return [_without_secrets(each) for each in facts]
    if not isinstance(facts, str):
        return facts
    hidden = sentences.Secrets()
    for found in (*secret.found_in(facts), *_CREDENTIALS.findall(facts)):
        hidden.hide(found)
    return hidden.masked(facts)
