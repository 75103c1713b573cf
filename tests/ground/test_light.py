"""light.py: for each class its values behave as those of Python's own dataclasses and tuples do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storpool_ovirt import light

# The decorators and bases at run time, without the types that a checker has for them.
LIGHT: Any = light
NAMES = st.lists(
    st.sampled_from(["name", "size", "tags", "of", "_own", "given", "cls"]), unique=True
)
DEFAULTS = st.sampled_from(["none", "value", "made", "unshown"])
VALUES = st.integers(0, 3) | st.text(max_size=2) | st.none() | st.tuples(st.integers(0, 1))


@dataclasses.dataclass
class Plan:
    """A class to be made: its fields with their defaults, and those of the class above it."""

    fields: list[tuple[str, str]]
    above: list[tuple[str, str]]
    frozen: bool


@st.composite
def plans(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Plan:
    """Return classes whose fields with defaults come last, as Python wants it."""
    names = draw(NAMES)
    kinds = sorted((draw(DEFAULTS) for _ in names), key=lambda each: each in ("value", "made"))
    cut = draw(st.integers(0, len(names)))
    pairs = list(zip(names, kinds))
    return Plan(pairs[cut:], pairs[:cut], draw(st.booleans()))


def made(plan: Plan, decorated: Any, field: Any, above: Any = None) -> Any:
    """Return the class that is planned, by these tools."""
    bases: tuple[type, ...] = ()
    if plan.above:
        tools = above or (decorated, field)
        bases = (tools[0](frozen=plan.frozen)(type("Above", (), space(plan.above, tools[1]))),)
    return decorated(frozen=plan.frozen)(type("Made", bases, space(plan.fields, field)))


def space(fields: list[tuple[str, str]], field: Any) -> dict[str, Any]:
    """Return what stands in the class."""
    found: dict[str, Any] = {"__annotations__": {name: "Any" for name, _ in fields}}
    for name, kind in fields:
        if kind == "value":
            found[name] = "a default"
        elif kind == "made":
            found[name] = field(default_factory=lambda: ["made"])
        elif kind == "unshown":
            found[name] = field(repr=False)
    found["count"] = property(lambda self: len(vars(self)))
    found["__module__"] = __name__
    return found


def tried(work: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[str, Any]:
    """Return what work has for its result, or how it fails."""
    try:
        return "done", work(*arguments, **named)
    except (TypeError, AttributeError, ValueError) as error:
        return type(error).__name__, str(error) if isinstance(error, TypeError) else ""


STANDARD = (dataclasses.dataclass, dataclasses.field)
OWN = (LIGHT.dataclass, LIGHT.field)
MIXES = [(OWN, OWN), (OWN, STANDARD), (STANDARD, OWN)]
ARGUMENTS = st.tuples(
    st.lists(VALUES, max_size=8),
    st.dictionaries(st.sampled_from(["name", "size", "tags", "of", "other"]), VALUES),
)


@pytest.mark.parametrize(("tools", "above"), MIXES)
@settings(deadline=None)
@given(plans(), ARGUMENTS, ARGUMENTS, st.data())
def test_a_value_behaves_as_a_dataclass_does(
    tools: Any, above: Any, plan: Plan, one: Any, two: Any, data: st.DataObject
) -> None:
    """However it is made, shown, compared, hashed, changed; also below a class of the others'."""
    theirs, ours = made(plan, *STANDARD), made(plan, *tools, above)
    for arguments, named in (one, two):
        wanted = tried(seen, theirs, *arguments, **named)
        assert tried(seen, ours, *arguments, **named) == wanted
    whole = [data.draw(VALUES) for _ in (*plan.above, *plan.fields)]
    pairs = [(cls(*whole), cls(*whole), cls(*whole[::-1])) for cls in (theirs, ours)]
    assert len({(first == second, first == other) for first, second, other in pairs}) == 1
    assert pairs[0][0] != pairs[1][0]
    for _, value, other in pairs:
        changes = data.draw(st.dictionaries(st.sampled_from([*vars(value), "other"]), VALUES))
        wanted = tried(seen, dataclasses.replace, pairs[0][0], **changes)
        assert tried(seen, light.replace, value, **changes) == wanted
        assert tried(seen, dataclasses.replace, value, **changes) == wanted
        for copied in (copy.copy(value), copy.deepcopy(value)):
            assert copied == value
            assert copied is not value
        assert dataclasses.asdict(value) == light.asdict(value) == vars(value)
        assert [each.name for each in dataclasses.fields(value)] == list(vars(value))
        assert (
            value.__match_args__ == tuple(vars(value)) if hasattr(theirs, "__match_args__") else 1
        )
        assert (value == other) == (vars(value) == vars(other))


