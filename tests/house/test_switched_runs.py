"""A run of any tests on other values of the simulator's switches."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from rigs import clusters
from storpool_simulator.switches import SWITCHES

TESTS = Path(__file__).parents[1]
# What is about the simulator and its process starts it as it is; and a program that has no rigs.
THEMSELVES = {"simulator", "demo"}
ALONE = "cinderlib_functional.py"


def test_a_run_names_its_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks and commas part them, `old` is what was the default, and a later word wins."""
    assert clusters.switches("") == {}
    assert clusters.switches("linger=0, lag=2\nlinger=3") == {"linger": "3", "lag": "2"}
    assert clusters.switches("old") == clusters.OLD
    monkeypatch.setenv(clusters.VARIABLE, "old lag=1")
    assert clusters.switches() == {**clusters.OLD, "lag": "1"}
    with pytest.raises(ValueError, match=r"'linger' is neither NAME=VALUE nor 'old'"):
        clusters.switches("linger")


def test_what_is_old_is_a_value_and_no_default() -> None:
    """Each of these is a switch's other value: a run on `old` is another run."""
    for name, value in clusters.OLD.items():
        assert value != SWITCHES[name].default, name
        assert not SWITCHES[name].values or value in SWITCHES[name].values, name


@pytest.mark.parametrize("values", ["", "linger=7 busy_error=invalidParam"])
def test_simulators_have_the_switches_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: str
) -> None:
    """One in this process and one that is a process have them; what a test gives goes before."""
    monkeypatch.setenv(clusters.VARIABLE, values)
    expected = {name: switch.default for name, switch in SWITCHES.items()}
    expected = {**expected, **clusters.switches(values), "lag": "3"}
    with clusters.running(tmp_path / "one", switches={"lag": "3"}) as here:
        assert here.switches.items() == expected
    with clusters.process(tmp_path / "two", {}, options=["--switch=lag=3"]) as there:
        assert there.control("GET", "switches") == expected


def test_nobody_else_starts_a_simulator() -> None:
    """A test that started one by itself would not hear what the run asks for."""
    for path in TESTS.rglob("*.py"):
        is_its_own = path.parent.name in THEMSELVES or path.name == ALONE
        if is_its_own or path == Path(clusters.__file__):
            continue
        for each in ast.walk(ast.parse(path.read_text())):
            starter = ast.unparse(each.func) if isinstance(each, ast.Call) else ""
            assert not (starter.endswith(".running") and "simulator" in starter), path
