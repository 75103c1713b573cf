"""What doctor tells of what was found: facts for programs and pages, lines for people."""

from __future__ import annotations

import calendar
import json
import re
import textwrap
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import storpool_ovirt
from storpool_ovirt import installation, secret, sentences
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
# Where a line is broken a command cannot be copied: what looks like one stays whole. It begins as
# one, or has options, and outside quotes it has nothing that only sentences have.
_SIGN_OF_A_COMMAND = re.compile(
    r"/|.*\s(?:-{1,2}\w|&&|\|)"
    r"|(?:chmod|chown|chronyc|dmsetup|dnf|engine-\w+|fapolicyd-cli|getent|hostnamectl|journalctl"
    r"|ln|mv|multipathd?|restorecon|rm|rpm|setfacl|storpool-\S+|systemctl|tail|udevadm|umount"
    r"|vdsm-tool|visudo)\s"
)
_SIGN_OF_A_SENTENCE = re.compile(
    r"[,:.?]\s|\s\s|\?$|\s(?:a|and|are|as|by|each|from|in|into|is|it|of|on|or|out|that|the|this|to"
    r"|what|where|with)\s"
)
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*\"""")
# How many of the same are named where people read.
_NAMED_MAX = 5
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


def text(facts: Row, *, by_root: bool = True) -> Iterator[str]:
    """Yield the lines of a document for people: worst first, what is fine in one line last."""
    yield (
        f"{facts['place'].capitalize()} on {facts['host']},"
        f" {facts['time'].replace('T', ' ').replace('Z', ' UTC')}, storpool-ovirt"
        f" {facts['version']}"
    )
    if not by_root:
        yield "This was not run as root: what only root can look at is not known here."
    yield ""
    yield from steps(facts.get("mended", ()))
    for problem in problems(facts["checks"]):
        yield from _problem(problem, _failed(facts))
        yield ""
    if note(facts):
        yield from _told("note", note(facts))
        yield ""
    yield from _fine(facts)
    yield from _verdict(facts, by_root)


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


def problems(rows: Sequence[Row]) -> list[list[Row]]:
    """Return what is wrong, worst first; what many have in common is one problem: a check with the
    same words for many subjects, many checks that could not look for the same reason."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for result in checks.ORDER[:-1]:
        for each in rows:
            if each["result"] == result:
                whose = "" if result == checks.UNKNOWN else each["id"]
                words = [each[key] for key in (*parts(each), "fixable")]
                found.setdefault((result, whose, *words), []).append(each)
    return [*found.values()]


def names(problem: Sequence[Row], key: str, most: int = _NAMED_MAX) -> str:
    """Return the subjects or ids of a problem: the first ones, and how many more there are."""
    every = [*dict.fromkeys(each[key] for each in problem if each[key])]
    more = [f"and {len(every) - most} more"] if len(every) > most else []
    return ", ".join([*every[:most], *more])


def wanted(problem: Sequence[Row]) -> str:
    """Return what should be so, in the words of the check; "" where many checks have a problem."""
    titles = {each["title"] for each in problem}
    return titles.pop() if len(titles) == 1 else ""


def note(facts: Row) -> str:
    """Return what has to be known about a fix, once for all; "" where there is nothing."""
    needed = any(installation.REINSTALL in each["fix"] for each in facts["checks"])
    return installation.FROM_FILES if needed else ""


def parts(each: Row) -> list[str]:
    """Return which parts of something wrong are told: the risk of what nobody knows is always the
    same."""
    told = ("cause", "fix") if each["result"] == checks.UNKNOWN else ("cause", "risk", "fix")
    return [key for key in told if each[key]]


def _problem(problem: Sequence[Row], failed: Collection[tuple[str, str]]) -> Iterator[str]:
    first = problem[0]
    yield from _told(first["result"].upper(), first["cause"])
    subjects = names(problem, "subject")
    if subjects:
        yield from _told("  for", subjects)
    if wanted(problem):
        yield from _told("  wanted", wanted(problem))
    for key in parts(first)[1:]:
        yield from _told(f"  {key}", first[key], whole=key == "fix" and is_command(first[key]))
    also = ""
    if first["fixable"]:
        could = all(_step(each) in failed for each in problem)
        also = " (--fix could not do it)" if could else " (--fix does it)"
    yield from _told("  check", f"{names(problem, 'id', len(problem))}{also}")


def _step(each: Row) -> tuple[str, str]:
    return each["id"], each["subject"]


def _failed(facts: Row) -> set[tuple[str, str]]:
    """Return which steps of --fix failed just now."""
    return {_step(each) for each in facts.get("mended", ()) if each["state"] == mending.FAILED}


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


def is_command(fix: str) -> bool:
    """Return whether a fix is a command, which is copied, and no sentence."""
    bare = _QUOTED.sub("''", fix)
    return bool(_SIGN_OF_A_COMMAND.match(bare)) and not _SIGN_OF_A_SENTENCE.search(bare)


def _fine(facts: Row) -> Iterator[str]:
    """Yield one line for what is fine, and an empty one: at night nobody reads more of it."""
    others = {each["id"] for each in facts["checks"] if each["result"] != checks.OK}
    fine = {each["id"] for each in facts["checks"]} - others
    if fine:
        number = sentences.counted(len(fine), "other check" if others else "check")
        yield from _told("fine", f"{number}; --json and --html tell what each has seen")
        yield ""


def _verdict(facts: Row, by_root: bool) -> Iterator[str]:
    counted = [
        f"{len(found)} {name}" for result, name in _SUMMARY.items() if (found := _of(result, facts))
    ]
    yield f"{facts['result'].upper()}: {', '.join(counted)}, in {facts['seconds']:.1f} s"
    following = _following(facts, by_root)
    if following:
        yield f"next: {following}"


def _following(facts: Row, by_root: bool) -> str:
    """Return the next command that a person types; "" where there is nothing to do."""
    wrong = [each for each in facts["checks"] if each["result"] != checks.OK]
    failed = _failed(facts)
    mendable = sum(each["fixable"] and _step(each) not in failed for each in wrong)
    again = f"{PROGRAM} {facts['place']}" if " " not in facts["place"] else PROGRAM
    if wrong and not by_root:
        return f"run it as root:  {again}"
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
