"""Engine's lists: ours is merged in, and taken out alone, whatever else is in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some
from setup_ground import Setup, states, step

from rigs import engine_config_tool
from rigs.engine_config_tool import Keys
from storpool_ovirt.setup import engine_config
from storpool_ovirt.setup.engine_config import FENCE_OPTIONS, FENCE_TYPES, VM_PROPERTIES, Entry

TYPES, OPTIONS, PROPERTIES = FENCE_TYPES.key, FENCE_OPTIONS.key, VM_PROPERTIES.key
OURS = [*engine_config.FENCE_AGENT, Entry(VM_PROPERTIES, "sp_qos", "sp_qos=^[a-z;]{1,64}$")]
names = some.from_regex(re.compile(r"[a-z]\w{0,8}", re.ASCII), fullmatch=True)
# Patterns of others, with a separator where a pattern may have one.
patterns = some.sampled_from(["^(a|b)$", "^[;,]+$", r"^a\;b$", ".*", r"^\[x$"])


@some.composite
def lists(draw: some.DrawFn, ours: Entry) -> str:
    """A list of others, with ours in it or not."""
    others = draw(some.lists(names.filter(lambda name: name != ours.name), max_size=4, unique=True))
    ends = {"": "", ":": ":port=ipport", "=": f"={draw(patterns)}"}[ours.list.ends_name]
    whole = [f"{name}{ends}" for name in others]
    older = f"{ours.name}{ends}"
    if draw(some.booleans()):
        place = draw(some.integers(0, len(whole)))
        whole.insert(place, draw(some.sampled_from([ours.text, older])))
    return ours.list.separator.join(whole)


def others(value: str, ours: Entry) -> list[str]:
    """Return all entries of a list that are not ours, in their order."""
    found = engine_config.entries(value, ours.list)
    return [each for each in found if engine_config.name_of(each, ours.list) != ours.name]


@given(some.data(), some.sampled_from(OURS))
def test_what_others_have_is_never_touched(data: some.DataObject, ours: Entry) -> None:
    """Merged: ours once, as it has to be, the rest in its order; twice is as once; out again:
    the rest alone."""
    value = data.draw(lists(ours))
    merged = engine_config.merged(value, ours)
    assert engine_config.entries(merged, ours.list).count(ours.text) == 1
    assert others(merged, ours) == others(value, ours)
    assert engine_config.merged(merged, ours) == merged
    left = engine_config.without(merged, ours)
    assert engine_config.entries(left, ours.list) == others(value, ours)


@pytest.mark.parametrize(
    ("types", "options", "merged"),
    [
        ("", "", ("storpool", "storpool:port=port")),
        ("other", "other:port=ipport", ("other,storpool", "other:port=ipport;storpool:port=port")),
        ("storpool,other", "", ("storpool,other", "storpool:port=port")),
        (
            "a,storpool,b",
            "a:x=y;storpool:port=ipport;b:z=w",
            ("a,storpool,b", "a:x=y;storpool:port=port;b:z=w"),
        ),
    ],
)
def test_the_fence_agent_comes_beside_others(
    engine: Setup, types: str, options: str, merged: tuple[str, str]
) -> None:
    """What was there stays where it was."""
    given_keys = {TYPES: {"general": types}, OPTIONS: {"general": options}}
    keys = engine_config_tool.installed(engine.machine, **given_keys)
    assert states(engine.run())["fence-agent"] == "changed"
    assert (keys.values(TYPES)["general"], keys.values(OPTIONS)["general"]) == merged
    calls = len(keys.calls())
    assert states(engine.run())["fence-agent"] == "done"
    assert not [each for each in keys.calls()[calls:] if not each.startswith("-g ")]


def test_it_goes_alone(engine: Setup) -> None:
    """What others added meanwhile stays."""
    given_keys = {TYPES: {"general": "other"}, OPTIONS: {"general": "other:port=ipport"}}
    keys = engine_config_tool.installed(engine.machine, **given_keys)
    engine.run()
    keys.set(TYPES, f"{keys.values(TYPES)['general']},third")
    assert states(engine.run("--undo"))["fence-agent"] == "undone"
    assert keys.values(TYPES)["general"] == "other,third"
    assert keys.values(OPTIONS)["general"] == "other:port=ipport"


def test_engine_lets_nobody_empty_a_fence_key(engine: Setup, keys: Keys) -> None:
    """Where ours is alone it is told, with the command that does it, and nothing has failed."""
    engine.run()
    said = step(engine.run("--undo"), "fence-agent")
    assert said["state"] == "needs you"
    assert "engine-psql.sh" in said["do"]
    assert keys.values(TYPES) == {"general": "storpool"}
    assert keys.run("-s", f"{TYPES}=") == (1, f"Cannot set value  to key {TYPES}. {REFUSAL}\n")


REFUSAL = "This key value cannot be empty."


def test_engine_is_asked_no_more_than_it_has_to_be(engine: Setup, keys: Keys) -> None:
    """Each call is a Java that starts: each key is read once to look, and once after a change."""
    engine.run()
    assert sum(call.startswith("-g ") for call in keys.calls()) == 6
    before = len(keys.calls())
    engine.run()
    assert keys.calls()[before:] == [f"-g {each}" for each in (TYPES, OPTIONS, PROPERTIES)]


def test_it_may_be_left_out(engine: Setup, keys: Keys) -> None:
    """Without both Engine is asked nothing."""
    said = states(engine.run("--no-fence-agent", "--no-vm-properties"))
    assert (said["fence-agent"], said["vm-properties"]) == ("not needed", "not needed")
    assert keys.calls() == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'Connection to the Database failed. Please check'; exit 1", "Connection to the Dat"),
        ("exit 0", "printed no value"),
        ("echo null; exit 1", "null"),
    ],
)
def test_an_engine_that_cannot_be_asked_is_told(engine: Setup, script: str, said: str) -> None:
    """The two steps that ask it fail, in engine-config's words; all others are done."""
    engine.machine.tool("engine-config", script)
    document = engine.run(code=1)
    failed = step(document, "fence-agent")
    assert (failed["state"], said in failed["what"]) == ("failed", True)
    assert list(states(document).values()).count("failed") == 2
    assert states(document)["adapter"] == "changed"


