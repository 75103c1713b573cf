"""`storpool-ovirt domain`: what is printed, what is refused, and what is there already."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from domain_site import CONNECTOR, NAME, Site, module_site, site

from rigs import refusals

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["module_site", "site"]


def test_a_domain_is_printed_in_three_ways(site: Site) -> None:
    """REST, Ansible and WebAdmin say the same, with the host that can use it; nothing is made."""
    done = site.told("--option", f"sp_template={site.template}", "--data-center", "Default")
    assert (done["domain"], done["state"], done["changed"]) == (NAME, "printed", False)
    assert done["left"] == "add"
    typed = {
        "adapter": "storpool",
        **{each.partition("=")[0]: each.partition("=")[2] for each in site.address[1::2]},
        "sp_auth_token_file": str(site.machine.token_file()),
        "sp_template": site.template,
    }
    body = ElementTree.fromstring(done["rest"]["body"])  # noqa: S314  our own
    properties = body.iterfind("storage/driver_options/property")
    assert {each.findtext("name"): each.findtext("value") for each in properties} == typed
    assert body.findtext("host/name") == "host1"
    module = done["ansible"]["ovirt.ovirt.ovirt_storage_domain"]
    pairs = module["managed_block_storage"]["driver_options"]
    assert {each["name"]: each["value"] for each in pairs} == typed
    assert (module["host"], module["data_center"]) == ("host1", "Default")
    shown = [line.strip() for line in done["webadmin"] if " = " in line]
    assert dict(line.split(" = ", 1) for line in shown) == typed
    assert site.tables.execute("SELECT 1 FROM cinder_storage") == []


def test_people_get_it_as_text(site: Site) -> None:
    """Each of the three ways is there to be copied; the command that makes it too."""
    said = site.domain("--option", f"sp_template={site.template}")
    assert said.returncode == 0, said
    for part in (
        "\n  Domain Function: Managed Block Storage\n",
        "\n  ovirt.ovirt.ovirt_storage_domain:\n",
        "\n<storage_domain>\n",
        "--create --user USER --password-file FILE",
    ):
        assert part in said.stdout


def test_the_body_is_what_engine_takes(site: Site) -> None:
    """The stand-in of Engine's API, which is strict, adds a domain with the printed body, and
    attaches it with the second one."""
    from rigs import rest_engine

    words = ("--option", f"sp_template={site.template}", "--data-center", "Default")
    printed = site.told(*words)["rest"]
    engine = rest_engine.RestEngine(site.tables, site.folder)
    for each in (printed, printed["attach"]):
        code, _ = engine.answer(each["method"], each["path"], each["body"])
        assert code == 201
    assert site.told(*words)["state"] == "there"
    assert site.attached() == [("Default", 3)]


def test_a_sensitive_option_is_a_placeholder(site: Site) -> None:
    """The token is in none of the three ways (the rig looks for it), but its place is."""
    token = str(site.machine.token_file())
    done = site.told("--token-file", token, "--token-as-option")
    assert done["rest"]["json"]["storage"]["driver_sensitive_options"] == {
        "property": [{"name": "sp_auth_token", "value": "PUT THE TOKEN HERE"}]
    }
    module = done["ansible"]["ovirt.ovirt.ovirt_storage_domain"]["managed_block_storage"]
    assert module["driver_sensitive_options"] == [
        {"name": "sp_auth_token", "value": "{{ storpool_auth_token }}"}
    ]
    assert "sp_auth_token_file" not in json.dumps(done)


def test_an_address_in_a_wrong_place_keeps_its_port(site: Site) -> None:
    """A port is no password."""
    said = site.domain("--url", "http://localhost:1/ovirt-engine/api", "--user", "x")
    assert "***" not in said.stderr


REFUSED = {
    "unknown": (["--option", "sp_templat=x"], 'sp_templat" is not known: do you mean sp_template?'),
    "Cinder's": (["--option", "volume_driver=x"], "leave it out"),
    "no value": (["--option", "sp_template"], "has no value: give it as sp_template=VALUE"),
    "empty": (["--option", "sp_template="], "driver option sp_template is empty"),
    "twice": (["--option", "sp_deadline=9", "--option", "sp_deadline=9"], "is given twice"),
    "mistyped": (["--option", "sp_deadline=soon"], "sp_deadline is no number like 20 or 0.5"),
    "another adapter": (["--option", "adapter=linstor"], "it has to be storpool"),
    "unseen": (["--option", "sp_template=a\x07b"], "nobody can see or type"),
    "a token": (["--option", "sp_auth_token=abc"], "give --token-file FILE"),
    "no file": (
        ["--token-file", "/nowhere/token"],
        "/nowhere/token (driver option sp_auth_token_file)",
    ),
    "a relative file": (["--token-file", "token"], "is not an absolute path"),
    "two files": (
        ["--token-file", "/a", "--option", "sp_auth_token_file=/b"],
        "name two files: give one of them",
    ),
    "no data center": (
        ["--data-center", "Defualt"],
        "is not known to Engine: Engine knows Default",
    ),
    "no host": (["--host", "host9"], "is not known to Engine: Engine knows host1, host2"),
    "no template": (["--option", "sp_template=none"], "would not work: there is no template none"),
    "no location": (
        ["--option", "sp_backup_on_delete=far"],
        "sp_backup_on_delete is wrong, and no disk of the domain could be deleted (there is no",
    ),
    "another cluster": (["--option", "sp_cluster_id=zzzz.z"], "would not work: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_one_sentence(site: Site, case: str) -> None:
    """Each mistake is named, with what to do; nothing is printed."""
    words, told = REFUSED[case]
    assert told in refusals.of_command(site.domain(*words))


BAD_NAMES = ["a b", "x" * 51, "a/b", "a\nb", "{{x}}", "a<b"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_engine_refuses_is_refused(site: Site, name: str) -> None:
    """Before anything is asked."""
    assert "the name" in refusals.of_command(site.domain(name=name))


def test_a_token_that_all_can_read_is_refused(site: Site, tmp_path: Path) -> None:
    """With the command that closes the file."""
    token = site.machine.token_file()
    open_file = site.folder / "open" / "token"
    open_file.parent.mkdir(exist_ok=True)
    open_file.write_text(token.read_text())
    open_file.chmod(0o644)
    for each in [open_file.parent, *open_file.parents]:
        is_mine = each.stat().st_uid == os.geteuid()
        if each != each.parent and is_mine and not each.stat().st_mode & 0o001:
            each.chmod(each.stat().st_mode | 0o011)
    sentence = refusals.of_command(site.domain("--token-file", str(open_file)))
    assert "let only root and group ovirt read it" in sentence
    del tmp_path


def test_without_any_token_it_is_said_where_one_goes(site: Site) -> None:
    """Neither setup's file, nor storpool.conf, nor an option."""
    site.machine.token_file().unlink()
    said = site.machine.run("domain", NAME, *site.address)
    assert "driver option sp_auth_token is missing" in refusals.of_command(said)


