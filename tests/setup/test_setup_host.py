"""What setup makes on a host: each step, what stands in its way, what services are told."""

from __future__ import annotations

import time

import pytest
import setup_ground
from setup_ground import CONF, VDSM, Setup, states, step

from rigs.machine import PREFIX, Machine

HOOK_POINTS = (
    "before_vm_start",
    "before_disk_hotplug",
    "before_vm_migrate_source",
    "after_disk_hotunplug",
)
SUDOERS = "/etc/sudoers.d/storpool-ovirt"
MULTIPATH = "/etc/multipath/conf.d/storpool-ovirt.conf"
LINKS = {
    f"{VDSM}/managedvolume-helper-storpool": ("helper", "managedvolume-helper-storpool"),
    f"{VDSM}/hooks/before_vdsm_start/50_storpool": ("boot-hook", "storpool-boot-hook"),
    f"{VDSM}/hooks/before_vm_start/50_storpool": ("hook-before-vm-start", "storpool-vm-hook"),
    "/usr/libexec/storpool-ovirt/storpool-vm-door": ("vm-door", "storpool-vm-door"),
    "/usr/libexec/storpool-ovirt/storpool-fence-door": ("fence-door", "storpool-fence-door"),
    "/usr/sbin/fence_storpool": ("fence-agent", "fence_storpool"),
}
DOOR = "/usr/libexec/storpool-ovirt/storpool-vm-door"
MULTIPATHD = """
case "$1 $2" in
    "show config") cat /run/multipathd.read ;;
    "reconfigure ") cat /etc/multipath/conf.d/*.conf >/run/multipathd.read 2>/dev/null; echo ok ;;
esac
echo "$*" >>/run/multipathd.asked
"""
SYSTEMCTL = r"""
case "$*" in
    *is-active*vdsmd) test -e /run/vdsmd.started ;;
    *is-active*multipathd) test -e /run/multipathd.runs ;;
    *is-active*storpool-vm-agent.service) exit 3 ;;
    daemon-reload | show*NeedDaemonReload*) ;;
    *show*ActiveEnterTimestampMonotonic*) cat /run/vdsmd.started ;;
    *) echo "$*" >>/run/systemctl.asked ;;
esac
"""


def test_all_that_vdsm_looks_for_is_there(host: Setup) -> None:
    """By the names that Vdsm, sudo and Engine's fence proxy know, root's, for all to run."""
    host.run()
    tree = host.tree()
    for place, (_, program) in LINKS.items():
        assert tree[place] == f"lrwxrwxrwx 0:0 -> {PREFIX}/bin/{program}", place
    for point in HOOK_POINTS:
        assert tree[f"{VDSM}/hooks/{point}"] == "drwxr-xr-x 0:0"
        run = host.machine.run(f"{VDSM}/hooks/{point}/50_storpool", user="vdsm")
        assert "_hook_domxml is not set" in run.stderr
    assert tree[SUDOERS].startswith("-r--r----- 0:0")
    assert tree["/var/log/storpool-ovirt"] == "drwx------ 0:0"
    host.machine.do("echo 'vdsm:*:19000::::::' >>/etc/shadow")  # an account that sudo takes
    asked = host.machine.run("sudo", "-n", "-l", DOOR, user="vdsm")
    assert asked.returncode == 0, asked.stderr
    piece = host.machine.run(
        "python3", "-c", "import os_brick; print(os_brick.__file__)", env={"PYTHONPATH": VDSM}
    )
    assert piece.stdout == f"{VDSM}/os_brick/__init__.py\n", piece


@pytest.mark.parametrize("umask", ["0077", "0000"])
def test_no_umask_changes_a_mode(host: Setup, umask: str) -> None:
    """What is made has the modes that it must have, whoever types it."""
    host.run()
    wanted = host.tree()
    host.run("--undo")
    host.machine.do(f"umask {umask}; {host.command} setup host")
    assert host.tree() == wanted


# What somebody else may have put there. Another vendor's program may have the very name of ours.
THEIRS = {
    "file": 'echo theirs >"$1"',
    "folder": 'mkdir "$1"; echo theirs >"$1/file"',
    "dangling": 'ln -s "/nowhere/$2" "$1"',
    "foreign": 'mkdir -p /srv/theirs; echo x >"/srv/theirs/$2"; ln -s "/srv/theirs/$2" "$1"',
    "fifo": 'mkfifo "$1"',
}