def test_vms_may_say_their_policy_at_each_level(engine: Setup, keys: Keys) -> None:
    """Both properties come behind what others have there; a pattern of the administrator's stays to
    the letter, also where setup is taken back."""
    theirs = "sap_agent=^(true|false)$;sp_qos=^(gold|silver)$;other=^[,]$"
    keys.set(PROPERTIES, theirs, "4.7")
    keys.set(PROPERTIES, "older=.*;", "4.8")
    qos, vc = (entry.text for entry in engine_config.VM_POLICY)
    assert states(engine.run())["vm-properties"] == "changed"
    assert keys.values(PROPERTIES) == {
        "4.6": f"{qos};{vc}",
        "4.7": f"{theirs};{vc}",
        "4.8": f"older=.*;{qos};{vc}",
    }
    assert step(engine.run(), "vm-properties")["what"].endswith("has sp_qos and sp_vc_policy")
    assert states(engine.run("--undo"))["vm-properties"] == "undone"
    assert keys.values(PROPERTIES) == {"4.6": "", "4.7": theirs, "4.8": "older=.*"}


@pytest.mark.parametrize("value", ["sp_qos=^gold$;sp_qos=^(a|b)$", " sp_qos = x ;;", "sp_qos"])
def test_an_entry_that_is_kept_is_not_touched(value: str) -> None:
    """However it is written; whether it is what Engine takes is its writer's."""
    ours = engine_config.VM_POLICY[0]
    assert engine_config.merged(value, ours) == value
    assert engine_config.without(value, ours) == value


@pytest.mark.parametrize(
    ("value", "is_taken"),
    [
        ("gold", True),
        ("gold,11111111-1111-4111-8111-111111111111:silver", True),
        (", 11111111-1111-4111-8111-111111111111:ssd:fast", True),
        ("", True),
        ("gold;silver", False),
        ("gold$(id)", False),
        ("gold\nsilver", False),
    ],
)
def test_engine_takes_what_a_hook_can_follow(value: str, is_taken: bool) -> None:
    """By the pattern that is declared; Engine ends the property at a semicolon, so that pattern has
    none."""
    for entry in engine_config.VM_POLICY:
        pattern = entry.text.partition("=")[2]
        assert (re.fullmatch(pattern, value) is not None, ";" in pattern) == (is_taken, False)


