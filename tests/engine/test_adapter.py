"""adapter.py: the door on Engine's side, as far as it needs neither a cluster nor a database.

What the verbs do is in test_adapter_protocol.py.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable, Union

import pytest

from ovirt_demo import children
from rigs import forked, verb_samples
from storpool_ovirt.engine import adapter, verbs

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
OTHER = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"
TOKEN = "1556560560218011653"
PASSWORD = "Zk3:s@cret/1"
OPTIONS = {
    "adapter": "storpool",
    "sp_api_http_host": "127.0.0.1",
    "sp_api_http_port": "1",
    "sp_auth_token": TOKEN,
}
URL = f"postgresql+psycopg2://ovirt_managedblock:{PASSWORD}@127.0.0.1:1/ovirt_managedblock"
GOOD = {verb: verb_samples.arguments(verb, ID, OTHER, OTHER) for verb in verb_samples.VERBS}
Text = Union[str, bytes]
BAD = {
    "empty": "",
    "blank": " ",
    "wrong": "-x",
    "newline": "a\nb",
    "not UTF-8": b"\xff\xfe",
    "too long": "x" * 100_000,
    "nil": "00000000-0000-0000-0000-000000000000",
    "upper braces": "{" + ID.upper() + "}",
    "fraction": "1.5",
    "negative": "-1",
    "zero": "0",
    "array": "[]",
    "text in JSON": '"x"',
    "broken JSON": "{",
    "arabic digit": "٣",
    "beyond 64 bits": str(1 << 70),
}


class Adapter:
    """Runs the installed program with any argv, its output as Engine sees it."""

    def __init__(self, folder: Path) -> None:
        self.program = children.find("storpool-adapter")
        self.log = folder / "managedblock" / "storpool-adapter.log"
        self.log.parent.mkdir()
        self.environment = {
            "ENGINE_LOG": str(folder),
            "PATH": os.defpath,
            "STORPOOL_OVIRT_ROOT": str(folder),
        }

    def run(self, *argv: Text, cwd: str = "/") -> subprocess.CompletedProcess[bytes]:
        """Run it with a stdin that is never closed, and stderr in stdout."""
        reading, writing = os.pipe()
        try:
            return subprocess.run(
                [self.program, *argv],
                stdin=reading,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=self.environment,
                timeout=60,
                check=False,
            )
        finally:
            os.close(reading)
            os.close(writing)

    @contextlib.contextmanager
    def kept(self) -> Iterator[Callable[..., subprocess.CompletedProcess[bytes]]]:
        """Give what runs it with any argv as `run` does, from one start of Python."""
        keeper = forked.Keeper([adapter.__name__], self.environment)

        def run(*argv: Text) -> subprocess.CompletedProcess[bytes]:
            words = [os.fsdecode(each) for each in (self.program, *argv)]
            with keeper.started(words, Path("/"), 0o022) as running:
                status = running.wait(60)
                return subprocess.CompletedProcess(argv, status, running.stdout.read())

        with contextlib.closing(keeper):
            yield run


@pytest.fixture
def program(tmp_path: Path) -> Adapter:
    """The installed program with its log below tmp_path."""
    return Adapter(tmp_path)


def refusal(done: subprocess.CompletedProcess[bytes]) -> str:
    """Check that this is one clear refusal, and return its sentence."""
    assert done.returncode == 1
    line = done.stdout.decode()
    assert line.startswith("error:")
    assert line.endswith("\n")
    sentence = line[len("error:") : -1]
    assert sentence.isprintable(), "one line"
    assert len(sentence) > 20
    assert "Traceback" not in line
    assert "internal error" not in line
    assert TOKEN not in line
    assert PASSWORD not in line
    return sentence


def test_each_verb_that_acts_is_a_function_of_disks() -> None:
    """Each verb that acts is there, and takes what the table says."""
    from storpool_ovirt.engine import disks

    for name, verb in verbs.VERBS.items():
        assert verb.does is None or callable(getattr(disks, verb.does)), name
        assert len(verb.arguments) == len(GOOD[name])


@pytest.mark.parametrize("verb", GOOD)
def test_a_missing_argument_is_one_sentence(program: Adapter, verb: str) -> None:
    """T74, T75: with any number of arguments too few, or one too many, the sentence names what is
    missing or wrong."""
    whole = [verb, json.dumps(OPTIONS), URL, "corr-1", *GOOD[verb]]
    with program.kept() as run:
        for count in range(len(whole)):
            assert "missing" in refusal(run(*whole[:count])), count
        assert "were given" in refusal(run(*whole, "more"))


@pytest.mark.parametrize("verb", GOOD)
def test_a_bad_argument_is_one_sentence_that_names_it(program: Adapter, verb: str) -> None:
    """T75: empty, of another type, too long, not UTF-8, with line breaks: refused before anything
    is touched."""
    bad = itertools.product(enumerate(verbs.VERBS[verb].arguments), BAD.items())
    with program.kept() as run:
        for (position, argument), (kind, text) in bad:
            arguments: list[Text] = [*GOOD[verb]]
            arguments[position] = text
            sentence = refusal(run(verb, json.dumps(OPTIONS), URL, "corr-1", *arguments))
            expected = (
                "not UTF-8" if kind == "not UTF-8" else f"the {argument.name} argument of {verb}"
            )
            assert expected in sentence, kind
            assert len(sentence) < 400


@pytest.mark.parametrize(
    "options", ["", "{", "[]", "null", '"x"', "{}", "[" * 50_000, '{"sp_api_http_host": "h"}']
)
@pytest.mark.parametrize("verb", ["create_volume", "disconnect_volume", "storage_stats"])
def test_bad_driver_options_are_one_sentence(program: Adapter, verb: str, options: str) -> None:
    """Broken JSON, an array, no host, no token: the sentence tells what to set, for verbs that do
    nothing too."""
    assert "driver option" in refusal(program.run(verb, options, URL, "corr-1", *GOOD[verb]))


@pytest.mark.parametrize(
    "url", ["", "x", "mysql://u:p@h:1/d", f"postgresql+psycopg2://u:{PASSWORD}@h/d"]
)
def test_a_bad_database_url_is_one_sentence(program: Adapter, url: str) -> None:
    """The sentence tells the form that is expected and not the password that was given."""
    assert "database URL" in refusal(
        program.run("create_volume", json.dumps(OPTIONS), url, "corr-1", ID, "1")
    )


@pytest.mark.parametrize("correlation_id", ["", "a b", "a:b", "a\nb", "x" * 51, "ä"])
def test_a_bad_correlation_id_is_one_sentence(program: Adapter, correlation_id: str) -> None:
    """Engine lets 1 to 50 of [0-9a-zA-Z_-] through; anything else is not Engine's."""
    refusal(program.run("disconnect_volume", json.dumps(OPTIONS), URL, correlation_id, ID))


