"""config.py: driver options and storpool.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigs.host_files import NODE, conf
from storpool_ovirt import config, errors, option_table, option_values, storpool_conf
from storpool_ovirt.secret import Secret

PLAIN = {"sp_api_http_host": "10.1.2.3", "sp_auth_token": "1556560560218011653"}


def test_host_and_token_are_enough(tmp_path: Path) -> None:
    """A domain with host and token alone works: StorPool's default port, the cluster's own default
    placement."""
    domain = config.domain(PLAIN, str(tmp_path))
    assert (domain.api.host, domain.api.port, domain.template) == ("10.1.2.3", 81, None)
    assert (domain.api.multicluster, domain.api.cluster_id, domain.deadline_seconds) == (
        False,
        None,
        100.0,
    )


def test_what_is_missing_comes_from_storpool_conf(tmp_path: Path) -> None:
    """Without options the cluster is the one that /etc/storpool.conf of Engine's machine names."""
    root = conf(
        tmp_path, "SP_API_HTTP_HOST=10.9.9.9\nSP_API_HTTP_PORT=8181\nSP_AUTH_TOKEN=42424242\n"
    )
    domain = config.domain({"sp_template": "nvme"}, root)
    assert (domain.api.host, domain.api.port, domain.api.token) == (
        "10.9.9.9",
        8181,
        Secret("42424242"),
    )
    assert config.domain(PLAIN, root).api.host == "10.1.2.3", "an option wins"


def test_snapshots_of_a_vm_are_made_at_one_moment_unless_it_is_forbidden() -> None:
    """Both options of it have a default, and a value that cannot be meant is refused."""
    domain = config.domain(PLAIN)
    assert (domain.group_snapshot, domain.snapshot_key) == (True, "correlation")
    given = {**PLAIN, "sp_group_snapshot": False, "sp_snapshot_key": "Engine"}
    domain = config.domain(given)
    assert (domain.group_snapshot, domain.snapshot_key) == (False, "engine")
    with pytest.raises(errors.ConfigError, match=r"sp_snapshot_key is not known.*or engine"):
        config.domain({**PLAIN, "sp_snapshot_key": "vm"})


def test_the_token_can_come_from_a_file(tmp_path: Path) -> None:
    """The token file keeps the token out of argv; a token that is given as well wins."""
    path = tmp_path / "token"
    path.write_text("  987654321\n")
    options = {"sp_api_http_host": "h", "sp_auth_token_file": str(path)}
    assert config.domain(options, str(tmp_path)).api.token == Secret("987654321")
    assert config.domain({**options, "sp_auth_token": "1"}, str(tmp_path)).api.token == Secret("1")


