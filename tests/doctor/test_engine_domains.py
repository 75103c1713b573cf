"""engine_domains.py: options, adapters and verbs of domains, in a real database, on a StorPool."""

from __future__ import annotations

import json

import pytest
from engine_ground import CLIENT, LINK, USR, ServedMachine

from storpool_ovirt.doctor import engine_domains

ALL = (
    "engine-domain-adapter",
    "engine-domain-options",
    "engine-domain-stats",
    "engine-data-center",
)
TOKEN_FILE = "sp_auth_token_file"


def test_all_is_well(served: ServedMachine) -> None:
    """A domain whose token is in its file."""
    served.domain(**{TOKEN_FILE: served.token()})
    found = served.look(*ALL)
    assert [each.result for each in found] == ["ok"] * 4, found
    assert [each.subject for each in found] == ["sp", "sp", "sp", "Default"]
    assert "GiB are free in template hybrid" in found[2].cause


def test_a_location_that_is_not_there_is_a_warning(served: ServedMachine) -> None:
    """F62: the domain works, but for its deletes; what is wrong is told with its place."""
    served.domain(**{TOKEN_FILE: served.token(), "sp_backup_on_delete": "far"})
    works, found = served.look("engine-domain-stats")
    assert works.result == "ok"
    assert (found.result, found.subject) == ("warning", "sp"), found
    assert found.cause.startswith("sp_backup_on_delete is wrong: there is no location far ")
    assert found.fix.startswith("correct sp_backup_on_delete of sp in Engine's database: ")


def test_there_is_no_domain_yet(served: ServedMachine) -> None:
    """After an installation: no fault."""
    assert {each.result for each in served.look(*ALL)} == {"ok"}


def test_without_engines_database_nobody_knows(served: ServedMachine) -> None:
    """Its domains are told nowhere else."""
    served.tables.write_conf(served.machine.path(""), DATABASE="no_such_database")
    assert {each.result for each in served.look(*ALL)} == {"unknown"}


@pytest.mark.parametrize(
    ("options", "result", "said"),
    [
        ({"sp_tempalte": "hybrid"}, "critical", "do you mean sp_template?"),
        ({"sp_api_http_port": "port"}, "critical", "is not a port"),
        ({"volume_driver": "x"}, "critical", "volume_driver makes the domain one of Engine's own"),
        ({"storpool_template": "x"}, "warning", "does nothing: do you mean sp_template?"),
        ({"it's $HOME `\\": "x"}, "warning", "does nothing"),
    ],
)
def test_a_wrong_option_is_mended_by_what_is_told(
    served: ServedMachine, options: dict[str, str], result: str, said: str
) -> None:
    """Nobody can edit options in Engine: the statement that is told is run as it stands."""
    served.domain(**{TOKEN_FILE: served.token(), **options})
    found = served.one("engine-domain-options")
    assert (found.result, found.subject) == (result, "sp"), found
    assert said in found.cause
    if "sp_api_http_port" in options:  # nobody can guess the value: a sentence, no command
        assert found.fix.startswith("correct sp_api_http_port of sp in Engine's database: ")
        return
    served.do(found.fix)
    assert served.one("engine-domain-options").result == "ok"


def test_a_token_in_the_options(served: ServedMachine) -> None:
    """It is on command lines; what is told takes it away from there, sensitive or not."""
    path = served.token()
    given = served.simulator.token
    served.domain("open", sp_auth_token=given)
    served.domain("sealed", sealed=f'{{"sp_auth_token": "{given}"}}')
    for found in served.look("engine-domain-options"):
        assert found.result == "warning"
        assert "every local user" in found.cause
        for step in found.fix.split(f"{USR}/")[1:]:
            served.do(f"{USR}/{step.removesuffix(' and ')}")
    found = served.look("engine-domain-options", "engine-domain-stats")
    assert [each.result for each in found] == ["ok"] * 4, found
    assert path in str(served.tables.execute("SELECT driver_options FROM cinder_storage"))


def test_sensitive_options_that_nobody_can_read(served: ServedMachine) -> None:
    """Engine's key is not here: neither good nor bad."""
    served.domain(sealed="$bm9ib2R5")
    for found in served.look("engine-domain-options", "engine-domain-stats"):
        assert found.result == "unknown"
        assert "sensitive options" in found.cause


def test_a_token_file_that_all_can_read_is_closed(served: ServedMachine) -> None:
    """Its mode is told and mended; storpool.conf, which others read too, is told alone."""
    path = served.token(0o644)
    served.do("chmod 0755 /etc/ovirt-engine /etc/ovirt-engine/storpool-ovirt")
    served.domain(**{TOKEN_FILE: path})
    found = served.one("engine-domain-options", fix=True)
    assert found.result == "critical"
    assert path in found.action
    assert served.one("engine-domain-options").result == "ok"
    assert served.do(f"stat -c '%a %U:%G' {path}").strip() == "640 root:ovirt"
    served.tables.execute(
        "UPDATE cinder_storage SET driver_options = driver_options - %s", TOKEN_FILE
    )
    served.write("/etc/storpool.conf", f"SP_AUTH_TOKEN={served.simulator.token}\n", 0o644)
    found = served.one("engine-domain-options")
    assert (found.result, found.action) == ("critical", "")
    served.do(found.fix)
    assert served.one("engine-domain-options").result == "ok"


