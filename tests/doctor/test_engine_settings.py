"""engine_settings.py, engine_databases.py: what Engine is set to, in its real tables and files."""

from __future__ import annotations

import pytest
from engine_ground import CONF_D, Found, ServedMachine

from storpool_ovirt.setup import engine_config

DATABASES = ("engine-database-enabled", "engine-database", "engine-mapping-database")
SETTINGS = (
    "engine-attach-allowed",
    "engine-time-out",
    "engine-fence-agent",
    "engine-vm-properties",
    "engine-vm-policy",
)
TYPE, MAPPING = "CustomVdsFenceType", "CustomVdsFenceOptionMapping"
# As Engine's own tool, as far as a fix needs it: it writes into the real table.
ENGINE_CONFIG = r"""
level=general
for each in "$@"; do case "$each" in --cver=*) level="${each#--cver=}";; esac; done
[ "$1" = -s ] || exit 0
key="${2%%=*}" value="${2#*=}"
/usr/share/ovirt-engine/dbscripts/engine-psql.sh \
    -c "DELETE FROM vdc_options WHERE option_name = '$key' AND version = '$level'" \
    -c "INSERT INTO vdc_options (option_name, option_value, version, default_value)
        VALUES ('$key', '$value', '$level', '')"
"""


@pytest.fixture(autouse=True)
def _tools(served: ServedMachine) -> None:
    served.tool("engine-config", ENGINE_CONFIG)
    served.tool("systemctl", "exit 0")


def test_all_is_well(served: ServedMachine) -> None:
    """As engine-setup leaves it."""
    found = served.look(*DATABASES, *SETTINGS)
    assert [each.result for each in found] == ["ok"] * 8, found


def test_without_engines_database_nobody_knows(served: ServedMachine) -> None:
    """Its settings are in there alone; that it cannot be reached is a fault of its own."""
    served.tables.write_conf(served.machine.path(""), PASSWORD="wrong", DATABASE="nosuch")
    assert {each.result for each in served.look(*SETTINGS)} == {"unknown"}
    found = served.one("engine-database")
    assert (found.result, "nosuch" in found.cause) == ("critical", True), found
    assert found.fix.startswith("systemctl status postgresql")


def test_a_setting_of_a_level(served: ServedMachine) -> None:
    """A data center to which no managed block domain can be attached."""
    served.tables.add_data_center("Old", "4.4")
    served.tables.execute(
        "DELETE FROM vdc_options WHERE version = '4.7' AND option_name LIKE 'Man%%'"
    )
    for _ in range(2):
        old, default = sorted(
            served.look("engine-attach-allowed"), key=lambda each: each.subject, reverse=True
        )
        assert (old.subject, default.subject) == ("Old", "Default")
        if old.result == "ok":
            break
        assert (old.result, default.result) == ("warning", "warning")
        assert 'is "false" for its level 4.4' in old.cause
        assert "not set" in default.cause
        served.do(old.fix)
        served.do(default.fix)
    assert (old.result, default.result) == ("ok", "ok")


@pytest.mark.parametrize("value", ["0", "", "two"])
def test_a_time_out_that_is_none(served: ServedMachine, value: str) -> None:
    """Engine takes a verb for failed then that did its work."""
    served.tables.set_option("CinderlibCommandTimeoutInMinutes", value)
    assert mended(served, "engine-time-out").result == "critical"


def test_a_time_out_that_nobody_tells(served: ServedMachine) -> None:
    """A row that is not there."""
    served.tables.execute("DELETE FROM vdc_options WHERE option_name LIKE 'Cinder%%'")
    assert served.one("engine-time-out").result == "unknown"


@pytest.mark.parametrize(
    ("types", "mapping", "said"),
    [
        ("other,storpool", "other:secure=ssl,port=ipport", "has not"),
        ("other", "other:secure=ssl,port=ipport;storpool:port=port", "has not"),
        ("storpool", "storpool:port=ipport", "in place of storpool:port=port"),
        ("storpool", "storpool:port=port;storpool:slot=x", "in place of storpool:port=port"),
    ],
)
def test_a_fence_agent_that_is_half_there(
    served: ServedMachine, types: str, mapping: str, said: str
) -> None:
    """In one list and not in the other, or with other words; other agents stay."""
    served.tables.set_option(TYPE, types)
    served.tables.set_option(MAPPING, mapping)
    found = mended(served, "engine-fence-agent")
    assert (found.result, said in found.cause) == ("warning", True), found
    told = dict(
        served.tables.execute(
            "SELECT option_name, option_value FROM vdc_options WHERE option_name LIKE 'CustomVds%%'"
        )
    )
    assert ("other" in types) == str(told[TYPE]).startswith("other,")
    others = mapping.partition(";")[0] if "other" in mapping else ""
    assert told[MAPPING] == ";".join(filter(None, [others, "storpool:port=port"]))


def test_an_agent_of_that_name_that_is_another(served: ServedMachine) -> None:
    """Engine would run that one."""
    served.tables.set_option(TYPE, "storpool")
    served.tables.set_option(MAPPING, "storpool:port=port")
    assert served.one("engine-fence-agent").cause.endswith("have it")
    served.tables.set_option("CustomFenceAgentMapping", "storpool=ipmilan")
    found = served.one("engine-fence-agent")
    assert (found.result, "as another agent" in found.cause) == ("warning", True)


