"""Whatever order packages come and go in on Engine's machine: the dispatcher is where a released
Engine starts it, in front of the newest client of Engine's, and goes as it came (T91)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import package_root
import pytest
from package_machine import Machine, Packages
from package_stock import Stock

from rigs.stock_packages import CLIENT

THEIRS = ("ovirt-engine", "ovirt-engine-backend")
KEPT = f"{CLIENT}.ovirt"
FOLDER = CLIENT.rpartition("/")[0]
ADAPTER = "/usr/share/ovirt-engine/managedblock/storpool-adapter"
DISPATCHER = "/usr/libexec/storpool-ovirt/storpool-engine-dispatcher"


@pytest.fixture
def machine(root: package_root.Root, stock: Stock, packages: Packages, newer: Packages) -> Machine:
    """A machine without Engine and without us."""
    return Machine(root, "engine", _theirs(stock), packages, newer)


@pytest.fixture
def running(whole: Callable[..., Machine], stock: Stock) -> Machine:
    """A machine with Engine 4.5.7 and us."""
    return whole("engine", _theirs(stock))


def _theirs(stock: Stock) -> dict[str, list[Path]]:
    return {"backend": stock.engine["4.5.7"][:1], **stock.engine}


def check_diverted(machine: Machine, version: str) -> None:
    """The dispatcher is in front of this version's client, and rpm sees nothing but the link."""
    assert machine.root.path(CLIENT).is_symlink()
    assert str(machine.root.path(CLIENT).readlink()) == DISPATCHER
    assert not machine.root.path(KEPT).is_symlink()
    assert machine.root.verified(*THEIRS) == [f"....L....    {CLIENT}"]
    assert machine.root.verified(*machine.ours) == []
    assert stock_answer(machine) == f"stock {version} verb {{}}\n"


def check_not_needed(machine: Machine) -> None:
    """Engine has no such file: nothing of it is left, and all packages are whole."""
    assert not machine.root.path(FOLDER).exists()
    assert machine.root.verified(*THEIRS, *machine.ours) == []


def stock_answer(machine: Machine) -> str:
    """Return what Engine gets for a domain without an adapter."""
    done = machine.root.run("./cinderlib-client.py", "verb", "{}", user="ovirt", cwd=FOLDER)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "steps",
    [
        ("install 4.5.7", "install ours"),
        ("install backend", "install ours", "install 4.5.7"),
        ("install 4.5.7 ours",),
        ("install ours 4.5.6", "install 4.5.7"),
        ("install 4.5.6 ours", "install 4.5.7 newer"),
    ],
    ids="; ".join,
)
def test_all_orders_of_coming(machine: Machine, steps: Sequence[str]) -> None:
    """Engine first, we first, both at once; Engine later anew, with or without us."""
    machine.do(*steps)
    check_diverted(machine, "4.5.7")


@pytest.mark.parametrize(
    ("version", "steps"),
    [
        ("4.5.7", ("again 4.5.7",)),
        ("4.5.6", ("back 4.5.6",)),
        ("4.5.7", ("again ours",)),
        ("4.5.7", ("install newer", "back ours")),
        ("4.5.7", ("again 4.5.7 ours",)),
        ("4.5.7", ("erase ours", "install ours")),
        ("4.5.7", ("erase ovirt-engine", "install 4.5.7")),
        ("4.5.7", ("install 4.5.8", "back 4.5.7")),
    ],
    ids=lambda value: value if isinstance(value, str) else "; ".join(value),
)
def test_all_that_may_happen_later(running: Machine, version: str, steps: Sequence[str]) -> None:
    """Reinstalled, downgraded, upgraded, taken off and put on again: of both, and at once."""
    running.do(*steps)
    check_diverted(running, version)


def test_an_update_without_triggers_is_mended_by_the_start_of_engine(machine: Machine) -> None:
    """`rpm --notriggers` leaves Engine's own file in our place; the unit's drop-in puts us back."""
    machine.do("install 4.5.6 ours", "quietly 4.5.7")
    assert not machine.root.path(CLIENT).is_symlink()
    machine.do("start")
    check_diverted(machine, "4.5.7")
    machine.do("start")
    check_diverted(machine, "4.5.7")


@pytest.mark.parametrize(
    "steps",
    [("install 4.5.8",), ("install 4.5.8 newer",), ("quietly 4.5.8", "start")],
    ids="; ".join,
)
def test_an_engine_that_dispatches_itself(running: Machine, steps: Sequence[str]) -> None:
    """It has no such file: the link and the file behind it go, the adapter's link stays; and we
    can go later."""
    running.do(*steps)
    check_not_needed(running)
    assert running.root.path(ADAPTER).is_symlink()
    running.do("start")
    check_not_needed(running)
    running.do("erase ours")
    assert running.root.verified(*THEIRS) == []
    assert not [each for each in running.root.files() if "storpool" in each]


