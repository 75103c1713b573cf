"""What the doctor of Engine's machine must never do or advise: a path, a name or a value out of a
database gives no file away and starts nothing."""

from __future__ import annotations

import pytest
from engine_ground import CLIENT, ServedMachine

TOKEN_FILE = "sp_auth_token_file"
SETUPS = "/etc/ovirt-engine/storpool-ovirt"
LOGS = "/var/log/ovirt-engine/managedblock"
SHADOW = "/etc/shadow"
CLOSING = ("engine-domain-options", "engine-token")
RAN = "/root/ran"
RUNS = f"$(touch${{IFS}}{RAN})"
TYPE, MAPPING = "CustomVdsFenceType", "CustomVdsFenceOptionMapping"


MADE = {
    SHADOW: "",
    "/etc/passwd": "",
    f"{SETUPS}/../../shadow": "",
    f"{SETUPS}/link": f"ln -s {SHADOW} {SETUPS}/link",
    f"{SETUPS}/name": f"ln {SHADOW} {SETUPS}/name",
    f"{SETUPS}/folder/shadow": f"ln -s /etc {SETUPS}/folder",
    f"{SETUPS}/fifo": f"mkfifo -m 0666 {SETUPS}/fifo",
}


@pytest.mark.parametrize("mode", ["0600", "0644"])
@pytest.mark.parametrize(
    "made",
    [
        MADE,
        {f"{SETUPS}/x": f"chmod 0777 {SETUPS}; touch {SETUPS}/x; chmod 0600 {SETUPS}/x"},
        {f"{SETUPS}/x": f"chown ovirt {SETUPS}; touch {SETUPS}/x; chmod 0600 {SETUPS}/x"},
    ],
    ids=["files", "all write", "not root's"],
)
def test_no_file_but_setups_is_given_to_engines_user(
    served: ServedMachine, made: dict[str, str], mode: str
) -> None:
    """Not by --fix, and not by the command that is told."""
    served.token()
    served.do(f"chmod {mode} {SHADOW}; chmod 0755 /etc/ovirt-engine {SETUPS}")
    for path, command in made.items():
        served.do(command or "true")
        served.domain(path[-30:], **{TOKEN_FILE: path})
    look = f"stat -L -c '%a %U:%G' {SHADOW} /etc/passwd {' '.join(made)}"
    before = served.do(look)
    wrong = [each for each in served.look(*CLOSING, fix=True) if each.result != "ok"]
    assert {each.subject for each in wrong} & {*made}
    for found in wrong:
        assert not found.action
        assert "chown" not in found.fix
        assert "chmod" not in found.fix
    assert served.do(look) == before


def test_a_file_that_changed_after_the_look_is_left(served: ServedMachine) -> None:
    """The action looks again, by itself."""
    path = served.token()
    served.do(f"rm {path}; chmod 0600 {SHADOW}; ln -s {SHADOW} {path}")
    code = f"from storpool_ovirt.doctor import engine_token as t; t.close('{path}', '')"
    done = served.machine.run("/opt/storpool-ovirt/bin/python3", "-c", code)
    assert "is no file of root's" in done.stderr
    assert served.do(f"stat -c '%a %U:%G' {SHADOW}").strip().startswith("600 root:")


@pytest.mark.parametrize("made", [f"ln -s {SHADOW}", f"ln {SHADOW}"])
def test_a_log_that_is_a_link_gives_nothing_away(served: ServedMachine, made: str) -> None:
    """What is told takes the name away; a log of root's is named by itself."""
    before = served.do(f"stat -c '%a %U:%G' {SHADOW}")
    served.do(f"{made} {LOGS}/x.log; touch '{LOGS}/a b.log'")
    found = served.one("engine-log-folder")
    assert f"rm {LOGS}/x.log" in found.fix
    served.do(found.fix)
    assert served.do(f"stat -c '%a %U:%G' {SHADOW}") == before
    assert served.one("engine-log-folder").result == "ok"


