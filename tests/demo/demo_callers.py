"""What the tests of the demo's Engine and Vdsm share: programs that are written for one test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovirt_demo import engine

DATABASE_URL = (
    "postgresql+psycopg2://ovirt_managedblock:p@ss:w/rd@localhost:5432/ovirt_managedblock"
)


OPTIONS = {"adapter": "storpool", "sp_auth_token": "123", "note": 'a "quoted" é'}


SD, VOL = "5d", "d"


MakeEngine = Callable[..., engine.Engine]


def write_program(path: Path, body: str, interpreter: str = "/bin/sh") -> Path:
    """Write a toy program."""
    path.write_text(f"#!{interpreter}\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def make_engine(tmp_path: Path) -> MakeEngine:
    """Make an Engine whose adapter is a toy; in it $4 is the correlation id, $5 the verb's first
    argument."""

    def make(body: str, interpreter: str = "/bin/sh", **arguments: Any) -> engine.Engine:
        toy = write_program(tmp_path / "toy", body, interpreter)
        return engine.Engine(tmp_path / "engine", toy, OPTIONS, DATABASE_URL, **arguments)

    return make


class Log:
    """What Engine and Vdsm asked, in one list."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def verb(self, result: engine.Result) -> None:
        """Note a verb with its arguments, JSON left out."""
        self.lines.append(
            " ".join(
                [result.verb, *(word for word in result.arguments if not word.startswith("{"))]
            )
        )

    def take(self) -> list[str]:
        """Give what came since the last time."""
        taken, self.lines = self.lines, []
        return taken


@pytest.fixture
def log() -> Log:
    """Give an empty log."""
    return Log()
