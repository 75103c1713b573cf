"""storpool-engine-dispatcher: started as a released Engine starts its cinderlib client, it becomes
the adapter of the domain's option or the stock client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ovirt_demo import children
from storpool_ovirt.engine import dispatcher, diversion

LIMIT_SECONDS = 60
URL = "postgresql+psycopg2://ovirt_cinderlib:secret@localhost:5432/ovirt_cinderlib"
# Tells all that it was given, in shell: nothing of Python's in between.
TELLS = """#!/bin/sh
echo "{name}"; pwd; for each; do printf '<%s>\\n' "$each"; done
cat; env | grep -v '^_=' | sort; grep -E '^Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd | wc -l
exit {code}
"""


class Engine:
    """A machine's folder of Engine's, with the client diverted, and stand-ins for all others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = folder / "cinderlib" / dispatcher.CLIENT
        self.stock = folder / "cinderlib" / dispatcher.STOCK
        self.adapters = folder / "managedblock"
        for each in (self.client.parent, self.adapters):
            each.mkdir(parents=True)
        self.client.symlink_to(children.find(dispatcher.PROGRAM))
        self.program(self.stock, "stock", 7)

    def program(self, path: Path, name: str, code: int = 0, text: str = TELLS) -> Path:
        """Write a program that tells what it was given."""
        path.write_text(text.format(name=name, code=code))
        path.chmod(0o755)
        return path

    def run(
        self, *arguments: str, program: Path | str = f"./{dispatcher.CLIENT}", **facts: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Start the client as Engine does: relative, in its folder, both streams one pipe."""
        return started([str(program), *arguments], self.client.parent, facts)

    def asks_for(self, options: object, *arguments: str) -> tuple[int, str]:
        """Run a verb with these driver options; return the exit code and the output."""
        text = options if isinstance(options, str) else json.dumps(options)
        done = self.run("create_volume", text, URL, "an-id", *arguments)
        return done.returncode, done.stdout.decode()


def started(
    argv: list[str], folder: Path, facts: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Start a program and wait for its end."""
    return subprocess.run(
        argv,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **facts},
        input=b"what Engine never writes\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=LIMIT_SECONDS,
    )


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Give an Engine of 4.5.7 with a diverted client."""
    return Engine(tmp_path / "usr")


STOCK_ARGUMENTS: list[list[str]] = [
    ["create_volume", '{"volume_driver": "x"}', URL, "-id", "a b", "", "*", "ü\n'\"", "--help"],
    ["create_volume", "no JSON", URL],
    ["create_volume", "{", URL],
    ["create_volume", "", URL],
    ["create_volume", '["adapter"]', URL],
    ["create_volume", '"adapter"', URL],
    ["create_volume", "null", URL],
    ["create_volume", '{"a": NaN, "adapter": "v"}', URL],
    ["create_volume", '{"a": {"adapter": "v"}, "Adapter": "v"}', URL],
    ["create_volume", "[" * 100000, URL],
    ["create_volume"],
    ["--help"],
    ["--version"],
    [],
]
ENVIRONMENTS = (
    {"LANG": "en_US.UTF-8", "LC_ALL": "en_US.UTF-8", "ENGINE_USR": "/usr/share/ovirt-engine"},
    {"LANG": "C"},
    {"LC_CTYPE": "C", "PYTHONPATH": "/nowhere"},
    {},
)


@pytest.mark.parametrize("facts", ENVIRONMENTS, ids=str)
def test_the_stock_client_gets_all_as_it_came(engine: Engine, facts: dict[str, str]) -> None:
    """Arguments, folder, stdin, environment, signals, descriptors and exit code are those of a
    client that is started straight."""
    for arguments in STOCK_ARGUMENTS:
        through = engine.run(*arguments, **facts)
        straight = engine.run(*arguments, program=f"./{dispatcher.STOCK}", **facts)
        assert through.stdout.startswith(b"stock\n"), through.stdout
        assert through.stdout == straight.stdout
        assert through.returncode == straight.returncode == 7


def test_what_is_not_utf8_goes_through_as_it_is(engine: Engine) -> None:
    """Bytes are bytes, in an argument and in the environment."""
    argv = [b"./cinderlib-client.py", b"verb", b'{"x": "\xff"}', b"\xc3\x28"]
    facts = {b"PATH": b"/usr/bin:/bin", b"ODD": b"\xfe"}
    done = subprocess.run(
        argv, cwd=engine.client.parent, env=facts, capture_output=True, check=False
    )
    assert b'<{"x": "\xff"}>\n<\xc3\x28>\n' in done.stdout
    assert b"ODD=\xfe\n" in done.stdout


def test_a_stock_client_in_python_finds_its_modules(engine: Engine) -> None:
    """As oVirt's imports config.py from the folder that it lies in."""
    (engine.stock.parent / "config.py").write_text("WHERE = __file__\n")
    source = f"#!{sys.executable}\nimport config, sys\nprint(config.WHERE, sys.argv[1:])\n"
    engine.program(engine.stock, "", text=source.replace("{", "{{"))
    code, said = engine.asks_for({"volume_driver": "x"}, "v")
    assert code == 0
    assert said.startswith(f"{engine.stock.parent}/config.py")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"adapter": "storpool"}, "storpool"),
        ({"adapter": "other vendor's", "x": "1"}, "other vendor's"),
        ({"adapter": ""}, ""),
        ({"adapter": None}, "null"),
        ({"adapter": True}, "true"),
        ({"adapter": 81}, "81"),
        ({"adapter": 1.5}, "1.5"),
        ({"adapter": ["a", None]}, "[a, null]"),
        ({"adapter": {"a": "b", "c": False}}, "{a=b, c=false}"),
        ('{"adapter": "first", "adapter": "last"}', "last"),
        (' \r\n\t{"\\u0061dapter": "storpool"} and more', "storpool"),
        ({"adapter": "../elsewhere/x"}, "../elsewhere/x"),
        ({"adapter": "größe"}, "größe"),
    ],
)
def test_a_domain_with_an_adapter_goes_to_it(engine: Engine, options: object, name: str) -> None:
    """Any vendor's, by the rule of later Engines: a key that is there counts; the program gets the
    arguments as they came, by its absolute path, in the folder of adapters."""
    (engine.folder / "elsewhere").mkdir()
    path = Path(f"{engine.adapters}/{name}-adapter")
    engine.program(path, "$0")
    code, said = engine.asks_for(options, "an id", "--x")
    assert code == 0, said
    text = options if isinstance(options, str) else json.dumps(options)
    given = "".join(f"<{each}>\n" for each in ("create_volume", text, URL, "an-id", "an id", "--x"))
    given = given.replace("\\n", "\n")
    assert said.startswith(f"{path}\n{engine.adapters}\n{given}what Engine never writes\n")


