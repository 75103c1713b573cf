"""The options of fence_storpool: stdin, command line and metadata have the same ones."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import pytest

from storpool_ovirt import errors
from storpool_ovirt.fence import actions, agent, metadata, options, request

# A value of each that is not its default.
VALUES = {"action": "off", "plug": "1", "even_if_it_runs": "1", "power_timeout": "7"}
ROOM = ("agent", "actions", "options", "request")


def asked(given: dict[str, str | None]) -> request.Request:
    """Return what these options ask for, beside an action."""
    return request.parsed({"action": "status", **given}, actions.ACTIONS)


@pytest.mark.parametrize("flag", options.FLAGS)
def test_a_flag_means_what_its_option_means_on_stdin(flag: str) -> None:
    """T54: with `=` or without, behind what was said before."""
    name = options.FLAGS[flag]
    value = VALUES[name]
    expected = asked(request.of_lines(f"{name}={value}\n"))
    for arguments in ([flag, value], [f"{flag}={value}"], [flag, "x", flag, value]):
        assert asked(request.of_arguments(arguments)) == expected


@pytest.mark.parametrize("each", options.OPTIONS, ids=lambda each: each.name)
def test_another_name_means_the_same(each: options.Option) -> None:
    """Older callers' names, and those of Vdsm and of Pacemaker."""
    if each.same_as:
        value = VALUES.get(each.same_as, "host1.example")
        line, other = (f"{name}={value}\n" for name in (each.name, each.same_as))
        given = [request.of_lines(text) for text in (line, other)]
        assert request.parsed({"option": "off", **given[0]}, actions.ACTIONS) == request.parsed(
            {"option": "off", **given[1]}, actions.ACTIONS
        )
    assert not each.told or each.meaning


def test_what_is_told_is_what_is_read() -> None:
    """T54: each parameter of the metadata is an option, with the default that holds without it."""
    root = ElementTree.fromstring(metadata.document(agent.PROGRAM, actions.ACTIONS))  # noqa: S314  ours
    told = {each.get("name", ""): each for each in root.iter("parameter")}
    assert told.keys() == {each.name for each in options.OPTIONS if each.told}
    defaults: dict[str, str | None] = {
        name: content.get("default")
        for name, each in told.items()
        if (content := each.find("content")) is not None and content.get("default")
    }
    assert asked(defaults) == asked({})
    for name, each in told.items():
        flags = [flag for flag, option in options.FLAGS.items() if option == name]
        getopt = each.find("getopt")
        assert getopt is not None
        assert all(flag in getopt.get("mixed", "") for flag in flags)


@pytest.mark.parametrize(
    "arguments",
    [["--"], ["-o", "off", "--"], ["--act", "off"], ["-"], ["@/etc/passwd"], ["-o"], ["--", "-o"]],
    ids=" ".join,
)
def test_what_is_no_option_is_refused(arguments: list[str]) -> None:
    """T54: whatever the parser makes of it, it never ends the process itself: its code says off."""
    with pytest.raises(errors.InputError):
        asked({"action": None, **request.of_arguments(arguments)})


def test_no_fence_waits_for_what_it_does_not_use() -> None:
    """The parser of arguments and what writes XML are loaded when they are asked for."""
    code = f"""
import sys
for name in {ROOM!r}:
    __import__("storpool_ovirt.fence." + name)
loaded = [name for name in ("argparse", "xml", "urllib.request", "gettext") if name in sys.modules]
assert not loaded, loaded
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
