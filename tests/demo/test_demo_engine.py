"""engine.py of the demo: what Engine takes from a verb's output, and how it runs and waits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from demo_callers import DATABASE_URL, OPTIONS, MakeEngine

from ovirt_demo import children, engine

CORRELATION_ID = "corr-1"


# What Engine takes from the output (its ManagedBlockExecutor)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ('echo "$4:good"', "good"),
        ('printf "$4:no newline"', "no newline"),
        ('printf "$4:dos\\r\\nmore\\n"', "dos"),
        ('printf "$4:mac\\rmore\\n"', "mac"),
        ('printf "50%%\\r100%%\\r$4:progress before\\n"', "progress before"),
        ('echo "$4 blank is dropped too"', "blank is dropped too"),
        ('echo "$4:trailing blank "', "trailing blank "),
        ('echo "$4:"', ""),
        ('echo "${4}0:prefix only"', ":prefix only"),
        ('echo noise; echo warning >&2; echo "$4:after noise"', "after noise"),
        (
            'head -c 1048576 /dev/zero | tr "\\0" x; echo; echo "$4:after a long line"',
            "after a long line",
        ),
        ('printf "%s" "$4:"; head -c 1048576 /dev/zero | tr "\\0" x; echo', "x" * 1048576),
        ('echo "error: a warning" >&2; echo "$4:good"', " a warning"),
        ('echo "errors so far: 0"; echo "$4:good"', " so far: 0"),
        ('echo "$4:first"; echo "$4:second"', "first"),
        ('echo "Error: not ours"; echo " $4:leading blank"', ""),
        ('printf "text without newline $4:lost\\n"', ""),
        ('printf "$4:\\303\\251 \\377\\n"', "é \ufffd"),
        ("true", ""),
    ],
)
def test_answer_is_taken_as_engine_takes_it(
    make_engine: MakeEngine, body: str, answer: str
) -> None:
    """The first line that begins with `error` or with the correlation id wins, less its prefix and
    one character."""
    result = make_engine(body).run("verb", correlation_id=CORRELATION_ID)
    assert (result.answer, result.returncode) == (answer, 0)
    assert result.succeeded


@pytest.mark.parametrize("line", ["error", CORRELATION_ID])
def test_line_that_is_only_the_prefix_breaks_engines_code(
    make_engine: MakeEngine, line: str
) -> None:
    """StringIndexOutOfBoundsException: a failure, in spite of exit code 0."""
    result = make_engine(f"echo {line}").run("verb", correlation_id=CORRELATION_ID)
    assert (result.answer, result.returncode, result.succeeded) == (None, 0, False)


def test_correlation_id_that_begins_with_error_loses_one_character_more(
    make_engine: MakeEngine,
) -> None:
    """The rule for `error` comes first; only `error:` brings an answer through unharmed."""
    assert make_engine('echo "$4:x"').run("verb", correlation_id="error-77").answer == "77:x"
    assert make_engine('echo "error:x"').run("verb", correlation_id="error-77").answer == "x"


@pytest.mark.parametrize(
    ("body", "returncode"), [("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)]
)
def test_exit_code_alone_decides(make_engine: MakeEngine, body: str, returncode: int) -> None:
    """An answer does not make a success; the reason is kept for the log."""
    result = make_engine(f'echo "$4:the reason"; {body}').run("verb", correlation_id=CORRELATION_ID)
    assert (result.returncode, result.answer, result.succeeded) == (returncode, "the reason", False)
    with pytest.raises(engine.VerbFailed, match=r"verb failed \(exit code .*\): the reason"):
        result.require()


def test_output_is_all_bytes_as_they_came(make_engine: MakeEngine) -> None:
    """Tests see what Engine does not read, too."""
    result = make_engine('echo one; echo two >&2; echo "$4:x"; echo four').run(
        "verb", correlation_id=CORRELATION_ID
    )
    assert result.output == b"one\ntwo\ncorr-1:x\nfour\n"


@pytest.mark.parametrize("answer", ["", "null", "[1]", "{'a': 1}", '{"a":'])
def test_answer_that_is_no_object_fails_a_verb_that_owes_one(
    make_engine: MakeEngine, answer: str
) -> None:
    """connect_volume and storage_stats owe a JSON object on one line."""
    result = make_engine(f"cat <<END\n$4:{answer}\nEND").run("storage_stats", "true")
    with pytest.raises(engine.VerbFailed):
        result.map()


def test_object_is_read_with_what_engines_reader_tolerates(make_engine: MakeEngine) -> None:
    """Text behind the closing brace is ignored, of two equal keys the last one counts."""
    result = make_engine("""echo "$4:"'{"a": 1, "a": 2} and more'""").run("storage_stats", "true")
    assert result.map() == {"a": 2}


@pytest.mark.parametrize(
    "answer", ["", "x", "77777777-7777-7777-7777-777777777777 ", "7777777777777777777777777777777A"]
)
def test_answer_that_is_no_guid_fails_a_verb_that_owes_one(
    make_engine: MakeEngine, answer: str
) -> None:
    """An empty id is what Engine would store as the id 0: here it is a failure."""
    with pytest.raises(engine.VerbFailed):
        make_engine(f'echo "$4:{answer}"').run("create_snapshot", "d").guid()


# How Engine runs and waits (its ManagedBlockExecutor)


def test_arguments_folder_environment_and_pipes_are_engines(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    """Arguments by position and unquoted, the link's own path first, a stdin that stays open, both
    outputs one pipe."""
    body = """