def test_an_adapter_that_dies_ends_as_if_engine_had_started_it(engine: Engine) -> None:
    """Its exit code is the client's, its signal too; its output is all there is."""
    engine.program(engine.adapters / "v-adapter", "", text="#!/bin/sh\nkill -9 $$\n")
    assert engine.asks_for({"adapter": "v"}) == (-9, "")
    engine.program(engine.adapters / "v-adapter", "", text="#!/bin/sh\necho error:no; exit 3\n")
    assert engine.asks_for({"adapter": "v"}) == (3, "error:no\n")


def test_a_script_without_a_first_line_is_the_shells(engine: Engine) -> None:
    """As Java's ProcessBuilder has it."""
    engine.program(engine.adapters / "v-adapter", "", text="echo $1 $4\n")
    assert engine.asks_for({"adapter": "v"}) == (0, "create_volume an-id\n")


def refusal(engine: Engine, options: object) -> str:
    """Return the one sentence of a refusal, as Engine takes it from the output."""
    code, said = engine.asks_for(options)
    assert code == 1
    assert said.startswith("error:")
    assert said.count("\n") == 1
    return said[6:-1]


def test_an_adapter_that_cannot_be_started_is_one_sentence(engine: Engine) -> None:
    """Missing, without permission, with a wrong first line, a folder, a name that no file can
    have, no folder of adapters: which, why, what to do."""
    path = engine.adapters / "v-adapter"
    assert refusal(engine, {"adapter": "v"}) == (
        f'the adapter "{path}" cannot be started (No such file or directory): install it, or'
        " correct the storage domain's driver option adapter"
    )
    engine.program(path, "").chmod(0o644)
    assert "(Permission denied)" in refusal(engine, {"adapter": "v"})
    engine.program(path, "", text="#!/nowhere/sh\n")
    assert "(No such file or directory)" in refusal(engine, {"adapter": "v"})
    path.unlink()
    path.mkdir()
    assert "(Permission denied)" in refusal(engine, {"adapter": "v"})
    assert "(embedded null byte)" in refusal(engine, {"adapter": "a\0b"})
    assert "(File name too long)" in refusal(engine, {"adapter": "v" * 300})
    assert '\\nb-adapter" cannot' in refusal(engine, {"adapter": "a\nb"})
    path.rmdir()
    engine.adapters.rmdir()
    assert str(path) in refusal(engine, {"adapter": "v"})