def test_unknown_keys_are_ignored_and_values_may_be_texts() -> None:
    """Engine adds `volume_backend_name`, and REST can send texts only."""
    domain = config.domain(
        {
            **PLAIN,
            "adapter": "storpool",
            "volume_backend_name": "x",
            "sp_api_http_port": "8080",
            "sp_multicluster": "true",
            "sp_cluster_id": "bgu4.n",
            "sp_deadline": "30",
            "sp_template": "hdd-3",
        }
    )
    assert domain.api == config.Api(
        "10.1.2.3", 8080, Secret(PLAIN["sp_auth_token"]), True, "bgu4.n"
    )
    assert (domain.template, domain.deadline_seconds) == ("hdd-3", 30.0)
    assert config.domain(
        {**PLAIN, "sp_api_http_port": 8080, "sp_multicluster": True}
    ).api.multicluster


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {},
            (
                "driver option sp_api_http_host is missing: set it, or SP_API_HTTP_HOST in"
                " /etc/storpool.conf"
            ),
        ),
        ({"sp_api_http_host": "h"}, "driver option sp_auth_token is missing"),
        ({**PLAIN, "sp_api_http_host": "http://h"}, "is not a host name or address"),
        ({**PLAIN, "sp_api_http_host": "h h"}, "is not a host name or address"),
        ({**PLAIN, "sp_api_http_host": ["h"]}, "is not a plain value"),
        ({**PLAIN, "sp_api_http_port": "0"}, "is not a port"),
        ({**PLAIN, "sp_api_http_port": "65536"}, "is not a port"),
        ({**PLAIN, "sp_api_http_port": "8\u0661"}, "is not a port"),
        ({**PLAIN, "sp_auth_token": "a b\n"}, "is not a token"),
        ({**PLAIN, "sp_template": "a b"}, "give the name of a StorPool template"),
        ({**PLAIN, "sp_multicluster": "maybe"}, "is neither true nor false"),
        ({**PLAIN, "sp_cluster_id": "bgu4"}, "give the id as SP_CLUSTER_ID has it"),
        ({**PLAIN, "sp_deadline": "1000"}, "give a number from 1 to 100"),
        ({**PLAIN, "sp_deadline": "nan"}, "give a number from 1 to 100"),
        ({"sp_api_http_host": "h", "sp_auth_token_file": "token"}, "is not an absolute path"),
        ({"sp_api_http_host": "h", "sp_auth_token_file": "/nonexistent/token"}, "cannot be read"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    """T75: what is wrong and what to do, in one line, with no token in it."""
    with pytest.raises(errors.ConfigError) as raised:
        config.domain(options, str(tmp_path))
    assert sentence in str(raised.value)
    assert str(raised.value).isprintable()
    assert "a b" not in str(raised.value) or "sp_template" in options


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("sp_tempalte", "do you mean sp_template?"),
        ("sp_clusterid", "do you mean sp_cluster_id?"),
        ("sp_auth_tokenfile", "do you mean sp_auth_token_file?"),
        ("SP_TEMPLATE", "do you mean sp_template?"),
        (" sp_template", "do you mean sp_template?"),
        ("sp-template", "do you mean sp_template?"),
        ("sp_api_host", "do you mean sp_api_http_host?"),
        ("sp_port", "do you mean sp_api_http_port?"),
        ("sp_snapshot_delay", "do you mean sp_snapshot_delete_delay?"),
        ("sp_snapshots_max", "do you mean sp_max_snapshots?"),
        ("sp_max_volumes", "the options are sp_api_http_host, "),
        ("sp_replication", "the options are sp_api_http_host, "),
        ("sp_", "the options are sp_api_http_host, "),
        ("sp_xyzzy", "the options are sp_api_http_host, "),
        ("sp_q", "the options are sp_api_http_host, "),
        ("sp_tempalte\n\u202e", "do you mean sp_template?"),
    ],
)
@pytest.mark.parametrize("value", ["x", None, ""])
def test_an_unknown_option_of_ours_is_refused_and_the_nearest_is_told(
    key: str, near: str, value: object
) -> None:
    """A domain cannot be edited later: a typing mistake must not be found out when it has disks."""
    with pytest.raises(errors.ConfigError) as raised:
        config.domain({**PLAIN, key: value})
    assert "is not known" in str(raised.value)
    assert near in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_name_of_another_thing_is_no_mistyped_one() -> None:
    """What a later release knows is not taken for what this one has."""
    known = [each.name for each in option_table.OPTIONS if each.name != "sp_max_snapshots"]
    assert option_values.nearest("sp_max_snapshots", known, config.PREFIX) is None


@pytest.mark.parametrize(
    "key",
    ["adapter", "volume_driver", "volume_backend_name", "storpool_template", "spare", "san_ip", ""],
)
def test_keys_of_others_are_ignored(key: str) -> None:
    """What cinderlib reads, and what Engine itself does, may stand beside ours."""
    assert config.domain({**PLAIN, key: ["x"]}) == config.domain(PLAIN)


