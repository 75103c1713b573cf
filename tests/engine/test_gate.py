"""gate.py: what a domain's options say about themselves, and what of it refuses a domain."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs import refusals, shared_stage
from rigs.stage_fixtures import Stage
from storpool_ovirt import names, option_table
from storpool_ovirt.engine import gate

UUID = "00000000-0000-0000-0000-000000000001"
FINE = {"adapter": "storpool", "sp_api_http_host": "api.example", "sp_auth_token": ""}


def told(options: dict[str, object]) -> dict[str, str]:
    """Return what is wrong, by its name."""
    return {each.name: str(each.error) for each in gate.faults(options)}


@pytest.fixture
def token_file(tmp_path: Path) -> Iterator[Path]:
    """Give a token's file to whose folders everybody has a way."""
    place = Path("/tmp") / f"gate-{tmp_path.name}-{os.getpid()}"
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    file = place / "token"
    file.write_text("12345\n")
    file.chmod(0o640)
    yield file
    file.unlink()
    place.rmdir()


def test_good_options_have_no_fault(token_file: Path) -> None:
    """All options that there are, each for itself, and a token that few can read."""
    all_of_them = {each.name: "x" for each in option_table.OPTIONS if each.name != gate.TOKEN}
    assert told({**FINE, **all_of_them, gate.TOKEN_FILE: str(token_file)}) == {}


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("storpool_template", "do you mean sp_template?"),
        ("tempalte", "do you mean sp_template?"),
        ("Adapter", "do you mean adapter?"),
        ("san_ip", "leave it out"),
    ],
)
def test_an_option_that_nobody_reads_is_told(key: str, meant: str) -> None:
    """Cinder's own, and what somebody mistyped so that config.domain takes it for another's."""
    found = told({**FINE, key: "x"})
    assert list(found) == ["ignored"]
    assert found["ignored"].endswith(f"does nothing: {meant}")


@pytest.mark.parametrize(("mode", "is_open"), [(0o640, False), (0o644, True), (0o604, True)])
def test_a_token_that_all_can_read_is_told(token_file: Path, mode: int, is_open: bool) -> None:
    """By its mode; and not where a folder on the way keeps others out, or where it is not."""
    token_file.chmod(mode)
    options = {**FINE, gate.TOKEN_FILE: str(token_file)}
    assert ("token_open" in told(options)) is is_open
    token_file.parent.chmod(0o750)
    assert told(options) == {}
    assert told({**options, gate.TOKEN_FILE: f"{token_file}.none"}) == {}


@pytest.mark.parametrize(
    "value", [None, "", 0, True, ["/x"], {"a": 1}, "a\0b", "/x\0", "/x" * 3000]
)
@pytest.mark.parametrize(
    "key", [names.ADAPTER_KEY, gate.TOKEN_FILE, "sp_template", "x", "é\n'\"$`"]
)
def test_no_value_breaks_the_gate(key: str, value: object) -> None:
    """What is no value of an option config.domain refuses, in its own words."""
    for fault in gate.faults({**FINE, key: value}):
        assert str(fault.error)


def test_the_token_in_options_is_told_and_not_shown() -> None:
    """It stands on command lines, and a file beside it is never read."""
    found = told({**FINE, gate.TOKEN: "c4nary-t0ken", gate.TOKEN_FILE: "/x"})
    assert set(found) == {"token_in_arguments", "token_file_unused"}
    assert "c4nary" not in str(found)


def test_storage_stats_refuses_what_cannot_work_and_logs_the_rest(shared: Stage) -> None:
    """T24: a domain with another vendor's option is added, and its log says what it does not do."""
    engine = shared_stage.engine_with(shared, storpool_template="x")
    engine.run("storage_stats", "true").require()
    log = (engine.log_folder / "managedblock" / "storpool-adapter.log").read_text()
    assert 'option_doubtful kind=ignored reason="driver option \\"storpool_template\\"' in log
    assert "kind=token_in_arguments" in log
    assert str(engine.options[gate.TOKEN]) not in log
    refused = shared_stage.engine_with(shared, volume_driver="x").run("storage_stats", "true")
    assert "volume_driver" in refusals.of_verb(refused)


def test_other_verbs_do_not_look() -> None:
    """Only the gate pays for it: no other verb loads the module."""
    options = json.dumps({"sp_api_http_host": "a", "sp_auth_token": "b", "volume_driver": "x"})
    argv = ["a", "disconnect_volume", options, "postgresql://u:p@h:1/d", "c", UUID]
    code = (
        "import sys; from storpool_ovirt.engine import adapter;"
        f"done = adapter.main({argv!r});"
        "sys.exit(done or 7 * ('storpool_ovirt.engine.gate' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
