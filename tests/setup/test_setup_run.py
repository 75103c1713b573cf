"""storpool-ovirt setup on both places: once, again, only looked at, and taken back."""

from __future__ import annotations

import json

import pytest
import setup_ground
from setup_ground import Setup, states, step

LOOKED_AT = ("/etc", "/run", "/var/lib/storpool-ovirt", "/var/log", "/var/tmp")


def test_a_look_changes_nothing(place: Setup) -> None:
    """--dry-run tells each change, for programs and for people, and not a file is touched."""
    before = place.tree()
    said = place.run("--dry-run")
    assert said["dry_run"]
    assert said["changed"] == list(states(said).values()).count("would change") > 5
    typed = place.typed("--dry-run")
    assert f"{said['changed']} of {len(said['steps'])} steps would be changed" in typed.stdout
    assert place.tree() == before


def test_the_second_run_changes_nothing(place: Setup) -> None:
    """What a look promised is done, and then all is done already."""
    promised = [name for name, each in states(place.run("--dry-run")).items() if "would" in each]
    first = place.run()
    assert [name for name, each in states(first).items() if each == "changed"] == promised
    assert set(states(first).values()) <= {"changed", "done", "needs you", "not needed"}
    once = place.tree()
    second = place.run()
    assert (second["changed"], states(second).keys()) == (0, states(first).keys())
    assert set(states(second).values()) <= {"done", "needs you", "not needed"}
    assert place.tree() == once


def test_an_undo_gives_the_tree_of_before(place: Setup) -> None:
    """To the mode of each folder; a second one has nothing to do."""
    before = place.tree()
    made = place.run()["changed"]
    looked = place.run("--undo", "--dry-run")
    assert looked["changed"] >= made
    assert place.tree() != before
    undone = place.run("--undo")
    assert "failed" not in states(undone).values()
    assert place.tree() == before
    assert place.run("--undo")["changed"] == 0
    assert place.tree() == before


def test_an_undo_of_nothing_takes_nothing(place: Setup) -> None:
    """Where nothing was set up nothing is taken back."""
    before = place.tree()
    assert place.run("--undo")["changed"] == 0
    assert place.tree() == before


@pytest.mark.parametrize("words", [(), ("--undo",), ("--dry-run",)])
def test_who_is_not_root_is_refused(place: Setup, words: tuple[str, ...]) -> None:
    """With one sentence."""
    user = "vdsm" if place.place == "host" else "ovirt"
    place.run()  # also where there is a record, which root alone can read
    done = place.machine.run(place.command, "setup", place.place, *words, user=user)
    sentence = "storpool-ovirt: setup changes this machine: run it as root\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_another_place_is_refused(place: Setup) -> None:
    """A host is not Engine's machine; nothing is changed, and a program hears it as JSON."""
    before = place.tree()
    other = Setup(place.machine, "engine" if place.place == "host" else "host")
    said = other.run(code=1)
    assert said["error"].startswith("this machine has no ")
    assert place.tree() == before
    assert place.machine.run(place.command, "setup", "somewhere").returncode == 2


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("chown vdsm /opt/storpool-ovirt/bin/storpool-adapter", "can be changed by another user"),
        ("chmod g+w /opt/storpool-ovirt/lib/python3*/site-packages", "can be changed by another"),
        ("chmod 0700 /opt/storpool-ovirt", "cannot be run by user "),
        ("rm /opt/storpool-ovirt/bin/storpool-{adapter,vm-hook}", "is not there: run  /opt/"),
        (
            "mkdir -p /usr/lib/storpool-ovirt/storpool_ovirt;"
            "touch /usr/lib/storpool-ovirt/storpool_ovirt/__init__.py",
            "our packages are on this machine too",
        ),
    ],
)
def test_an_installation_that_cannot_work_is_refused(
    place: Setup, spoil: str, sentence: str
) -> None:
    """What others could change would be run by root; what they cannot run would be no hook."""
    place.machine.run("/bin/bash", "-ec", spoil)
    before = place.tree()
    assert sentence in place.run(code=1)["error"]
    assert place.tree() == before


def test_two_at_once_are_one(place: Setup) -> None:
    """The other one is told to wait."""
    place.machine.do("install -d -m 0700 /run/storpool-ovirt")
    held = place.machine.start("flock", "/run/storpool-ovirt/setup.lock", "sleep", "30")
    place.machine.do("while flock -n /run/storpool-ovirt/setup.lock true; do sleep 0.05; done")
    assert "another run of this" in place.run(code=1)["error"]
    place.run("--dry-run")
    held.kill()


def test_what_is_told_is_for_people_too(place: Setup) -> None:
    """Each step a line, with what is left to do below it, and the sum."""
    said = place.typed()
    document = json.loads(place.typed("--json").stdout)
    for each in document["steps"]:
        assert f"  {each['id']}:" in said.stdout
        do = " ".join(f"-> {each['do']}".split())
        assert not each["do"] or do in " ".join(said.stdout.split())
    last = said.stdout.splitlines()[-1]
    assert f"{place.place}: " in last
    left = [each["state"] for each in document["steps"]].count("needs you")
    assert (f"; {left} need" in last) is (left > 0)
    wide = [each for each in said.stdout.splitlines() if len(each) > 80]
    assert all(len(each.split()) <= 2 for each in wide), wide  # a path alone is whole


def test_without_a_place_the_two_are_named(place: Setup) -> None:
    """On one line, as each refusal."""
    done = place.machine.run(place.command, "setup")
    assert done.returncode == 2
    assert "Choose from: engine, host" in done.stderr


def test_a_file_system_that_cannot_be_written_is_told(place: Setup) -> None:
    """Each step by itself; the exit code is 1, and nothing is left behind anywhere."""
    before = place.tree()
    place.machine.do("mkdir -p /etc/logrotate.d")
    inside = f"mount --bind /etc /etc && mount -o remount,bind,ro /etc && {place.command}"
    script = f"{inside} setup {place.place} --json"
    done = place.machine.run("unshare", "--mount", "/bin/sh", "-c", script)
    assert done.returncode == 1, done
    said = json.loads(done.stdout)
    assert step(said, "logrotate")["state"] == "failed"
    assert "Read-only file system" in step(said, "logrotate")["what"]
    assert "changed" in states(said).values()
    place.run()
    place.run("--undo")
    place.machine.do("rm -rf /run/mount")  # mount's own
    assert place.tree() == before


def test_the_token_is_in_no_log(place: Setup) -> None:
    """Nor in what is written down of it."""
    place.run()
    found = place.machine.run("grep", "-rl", setup_ground.TOKEN, *LOOKED_AT)
    allowed = {"/etc/storpool.conf", "/etc/ovirt-engine/storpool-ovirt/token"}
    assert set(found.stdout.split()) <= allowed