class TestThePlayedOne:
    """The stand-in says what ovirt-engine 4.5.7's says (EngineConfigLogic.java)."""

    def test_it_prints_all_versions_or_one(self, keys: Keys) -> None:
        """printAllValuesForKey, printKeyWithSpecifiedVersion."""
        lines = [
            f"ManagedBlockDomainSupported: {value} version: {version}\n"
            for version, value in keys.values("ManagedBlockDomainSupported").items()
        ]
        assert keys.run("-g", "ManagedBlockDomainSupported") == (0, "".join(lines))
        assert keys.run("-g", "ManagedBlockDomainSupported", "--cver=4.7") == (0, "true\n")
        assert keys.run("-g", TYPES) == (0, f"{TYPES}:  version: general\n")
        assert keys.run("-g", "NoSuchKey") == (1, "null\n")

    def test_it_sets_and_refuses(self, keys: Keys) -> None:
        """persist, FenceConfigValueHelper; -m is refused for what cannot be merged."""
        assert keys.run("-s", f"{TYPES}=a,b") == (0, "")
        assert keys.values(TYPES) == {"general": "a,b"}
        assert keys.run("-s", f"{TYPES}=a b")[0] == 1
        assert keys.run("-m", f"{TYPES}=c") == (1, "null\n")
        assert keys.run("-s", "UserDefinedVMProperties=a=b")[0] == 1, "which version?"
        assert keys.run("-m", "UserDefinedVMProperties=a=b", "--cver=4.7") == (0, "")
        assert keys.run("-m", "UserDefinedVMProperties=c=d", "--cver=4.7") == (0, "")
        assert keys.values("UserDefinedVMProperties")["4.7"] == "a=b;c=d"


def test_a_list_with_versions_is_merged_in_each(engine: Setup, keys: Keys) -> None:
    """Custom properties of VMs are a list for each cluster level; some, or all that there are."""
    keys.set("UserDefinedVMProperties", "theirs=^(a|b)$", "4.7")
    code = """
import sys
from storpool_ovirt.setup.engine_config import VM_PROPERTIES, Entries, Entry
from storpool_ovirt.setup.record import Record
ours = [Entry(VM_PROPERTIES, "sp_qos", "sp_qos=^[a-z]+$")]
step = Entries(("properties", "x"), ours, Record("", "engine"), versions=sys.argv[2:])
print(getattr(step, sys.argv[1])())
"""

    def do(*words: str) -> str:
        done = engine.machine.run("/opt/storpool-ovirt/bin/python3", "-c", code, *words)
        assert done.returncode == 0, done
        return done.stdout

    do("do", "4.7")
    stored = keys.values("UserDefinedVMProperties")
    assert stored == {"4.6": "", "4.7": "theirs=^(a|b)$;sp_qos=^[a-z]+$", "4.8": ""}
    assert "done" in do("look", "4.7")
    assert "would change" in do("look")
    do("do")
    assert keys.values("UserDefinedVMProperties")["4.8"] == "sp_qos=^[a-z]+$"
    do("undo")
    assert keys.values("UserDefinedVMProperties") == {"4.6": "", "4.7": "theirs=^(a|b)$", "4.8": ""}


@pytest.mark.parametrize(
    ("value", "merged"),
    [
        ("a[,storpool", "a[,storpool"),
        ("a[", "a[,storpool"),
        ("a,[x,storpool,y]", "a,[x,storpool,y]"),
        ("a,,b", "a,,b,storpool"),
        ("a,b,", "a,b,storpool"),
        ("a,b, ", "a,b,storpool"),
        ("a, storpool ,,b", "a, storpool ,,b"),
        ("storpool,a,storpool,b", "storpool,a,b"),
        ("a\\,storpool", "a\\,storpool"),
    ],
)
def test_what_stands_around_ours_hides_nothing(value: str, merged: str) -> None:
    """Ours is there once, what others wrote stays to the letter, however odd it is."""
    ours = engine_config.FENCE_AGENT[0]
    assert engine_config.merged(value, ours) == merged
    assert engine_config.merged(merged, ours) == merged


def test_a_bracket_that_nobody_closes_hides_no_property() -> None:
    """A class that ends does."""
    ours = Entry(VM_PROPERTIES, "sp_qos", "sp_qos=^[a-z;]{1,64}$")
    assert engine_config.merged(f"a=[x;{ours.text}", ours).count("sp_qos") == 1
    assert engine_config.merged("a=^[;]$;;b=x", ours) == f"a=^[;]$;;b=x;{ours.text}"
