"""What fence_storpool is asked for: read from the lines of stdin or from the command line, and
written for root's door."""

from __future__ import annotations

from storpool_ovirt import errors, names, text
from storpool_ovirt.fence import options
from storpool_ovirt.light import TYPE_CHECKING, dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import NoReturn

USAGE = "give -o ACTION and -n HOST, see fence_storpool -o metadata"
TRUTHS = {
    "1": True,
    "yes": True,
    "true": True,
    "on": True,
    "0": False,
    "no": False,
    "false": False,
    "off": False,
}


@dataclass(frozen=True)
class Request:
    """What is asked: `plug` is a client id or a host's name, `name` one that is only ever a
    name."""

    action: str
    plug: str | None
    name: str | None
    even_if_it_runs: bool
    wait_seconds: float


def parsed(given: Mapping[str, str | None], actions: Collection[str]) -> Request:
    """Return what the options ask for; raise InputError for an action, a host or a value that
    cannot be meant."""
    action = (_first(given, "action") or "").lower()
    if action not in actions:
        raise errors.InputError(
            f"the action {names.shown(action, 20)}",
            "is not known",
            f"give one of {', '.join(actions)}",
        )
    plugs = {value for name in options.names_of("plug") if (value := given.get(name))}
    if len(plugs) > 1:
        raise errors.InputError("port and plug", "name two hosts", "give one of them")
    return Request(
        action,
        next(iter(plugs), None),
        _first(given, "nodename"),
        _even_if_it_runs(given),
        _wait_seconds(given),
    )


def of_lines(given: str) -> dict[str, str | None]:
    """Return the known options in the lines of stdin, later ones win; None for one without `=`.

    Everything but the end of a line belongs to its value: a password may hold any other character.
    """
    lines = (line.strip(text.BLANKS) for line in text.lines(given))
    parts = [line.partition("=") for line in lines if line and line[0] != "#"]
    named = (
        (key.strip(text.BLANKS).lower(), equals, value.strip(text.BLANKS))
        for key, equals, value in parts
    )
    found = {key: value if equals else None for key, equals, value in named}
    return {key: value for key, value in found.items() if key in options.NAMES}


def of_arguments(arguments: Sequence[str]) -> dict[str, str | None]:
    """Return the options of the command line, later ones win; raise InputError for what is none."""
    import argparse  # neither Engine nor Pacemaker gives arguments: they do not wait for it

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    # argparse's own would end the process with 2, which says that the host is off.
    parser.error = _refused  # type: ignore[method-assign]
    for each in options.OPTIONS:
        if each.flags:
            parser.add_argument(*each.flags, dest=each.name)
    try:
        found, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        # Its own words may repeat what was typed, which may be a password.
        known = (error.argument_name or "").split("/")
        flag = next((each for each in reversed(arguments) if each in known), "")
        raise errors.InputError(_shown_flag(flag), "has no value", USAGE) from None
    if unknown:
        raise errors.InputError(_shown_flag(unknown[0]), "is not known", USAGE)
    return {name: value for name, value in vars(found).items() if value is not None}


def written(request: Request) -> bytes:
    """Return a request as lines of options, with an empty one at the end; raise InputError for what
    no line can be."""
    given = {
        "action": request.action,
        "plug": request.plug,
        "nodename": request.name,
        "even_if_it_runs": str(int(request.even_if_it_runs)),
        "power_timeout": f"{request.wait_seconds:g}",
    }
    for value in given.values():
        if value and not value.isprintable():
            raise errors.InputError(
                "the host", f"has no such name ({names.shown(value)})", "give a name or a client id"
            )
    return "".join(f"{key}={value}\n" for key, value in given.items() if value).encode() + b"\n"


def _refused(message: str) -> NoReturn:  # noqa: ARG001  it may repeat a password
    raise errors.InputError("an argument", "cannot be meant", USAGE)


def _first(given: Mapping[str, str | None], option: str) -> str | None:
    """Return the first value that one of an option's names has; None where none has one."""
    return next((value for name in options.names_of(option) if (value := given.get(name))), None)


def _even_if_it_runs(given: Mapping[str, str | None]) -> bool:
    value = given.get("even_if_it_runs", "")
    if value == "":
        return False
    if value is None or value.lower() not in TRUTHS:
        raise errors.InputError("even_if_it_runs", "is neither 1 nor 0", "give one of them")
    return TRUTHS[value.lower()]


def _wait_seconds(given: Mapping[str, str | None]) -> float:
    value = given.get("power_timeout")
    seconds = text.decimal(value) if value else options.POWER_TIMEOUT_SECONDS
    if seconds is None or seconds > options.POWER_TIMEOUT_MAX_SECONDS:
        raise errors.InputError(
            "power_timeout",
            "is out of range",
            f"give 0 to {options.POWER_TIMEOUT_MAX_SECONDS:g} seconds",
        )
    return seconds


def _shown_flag(given: str) -> str:
    """Return the words for an argument: its name at most, as what follows, or stands alone, may be
    a password."""
    import re  # who mistypes nothing does not pay for it

    # A short one may have its value right behind it.
    name = re.match(r"--[a-z][a-z_-]{0,30}\Z|-[A-Za-z]", given.partition("=")[0])
    return f"the argument {name[0]}" if name else "an argument"