def test_a_data_center_that_cannot_have_it_is_told_before(site: Site) -> None:
    """Engine would add the domain, and refuse to attach it: the level, and the missing master."""
    site.tables.add_data_center("old", "4.5")
    site.tables.add_data_center("alone")
    old = refusals.of_command(site.domain("--data-center", "old"))
    assert "engine-config -s ManagedBlockDomainSupported=true --cver=4.5" in old
    alone = refusals.of_command(site.domain("--data-center", "alone"))
    assert "has no active data domain of another type" in alone


def test_no_host_that_is_up_is_told(site: Site) -> None:
    """REST and Ansible have to name one."""
    site.tables.execute("UPDATE vds_dynamic SET status = 2")
    assert "no host is up" in refusals.of_command(site.domain())
    assert site.told("--host", "host2")["state"] == "printed"


def there(site: Site, **changes: Any) -> None:
    """Have a domain in Engine, with the options of a plain `site.domain()` and these changes."""
    options = site.told()["rest"]["json"]["storage"]["driver_options"]["property"]
    given = {each["name"]: each["value"] for each in options}
    given.update(volume_backend_name=NAME, **changes)
    stored = {key: value for key, value in given.items() if value is not None}
    center = site.tables.execute("SELECT id::text FROM storage_pool")[0][0]
    site.tables.add_domain(NAME, stored, str(center), sealed="{}")