def test_a_stock_client_that_cannot_be_started_is_one_sentence(engine: Engine) -> None:
    """It says what to do about it."""
    engine.stock.unlink()
    assert refusal(engine, {}) == (
        "Engine's own cinderlib client ./cinderlib-client.py.ovirt cannot be started (No such file"
        f" or directory): see {children.find(diversion.PROGRAM)} status on this machine, or"
        " reinstall ovirt-engine"
    )


@pytest.mark.parametrize("place", ["stock", "adapter"])
@pytest.mark.parametrize("how", ["link", "copy", "client"])
def test_it_never_becomes_itself(engine: Engine, place: str, how: str) -> None:
    """In a place where one of the others belongs it refuses: no loop."""
    path = engine.stock if place == "stock" else engine.adapters / "v-adapter"
    path.unlink(missing_ok=True)
    if how == "copy":
        path.write_bytes(engine.client.read_bytes())
        path.chmod(0o755)
    else:
        path.symlink_to(engine.client if how == "client" else engine.client.readlink())
    said = refusal(engine, {} if place == "stock" else {"adapter": "v"})
    assert "was not started as cinderlib-client.py" in said


def test_an_answer_that_nobody_reads_is_still_a_failure(engine: Engine) -> None:
    """Engine has gone: how it ends says it."""
    reader, writer = os.pipe()
    os.close(reader)
    argv = [f"./{dispatcher.CLIENT}", "verb", '{"adapter": "missing"}']
    try:
        done = subprocess.run(
            argv, cwd=engine.client.parent, stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert done.returncode != 0
    assert done.stderr == b""


def test_it_imports_little() -> None:
    """Every verb waits for it: nothing of ours is loaded but itself, and no module that is slow."""
    code = """
import sys
before = set(sys.modules)
import storpool_ovirt.engine.dispatcher
asked = storpool_ovirt.engine.dispatcher.asked_for(' {"adapter": "storpool", "sp_port": 81}')
assert asked == "storpool", asked
new = {each.partition(".")[0] for each in set(sys.modules) - before}
ours = {each for each in sys.modules if each.startswith("storpool_ovirt.")}
assert ours == {"storpool_ovirt.engine", "storpool_ovirt.engine.dispatcher"}, ours
slow = "argparse subprocess socket ssl typing logging threading json re enum signal functools"
assert not new & set(slow.split()), new
"""
    tree = str(Path(dispatcher.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": tree},
    )
    assert (done.returncode, done.stderr) == (0, "")
