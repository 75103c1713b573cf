"""engine_files.py, engine_trust.py, engine_log.py: files, their modes, and who refuses them."""

from __future__ import annotations

import pytest
from engine_ground import ServedMachine

LOGS = "/var/log/ovirt-engine"
FOLDER = f"{LOGS}/managedblock"
CONF = "/etc/storpool.conf"
TOKEN_FILE = "sp_auth_token_file"
ALL = (
    "engine-log-folder",
    "engine-storpool-conf",
    "engine-client-ids",
    "engine-token",
    "engine-token-backup",
)


def conf(served: ServedMachine, more: str = "", mode: int = 0o640) -> None:
    """Write storpool.conf as StorPool has it: the token, and a section for each host."""
    head = f"SP_API_HTTP_HOST=127.0.0.1\nSP_AUTH_TOKEN={served.simulator.token}\n"
    hosts = "[host1]\nSP_OURID=1\n[host2]\nSP_OURID=2\n"
    served.write(CONF, f"{head}{hosts}{more}", mode, "root:ovirt")


def test_all_is_well(served: ServedMachine) -> None:
    """With the token's file in its place; then with nothing of ours at all."""
    assert {each.result for each in served.look(*ALL)} == {"ok"}
    conf(served)
    served.domain(**{TOKEN_FILE: served.token()})
    found = served.look(*ALL)
    assert {each.result for each in found} == {"ok"}, found


def test_without_engines_database_nobody_knows(served: ServedMachine) -> None:
    """Which domains have which files; what can be seen without it is told all the same."""
    conf(served)
    served.tables.write_conf(served.machine.path(""), DATABASE="nosuch")
    found = {each.id: each.result for each in served.look(*ALL)}
    assert found.pop("engine-log-folder") == "ok"
    assert set(found.values()) == {"unknown"}, found


@pytest.mark.parametrize(
    ("broken", "said", "is_mended"),
    [
        (f"rm -r {FOLDER}", "is missing", True),
        (f"chown root {FOLDER}", "is not user ovirt's", False),
        (f"rmdir {FOLDER}; ln -s /tmp {FOLDER}", "is no folder", False),
        (f"touch {FOLDER}/storpool-adapter.log", "storpool-adapter.log is not user ovirt's", False),
    ],
)
def test_a_log_folder_that_verbs_cannot_write(
    served: ServedMachine, broken: str, said: str, is_mended: bool
) -> None:
    """Missing, somebody else's, no folder, with a log of root's in it."""
    served.do(broken)
    found = served.one("engine-log-folder", fix=True)
    assert (found.result, bool(found.action)) == ("warning", is_mended), found
    assert said in found.cause
    if not is_mended:
        served.do(found.fix)
    assert served.one("engine-log-folder").result == "ok"


def test_a_log_folder_of_a_user_that_is_not_known(served: ServedMachine) -> None:
    """Whose it should be nobody knows."""
    served.do("sed -i /^ovirt/d /etc/passwd")
    assert served.one("engine-log-folder").result == "unknown"


@pytest.mark.parametrize("is_needed", [False, True])
def test_storpool_conf_that_engines_user_cannot_read(
    served: ServedMachine, is_needed: bool
) -> None:
    """It is worse where a domain has its token nowhere else."""
    conf(served)
    served.do(f"chgrp root {CONF}")
    served.domain(**({} if is_needed else {TOKEN_FILE: served.token()}))
    found = served.one("engine-storpool-conf")
    assert found.result == ("critical" if is_needed else "warning"), found
    assert "user ovirt cannot read /etc/storpool.conf" in found.cause
    served.do(found.fix)
    assert served.one("engine-storpool-conf").result == "ok"


def test_storpool_conf_that_is_damaged_or_gone(served: ServedMachine) -> None:
    """A line that is none; no file where a domain needs it."""
    served.domain()
    conf(served, "nonsense\n")
    found = served.one("engine-storpool-conf")
    assert (found.result, "line 7 of" in found.cause) == ("critical", True), found
    served.do(f"rm {CONF}")
    found = served.one("engine-storpool-conf")
    assert (found.result, "is not there" in found.cause) == ("critical", True), found


