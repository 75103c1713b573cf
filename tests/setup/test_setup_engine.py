"""What setup makes on Engine's machine: each step, the token, the database, Engine's restart."""

from __future__ import annotations

import time

import pytest
import setup_ground
from setup_ground import CONF, STOCK, TOKEN, Setup, states, step

from rigs import engine_config_tool
from rigs.engine_config_tool import Keys
from rigs.machine import PREFIX, Machine

FILE = "/etc/ovirt-engine/storpool-ovirt/token"
DROP_IN = "/etc/systemd/system/ovirt-engine.service.d/50-storpool-ovirt.conf"
ADAPTER = "/usr/share/ovirt-engine/managedblock/storpool-adapter"
SETUP_CONF = "/etc/ovirt-engine/engine.conf.d/10-setup-{}.conf"
OTHER = "9876543210987654321"
SYSTEMCTL = f"""
case "$*" in
    *is-active*) test -e /run/engine.started ;;
    *ActiveEnterTimestampMonotonic*) cat /run/engine.started ;;
    *DropInPaths*)
        echo "DropInPaths=$(cat /run/engine.drop-ins)"
        echo "NeedDaemonReload=$(cat /run/engine.reload)" ;;
    daemon-reload)
        ls {DROP_IN} >/run/engine.drop-ins 2>/dev/null; echo no >/run/engine.reload ;;
    *) exit 1 ;;
esac
echo "$*" >>/run/systemctl.asked
"""


def test_all_that_engine_looks_for_is_there(engine: Setup, keys: Keys) -> None:
    """Its client leads to the dispatcher, the adapter can be run by its user, and logs."""
    engine.run()
    tree = engine.tree()
    assert tree[ADAPTER] == f"lrwxrwxrwx 0:0 -> {PREFIX}/bin/storpool-adapter"
    assert tree[STOCK] == f"lrwxrwxrwx 0:0 -> {PREFIX}/bin/storpool-engine-dispatcher"
    assert tree["/usr/local/sbin/storpool-ovirt"].endswith(f"{PREFIX}/bin/storpool-ovirt")
    assert tree["/var/log/ovirt-engine/managedblock"] == "drwx------ 108:108"
    assert tree[DROP_IN].startswith("-rw-r--r-- 0:0")
    line = next(each for each in engine.machine.read(DROP_IN).split("\n") if "Exec" in each)
    assert engine.machine.do(line.partition("=-+")[2]).startswith(f"on: {STOCK} leads to ")
    run = engine.machine.run("./storpool-adapter", user="ovirt", cwd=ADAPTER.rpartition("/")[0])
    assert run.returncode == 1
    assert "storpool-adapter VERB" in run.stdout + run.stderr
    assert keys.values("CustomVdsFenceType") == {"general": "storpool"}


def test_an_engine_after_457_needs_no_dispatcher(machine: Machine) -> None:
    """The link is there for all; nothing is left of a dispatcher by the end."""
    later = setup_ground.engine(machine, "master")
    before = later.tree()
    said = later.run("--no-fence-agent")
    assert states(said)["dispatcher"] == "not needed"
    assert (states(said)["log-folder"], states(said)["adapter"]) == ("done", "changed")
    later.run("--undo")
    assert later.tree() == before


def test_somebody_elses_client_is_left(engine: Setup, keys: Keys) -> None:
    """A link of another vendor's in the place of Engine's client is told; its adapter too."""
    engine.machine.do(f"ln -sf /opt/vendor/client {STOCK}; mkdir -p {ADAPTER.rpartition('/')[0]}")
    engine.machine.write(ADAPTER, "#!/bin/sh\n# StorPool's own adapter\n", 0o755)
    theirs = {each: engine.tree()[each] for each in (STOCK, ADAPTER)}
    said = engine.run()
    assert (states(said)["dispatcher"], states(said)["adapter"]) == ("needs you", "needs you")
    engine.run("--undo")
    assert {each: engine.tree()[each] for each in (STOCK, ADAPTER)} == theirs