import json, os, select, sys
os.write(1, (sys.argv[4] + ":" + json.dumps({
    "argv": sys.argv, "cwd": os.getcwd(), "environ": dict(os.environ), "umask": os.umask(0),
    "stdin_says_nothing": not select.select([0], [], [], 0.2)[0],
    "one_pipe": os.fstat(1).st_ino == os.fstat(2).st_ino, "session": os.getsid(0) == os.getpid(),
}) + "\\n").encode())
"""
    caller = make_engine(body, interpreter=children.find("python3"))
    seen = caller.run("create_volume", "d", "20", correlation_id="-a_b").map()
    programs = tmp_path / "engine/usr/share/ovirt-engine/managedblock"
    adapter = str(programs / "storpool-adapter")
    assert seen["argv"][:2] == [adapter, "create_volume"]
    assert json.loads(seen["argv"][2]) == OPTIONS
    assert '"adapter":"storpool"' in seen["argv"][2]
    assert seen["argv"][3:] == [DATABASE_URL, "-a_b", "d", "20"]
    assert seen["cwd"] == str(programs)
    assert seen["umask"] == 0o022
    assert seen["stdin_says_nothing"]
    assert seen["one_pipe"]
    assert seen["environ"]["ENGINE_LOG"] == str(tmp_path / "engine/var/log/ovirt-engine")
    assert seen["environ"]["LC_ALL"] == "en_US.UTF-8"
    assert not {"HOME", "VIRTUAL_ENV", "STORPOOL_OVIRT_ROOT"} & set(seen["environ"])


def test_file_is_chosen_by_the_adapter_option_and_must_exist(make_engine: MakeEngine) -> None:
    """Another name, or none, is another file; Engine says which one it did not find."""
    caller = make_engine("true")
    caller.options["adapter"] = "storpol"
    with pytest.raises(
        engine.AdapterMissing, match=r"Storage adapter not found at .*/storpol-adapter"
    ):
        caller.run("storage_stats", "true")
    del caller.options["adapter"]
    assert caller.program.name == "cinderlib-client.py"


def test_silent_adapter_is_waited_for_without_end_but_for_our_limit(
    make_engine: MakeEngine,
) -> None:
    """Engine's own time-out does not run before the answer: here the call is given up, and the
    process is gone."""
    caller = make_engine("echo noise; exec sleep 60")
    result = caller.run("verb", answer_limit_seconds=0.5)
    assert (result.hung, result.returncode, result.succeeded) == (True, None, False)
    assert result.output == b"noise\n"
    assert 0.5 <= result.seconds < 5


def test_adapter_that_reads_stdin_hangs(make_engine: MakeEngine) -> None:
    """Nothing is ever written to its stdin, and it is never closed."""
    assert make_engine("cat").run("verb", answer_limit_seconds=0.5).hung


@pytest.mark.parametrize("body", ['echo "$4:x"; exec sleep 60', "exec sleep 60 >&- 2>&-"])
def test_exit_is_waited_for_with_a_limit_after_the_answer(
    make_engine: MakeEngine, body: str
) -> None:
    """This is Engine's time-out: the answer was there, or both outputs were closed."""
    result = make_engine(body).run("verb", correlation_id=CORRELATION_ID, exit_limit_seconds=0.5)
    assert (result.hung, result.returncode, result.succeeded) == (False, None, False)
    assert result.outcome == "managed block call timed out"


def test_nobody_reads_after_the_answer(make_engine: MakeEngine) -> None:
    """What does not fit into the pipe blocks the adapter until the time-out; 40 kB do no harm."""
    body = 'echo "$4:x"; head -c {} /dev/zero'
    assert (
        make_engine(body.format(40_000))
        .run("verb", correlation_id=CORRELATION_ID, exit_limit_seconds=5)
        .succeeded
    )
    result = make_engine(body.format(300_000)).run(
        "verb", correlation_id=CORRELATION_ID, exit_limit_seconds=0.5
    )
    assert result.returncode is None


def test_background_child_that_holds_the_output_delays_only_a_call_without_answer(
    make_engine: MakeEngine,
) -> None:
    """The end of the output is the end of its last holder."""
    assert (
        make_engine('sleep 5 & echo "$4:x"').run("verb", correlation_id=CORRELATION_ID).seconds < 3
    )
    result = make_engine("sleep 1 & exit 0").run("verb", correlation_id=CORRELATION_ID)
    assert 1 <= result.seconds < 4
    assert result.succeeded


def test_started_verb_can_be_killed_half_way(make_engine: MakeEngine) -> None:
    """A test kills the adapter where it wants, and no process is left."""
    with make_engine("echo here; exec sleep 60").started(
        "verb", correlation_id=CORRELATION_ID
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
    assert process.returncode == -9