def seen(make: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Any, ...]:
    """Make a value; return what can be seen of it: its fields, its text, what it refuses."""
    value = make(*arguments, **named)
    shown = (repr(value), dict(vars(value)), value.count)
    hashed = tried(hash, value)[0]
    same = hashed != "done" or hash(value) == hash(copy.copy(value))
    refused = [tried(setattr, value, name, 1)[0] for name in ("name", "size", "other")]
    deleted = [tried(delattr, value, name)[0] for name in ("name", "other")]
    return shown, refused, deleted, hashed, same


@settings(deadline=None)
@given(plans(), ARGUMENTS, ARGUMENTS, st.data())
def test_a_tuple_with_names_behaves_as_pythons(
    plan: Plan, one: Any, two: Any, data: st.DataObject
) -> None:
    """Made with any arguments, by place and by name, taken apart, changed, compared."""
    fields = [pair for pair in (*plan.above, *plan.fields) if pair[0][0] != "_"]
    classes = []
    for base in (typing.NamedTuple, LIGHT.NamedTuple):

        class Made(base):  # type: ignore[misc, valid-type]
            __annotations__ = {name: Any for name, _ in fields}
            locals().update({name: 7 for name, kind in fields if kind in ("value", "made")})

            def doubled(self) -> Any:
                return self + self

        classes.append(Made)
    theirs, ours = classes
    assert (ours._fields, ours._field_defaults) == (theirs._fields, theirs._field_defaults)
    assert ours.__mro__[1:] == theirs.__mro__[1:]
    for arguments, named in (one, two):
        wanted, found = (tried(each, *arguments, **named) for each in classes)
        assert found[0] == wanted[0]
        assert found[0] != "done" or found[1] == wanted[1]
        wanted, found = (tried(each._make, arguments) for each in classes)
        assert found == wanted
    whole = [data.draw(VALUES) for _ in fields]
    value, pythons = ours(*whole), theirs(*whole)
    assert value == pythons == tuple(whole)
    assert (repr(value), hash(value)) == (repr(pythons), hash(pythons))
    assert value._asdict() == pythons._asdict()
    assert [getattr(value, name) for name, _ in fields] == whole
    assert value.doubled() == pythons.doubled()
    assert copy.copy(value) == copy.deepcopy(value) == value
    assert type(copy.deepcopy(value)) is ours
    changes = data.draw(st.dictionaries(st.sampled_from([*ours._fields, "other"]), VALUES))
    changed, theirs_changed = (tried(each._replace, **changes) for each in (value, pythons))
    assert (changed[0] == "done") == (theirs_changed[0] == "done")
    assert changed[0] != "done" or changed[1] == theirs_changed[1]
    for name in ("other", *ours._fields):
        assert tried(setattr, value, name, 1)[0] == "AttributeError"


@light.dataclass(frozen=True)
class Point:
    """For the pickles, which want a class by its name."""

    x: int
    near: list[int] = light.field(default_factory=list)


class Place(light.NamedTuple):
    """The same."""

    x: int
    name: str = "here"

    def __str__(self) -> str:
        return f"{self.name} {super().__len__()}"