@pytest.mark.parametrize("way", ["storpool.conf", "file", "stdin"])
def test_the_token_comes_to_engines_user_alone(machine: Machine, way: str) -> None:
    """From where it is: root's, for group ovirt to read, and nobody else."""
    conf = CONF if way == "storpool.conf" else ""
    engine = setup_ground.engine(machine, conf=conf)
    machine.write("/root/token", f"{TOKEN}\n", 0o600)
    words = {"storpool.conf": (), "file": ("--token-file", "/root/token")}
    given = words.get(way, ("--token-file", "-"))
    said = engine.run("--no-fence-agent", *given, stdin=f"  {TOKEN}\n" * (way == "stdin"))
    assert states(said)["token"] == "changed"
    tree = machine.tree("/etc/ovirt-engine")
    assert tree[FILE].startswith("-rw-r----- 0:108")
    assert tree[FILE.rpartition("/")[0]] == "drwxr-x--- 0:108"
    assert machine.run("cat", FILE, user="ovirt").stdout == f"{TOKEN}\n"
    assert machine.run("cat", FILE, user="vdsm").returncode != 0
    assert states(engine.run("--no-fence-agent"))["token"] == "done"


def test_a_token_that_is_given_takes_the_place_of_the_old_one(engine: Setup) -> None:
    """Without one the old one stays, whatever /etc/storpool.conf says by now."""
    engine.run("--no-fence-agent")
    engine.machine.write("/root/token", OTHER, 0o600)
    words = ("--no-fence-agent", "--token-file", "/root/token")
    looked = step(engine.run(*words, "--dry-run"), "token")
    assert looked["state"] == "would change"
    assert "another token" in looked["what"]
    assert states(engine.run(*words))["token"] == "changed"
    assert engine.machine.read(FILE).strip() == OTHER
    assert states(engine.run("--no-fence-agent"))["token"] == "done"
    assert engine.machine.read(FILE).strip() == OTHER
    assert states(engine.run("--undo"))["token"] == "undone"


def test_a_token_file_that_somebody_wrote_is_not_taken_back(engine: Setup) -> None:
    """Domains may use it: it is told, with the command."""
    engine.run("--no-fence-agent")
    engine.machine.do(f"echo {OTHER} >{FILE}; chmod 0644 {FILE}")
    assert states(engine.run("--no-fence-agent"))["token"] == "changed"
    assert engine.tree()[FILE].startswith("-rw-r----- 0:108")
    said = step(engine.run("--undo"), "token")
    assert (said["state"], said["do"].endswith(f"rm {FILE}")) == ("needs you", True)
    assert engine.machine.read(FILE).strip() == OTHER


def test_no_token_anywhere_is_told(machine: Machine) -> None:
    """With both ways to give one."""
    said = step(setup_ground.engine(machine, conf="").run("--no-fence-agent"), "token")
    assert said["state"] == "needs you"
    assert "--token-file" in said["do"]
    assert "sp_auth_token" in said["do"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("two words\n", "is not a token: it must hold the token alone"),
        ("", "is not a token: it must hold the token alone"),
        ("\0", "has NUL bytes"),
    ],
)
def test_a_file_that_holds_no_token_is_refused(engine: Setup, content: str, sentence: str) -> None:
    """Before anything is changed, and without a word of what is in it."""
    engine.machine.write("/root/token", content, 0o600)
    before = engine.tree()
    for words, stdin in ((("/root/token",), ""), (("-",), content), (("/root/none",), "")):
        said = engine.run("--token-file", *words, code=1, stdin=stdin)["error"]
        expected = sentence if words != ("/root/none",) else "cannot be read (No such file"
        assert expected in said
        assert "two words" not in said
    assert engine.tree() == before


def test_a_link_in_the_place_of_the_token_is_left(engine: Setup) -> None:
    """Nothing is written to where it leads."""
    engine.machine.do(f"mkdir -p {FILE.rpartition('/')[0]}; echo x >/srv/other")
    engine.machine.do(f"ln -s /srv/other {FILE}")
    said = step(engine.run("--no-fence-agent"), "token")
    assert (said["state"], "a link to /srv/other" in said["what"]) == ("needs you", True)
    assert engine.machine.read("/srv/other") == "x\n"