@pytest.mark.parametrize("kind", THEIRS)
def test_what_is_somebody_elses_is_left(host: Setup, kind: str) -> None:
    """A file, a folder, a link that leads nowhere or to another program: told, never replaced, and
    not taken back either. What attaches disks is not put there then: a hook may be theirs."""
    for place, (_, program) in LINKS.items():
        host.machine.do(f'mkdir -p "${{1%/*}}"; {THEIRS[kind]}', place, program)
    theirs = host.tree()
    for words in ((), ("--undo",)):
        said = host.run(*words, code=0 if words else 1)
        for place, (name, _) in LINKS.items():
            told = "failed" if name == "helper" else "needs you"
            assert step(said, name)["state"] == ("not needed" if words else told), place
            assert place in step(said, name)["what"]
        assert states(said)["os-brick"] == ("not needed" if words else "failed")
        assert host.tree().items() >= theirs.items()
    assert host.tree() == theirs


def test_a_folder_os_brick_is_left(host: Setup) -> None:
    """As the packages leave it: Vdsm's users may have an os-brick of their own there."""
    host.machine.do(f"mkdir {VDSM}/os_brick; touch {VDSM}/os_brick/__init__.py")
    assert step(host.run(), "os-brick")["state"] == "needs you"
    host.run("--undo")
    assert host.machine.do(f"ls {VDSM}/os_brick") == "__init__.py\n"


def another_installation(host: Setup) -> Setup:
    """Make one more virtual environment with ours."""
    host.machine.do(f"cp -a {PREFIX} /opt/older; sed -i 's#{PREFIX}#/opt/older#' /opt/older/bin/*")
    older = Setup(host.machine, "host")
    older.command = "/opt/older/bin/storpool-ovirt"
    return older


def test_links_of_another_installation_of_ours_are_taken_over(host: Setup) -> None:
    """A new virtual environment beside the old one; the old one's undo leaves what is not its."""
    host.machine.do(
        f"cp -a {PREFIX} /opt/older; sed -i 's#{PREFIX}/bin#/opt/older/bin#' /opt/older/bin/*"
    )
    older = Setup(host.machine, "host")
    older.command = "/opt/older/bin/storpool-ovirt"
    older.run()
    assert host.tree()["/usr/sbin/fence_storpool"].endswith("-> /opt/older/bin/fence_storpool")
    said = host.run()
    assert states(said)["helper"] == states(said)["os-brick"] == "changed"
    mine = host.tree()
    assert {states(older.run("--undo"))[name] for name, _ in LINKS.values()} == {"not needed"}
    links = {*LINKS, f"{VDSM}/os_brick"}
    assert {each: host.tree()[each] for each in links} == {each: mine[each] for each in links}


def test_a_link_to_what_is_gone_is_made_anew(host: Setup) -> None:
    """Where setup itself made it: of an installation that was removed, or moved."""
    host.machine.do(
        f"cp -a {PREFIX} /opt/older; sed -i 's#{PREFIX}/bin#/opt/older/bin#' /opt/older/bin/*"
    )
    older = Setup(host.machine, "host")
    older.command = "/opt/older/bin/storpool-ovirt"
    before = host.tree()
    older.run()
    host.machine.do("rm -r /opt/older")
    assert states(host.run())["helper"] == "changed"
    host.run("--undo")
    assert host.tree() == before


def test_a_setting_that_was_changed_is_left(host: Setup) -> None:
    """With all that we ship in it it is fine; without, a person is told how to compare. Taken back
    it is not: it is whoever changed it's."""
    host.run()
    more = host.machine.read(SUDOERS).replace(
        "STORPOOL_FENCE_DOOR\n", "STORPOOL_FENCE_DOOR, STORPOOL_FENCE_RUNNING\n"
    )
    assert more.count("STORPOOL_FENCE_RUNNING") == 3
    host.machine.write(SUDOERS, more, 0o440)
    host.machine.write(MULTIPATH, "blacklist {\n}\n")
    said = host.run()
    assert said["changed"] == 0
    assert states(said)["sudoers"] == "done"
    assert step(said, "multipath")["state"] == "needs you"
    assert step(said, "multipath")["do"].startswith(f"compare: diff {MULTIPATH} ")
    assert {states(host.run("--undo"))[name] for name in ("sudoers", "multipath")} == {"needs you"}
    assert host.machine.read(SUDOERS) == more