def test_it_goes_as_it_came(machine: Machine) -> None:
    """After an erase Engine's package is whole, and no file of ours is here, compiled ones
    neither."""
    machine.do("install 4.5.7")
    machine.before = machine.root.files()
    machine.do("install ours")
    assert [each for each in machine.root.files() if each.endswith(".pyc")]
    machine.do("erase ours")
    machine.check_left()
    assert machine.root.verified(*THEIRS) == []
    assert stock_answer(machine) == "stock 4.5.7 verb {}\n"


@pytest.mark.parametrize(
    "steps",
    [
        ("erase ours ovirt-engine ovirt-engine-backend",),
        ("erase ovirt-engine", "erase ours ovirt-engine-backend"),
    ],
    ids="; ".join,
)
def test_both_go(machine: Machine, steps: Sequence[str]) -> None:
    """At once, or one after the other: nothing is left."""
    machine.do("install 4.5.7 ours", *steps)
    machine.check_left()


def test_an_erase_that_would_leave_engine_without_a_client_is_refused(running: Machine) -> None:
    """Somebody has removed Engine's own file: the link stays, and what it leads to, until Engine is
    reinstalled."""
    running.root.path(KEPT).unlink()
    said = running.said_at("erase ours", code=None)
    assert "reinstall ovirt-engine" in said
    assert running.root.verified(*running.ours) == []
    running.do("again 4.5.7", "erase ours")
    assert running.root.verified(*THEIRS) == []


def test_an_erase_that_would_leave_a_dead_copy_is_refused(running: Machine) -> None:
    """A restore made a file of the link, and Engine's own is gone. What is compiled stays too."""
    text = running.root.path(DISPATCHER).read_text()
    for each in (CLIENT, KEPT):
        running.root.path(each).unlink()
    running.root.path(CLIENT).write_text(text)
    running.root.path(CLIENT).chmod(0o755)
    before = running.root.files()
    for step in ("erase storpool-ovirt-engine", "erase ours"):
        assert "reinstall ovirt-engine" in running.said_at(step, code=None)
        assert {each for each in before if each.endswith(".pyc")} <= running.root.files()
    running.do("again 4.5.7", "erase ours")
    assert running.root.verified(*THEIRS) == []


def test_an_erase_without_scripts_is_cured_by_a_reinstallation(running: Machine) -> None:
    """Nothing can be done for it: the link leads nowhere until then."""
    assert running.said_at("erase ours", "--noscripts") == ""
    assert not running.root.path(CLIENT).exists()
    running.do("again 4.5.7")
    assert stock_answer(running) == "stock 4.5.7 verb {}\n"
    assert running.root.verified(*THEIRS) == []


def test_a_dispatcher_that_was_written_over_comes_back(running: Machine) -> None:
    """`cp` onto Engine's name went through the link: Engine's next start gives its own client back,
    a reinstallation of ours the diversion."""
    running.root.path(DISPATCHER).write_text("#!/bin/sh\necho patched\n")
    assert "dnf reinstall storpool-ovirt-engine" in running.said_at("start")
    assert stock_answer(running) == "stock 4.5.7 verb {}\n"
    running.do("again ours")
    check_diverted(running, "4.5.7")


def test_what_somebody_else_put_there_is_left(running: Machine) -> None:
    """And keeps us from nothing: our dispatcher is not in use then."""
    running.root.path(CLIENT).unlink()
    running.root.path(CLIENT).symlink_to("/opt/somebody/client")
    said = running.said_at("erase ours")
    assert said.count("\n") == 1
    assert str(running.root.path(CLIENT).readlink()) == "/opt/somebody/client"


def test_links_that_were_made_by_hand_become_those_of_the_package(machine: Machine) -> None:
    """As they are made for pip: the package takes their places, and is whole."""
    machine.do("install 4.5.7")
    root = machine.root
    root.path(CLIENT).rename(root.path(KEPT))
    for link, program in ((ADAPTER, "storpool-adapter"), (CLIENT, "storpool-engine-dispatcher")):
        target = root.path(f"/opt/storpool-ovirt/bin/{program}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("#!/bin/sh\n")
        target.chmod(0o755)
        root.path(link).parent.mkdir(exist_ok=True)
        root.path(link).symlink_to(f"/opt/storpool-ovirt/bin/{program}")
    machine.do("install ours")
    check_diverted(machine, "4.5.7")