def test_a_folder_that_its_user_could_replace_is_refused(engine: Setup) -> None:
    """Root writes no token where another user could put a link."""
    engine.machine.do("chown ovirt /etc/ovirt-engine")
    said = step(engine.run("--no-fence-agent", code=1), "token")
    assert said["state"] == "failed"
    assert "can be replaced by the user with the id 108" in said["what"]
    assert FILE not in engine.tree()


@pytest.mark.parametrize(
    ("release", "file", "key", "answer"),
    [
        ("4.5.7", "cinderlib", "CINDERLIB", "OVESETUP_CL_DB/enable=bool:True"),
        ("master", "managedblock", "MANAGEDBLOCK", "OVESETUP_MB_DB/enable=bool:True"),
    ],
)
def test_the_database_is_engine_setups(
    machine: Machine, release: str, file: str, key: str, answer: str
) -> None:
    """Setup tells what to say to it, in the words of the release, until it is there."""
    engine = setup_ground.engine(machine, release)
    name = SETUP_CONF.format(f"{file}-database")
    values = {"HOST": "localhost", "PORT": "5432", "USER": "u", "PASSWORD": "pass", "DATABASE": "d"}
    for enabled in (None, "False"):
        if enabled:
            machine.write(SETUP_CONF.format(file), f'{key}_DB_ENABLE="{enabled}"\n')
        said = step(engine.run("--no-fence-agent"), "database")
        assert said["state"] == "needs you"
        assert answer in said["do"]
        assert "engine-setup --reconfigure-optional-components" in said["do"]
    lines = "".join(f'{key}_DB_{each}="{value}"\n' for each, value in values.items())
    machine.write(name, lines, 0o640, "root:ovirt")
    machine.write(SETUP_CONF.format(file), f'{key}_DB_ENABLE="True"\n')
    said = step(engine.run("--no-fence-agent"), "database")
    assert said["state"] == "done"
    assert "pass" not in said["what"]


class TestServices:
    """What systemd has read, and when Engine was started."""

    @pytest.fixture
    def booted(self, engine: Setup) -> Setup:
        """Engine's machine, that systemd runs."""
        engine_config_tool.installed(engine.machine)
        engine.machine.do("mkdir -p /run/systemd/system; rm -f /usr/bin/systemctl")
        engine.machine.do(": >/run/engine.drop-ins; echo no >/run/engine.reload")
        engine.machine.tool("systemctl", SYSTEMCTL)
        now = int(time.monotonic() * 1e6)
        engine.machine.write("/run/engine.started", f"ActiveEnterTimestampMonotonic={now}\n")
        return engine

    def test_the_drop_in_is_read(self, booted: Setup) -> None:
        """systemd reads its units again, when the file has come and when it is gone."""
        booted.run()
        assert booted.machine.read("/run/engine.drop-ins") == f"{DROP_IN}\n"
        booted.run()
        booted.machine.write("/run/engine.reload", "yes\n")
        assert states(booted.run())["drop-in"] == "changed"
        booted.run("--undo")
        assert booted.machine.read("/run/engine.drop-ins") == ""
        asked = booted.machine.read("/run/systemctl.asked").split("\n")
        assert asked.count("daemon-reload") == 3
        assert not [each for each in asked if "start" in each.replace("ActiveEnter", "").split()]

    def test_engine_is_named_until_it_was_restarted(self, booted: Setup) -> None:
        """It reads its keys when it starts; nobody restarts it but you."""
        looked, first, second = booted.run("--dry-run"), booted.run(), booted.run()
        for said in (looked, first, second):
            assert [each["service"] for each in said["restarts"]] == ["ovirt-engine"]
        assert second["changed"] == 0
        later = int((time.monotonic() + 1) * 1e6)
        booted.machine.write("/run/engine.started", f"ActiveEnterTimestampMonotonic={later}\n")
        assert booted.run()["restarts"] == []

    def test_engine_is_not_named_for_what_it_reads_itself(self, booted: Setup) -> None:
        """Token, dispatcher and adapter are seen by the next call."""
        assert booted.run("--no-fence-agent", "--no-vm-properties")["restarts"] == []