@pytest.mark.parametrize(
    "options",
    [
        {"sp_api_http_port": "9" * 5000},
        {"sp_deadline": "9" * 5000},
        {"sp_deadline": "1e1"},
        {"sp_deadline": "1_0"},
        {"sp_deadline": "nan"},
        {"sp_api_http_host": "a..b"},
        {"sp_api_http_host": "x" * 64},
        {"sp_api_http_host": "."},
        {"sp_api_http_host": "ä"},
        {"sp_auth_token": None, "sp_auth_token_file": "/\ud800"},
        {"sp_template": "ä"},
        {"sp_auth_token": "\udc80"},
    ],
    ids=lambda options: "".join(options)[:30],
)
def test_odd_values_are_one_sentence(tmp_path: Path, options: dict[str, object]) -> None:
    """Thousands of digits, half a character, what a resolver would not take: told as the option's
    mistake."""
    with pytest.raises(errors.ConfigError, match=list(options)[-1]):
        config.domain({**PLAIN, **options}, conf(tmp_path, ""))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "1", "[" * 100_000])
def test_driver_options_that_are_no_object_are_refused(text: str) -> None:
    """Engine passes one JSON object; anything else is one sentence."""
    with pytest.raises(errors.ConfigError, match="the driver options argument is not"):
        config.parse_driver_json(text)


def test_a_secret_never_shows_itself() -> None:
    """T75: neither `repr` nor `str` of settings has the token."""
    domain = config.domain(PLAIN)
    assert PLAIN["sp_auth_token"] not in repr(domain) + str(domain) + f"{domain.api.token}"


def test_a_host_knows_itself(tmp_path: Path) -> None:
    """The client id is SP_OURID of the host's own section."""
    text = f"SP_API_HTTP_HOST=h\nSP_AUTH_TOKEN=1\n[{NODE}]\nSP_OURID=7\n[other]\nSP_OURID=8\n"
    root = conf(tmp_path, text)
    assert config.host(root) == config.HostSettings(config.Api("h", 81, Secret("1")), 7)
    assert config.host(root, node="other").client_id == 8
    assert storpool_conf.host_names(root) == {7: NODE, 8: "other"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("SP_AUTH_TOKEN=1\nSP_OURID=1", "SP_API_HTTP_HOST is missing"),
        ("SP_API_HTTP_HOST=h\nSP_OURID=1", "SP_AUTH_TOKEN is missing"),
        ("SP_API_HTTP_HOST=h\nSP_AUTH_TOKEN=1", "SP_OURID is missing in the section"),
        ("SP_API_HTTP_HOST=h\nSP_AUTH_TOKEN=1\nSP_OURID=65536", "is not a client id"),
        ("SP_API_HTTP_HOST=h\nSP_AUTH_TOKEN=1\nSP_OURID=x", "is not a client id"),
        ("nonsense", "line 1 of"),
    ],
)
def test_a_host_without_its_settings_says_so(tmp_path: Path, text: str, sentence: str) -> None:
    """An unknown host is an error, never a default client."""
    with pytest.raises(errors.ConfigError) as raised:
        config.host(conf(tmp_path, text))
    assert sentence in str(raised.value)


def test_a_host_without_the_file_says_so(tmp_path: Path) -> None:
    """Where storpool.conf is missing as a whole, the sentence says that, and not that one key
    is."""
    with pytest.raises(
        errors.ConfigError, match=r"/etc/storpool\.conf is missing: install StorPool's client"
    ):
        config.host(str(tmp_path))


def test_the_sample_under_etc_has_every_option() -> None:
    """The sample that administrators copy from names each option with its meaning, and no option
    that is not there."""
    sample = (Path(__file__).parents[2] / "etc" / "driver-options.sample").read_text()
    named = [line[1:].split("=")[0] for line in sample.splitlines() if line.startswith("#sp_")]
    assert named == [option.name for option in option_table.OPTIONS]
    for option in option_table.OPTIONS:
        assert f"# {option.meaning}\n" in sample