def test_one_that_is_there_is_there(site: Site) -> None:
    """Exit code 0, in words where; also while StorPool is away, as it needs nothing of it."""
    there(site, sp_api_http_port=int(site.address[3].partition("=")[2]))
    site.machine.stage.simulator.inject("hang", times=10_000)
    said = site.domain()
    assert said.stdout == (
        f"storage domain {NAME} is there with these options, active in data center Default\n"
    )


def test_one_that_is_there_needs_no_host(site: Site) -> None:
    """All hosts may be down while somebody looks whether it is there."""
    there(site)
    site.tables.execute("UPDATE vds_dynamic SET status = 1")
    assert site.told()["state"] == "there"
    site.tables.execute("TRUNCATE vds_dynamic, vds_static")
    assert site.told("--data-center", "Default")["state"] == "there"


def test_one_that_is_not_where_it_should_be_is_told(site: Site) -> None:
    """In no data center, or in maintenance there: what makes it active is said, and not done."""
    there(site)
    site.tables.execute("UPDATE storage_pool_iso_map SET status = 6 WHERE status = 3")
    site.tables.execute(
        "UPDATE storage_pool_iso_map SET status = 3 FROM storage_domain_static d"
        " WHERE d.id = storage_id AND d.storage_name = 'nfs'"
    )
    assert site.told("--data-center", "Default")["left"] == "have active"
    said = site.domain("--data-center", "Default").stdout
    assert "maintenance in data center Default" in said
    assert "--create to have it in Default" in said
    site.tables.execute(
        "DELETE FROM storage_pool_iso_map USING storage_domain_static d"
        " WHERE d.id = storage_id AND d.storage_name = %s",
        NAME,
    )
    assert "attached to no data center" in site.domain().stdout


def test_an_engine_without_managed_block_storage_is_told(site: Site) -> None:
    """Engine would refuse each such domain: engine-setup has not made its database."""
    folder = site.machine.root / "etc/ovirt-engine/engine.conf.d"
    (folder / "99-off.conf").write_text("CINDERLIB_DB_ENABLE=false\n")
    try:
        sentence = refusals.of_command(site.domain())
    finally:
        (folder / "99-off.conf").unlink()
    assert "managed block storage is not set up in this Engine" in sentence


def test_a_token_that_engine_cannot_encrypt_is_refused(site: Site) -> None:
    """Engine would end with an error of its own, after storage_stats."""
    token = site.folder / "long-token"
    token.write_text("x" * 161)
    token.chmod(0o600)
    said = site.domain("--token-file", str(token), "--token-as-option")
    assert "takes no token of more than 160 characters" in refusals.of_command(said)