def test_an_unknown_verb_is_told_the_known_ones(program: Adapter) -> None:
    """A verb of a newer Engine fails with a list of what there is."""
    sentence = refusal(program.run("attach_volume", json.dumps(OPTIONS), URL, "corr-1", ID))
    assert all(verb in sentence for verb in GOOD)


@pytest.mark.parametrize("correlation_id", ["corr-1", "-corr", "--help", "_", "x" * 50])
@pytest.mark.parametrize("verb", verb_samples.IDLE)
def test_the_verbs_that_do_nothing_need_nothing(
    program: Adapter, verb: str, correlation_id: str
) -> None:
    """T70, T74, T36: disconnect and save_device succeed with the API and the database down, with
    exactly one line."""
    done = program.run(verb, json.dumps(OPTIONS), URL, correlation_id, *GOOD[verb])
    assert (done.returncode, done.stdout) == (0, f"{correlation_id}:\n".encode())


@pytest.mark.parametrize("correlation_id", ["error", "error-77", "errors"])
def test_a_correlation_id_that_begins_with_error(program: Adapter, correlation_id: str) -> None:
    """Engine takes such a line for an error and cuts six characters: the literal prefix keeps the
    payload whole."""
    done = program.run("disconnect_volume", json.dumps(OPTIONS), URL, correlation_id, ID)
    assert (done.returncode, done.stdout) == (0, b"error:\n")