def test_options_of_another_house_have_its_prefix(tmp_path: Path) -> None:
    """The Cinder driver reads the same options under names of its own, and its errors say those."""
    root = conf(tmp_path, "SP_AUTH_TOKEN=1\n")
    domain = config.domain(
        {"x_api_http_host": "a", "x_template": "t", "sp_template": "u"}, root, "x_"
    )
    assert (domain.api.host, domain.api.token.reveal(), domain.template) == ("a", "1", "t")
    with pytest.raises(errors.ConfigError, match="driver option x_api_http_host is missing"):
        config.domain({}, root, "x_")
    with pytest.raises(errors.ConfigError, match="driver option x_auth_token_file"):
        config.domain({"x_api_http_host": "a", "x_auth_token_file": "/no/such"}, root, "x_")


@pytest.mark.parametrize(
    "text", ["10.1.100", "2130706433", "256.1.1.1", "0x7f000001", "0177.0.0.1", "1.2.3.010"]
)
def test_an_address_that_is_another_one_to_the_c_library(text: str) -> None:
    """A number left out would send the token to another machine (inet_aton(3))."""
    with pytest.raises(errors.ConfigError, match="give all four numbers"):
        config.domain({"sp_api_http_host": text, "sp_auth_token": "1234567890"})


@pytest.mark.parametrize(
    "text", ["10.1.0.100", "cafe", "beef.example", "3com", "10-1", "::1", "[::1]"]
)
def test_an_address_or_a_name_of_a_host(text: str) -> None:
    """What looks like a number here and there is a name all the same."""
    assert config.domain({"sp_api_http_host": text, "sp_auth_token": "1234567890"}).api.host == text


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("qc", "is a tag that has another meaning"),
        ("ovirt-root", "is a tag that has another meaning"),
        ("a" * 17, "leaves no room for the VM on the volume of a preview"),
        ("c vm", "is no key of a tag"),
    ],
)
def test_the_tag_of_a_vm(tmp_path: Path, key: str, why: str) -> None:
    """T78: a key that cannot be used is refused before a domain has disks; on a host it is worth no
    refused start."""
    root = conf(
        tmp_path, f"SP_API_HTTP_HOST=h\nSP_AUTH_TOKEN=1\nSP_OURID=7\nSP_OVIRT_VM_TAG={key}\n"
    )
    with pytest.raises(errors.ConfigError, match=f"driver option sp_vm_tag {why}"):
        config.domain({**PLAIN, "sp_vm_tag": key})
    with pytest.raises(errors.ConfigError, match=f"SP_OVIRT_VM_TAG in .* {why}"):
        config.domain({}, root)
    assert config.host(root).vm_tag == ""
    assert config.domain({"sp_vm_tag": "vm"}, root).vm_tag == "vm"
    assert config.domain(PLAIN).vm_tag == "cvm"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("48h", 172800), ("0", 0), (0, 0), ("0h", 0), ("90s", 90), ("30m", 1800), ("2d", 172800),
        ("366d", 366 * 86400), (" 7D ", 604800),
    ],
)  # fmt: skip
def test_how_long_the_trash_keeps_what_is_deleted(given: object, seconds: int) -> None:
    """T83: a number with its unit, or 0: then it is gone at once."""
    options = {**PLAIN, "sp_delete_delay": given, "sp_snapshot_delete_delay": given}
    domain = config.domain(options)
    assert domain.delete_delay_seconds == seconds
    assert domain.snapshot_delete_delay_seconds == seconds


