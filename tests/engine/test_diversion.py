"""storpool-engine-divert as packages, systemd and people run it: what is there before and after."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import pytest
from diversion_ground import READ_ONLY, STARTS, STEPS, Death, Machine, dying, facts, ran

from ovirt_demo import children
from rigs import mounts
from storpool_ovirt import errors
from storpool_ovirt.engine import client_file, dispatcher, diversion

PROGRAM = children.find(diversion.PROGRAM)  # as messages have it
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_on_and_off_by_the_program(machine: Machine) -> None:
    """Its own dispatcher stands in the client's place, and off gives back the very file."""
    before, file = facts(machine.client), machine.client.stat().st_ino
    own = children.find(dispatcher.PROGRAM)
    for _ in range(2):
        assert ran(machine, "on") == (0, f"on: {machine.client} leads to {own}\n", "")
        assert machine.client.readlink() == own
        assert facts(machine.kept) == before
        assert ran(machine, "status")[:2] == (0, f"on: {machine.client} leads to {own}\n")
    for _ in range(2):
        assert ran(machine, "off") == (0, f"off: {machine.client} is Engine's own\n", "")
        assert (facts(machine.client), machine.client.stat().st_ino) == (before, file)
        assert ran(machine, "status")[:2] == (1, f"off: {machine.client} is Engine's own\n")
    assert machine.names() == {dispatcher.CLIENT, client_file.OF_THE_SAME_PACKAGE}


def test_a_diverted_client_serves_both_kinds_of_domains(machine: Machine) -> None:
    """End to end: the program diverts, and Engine's relative call reaches adapter and stock."""
    adapters = machine.folder.parent / dispatcher.ADAPTERS
    adapters.mkdir()
    for path in (machine.client, adapters / "storpool-adapter"):
        path.write_text('#!/bin/sh\necho "$0 $1"\n')
        path.chmod(0o755)
    assert ran(machine, "on")[0] == 0
    for options, said in (
        ("{}", "./cinderlib-client.py.ovirt storage_stats"),
        ('{"adapter": "storpool"}', f"{adapters}/storpool-adapter storage_stats"),
    ):
        argv = [f"./{dispatcher.CLIENT}", "storage_stats", options]
        done = subprocess.run(argv, cwd=machine.folder, capture_output=True, text=True, check=True)
        assert done.stdout == f"{said}\n"


@pytest.mark.parametrize("word", ["on", "off"])
@pytest.mark.parametrize("left", ["nothing", "folder", "master"])
def test_an_engine_without_that_client_needs_nothing(tmp_path: Path, word: str, left: str) -> None:
    """No Engine, an empty folder, or a later Engine with its own `managedblock`: a success that
    changes nothing."""
    machine = Machine(tmp_path / "root")
    if left == "folder":
        machine.folder.mkdir(parents=True)
    if left == "master":
        (machine.folder.parent / "managedblock").mkdir(parents=True)
        (machine.folder.parent / "managedblock" / dispatcher.CLIENT).touch()
    code, said, wrong = ran(machine, word)
    assert (code, wrong) == (0, "")
    assert said.startswith("nothing to do: no Engine here starts ")
    assert ran(machine, "status")[1].startswith("not needed: no Engine here starts ")
    assert not machine.folder.exists() or left == "folder"


def test_what_a_removed_engine_leaves_goes(machine: Machine) -> None:
    """rpm removes the link as its own file, and cannot know the other name; on as well as off
    takes that away, and the folder."""
    for word in ("on", "off"):
        machine.package()
        machine.diversion().on()
        machine.erase()
        assert machine.names() == {dispatcher.STOCK}
        said = ran(machine, "status")[1]
        assert said.endswith(f"was left, {PROGRAM} on, or off, takes it away\n")
        assert ran(machine, word)[0] == 0
        assert not machine.folder.exists()