def test_a_setting_of_an_older_release_is_renewed(host: Setup) -> None:
    """What setup wrote and nobody touched is ours to write anew."""
    shipped = f"{PREFIX}/lib/python3*/site-packages/storpool_ovirt/setup/files/sudoers.d/*"
    host.machine.do(
        f"cp {shipped} /srv/new; for each in {shipped}; do echo '# older' >>$each; done"
    )
    host.run()
    assert host.machine.read(SUDOERS).endswith("# older\n")
    host.machine.do(f"cp /srv/new {shipped}")
    assert states(host.run())["sudoers"] == "changed"
    assert host.machine.read(SUDOERS) == host.machine.read("/srv/new")


def test_a_mode_or_an_owner_that_is_wrong_is_put_right(host: Setup) -> None:
    """sudo would not take the file; the door would not write its log."""
    host.run()
    once = host.tree()
    host.machine.do(
        f"chmod 0644 {SUDOERS}; chown vdsm {MULTIPATH}; chmod 0755 /var/log/storpool-ovirt"
    )
    said = states(host.run())
    assert (said["sudoers"], said["multipath"], said["log-folder"]) == ("changed",) * 3
    assert host.tree() == once


def test_a_folder_of_somebody_elses_keeps_its_mode(host: Setup) -> None:
    """One that was there before is told, with the command."""
    host.machine.do("mkdir -m 0755 /var/log/storpool-ovirt")
    said = step(host.run(), "log-folder")
    how = "chown root:root /var/log/storpool-ovirt && chmod 0700 /var/log/storpool-ovirt"
    assert (said["state"], said["do"]) == ("needs you", how)
    host.run("--undo")
    assert host.tree()["/var/log/storpool-ovirt"] == "drwxr-xr-x 0:0"


def test_logs_stay(host: Setup) -> None:
    """And the folder with them; what is left then is nobody's record any more."""
    host.run()
    host.machine.write("/var/log/storpool-ovirt/vm-door.log", "taken\n")
    assert step(host.run("--undo"), "log-folder")["what"].endswith("something is in it")
    assert host.machine.read("/var/log/storpool-ovirt/vm-door.log") == "taken\n"
    assert not [each for each in host.tree() if each.startswith("/var/lib/storpool-ovirt")]


def test_sudoers_that_sudo_would_refuse_are_not_put_there(host: Setup) -> None:
    """With a bad file in its folder sudo may refuse everybody."""
    shipped = f"{PREFIX}/lib/python3*/site-packages/storpool_ovirt/setup/files/sudoers.d/*"
    host.machine.do(f"for each in {shipped}; do echo 'vdsm ALL=(root' >>$each; done")
    said = host.run(code=1)
    assert step(said, "sudoers")["state"] == "failed"
    assert "is refused by visudo" in step(said, "sudoers")["what"]
    assert host.machine.do("ls -A /etc/sudoers.d").split() == ["README"]
    assert states(said)["helper"] == "failed"


def test_without_visudo_no_sudoers(host: Setup) -> None:
    """What nobody can check is not put there."""
    host.machine.without("visudo")
    said = step(host.run(code=1), "sudoers")
    assert (said["state"], said["what"]) == (
        "failed",
        "there is no program visudo on this machine",
    )
    assert SUDOERS not in host.tree()


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ("", "SP_API_HTTP_HOST is missing in /etc/storpool.conf"),
        ("SP_API_HTTP_HOST=a\n", "SP_AUTH_TOKEN is missing in /etc/storpool.conf"),
        ("SP_API_HTTP_HOST=a\nSP_AUTH_TOKEN=1\n", "SP_OURID is missing in the section ["),
        (CONF.replace("=2", "=1"), "client 1 is 2 hosts in /etc/storpool.conf"),
        (CONF.replace("[alpha]\n", ""), "by a line before all sections"),
        ("what is this\n", "line 1 of /etc/storpool.conf is neither KEY=VALUE nor [host]"),
    ],
)
def test_a_host_that_does_not_know_itself_is_told(
    machine: Machine, conf: str, sentence: str
) -> None:
    """In our own reader's words, with all else done."""
    said = setup_ground.host(machine, conf).run()
    assert step(said, "storpool-conf")["state"] == "needs you"
    assert sentence in step(said, "storpool-conf")["what"]
    assert states(said)["helper"] == "changed"


