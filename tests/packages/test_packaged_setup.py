"""`storpool-ovirt setup` where packages have brought all: it finds it done, makes what only it can,
and takes back no file of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import package_root
import pytest
from package_machine import Machine
from package_stock import Stock

COMMAND = "/usr/sbin/storpool-ovirt"
TOKEN = "/etc/ovirt-engine/storpool-ovirt/token"
# What no package can bring: these are told, with what to do.
FOR_ADMINISTRATORS = {
    "engine": {"token", "fence-agent", "vm-properties", "database"},
    "host": {"storpool-conf"},
}
# What is off until somebody asks for it.
OFF = {"vm-agent"}
SECRET = "1234567890123456789"


@pytest.fixture(params=["engine", "host"])
def machine(
    request: pytest.FixtureRequest, whole: Callable[..., Machine], stock: Stock
) -> tuple[str, Machine]:
    """Engine's machine, or a host, with all packages."""
    place: str = request.param
    return place, whole(place, stock.engine if place == "engine" else stock.vdsm)


def setup(root: package_root.Root, *arguments: str, stdin: str = "") -> dict[str, Any]:
    """Run it; return its document."""
    done = root.run(COMMAND, "setup", *arguments, "--json", stdin=stdin)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert SECRET not in done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--undo",)], ids=" ".join)
def test_all_is_there_already(machine: tuple[str, Machine], arguments: tuple[str, ...]) -> None:
    """It changes nothing and asks only for what an administrator alone can give; nor does it take
    anything away that packages have put there."""
    place, here = machine
    before = here.root.files()
    told = setup(here.root, place, *arguments)
    assert (told["place"], told["changed"]) == (place, 0)
    states = {each["id"]: each["state"] for each in told["steps"]}
    if "--undo" in arguments:
        assert {*states.values()} == {"not needed"}
    else:
        off = {name for name in OFF & {*states} if states.pop(name) == "not needed"}
        assert off == (OFF if place == "host" else set())
        left = {name for name, state in states.items() if state != "done"}
        assert left == FOR_ADMINISTRATORS[place]
        assert {states[each] for each in left} == {"needs you"}
        assert all(each["do"] for each in told["steps"] if each["state"] == "needs you")
    assert here.root.files() == before
    assert here.root.verified(*here.ours) == []


def test_the_token_comes_and_goes(whole: Callable[..., Machine], stock: Stock) -> None:
    """Into the folder of the package, which group ovirt may look into; taken back, and all
    packages erased, nothing is left."""
    here = whole("engine", stock.engine)
    told = setup(here.root, "engine", "--token-file", "-", stdin=f"{SECRET}\n")
    assert told["changed"] == 1
    for user, readable in (("ovirt", True), ("root", True), ("vdsm", False)):
        done = here.root.run("cat", TOKEN, user=user)
        assert (SECRET in done.stdout) == readable, user
    assert setup(here.root, "engine")["changed"] == 0
    assert here.root.verified(*here.ours) == []
    assert setup(here.root, "engine", "--undo")["changed"] == 1
    here.do("erase ours")
    assert not [each for each in here.root.files() if "storpool" in each]


def test_an_erase_keeps_the_token(whole: Callable[..., Machine], stock: Stock) -> None:
    """It is no file of a package: who installs again has it, and who does not can have it taken
    back before."""
    here = whole("engine", stock.engine)
    setup(here.root, "engine", "--token-file", "-", stdin=f"{SECRET}\n")
    here.said_at("erase ours")
    assert SECRET in here.root.path(TOKEN).read_text()
    here.do("install ours")
    assert setup(here.root, "engine")["changed"] == 0
    assert setup(here.root, "engine", "--undo")["changed"] == 1