def test_a_client_that_is_missing_alone_comes_back(machine: Machine) -> None:
    """Its package is there, so somebody removed the link: on makes it again, off gives the file
    back."""
    stock = facts(machine.client)
    machine.diversion().on()
    machine.client.unlink()
    assert ran(machine, "status")[:2] == (
        1,
        f"broken: {machine.client} is missing: {PROGRAM} on, or off, mends that\n",
    )
    machine.diversion().on()
    assert machine.client.readlink() == machine.own
    machine.client.unlink()
    machine.diversion().off()
    assert facts(machine.client) == stock


@pytest.mark.parametrize("word", ["on", "off"])
def test_a_restored_copy_is_never_taken_for_the_stock_file(machine: Machine, word: str) -> None:
    """`cp -L` makes a file of the link; so does a wrapper that calls our program."""
    stock = facts(machine.client)
    for text in (STARTS, f'#!/bin/sh\nexec /opt/x/{dispatcher.PROGRAM} "$@"\n'):
        machine.diversion().on()
        machine.client.unlink()
        machine.client.write_text(text)
        assert ran(machine, "status")[1].startswith("copied: ")
        getattr(machine.diversion(), word)()
        assert facts(machine.kept if word == "on" else machine.client) == stock


def test_two_copies_and_no_stock_file(machine: Machine) -> None:
    """Nothing can be given back: on serves our domains and says what to do, off leaves all."""
    machine.diversion().on()
    machine.kept.unlink()
    for each in (machine.client, machine.kept):
        each.unlink(missing_ok=True)
        each.write_text(STARTS)
    code, said, wrong = ran(machine, "off")
    assert (code, said) == (1, "")
    assert "cannot be given back" in wrong
    assert "reinstall ovirt-engine" in wrong
    code, said, wrong = ran(machine, "on")
    assert (code, said) == (1, "")
    assert f"leads to us, but {machine.kept} is missing: reinstall ovirt-engine" in wrong
    assert machine.client.is_symlink()
    assert not machine.kept.exists()
    assert ran(machine, "status")[1].startswith("half: ")
    stock = machine.package()
    assert ran(machine, "on")[0] == 0
    assert facts(machine.kept) == stock


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
@pytest.mark.parametrize("name", [dispatcher.CLIENT, dispatcher.STOCK])
def test_what_is_somebody_elses_is_refused(machine: Machine, kind: str, name: str) -> None:
    """In either place: one sentence, and nothing has changed."""
    path = machine.folder / name
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to("/opt/other/client")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    before = machine.names()
    code, said, wrong = ran(machine, "on")
    assert (code, said, wrong.count("\n")) == (1, "", 1)
    assert f"{path} is " in wrong
    assert machine.names() == before
    code, _, wrong = ran(machine, "off")
    assert code == (name == dispatcher.CLIENT)
    assert machine.names() == before
    assert path.is_symlink() == (kind == "link")
    code, said, _ = ran(machine, "status")
    assert (code, path.name in said) == (1, True)


def test_another_installations_diversion_is_left_to_it(machine: Machine) -> None:
    """Off of a package takes nothing from pip's, as long as that one works; on takes it over."""
    machine.diversion(machine.other).on()
    assert machine.diversion().off().startswith("left as it is")
    assert machine.client.readlink() == machine.other
    assert machine.diversion().status()[1].endswith("of another installation")
    shutil.rmtree(machine.other.parent)
    own = machine.own.parent / diversion.PROGRAM
    assert machine.diversion().status() == (
        1,
        f"broken: {machine.client} leads to {machine.other}, which is not there: run {own} on;"
        f" {own} off goes back to Engine's own client",
    )
    machine.diversion().off()
    assert not machine.client.is_symlink()


@pytest.mark.parametrize("kept", [True, False])
def test_a_link_that_leads_nowhere_says_what_mends_it(machine: Machine, kept: bool) -> None:
    """Our dispatcher is gone from this very installation: it has to come again, or Engine's own
    client has to, where that is still there."""
    machine.diversion().on()
    machine.own.unlink()
    if not kept:
        machine.kept.unlink()
    code, said = machine.diversion().status()
    assert (code, said.partition(": ")[0]) == (1, "broken")
    pip = f"{sys.prefix}/bin/pip install --force-reinstall --no-deps ."
    assert f"run  {pip}  in the folder of the release  to have it again; " in said
    off = f"{machine.own.parent / diversion.PROGRAM} off goes back to Engine's own client"
    assert said.endswith(off if kept else f"{machine.kept} is missing: reinstall ovirt-engine too")


