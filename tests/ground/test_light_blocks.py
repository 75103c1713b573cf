"""light.py: blocks are entered and left, and errors go through them, as Python's own."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import light

LIGHT: Any = light
ERRORS = {
    "value": ValueError,
    "stop": StopIteration,
    "runtime": RuntimeError,
    "end": GeneratorExit,
    "break": KeyboardInterrupt,
}
RAISED = st.sampled_from([*ERRORS, ""])
AFTER = st.sampled_from(["nothing", "again", "kept", "raised", "other", "other from"])


def block(manager: Any, before: str, after: str, other: str, done: list[str]) -> Any:
    """Return a block of this manager that does so."""

    @manager
    def made(name: str, *, word: str = "") -> Iterator[str]:
        """Have this text."""
        done.append(f"{name}{word} in")
        if before == "raised":
            raise ERRORS[other or "value"](name)
        if before == "nothing":
            return
        try:
            yield name
        except BaseException as error:
            done.append(f"{name} caught {error!r}")
            _behind(after, other, error)
        done.append(f"{name} out")
        if after == "raised":
            raise ERRORS[other or "value"]("behind it")
        if after == "again":
            yield "again"

    return made


def _behind(after: str, other: str, error: BaseException) -> None:
    if after in ("nothing", "raised"):
        raise error
    if after == "other":
        raise ERRORS[other or "value"]("another")
    if after == "other from":
        raise ERRORS[other or "value"]("another") from error


def told(error: BaseException | None) -> Any:
    """Return what an error is, with those that it is told with."""
    if error is None:
        return None
    hidden = error.__suppress_context__
    return repr(error), hidden, told(error.__cause__), None if hidden else told(error.__context__)


def ended(work: Callable[[], Any]) -> Any:
    """Return how work ended: with what, or with which errors."""
    try:
        return work()
    except BaseException as error:
        return told(error)


BEFORE = st.sampled_from(["yields", "yields", "yields", "nothing", "raised"])
STEP = st.tuples(BEFORE, AFTER, RAISED)


@given(STEP, RAISED)
def test_a_block_lets_errors_through_as_pythons(step: tuple[str, str, str], raised: str) -> None:
    """Whatever it does before and behind its yield, and whatever is raised in it."""
    outcomes = []
    for manager in (contextlib.contextmanager, LIGHT.contextmanager):
        done: list[str] = []
        each = block(manager, *step, done)

        def work(made: Any = each, done: list[str] = done) -> Any:
            with made("a", word="!") as given_name:
                done.append(f"has {given_name}")
                if raised:
                    raise ERRORS[raised]("inside")
            return "went on"

        outcomes.append((ended(work), done))
    assert outcomes[0] == outcomes[1]


@given(st.lists(STEP, min_size=1, max_size=4), RAISED, st.booleans())
def test_a_stack_of_blocks_is_left_as_pythons(
    steps: list[tuple[str, str, str]], raised: str, calls: bool
) -> None:
    """The last one first; each sees what those inside it have raised, or kept to themselves."""
    outcomes = []
    for kind, manager in (
        (contextlib.ExitStack, contextlib.contextmanager),
        (LIGHT.ExitStack, LIGHT.contextmanager),
    ):
        done: list[str] = []

        def work(kind: Any = kind, manager: Any = manager, done: list[str] = done) -> Any:
            with kind() as stack:
                if calls:
                    stack.callback(done.append, "called")
                for place, step in enumerate(steps):
                    name = stack.enter_context(block(manager, *step, done)(str(place)))
                    assert name == str(place)
                if raised:
                    raise ERRORS[raised]("inside")
            return "went on"

        outcome = ended(work)
        outcomes.append((outcome if isinstance(outcome, str) else outcome[0], done))
    assert outcomes[0] == outcomes[1]


def test_an_error_in_leaving_is_told_with_those_before_it() -> None:
    """A trace in the log has all of them, as where blocks stand in blocks."""

    def failing(word: str) -> None:
        raise ValueError(word)

    def work() -> None:
        with light.ExitStack() as stack:
            stack.callback(failing, "third")
            stack.callback(failing, "second")
            raise ValueError("first")

    one, two, three = (repr(ValueError(word)) for word in ("first", "second", "third"))
    first = (one, False, None, None)
    assert ended(work) == (three, False, None, (two, False, None, first))


def test_a_stack_can_be_left_at_once() -> None:
    """Once, and what is in it is not left again."""
    done: list[str] = []
    with light.ExitStack() as stack:
        stack.callback(done.append, "called")
        stack.close()
        assert done == ["called"]
    assert done == ["called"]


@pytest.mark.parametrize("raised", [*ERRORS.values(), FileNotFoundError, PermissionError])
@pytest.mark.parametrize(
    "kept", [(), (OSError,), (FileNotFoundError, ValueError), (BaseException,)]
)
def test_what_is_suppressed_is_what_is_named(
    raised: type[BaseException], kept: tuple[type[BaseException], ...]
) -> None:
    """And its kinds; nothing else."""
    outcomes = []
    for suppress in (contextlib.suppress, light.suppress):

        def work(suppress: Any = suppress) -> str:
            with suppress(*kept):
                raise raised("inside")
            return "went on"

        outcomes.append(ended(work))
    assert outcomes[0] == outcomes[1]
    with light.suppress(*kept):
        pass


def test_what_is_closed_is_closed_whatever_happens() -> None:
    """And the error goes on."""

    class Thing:
        """What counts."""

        closed = 0

        def close(self) -> None:
            """Count."""
            self.closed += 1

    thing = Thing()
    with light.closing(thing) as same:
        assert same is thing
    with pytest.raises(ValueError, match="inside"), light.closing(thing):
        raise ValueError("inside")
    assert thing.closed == 2


def test_a_property_is_worked_out_once_for_each_value() -> None:
    """And again when it is taken away."""

    class Thing:
        """What counts."""

        asked = 0

        @light.cached_property
        def found(self) -> int:
            """How often it was asked."""
            self.asked += 1
            return self.asked

    one, two = Thing(), Thing()
    two.asked = 5
    assert (one.found, one.found, two.found, one.found) == (1, 1, 6, 1)
    del one.found
    assert one.found == 2
    assert Thing.found.__doc__ == functools.cached_property(Thing.__dict__["found"]).__doc__


def test_a_block_is_named_as_its_function() -> None:
    """For whoever reads a trace, or its text."""
    made = block(LIGHT.contextmanager, "yields", "kept", "", [])
    pythons = block(contextlib.contextmanager, "yields", "kept", "", [])
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        assert getattr(made, name) == getattr(pythons, name)
    assert light.cast("int", made) is made