@pytest.mark.parametrize("verb", verb_samples.BUSY)
def test_a_database_that_is_down_is_one_sentence(program: Adapter, verb: str) -> None:
    """T24: with PostgreSQL down each verb that needs it fails, and says which database is meant."""
    sentence = refusal(program.run(verb, json.dumps(OPTIONS), URL, "corr-1", *GOOD[verb]))
    assert "ovirt_managedblock at 127.0.0.1:1" in sentence


def test_a_secret_in_a_wrong_place_is_masked(program: Adapter) -> None:
    """T75: arguments in another order, or broken off, are told without what is secret in them, also
    in the log."""
    argv = ["create_volume", json.dumps(OPTIONS), URL, "corr-1", ID, "1"]
    for first, second in itertools.combinations(range(len(argv)), 2):
        swapped = list(argv)
        swapped[first], swapped[second] = swapped[second], swapped[first]
        for cut in (swapped, [each[:-9] if each.startswith("{") else each for each in swapped]):
            said = program.run(*cut).stdout.decode() + program.log.read_text()
            assert not [
                secret for secret in (TOKEN[:10], PASSWORD[:6], "cret/1") if secret in said
            ], cut
    assert "***" in program.log.read_text()


def test_the_log_has_the_failure_and_no_secret(program: Adapter) -> None:
    """T75: the log tells verb, correlation id and reason; neither token nor password is in it."""
    program.run("create_volume", json.dumps(OPTIONS), URL, "corr-1", ID, "20")
    text = program.log.read_text()
    assert "corr-1 verb_failed verb=create_volume" in text
    assert TOKEN not in text
    assert PASSWORD not in text


def test_without_a_log_folder_it_works_and_says_nothing_more(program: Adapter) -> None:
    """Where the log folder is missing lines go to syslog; Engine's output stays exactly one
    line."""
    program.environment["ENGINE_LOG"] = "/nonexistent"
    done = program.run("disconnect_volume", json.dumps(OPTIONS), URL, "corr-1", ID)
    assert (done.returncode, done.stdout) == (0, b"corr-1:\n")


def test_a_bug_says_where_its_trace_is(program: Adapter, tmp_path: Path) -> None:
    """In the log, or in the system's where Engine has no folder for it, as up to 4.5.7."""
    (tmp_path / "psycopg2.py").write_text("1 / 0")
    program.environment["PYTHONPATH"] = str(tmp_path)
    verb = ("storage_stats", json.dumps(OPTIONS), URL, "corr-1", "true")
    begins = "error:internal error ZeroDivisionError: see"
    said = program.run(*verb).stdout.decode()
    assert said == f"{begins} {program.log} on Engine's machine\n"
    assert "trace" in program.log.read_text()
    program.environment["ENGINE_LOG"] = "/nonexistent"
    said = program.run(*verb).stdout.decode()
    assert said == (
        f"{begins} the system's log, journalctl -t storpool-adapter, on Engine's machine\n"
    )


def test_a_missing_dependency_is_one_sentence(program: Adapter, tmp_path: Path) -> None:
    """Without psycopg2 the sentence says what to install, not where Python looked."""
    (tmp_path / "psycopg2.py").write_text("raise ImportError('No module named psycopg2')")
    program.environment["PYTHONPATH"] = str(tmp_path)
    sentence = refusal(program.run("storage_stats", json.dumps(OPTIONS), URL, "corr-1", "true"))
    assert "psycopg2" in sentence
    assert "install" in sentence


def test_nobody_reads_the_answer(program: Adapter) -> None:
    """A verb whose answer cannot be delivered does not end with success, and the log tells it."""
    reading, writing = os.pipe()
    os.close(reading)
    argv: Sequence[Text] = [
        str(program.program),
        "disconnect_volume",
        json.dumps(OPTIONS),
        URL,
        "corr-1",
        ID,
    ]
    done = subprocess.run(
        argv, stdout=writing, stderr=writing, env=program.environment, timeout=60, check=False
    )
    os.close(writing)
    assert done.returncode == 1
    assert "answer_not_delivered" in program.log.read_text()