@pytest.mark.parametrize(
    ("value", "bad"),
    [("sp_qos=^[a-z]{1,64}$;LD_PRELOAD=.*", "LD_PRELOAD"), ("x=[;PATH=];ENV=^", "ENV")],
)
def test_a_vm_property_that_is_code(served: ServedMachine, value: str, bad: str) -> None:
    """Hooks have these in their environment."""
    served.tables.set_option("UserDefinedVMProperties", value, "4.6")
    found = served.one("engine-vm-properties")
    assert (found.result, found.subject) == ("critical", "4.6")
    assert f"allows {bad}" in found.cause


ANY_POLICY = [entry.text for entry in engine_config.VM_POLICY]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"4.7": "other=.*"}, []),
        ({"4.6": ";".join(ANY_POLICY), "4.7": ";".join(ANY_POLICY)}, []),
        ({"4.7": ";".join(ANY_POLICY)}, []),  # no cluster of 4.6 has a host
        ({"4.6": ANY_POLICY[0], "4.7": ANY_POLICY[0]}, ["4.7: lacks sp_vc_policy"]),
        ({"4.6": ";".join(ANY_POLICY)}, ["4.7: lacks sp_qos and sp_vc_policy"]),
        (
            {"4.7": f"sp_qos=^(gold|bronze)$;{ANY_POLICY[1]}"},
            ["4.7: none of the classes silver that domains have"],
        ),
        ({"4.7": f"sp_qos=^(gold|silver)$;{ANY_POLICY[1]}"}, []),
        ({"4.7": f"sp_qos=^gold$;sp_qos=^(gold|silver)$;{ANY_POLICY[1]}"}, []),  # Engine's is last
        ({"4.7": f"sp_qos=^\\p{{Lower}}+$;{ANY_POLICY[1]}"}, []),  # Java's, not Python's
    ],
)
def test_what_vms_can_say(served: ServedMachine, values: dict[str, str], told: list[str]) -> None:
    """Nowhere, or at each level that has hosts, and any class that a domain has; the pattern is
    Engine's to understand."""
    served.domain(sp_qos_classes="gold,silver")
    center = str(served.tables.execute("SELECT id::text FROM storage_pool")[0][0])
    served.tables.add_host("h1", center)
    for level, value in values.items():
        served.tables.set_option("UserDefinedVMProperties", value, level)
    found = [each for each in served.look("engine-vm-policy") if each.result != "ok"]
    assert [each.result for each in found] == ["warning"] * len(told)
    for each, said in zip(found, told):
        level, _, words = said.partition(": ")
        assert (each.subject, words in each.cause) == (level, True), each
        assert each.fix


@pytest.mark.parametrize(
    "value", ['CINDERLIB_DB_ENABLE="False"', "CINDERLIB_DB_ENABLE=1", "# nothing"]
)
def test_managed_block_storage_is_off(served: ServedMachine, value: str) -> None:
    """engine-setup was told no, or never asked; Java takes nothing but true."""
    served.write(f"{CONF_D}/10-setup-cinderlib.conf", f"{value}\n")
    found = served.one("engine-database-enabled")
    assert found.result == "critical"
    assert found.fix.startswith("engine-setup --reconfigure-optional-components")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("rm {0}", "is not told in"),
        ("sed -i /USER/d {0}", "CINDERLIB_DB_USER is missing"),
        ("sed -i 's/PORT=.*/PORT=1/' {0}", "refused"),
        ("sed -i 's/DATABASE=.*/DATABASE=nosuch/' {0}", "does not exist"),
        ("sed -i 's/HOST=.*/HOST=no-such-host.invalid/' {0}", "cannot be resolved"),
    ],
)
def test_a_mapping_database_that_is_not_reached(
    served: ServedMachine, broken: str, said: str
) -> None:
    """Keys that are missing or wrong, and a server that is not there."""
    served.do(broken.format(f"{CONF_D}/10-setup-cinderlib-database.conf"))
    found = served.one("engine-mapping-database")
    assert (found.result, said in found.cause) == ("critical", True), found


AUDIT = """
case "$1" in
    is-enabled) echo {enabled}; [ {enabled} = enabled ];;
    is-failed) echo {failed}; [ {failed} = failed ];;
    show) echo 'ExecStart={{ path=/x ; argv[]=storpool-ovirt audit {more} }}';;
esac
"""


@pytest.mark.parametrize(
    ("enabled", "failed", "more", "result", "said"),
    [
        ("enabled", "inactive", "--options /x", "ok", "is enabled"),
        ("disabled", "inactive", "", "ok", "is disabled"),
        ("enabled", "failed", "", "warning", "the last daily audit failed"),
        ("enabled", "inactive", "", "warning", "has no --options, and driver option"),
    ],
)
def test_the_audits_timer(
    served: ServedMachine, enabled: str, failed: str, more: str, result: str, said: str
) -> None:
    """Off as shipped; its last run failed; it has no way to StorPool."""
    served.tool("systemctl", AUDIT.format(enabled=enabled, failed=failed, more=more))
    found = served.one("engine-audit-timer")
    assert (found.result, said in found.cause) == (result, True), found
    served.machine.without("systemctl")
    assert served.one("engine-audit-timer").result == "unknown"


def mended(served: ServedMachine, check_id: str) -> Found:
    """Run what the check tells, see that it is well then, and return what it told."""
    found = served.one(check_id)
    served.do(found.fix)
    assert served.one(check_id).result == "ok"
    return found