def test_client_ids_that_are_wrong(served: ServedMachine) -> None:
    """Two hosts of one id; an id that is none; a host that is up and has no section."""
    conf(served, "[host3]\nSP_OURID=1\n[host4]\nSP_OURID=none\n")
    center = str(served.tables.execute("SELECT id::text FROM storage_pool")[0][0])
    served.tables.add_host("h5", center, connector={"host": "host5"})
    served.tables.add_host("h1", center, connector={"host": "host1"})
    found = {each.subject: each for each in served.look("engine-client-ids")}
    assert sorted(found) == ["1", "h5", "host4"]
    assert found["1"].result == "critical"
    assert "host1 and host3" in found["1"].cause
    assert (found["host4"].result, found["h5"].result) == ("warning", "warning")
    assert "[host5]" in found["h5"].cause


@pytest.mark.parametrize(
    ("broken", "said", "is_mended"),
    [
        ("rm {0}", "is not there", False),
        ("chmod 0600 {0}", "user ovirt cannot read", True),
        ("chmod 0700 /etc/ovirt-engine/storpool-ovirt", "user ovirt cannot read", False),
        ("chgrp kvm {0}; chmod 0755 $(dirname {0}) /etc/ovirt-engine", "cannot read", True),
    ],
)
def test_a_token_that_engines_user_cannot_read(
    served: ServedMachine, broken: str, said: str, is_mended: bool
) -> None:
    """By its mode, its group, a folder on the way, or as it is gone."""
    path = served.token()
    served.domain(**{TOKEN_FILE: path})
    served.do(broken.format(path))
    found = served.look("engine-token", fix=is_mended)[0]
    assert (found.result, found.subject) == ("critical", path), found
    assert said in found.cause
    assert (served.one("engine-token").result == "ok") is is_mended


def test_a_folder_that_engines_user_cannot_pass(served: ServedMachine) -> None:
    """Ours is named, and its command opens it; of others' folders there are words alone."""
    path = served.token()
    served.domain(**{TOKEN_FILE: path})
    folder = path.rpartition("/")[0]
    served.do(f"chmod 0700 {folder}; chgrp root {folder}")
    found = served.look("engine-token", "engine-domain-stats")
    for each in found:
        assert each.result == "critical"
        assert each.fix == f"chown root:ovirt {folder} && chmod 0750 {folder}"
        assert not each.action
    served.do(found[0].fix)
    assert {each.result for each in served.look("engine-token", "engine-domain-stats")} == {"ok"}
    served.do("chmod 0700 /etc/ovirt-engine")
    for each in served.look("engine-token"):
        assert "may not pass the folder /etc/ovirt-engine" in each.cause
        assert each.fix.startswith("let user ovirt pass the folder /etc/ovirt-engine,")


def test_a_token_that_others_can_read(served: ServedMachine) -> None:
    """Every user, or user vdsm by a group; in storpool.conf and in the files of its folder."""
    conf(served, mode=0o644)
    served.write("/etc/storpool.conf.d/x.conf", "SP_AUTH_TOKEN=0000\n", 0o640, "root:kvm")
    served.write("/etc/storpool.conf.d/y.conf", "SP_X=1\n", 0o644)
    found = {each.subject: each for each in served.look("engine-token")}
    assert sorted(found) == [CONF, "/etc/storpool.conf.d/x.conf"]
    assert {each.result for each in found.values()} == {"critical"}
    assert "every local user" in found[CONF].cause
    assert "user vdsm" in found["/etc/storpool.conf.d/x.conf"].cause
    for each in found.values():
        served.do(each.fix)
    assert {each.result for each in served.look("engine-token")} == {"ok"}


def test_a_token_that_no_backup_keeps(served: ServedMachine) -> None:
    """In storpool.conf, or a file elsewhere: engine-backup takes neither."""
    conf(served)
    served.write("/srv/token", "1\n", 0o640, "root:ovirt")
    served.domain("a")
    served.domain("b", **{TOKEN_FILE: "/srv/token"})
    served.domain("c", **{TOKEN_FILE: served.token()})
    found = {each.subject: each.result for each in served.look("engine-token-backup")}
    kept = "/etc/ovirt-engine/storpool-ovirt/token"
    assert found == {"/srv/token": "warning", CONF: "warning", kept: "ok"}