DIFFERENCES = {
    "another value": ({"sp_template": "other"}, '"sp_template" is "other" there, none is wanted'),
    "less": ({"sp_api_http_port": None}, "sp_api_http_port is not there, "),
    "of others": ({"x_password": "abc"}, '"x_password" is *** there, none is wanted'),
    "the adapter": ({"adapter": "linstor"}, 'adapter is "linstor" there, "storpool" is wanted'),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_one_with_other_options_is_refused(site: Site, case: str) -> None:
    """Each difference is named, secrets are not."""
    changes, told = DIFFERENCES[case]
    there(site, **changes)
    sentence = refusals.of_command(site.domain())
    assert f"storage domain {NAME} is there with other options: " in sentence
    assert told in sentence
    assert "abc" not in sentence.replace(str(site.folder), "")


def test_one_of_another_type_is_refused(site: Site) -> None:
    """The name is taken."""
    sentence = refusals.of_command(site.domain(name="nfs"))
    assert "storage domain nfs is there, and is no managed block storage domain" in sentence


def test_sensitive_options_that_nobody_can_read_are_not_compared(site: Site) -> None:
    """Encrypted for a key that is not here: it is said, and the rest is compared."""
    there(site)
    site.tables.execute("UPDATE cinder_storage SET driver_sensitive_options = '$AAAA'")
    said = site.domain()
    assert said.returncode == 0, said
    assert "its sensitive options cannot be compared" in said.stderr


def test_the_list_tells_domains_and_who_serves_them(site: Site) -> None:
    """Options with secrets masked, mistakes, data centers; hosts, with what they lack."""
    there(site, sp_auth_token="1556560560218011653")
    site.tables.add_domain("mistyped", {"adapter": "StorPool"})
    site.tables.add_domain("ceph", {"volume_driver": "x.RBDDriver", "rbd_secret_uuid": "xyz-1"})
    center = str(site.tables.execute("SELECT id::text FROM storage_pool")[0][0])
    site.tables.add_host("old", center, vdsm="vdsm-4.50.5-1.el9", connector=CONNECTOR)
    site.tables.add_host("bare", center)
    found = json.loads(site.machine.run("domain", "--json").stdout)
    assert found["engine"] == {
        "release": "4.5.7-1.el9",
        "serves": True,
        "why": "it starts the adapter through our dispatcher",
    }
    domains = {each["name"]: each for each in found["domains"]}
    assert domains[NAME]["options"]["sp_auth_token"] == "***"
    assert [(each["name"], each["status"]) for each in domains[NAME]["data_centers"]] == [
        ("Default", "active")
    ]
    assert domains["mistyped"]["mistake"]
    assert domains["ceph"]["options"]["rbd_secret_uuid"] == "***"
    assert [each["ours"] for each in domains.values()] == [False, False, True]
    hosts = {each["name"]: (each["serves"], each["why"]) for each in found["hosts"]}
    assert hosts["host1"] == (True, "it takes volumes as local")
    assert hosts["host2"][0] is False
    assert "update it to 4.50.5.1" in hosts["old"][1]
    assert "told Engine nothing about itself" in hosts["bare"][1]
    text = site.machine.run("domain")
    assert text.returncode == 0, text
    for part in ("mistyped", "not served: its adapter", "sp_auth_token = ***", "HOST", "bare"):
        assert part in text.stdout


def test_an_engine_without_anything_is_listed(site: Site) -> None:
    """Nothing is a list too."""
    site.tables.empty()
    said = site.machine.run("domain")
    assert "There is no managed block storage domain." in said.stdout
    assert "There is no host." in said.stdout


def test_the_list_says_that_the_dispatcher_is_gone(site: Site) -> None:
    """An Engine that starts its own client serves no domain of ours."""
    site.machine.divert("off")
    try:
        said = site.machine.run("domain")
    finally:
        site.machine.divert("on")
    assert "serves no StorPool domain" in said.stdout
    assert "storpool-ovirt setup engine" in said.stdout


@pytest.mark.parametrize("words", [(), (NAME, "--option", "sp_template=x")])
def test_elsewhere_it_says_that_this_is_not_engines_machine(
    site: Site, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """No database of Engine's, no look."""
    token = site.machine.token_file()
    more = ["--token-file", str(token), *site.address] if words else []
    said = site.machine.run("domain", *words, *more, STORPOOL_OVIRT_ROOT=str(tmp_path))
    assert "this is not Engine's machine" in refusals.of_command(said)