def test_a_deleted_disk_is_kept_for_two_days_where_nobody_says_how_long() -> None:
    """T83: and a single snapshot is not kept."""
    domain = config.domain(PLAIN)
    assert domain.delete_delay_seconds == 48 * 3600
    assert domain.snapshot_delete_delay_seconds == 0


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("48", "is no time like 48h"), ("h", "is no time"), ("-1h", "is no time"),
        ("1.5h", "is no time"), ("1w", "is no time"), ("two days", "is no time"),
        ("367d", "is too long"), ("99999999h", "is no time|is too long"), ("1h 30m", "is no time"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(given: str, why: str) -> None:
    """T83: a number without its unit may be meant as seconds, or as hours."""
    with pytest.raises(errors.ConfigError, match=f"sp_delete_delay ({why}).*give 0, or a number"):
        config.domain({**PLAIN, "sp_delete_delay": given})


def test_how_storpool_is_talked_to(tmp_path: Path) -> None:
    """The option, else storpool.conf, else each program's own default; a host's word that is none
    is worth no refused start."""
    keys = "SP_API_HTTP_HOST=h\nSP_AUTH_TOKEN=1\nSP_OURID=7\nSP_OVIRT_TRANSPORT="
    assert config.domain(PLAIN).api.transport == option_values.AUTO
    assert config.domain({**PLAIN, "sp_transport": "Wire"}).api.transport == option_values.WIRE
    with pytest.raises(errors.ConfigError, match=r"sp_transport is not known .*: give auto or"):
        config.domain({**PLAIN, "sp_transport": "carrier pigeon"})
    root = conf(tmp_path / "one", f"{keys}binding\n")
    assert config.domain({}, root).api.transport == option_values.BINDING
    assert config.host(root).api.transport == option_values.BINDING
    assert config.domain({"sp_transport": "wire"}, root).api.transport == option_values.WIRE
    other = conf(tmp_path / "two", f"{keys}carrier pigeon\n")
    assert config.host(other).api.transport == option_values.AUTO
    with pytest.raises(errors.ConfigError, match=r"SP_OVIRT_TRANSPORT in .* is not known"):
        config.domain({}, other)


def test_a_program_has_its_own_transport_where_nobody_says_one() -> None:
    """What is said counts, also where the program would have another one."""
    left = config.domain(PLAIN).api
    assert left.preferring(option_values.BINDING).transport == option_values.BINDING
    said = config.domain({**PLAIN, "sp_transport": "wire"}).api
    assert said.preferring(option_values.BINDING) == said


def test_where_a_disk_is_copied_before_it_is_deleted(tmp_path: Path) -> None:
    """F62: the option, else storpool.conf of this machine, else nowhere; `none` is nowhere too."""
    assert config.domain(PLAIN).backup_on_delete is None
    found = config.domain({**PLAIN, "sp_backup_on_delete": "rem:tag del=y"}).backup_on_delete
    assert found == option_values.CopyTo("rem", (("del", "y"),))
    root = conf(tmp_path, "SP_OVIRT_BACKUP_ON_DELETE=far\n")
    assert config.domain(PLAIN, root).backup_on_delete == option_values.CopyTo("far")
    assert config.domain({**PLAIN, "sp_backup_on_delete": "none"}, root).backup_on_delete is None
    with pytest.raises(errors.ConfigError, match="sp_backup_on_delete is not known"):
        config.domain({**PLAIN, "sp_backup_on_delete": "rem:del=y"})


def test_the_brakes_of_domains_that_do_not_say_them(tmp_path: Path) -> None:
    """F17, T84: storpool.conf of Engine's machine has the word, as nobody can edit a domain's
    options; an option of the domain counts more."""
    root = conf(tmp_path, "SP_OVIRT_MAX_SNAPSHOTS=30\nSP_OVIRT_MAX_DELETES=0\n")
    found = config.domain(PLAIN, root)
    assert (found.max_snapshots, found.max_deletes) == (30, 0)
    own = config.domain({**PLAIN, "sp_max_snapshots": "7", "sp_max_deletes": "70"}, root)
    assert (own.max_snapshots, own.max_deletes) == (7, 70)
    assert (config.domain(PLAIN).max_snapshots, config.domain(PLAIN).max_deletes) == (0, 10)
    wrong = conf(tmp_path / "wrong", "SP_OVIRT_MAX_DELETES=many\n")
    with pytest.raises(errors.ConfigError, match=r"SP_OVIRT_MAX_DELETES in .*is no whole number"):
        config.domain(PLAIN, wrong)