def test_no_value_from_outside_runs_in_a_shell(served: ServedMachine) -> None:
    """Each command that is told, pasted as it is, starts nothing that a value names."""
    tables = served.tables
    center = str(tables.execute("SELECT id::text FROM storage_pool")[0][0])
    served.domain("a", **{TOKEN_FILE: f"/nowhere/{RUNS}"})
    served.domain("b", **{TOKEN_FILE: f"/etc/ovirt-engine/storpool-ovirt/`touch {RAN}`"})
    served.domain("c", **{RUNS: "x", "d'; touch /root/ran; '": "x", TOKEN_FILE: served.token()})
    served.domain("d", **{TOKEN_FILE: f"{SETUPS}/{'x' * 300}"})
    served.domain("e", sp_api_http_host=f"`touch {RAN}`", **{TOKEN_FILE: served.token()})
    served.domain("f", adapter=f"x{RUNS}")
    tables.add_host(f"h;touch {RAN};", center, status=4)
    tables.set_option(TYPE, f"apc,{RUNS}")
    tables.set_option(MAPPING, "storpool:port=port")
    tables.execute("UPDATE storage_pool SET compatibility_version = %s", f"4.7;touch {RAN}")
    tables.set_option("UserDefinedVMProperties", "LD_PRELOAD=^x$", f"4.6;touch {RAN}")
    ids = (
        *CLOSING,
        "engine-domain-adapter",
        "engine-domain-stats",
        "engine-token-backup",
        "engine-host-up",
        "engine-fence-agent",
        "engine-vm-properties",
        "engine-attach-allowed",
    )
    wrong = [each for each in served.look(*ids) if each.result in ("warning", "critical")]
    assert {each.id for each in wrong} > {"engine-host-up", "engine-fence-agent"}
    for tool in ("engine-config", "systemctl", "storpool-ovirt", "curl"):
        served.tool(tool, "true")
    for each in wrong:
        served.machine.run("sh", "-c", each.fix)
        served.machine.run("bash", "-c", each.fix)
        assert not served.machine.path(RAN).exists(), each.fix


@pytest.mark.parametrize("name", ["x\x1b[31my", "x" * 3000, "a\u202eb"])
def test_a_value_that_nobody_can_paste_is_in_no_command(served: ServedMachine, name: str) -> None:
    """It cannot be seen, or would be cut, and the quotes with it."""
    served.domain(**{TOKEN_FILE: served.token(), name: "x"})
    found = served.one("engine-domain-options")
    assert (found.result, found.fix.startswith("by hand: ")) == ("warning", True), found


def test_one_odd_domain_hides_no_other(served: ServedMachine) -> None:
    """A token's path that no file can have, and an adapter of that kind."""
    served.domain("odd", adapter="x" * 5000)
    served.domain("long", **{TOKEN_FILE: "/" + "a" * 300})
    served.domain("bad", **{TOKEN_FILE: "/zzz/not-there"})
    found = served.look("engine-token", "engine-domain-adapter", "engine-domain-options")
    results = {(each.id, each.subject[:8]): each.result for each in found}
    assert results["engine-token", "/zzz/not"] == "critical"
    assert results["engine-token", "/aaaaaaa"] == "unknown"
    assert results["engine-domain-adapter", "odd"] == "critical"
    assert results["engine-domain-adapter", "bad"] == "ok"
    assert results["engine-domain-options", "bad"] == "critical"


def test_verbs_of_many_domains_run_few_at_a_time(served: ServedMachine) -> None:
    """What was reached is told, the rest in one sentence."""
    path = served.token()
    for number in range(9):
        served.domain(f"d{number}", **{TOKEN_FILE: path})
    served.do(f"mv {CLIENT} {CLIENT}.real")
    served.write(CLIENT, COUNTING, 0o755)
    served.do("install -d -m 0777 /srv/runs; touch /srv/most; chmod 0666 /srv/most")
    found = served.look("engine-domain-stats")
    most = max(int(each) for each in served.do("cat /srv/most").split())
    assert most <= 4
    assert len([each for each in found if each.subject]) >= 4
    last = [each for each in found if not each.subject]
    assert [each.result for each in last] == ["unknown"] * len(last)
    assert len(found) == 9 or "there was no time for" in last[0].cause, found


COUNTING = """#!/bin/sh
touch /srv/runs/$$
ls /srv/runs | wc -l >>/srv/most
sleep 1
rm /srv/runs/$$
echo "error no"
exit 1
"""


@pytest.mark.parametrize(
    ("check", "systemctl"),
    [
        ("engine-audit-timer", "echo 'Failed to connect to bus' >&2; exit 1"),
        ("engine-fapolicyd", "echo 'Failed to connect to bus' >&2; exit 1"),
        ("engine-audit-timer", "case $1 in is-enabled) echo enabled;; *) exit 1;; esac"),
    ],
)
def test_a_tool_that_fails_is_no_answer(served: ServedMachine, check: str, systemctl: str) -> None:
    """Neither good nor bad."""
    served.tool("fapolicyd-cli", "exit 0")
    served.tool("systemctl", systemctl)
    assert served.one(check).result == "unknown"


def test_a_verb_that_writes_without_end_is_ended(served: ServedMachine) -> None:
    """Its output is not kept."""
    served.domain(**{TOKEN_FILE: served.token()})
    served.do(f"rm {CLIENT}")
    served.write(CLIENT, "#!/bin/sh\nexec yes\n", 0o755)
    found = served.one("engine-domain-stats")
    assert (found.result, "has more than" in found.cause) == ("critical", True), found
