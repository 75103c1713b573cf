"""How each program of ours refuses: its exit code, and one sentence for a human where its caller
looks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    import subprocess

    from ovirt_demo.engine import Result
    from ovirt_demo.hooks import HookRun
    from ovirt_demo.vdsm import HelperRun

    Hooked = Union[HookRun, subprocess.CompletedProcess[str]]


def check_sentence(sentence: str) -> str:
    """Check that this is one line in words that a human understands, and return it."""
    assert sentence.isprintable(), "one line"
    assert 20 < len(sentence) < 600
    for never in ("Traceback", "internal error"):
        assert never not in sentence, sentence
    return sentence


def of_verb(result: Result) -> str:
    """Check that a verb refused with exit code 1 and nothing but a sentence, and return it."""
    assert result.returncode == 1, result
    line = result.output.decode()
    assert line.startswith("error:"), line
    assert line.endswith("\n")
    return check_sentence(line[len("error:") : -1])


def of_helper(run: HelperRun) -> str:
    """Check that the helper refused with exit code 1, an empty stdout and one sentence on stderr,
    and return it."""
    assert (run.returncode, run.stdout) == (1, b""), run
    line = run.stderr.decode()
    assert line.endswith("\n")
    return check_sentence(line[:-1])


def of_hook(run: Hooked) -> str:
    """Check that a hook refused with exit code 2 and one sentence, last on stderr, and return
    it."""
    assert run.returncode == 2, run
    assert run.stderr.endswith("\n")
    line = run.stderr.splitlines()[-1]
    assert line.startswith("StorPool: ")
    return check_sentence(line[len("StorPool: ") :])


def of_command(said: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """Check that `storpool-ovirt` or the agent ended with this code and one sentence, and return
    it."""
    assert (said.returncode, said.stdout) == (code, ""), said
    assert said.stderr.startswith("storpool-ovirt: ")
    assert said.stderr.count("\n") == 1
    return check_sentence(said.stderr[len("storpool-ovirt: ") :].rstrip("\n"))