CLI = "/usr/sbin/fapolicyd-cli"
TRUST = """
[ "$1" = --check-trustdb ] && cat /srv/trust 2>/dev/null
exit $(cat /srv/code 2>/dev/null || echo 0)
"""
FAPOLICYD = ("engine-fapolicyd", "engine-fapolicyd-refusals")
REFUSAL = (
    "type=PROCTITLE msg=audit(1): proctitle=x\n"
    "type=PATH msg=audit(1): item=0 name=/usr/libexec/storpool-ovirt/storpool-adapter\n"
)


def test_fapolicyd_that_is_not_here_or_trusts_us(served: ServedMachine) -> None:
    """Not installed, not running, running and content with us."""
    assert {each.result for each in served.look(*FAPOLICYD)} == {"ok"}
    served.tool("fapolicyd-cli", TRUST)
    served.tool("systemctl", "echo inactive; exit 3")
    assert {each.cause for each in served.look(*FAPOLICYD)} == {"fapolicyd does not run"}
    served.tool("systemctl", "echo active")
    served.tool("ausearch", "echo '<no matches>' >&2; exit 1")
    assert {each.result for each in served.look(*FAPOLICYD)} == {"ok"}


def test_fapolicyd_that_refuses_us(served: ServedMachine) -> None:
    """Another file in its database than on the disk; a refusal in the kernel's audit."""
    served.tool("fapolicyd-cli", TRUST)
    served.tool("systemctl", "echo active")
    kept = "/usr/share/ovirt-engine/cinderlib/cinderlib-client.py.ovirt"
    served.write("/srv/trust", f"/usr/bin/x miscompares: size sha256\n{kept} miscompares: sha256\n")
    served.write("/srv/refusal", REFUSAL)
    served.tool("ausearch", "cat /srv/refusal")
    trusted, refused = served.look(*FAPOLICYD)
    assert (trusted.result, trusted.subject) == ("warning", kept)
    assert trusted.fix.startswith(f"{CLI} --file update {kept}")
    assert (refused.result, "storpool-adapter" in refused.cause) == ("critical", True)


def test_fapolicyd_that_cannot_be_asked(served: ServedMachine) -> None:
    """Its program fails, and the audit's is not here."""
    served.tool("fapolicyd-cli", TRUST)
    served.tool("systemctl", "echo active")
    served.write("/srv/code", "7")
    assert {each.result for each in served.look(*FAPOLICYD)} == {"unknown"}
    served.tool("ausearch", "echo Permission denied >&2; exit 1")
    assert {each.result for each in served.look(*FAPOLICYD)} == {"unknown"}


def test_engines_log_is_explained(served: ServedMachine) -> None:
    """The line that Engines up to 4.5.7 write; only the end of the log is read."""
    assert served.one("engine-log-devices").result == "unknown"
    line = (
        "2026-11-26 10:00:00,123Z ERROR [o.o.e.c.v.FullListAdapter] (x) [] Failed during parsing"
        " devices of VM vm 1 (8c0ac5a8-d7e8-4c4f-9c0d-0b0c9c3f1a00) error is: null\n"
    )
    served.write(f"{LOGS}/engine.log", line, 0o644, "ovirt:ovirt")
    found = served.one("engine-log-devices")
    assert found.result == "warning"
    assert "the last at 2026-11-26 10:00:00, for vm 1" in found.cause
    served.do(f"head -c 5000000 /dev/zero | tr '\\0' 'x' >>{LOGS}/engine.log")
    assert served.one("engine-log-devices").result == "ok"


def test_a_capacity_that_is_not_shown_is_explained(served: ServedMachine) -> None:
    """That is no fault, up to 4.5.7; without a domain there is nothing to explain."""
    assert "no storage domain" in served.one("engine-capacity").cause
    served.domain()
    found = served.one("engine-capacity")
    assert (found.result, "shows N/A for sp" in found.cause) == ("ok", True)
    served.tables.write_conf(served.machine.path(""), DATABASE="nosuch")
    assert served.one("engine-capacity").result == "unknown"