class Colour(light.Enum):
    """The same."""

    RED = "r"
    BLUE = "b"

    @property
    def is_red(self) -> bool:
        """Whether it is the first one."""
        return self is Colour.RED


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [Point(1, [2]), Place(1), Colour.BLUE])
def test_a_value_is_pickled(value: object, protocol: int) -> None:
    """By each of Python's protocols."""
    again = pickle.loads(pickle.dumps(value, protocol))  # noqa: S301  our own
    assert again == value
    assert type(again) is type(value)
    assert (again is value) == isinstance(value, Colour)


def test_a_field_that_is_made_is_made_for_each_value() -> None:
    """And not when it is given; the class has no such attribute."""
    one, two = Point(1), Point(1)
    one.near.append(5)
    assert two.near == []
    assert Point(1, near=one.near).near is one.near
    assert not hasattr(Point, "near")
    assert str(Place(3)) == "here 2"


def test_a_value_is_finished_by_its_class() -> None:
    """What `__post_init__` does is done with all fields there."""

    @light.dataclass
    class Sum:
        """A value that counts."""

        kind: typing.ClassVar[str] = "sum"
        parts: list[int] = light.field(default_factory=lambda: [1, 2])
        whole: int = 0

        def __post_init__(self) -> None:
            self.whole += sum(self.parts)

    assert Sum() == Sum([1, 2], whole=0)
    assert Sum([4], whole=1).whole == 5
    assert not hasattr(light.replace(Sum()), "kinds")


@pytest.mark.parametrize("base", ["tuple", "value"])
def test_a_field_without_a_default_does_not_follow_one_with(base: str) -> None:
    """The defaults would go to other fields."""
    wrong = {"__annotations__": {"one": "int", "two": "int"}, "one": 1, "__module__": __name__}
    with pytest.raises(TypeError, match="two"):
        if base == "tuple":
            type(LIGHT.NamedTuple)("Wrong", (LIGHT.NamedTuple,), wrong)
        else:
            LIGHT.dataclass(type("Wrong", (), wrong))


def test_what_the_light_ones_do_not_know_is_refused() -> None:
    """It is not left out in silence."""
    with pytest.raises(TypeError):
        LIGHT.dataclass(order=True)
    with pytest.raises(TypeError):
        LIGHT.field(compare=False)
    with pytest.raises(AttributeError):
        _ = LIGHT.something


def test_members_are_each_one_object() -> None:
    """By name, by value, in order; copied they are the same."""
    assert [*LIGHT_COLOURS] == [Colour.RED, Colour.BLUE]
    assert (Colour("b"), Colour["RED"], len(Colour)) == (Colour.BLUE, Colour.RED, 2)
    assert copy.deepcopy(Colour.RED) is copy.copy(Colour.RED) is Colour.RED
    assert (str(Colour.RED), repr(Colour.RED)) == ("Colour.RED", "<Colour.RED: 'r'>")
    assert (Colour.RED.name, Colour.RED.value, Colour.RED.is_red) == ("RED", "r", True)
    assert len({Colour.RED, Colour.BLUE, Colour("r")}) == 2
    with pytest.raises(ValueError, match="'x' is not a valid Colour"):
        Colour("x")


LIGHT_COLOURS: Any = Colour


def test_it_loads_nothing_of_what_it_stands_for() -> None:
    """Also where classes are made, and values of them."""
    code = """
import sys
before = {*sys.modules, "__future__"}
from storpool_ovirt.light import NamedTuple, contextmanager, dataclass, field, replace, suppress
@dataclass(frozen=True)
class Value:
    one: int
    two: list = field(default_factory=list)
class Pair(NamedTuple):
    one: int
    two: str = ""
assert replace(Value(1), one=2) != Value(1) and Pair(1)._replace(one=2) != Pair(1)
print(*sorted(set(sys.modules) - before))
"""
    folder = str(Path(light.__file__).parents[1])
    command = [sys.executable, "-ISB", "-c", f"import sys; sys.path[:0] = [{folder!r}]\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == [
        "_collections",
        "_operator",
        "storpool_ovirt",
        "storpool_ovirt.light",
    ]