@pytest.mark.parametrize("left", ["nothing", "copy"])
def test_a_package_without_its_client_is_broken(machine: Machine, left: str) -> None:
    """Both names are gone, or only a copy of ours is left, and what else the package has is there:
    no verb of any domain works. On serves our domains at least, off leaves all; both say what to
    do."""
    machine.client.unlink()
    if left == "copy":
        machine.kept.write_text(STARTS)
    what = "missing" if left == "nothing" else client_file.COPY
    assert ran(machine, "status") == (
        1,
        f"broken: {machine.client} is missing, and {machine.kept} is {what}: reinstall"
        f" ovirt-engine, then run {PROGRAM} on\n",
        "",
    )
    before = machine.names()
    code, said, wrong = ran(machine, "off")
    assert (code, said) == (1, "")
    assert wrong.endswith(f"{machine.kept} is {what}: reinstall ovirt-engine\n")
    assert machine.names() == before
    code, said, wrong = ran(machine, "on")
    assert (code, said) == (1, "")
    assert wrong.endswith(f"reinstall ovirt-engine, then run {PROGRAM} on\n")
    assert machine.client.readlink() == children.find(dispatcher.PROGRAM)
    stock = machine.package()
    assert ran(machine, "on")[0] == 0
    assert facts(machine.kept) == stock


def test_how_it_is_run_is_a_whole_path(machine: Machine) -> None:
    """It is in no folder of PATH."""
    assert ran(machine, "On")[2].endswith(f"run it as root: {PROGRAM} on, off or status\n")


@pytest.mark.parametrize("wrong", ["missing", "mode"])
def test_a_dispatcher_that_cannot_run_is_not_put_in_place(machine: Machine, wrong: str) -> None:
    """Engine could start no verb at all then, of no domain."""
    if wrong == "missing":
        machine.own.unlink()
    else:
        machine.own.chmod(0o644)
    with pytest.raises(errors.ConfigError, match="cannot be started"):
        machine.diversion().on()
    assert not machine.client.is_symlink()
    assert machine.names() == {dispatcher.CLIENT, client_file.OF_THE_SAME_PACKAGE}