@pytest.mark.parametrize(
    ("adapter", "result"),
    [("storpol", "critical"), ("other", "ok"), ("x/" * 3000, "critical")],
)
def test_an_adapter_that_is_not_there(served: ServedMachine, adapter: str, result: str) -> None:
    """Mistyped, another vendor's, another vendor's that is gone."""
    served.write(f"{USR}/managedblock/other-adapter", "#!/bin/sh\n", 0o755)
    served.domain(adapter=adapter, **{TOKEN_FILE: served.token()})
    found = served.one("engine-domain-adapter")
    assert found.result == result, found
    if result == "critical":
        served.do(found.fix)
        assert served.one("engine-domain-adapter").cause == "its adapter is storpool"


@pytest.mark.parametrize(
    ("broken", "said", "step"),
    [
        ("options", "there is no template", "sp_template"),
        ("token", "unauthorized", "token of this cluster"),
        ("address", "cannot be resolved", "getent ahosts"),
        ("port", "gave no usable answer", "curl -m 5"),
        ("mode", "cannot be read (Permission denied)", "setup engine --token-file FILE"),
        ("database", "the mapping database", "systemctl status postgresql"),
        ("client", "cannot be started", "storpool-ovirt setup engine"),
        ("link", "user ovirt cannot start", "waits for engine-adapter"),
        ("stock", "", "tail"),
    ],
)
def test_a_verb_that_fails(served: ServedMachine, broken: str, said: str, step: str) -> None:
    """The sentence that Engine would have in its log is the cause; the step is for it."""
    options = {TOKEN_FILE: served.token()}
    if broken == "options":
        options["sp_template"] = "nosuch"
    elif broken == "token":
        served.write(options[TOKEN_FILE], "0000000000\n", 0o640, "root:ovirt")
    elif broken == "address":
        options["sp_api_http_host"] = "no-such-host.invalid"
    elif broken == "port":
        options["sp_api_http_port"] = "1"
    elif broken == "mode":
        served.write("/srv/token", "0000000000\n", 0o600)
        options[TOKEN_FILE] = "/srv/token"
    elif broken == "database":
        served.do("sed -i 's/DATABASE=.*/DATABASE=nosuch/' /etc/ovirt-engine/engine.conf.d/*lib-d*")
    elif broken == "client":
        served.do(f"chmod 0600 {CLIENT}.ovirt; rm {CLIENT}; cp {CLIENT}.ovirt {CLIENT}")
    elif broken == "link":
        served.do(f"rm {LINK}")
    else:
        served.do("/usr/libexec/storpool-ovirt/storpool-engine-divert off")
    served.domain(**options)
    found = served.one("engine-domain-stats")
    assert (found.result, found.subject) == ("critical", "sp"), found
    assert said in found.cause, found
    assert step in found.fix, found


def test_a_domain_without_a_token_file_is_not_told_of_folders(served: ServedMachine) -> None:
    """Wherever doctor is run, as in a folder of root's alone."""
    served.write(
        "/etc/storpool.conf", f"SP_AUTH_TOKEN={served.simulator.token}\n", 0o640, "root:ovirt"
    )
    served.domain(sp_template="nosuch")
    served.do("mkdir -p /srv/closed/release; chmod 0700 /srv/closed")
    command = "cd /srv/closed/release && storpool-ovirt doctor engine --json"
    said = served.machine.run("/bin/sh", "-c", command).stdout
    [found] = [each for each in json.loads(said)["checks"] if each["id"] == "engine-domain-stats"]
    assert "there is no template" in found["cause"], found
    assert found["fix"].startswith("correct sp_template of sp"), found


def test_without_engines_user_nobody_knows(served: ServedMachine) -> None:
    """A verb is that user's."""
    served.domain(**{TOKEN_FILE: served.token()})
    served.do("sed -i /^ovirt/d /etc/passwd")
    found = served.one("engine-domain-stats")
    assert (found.result, found.cause) == ("unknown", "user ovirt is not known here")


def test_a_data_center_without_a_master(served: ServedMachine) -> None:
    """Managed block domains alone do not make one."""
    served.domain(**{TOKEN_FILE: served.token()})
    nfs = "(SELECT id FROM storage_domain_static WHERE storage_name = 'nfs')"
    served.tables.execute(f"UPDATE storage_pool_iso_map SET status = 4 WHERE storage_id = {nfs}")
    found = served.one("engine-data-center")
    assert (found.result, found.subject) == ("warning", "Default"), found


@pytest.mark.parametrize(
    ("free", "total", "result"),
    [(50, 100, "ok"), (10, 100, "ok"), (9, 100, "warning"), (0, 100, "warning")],
)
def test_a_template_that_is_nearly_full_is_told(free: int, total: int, result: str) -> None:
    """T28: above 90 %, with the command that frees what was deleted first."""
    facts = {"free_capacity_gb": free, "total_capacity_gb": total, "template": "hybrid"}
    found = engine_domains.worked("fast", facts)
    assert (found.result, found.subject) == (result, "fast")
    assert ("storpool-ovirt trash purge --oldest N" in found.fix) is (result == "warning")


def test_a_capacity_that_is_not_told_is_not_full() -> None:
    """T28: Engine shows none either."""
    unknown = {"free_capacity_gb": "unknown", "total_capacity_gb": "unknown"}
    assert engine_domains.worked("fast", unknown).result == "ok"