class TestServices:
    """What services have read; none of them is started or stopped."""

    @pytest.fixture
    def booted(self, host: Setup) -> Setup:
        """A host that systemd runs, with multipathd."""
        host.machine.do("mkdir -p /run/systemd/system; touch /run/multipathd.read")
        host.machine.do("rm -f /usr/bin/systemctl; touch /run/multipathd.runs")
        host.machine.tool("systemctl", SYSTEMCTL)
        host.machine.tool("multipathd", MULTIPATHD)
        return host

    def test_multipathd_is_told_once(self, booted: Setup) -> None:
        """When its file has come, and when it is gone."""
        booted.run()
        assert "^sp-[0-9]+" in booted.machine.read("/run/multipathd.read")
        booted.run()
        booted.run("--undo")
        asked = booted.machine.read("/run/multipathd.asked").split("\n")
        assert asked.count("reconfigure") == 2
        assert booted.machine.read("/run/multipathd.read") == ""

    def test_multipathd_that_has_not_read_it_is_told(self, booted: Setup) -> None:
        """A run that was killed between both, or a file that came while multipathd was away."""
        booted.run()
        booted.machine.do(": >/run/multipathd.read")
        assert states(booted.run("--dry-run"))["multipath"] == "would change"
        assert states(booted.run())["multipath"] == "changed"
        assert booted.run()["changed"] == 0

    def test_multipathd_that_does_not_run_is_left(self, booted: Setup) -> None:
        """It reads its files when it starts."""
        booted.machine.do("rm /run/multipathd.runs")
        assert states(booted.run())["multipath"] == "changed"
        assert "/run/multipathd.asked" not in booted.tree()

    def test_multipathd_that_does_not_answer_is_told(self, booted: Setup) -> None:
        """The file is there, and the step says why it is not enough."""
        booted.machine.tool("multipathd", "echo 'timeout receiving packet'; exit 1")
        said = step(booted.run(code=1), "multipath")
        assert said["state"] == "failed"
        assert "timeout receiving packet" in said["what"]
        assert MULTIPATH in booted.tree()

    def test_vdsmd_is_named_until_it_was_restarted(self, booted: Setup) -> None:
        """It looks for os_brick when it starts; nobody restarts it but you."""
        booted.machine.write("/run/vdsmd.started", "ActiveEnterTimestampMonotonic=1000\n")
        first, second = booted.run(), booted.run()
        for said in (first, second):
            assert [each["service"] for each in said["restarts"]] == ["vdsmd"]
            assert "leaves VMs alone" in said["restarts"][0]["when"]
        now = int(time.monotonic() * 1e6) + 1000
        booted.machine.write("/run/vdsmd.started", f"ActiveEnterTimestampMonotonic={now}\n")
        assert booted.run()["restarts"] == []
        assert "/run/systemctl.asked" not in booted.tree()

    def test_vdsmd_that_does_not_run_is_not_named(self, booted: Setup) -> None:
        """It will find all when it starts."""
        assert booted.run()["restarts"] == []


@pytest.mark.parametrize("sign", ["VARIANT_ID", "imgbase"])
def test_pip_on_a_node_is_refused(host: Setup, sign: str) -> None:
    """Its next upgrade would lose all of it, and VMs would start unfenced; what was put there
    before it was known can be taken back."""
    before = host.tree()
    host.run()
    if sign == "imgbase":
        host.machine.tool("../bin/imgbase", "")
    else:
        host.machine.write("/etc/os-release", 'NAME="oVirt Node"\nVARIANT_ID="ovirt-node"\n')
    said = host.run(code=1)["error"]
    assert "this is oVirt Node" in said
    assert "install our packages with dnf" in said
    host.machine.do("rm -f /usr/bin/imgbase; cp -a /usr/lib/os-release /srv/ 2>/dev/null || true")
    host.run("--undo")
    assert {*host.tree()} == {*before}


def test_the_settings_may_be_written_anew(host: Setup) -> None:
    """Root reads /etc/storpool.conf at each call: a tool that replaces it takes nothing away."""
    host.run()
    conf = host.machine.read("/etc/storpool.conf")
    host.machine.write("/etc/storpool.conf.new", conf.replace("127.0.0.1", "127.0.0.2"), 0o600)
    host.machine.do("mv /etc/storpool.conf.new /etc/storpool.conf")
    said = step(host.run(), "storpool-conf")
    assert said["state"] == "done"
    assert said["what"].endswith("of the API at 127.0.0.2")