@needs_root
def test_engines_user_must_reach_the_dispatcher(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder above it that this user may not search, as with umask 077."""
    monkeypatch.setattr(diversion, "USER", "nobody")
    for each in machine.own.parents:
        if each.stat().st_uid == os.geteuid() and str(each).startswith("/tmp/"):
            each.chmod(0o755)
    if not os.access("/tmp", os.X_OK):
        pytest.skip("/tmp is closed here")
    machine.own.parent.chmod(0o700)
    with pytest.raises(errors.ConfigError, match="cannot be started by Engine's user nobody"):
        machine.diversion().on()
    machine.own.parent.chmod(0o755)
    machine.diversion().on()


def test_a_stock_file_without_permission_is_told(machine: Machine) -> None:
    """It is diverted and given back as it is; status says why Engine's own domains fail."""
    machine.client.chmod(0o644)
    before = facts(machine.client)
    machine.diversion().on()
    code, said, _ = ran(machine, "status")
    assert code == 0
    assert said.endswith("; Engine's own file has no permission to be executed\n")
    machine.diversion().off()
    assert facts(machine.client) == before


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("way", ["on", "off", "update"])
def test_a_kill_at_each_step_is_mended_by_the_next_run(
    tmp_path: Path, way: str, behind: bool
) -> None:
    """At any moment Engine finds a whole client, and both on and off end right afterwards."""
    at, last = 0, False
    while not last:
        at += 1
        for then in ("on", "off"):
            machine = Machine(tmp_path / f"{at}-{then}")
            stock = machine.package()
            if way != "on":
                machine.diversion().on()
            if way == "update":
                stock = machine.package()
            do = machine.diversion().off if way == "off" else machine.diversion().on
            try:
                with dying(at, behind=behind):
                    do()
            except Death:
                pass
            else:
                last = True
            assert machine.client.exists()
            getattr(machine.diversion(), then)()
            assert facts(machine.kept if then == "on" else machine.client) == stock
            assert machine.client.is_symlink() == (then == "on")
            assert len(machine.names()) == (3 if then == "on" else 2)
    assert at > 1
    assert at <= 2 * len(STEPS)


@pytest.mark.parametrize("way", ["on", "off"])
def test_a_package_that_comes_in_between_is_not_lost(machine: Machine, way: str) -> None:
    """rpm puts a newer client there while we are at it: nothing is renamed over that one."""
    if way == "off":
        machine.diversion().on()
    do = getattr(machine.diversion(), way)
    real, newer = client_file.Place._check_unchanged, []

    def late(place: client_file.Place, seen: client_file.Entry) -> None:
        newer.append(machine.package())
        real(place, seen)

    with (
        mock.patch.object(client_file.Place, "_check_unchanged", late),
        pytest.raises(errors.Conflict, match="was replaced at this moment: run this again"),
    ):
        do()
    assert facts(machine.client) == newer[0]
    do()
    assert facts(machine.kept if way == "on" else machine.client) == newer[0]


def test_runs_at_once_end_right(machine: Machine) -> None:
    """A package's trigger, systemd and a person: one after the other."""
    stock = facts(machine.client)
    runs = [threading.Thread(target=ran, args=(machine, "on")) for _ in range(6)]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    assert facts(machine.kept) == stock
    assert len(machine.names()) == 3


def test_a_run_that_hangs_holds_up_the_next_for_a_while(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what it waited for, and how long."""
    monkeypatch.setattr(diversion, "LOCK_SECONDS", 0.2)
    machine.diversion().off()
    (lock,) = Path(f"{machine.root}{diversion.LOCK_FOLDER}").iterdir()
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(errors.Locked, match="did not end within 0 s"):
            machine.diversion().on()


def test_no_other_user_can_hold_it_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can read a file or folder can lock it: ours is in a folder that only root can search."""
    monkeypatch.setattr(diversion, "LOCK_SECONDS", 0.2)
    folders = [os.open(each, os.O_RDONLY) for each in (machine.folder, machine.root)]
    try:
        for each in folders:
            fcntl.flock(each, fcntl.LOCK_EX)
        machine.diversion().on()
    finally:
        for each in folders:
            os.close(each)
    assert Path(f"{machine.root}{diversion.LOCK_FOLDER}").stat().st_mode & 0o777 == 0o700


@needs_root
def test_where_usr_cannot_be_written(machine: Machine) -> None:
    """A sentence, and nothing has changed; what is on already is a success."""
    with mounts.namespace(READ_ONLY.replace('exec "$@"', "true"), machine.root) as child:
        if child is None:
            pytest.skip("mounts are not allowed here")
    code, said, wrong = ran(machine, "on", read_only=True)
    assert (code, said) == (1, "")
    assert "cannot be changed (Read-only file system): run this as root" in wrong
    assert machine.names() == {dispatcher.CLIENT, client_file.OF_THE_SAME_PACKAGE}
    ran(machine, "on")
    assert [ran(machine, each, read_only=True)[0] for each in ("on", "status", "off")] == [0, 0, 1]
    assert machine.client.is_symlink()


@needs_root
def test_a_folder_of_another_user_is_refused(machine: Machine) -> None:
    """Root would make and rename what that user says."""
    os.chown(machine.folder, 65534, 65534)
    code, _, wrong = ran(machine, "on")
    assert code == 1
    assert "can be replaced by user 65534" in wrong
    assert not machine.client.is_symlink()


@pytest.mark.parametrize("arguments", [[], ["On"], ["on", "off"], ["--force"]])
def test_other_arguments_are_refused(machine: Machine, arguments: list[str]) -> None:
    """One sentence that says how to run it."""
    code, said, wrong = ran(machine, *arguments)
    assert (code, said, wrong.count("\n")) == (1, "", 1)
    assert "on, off or status" in wrong
