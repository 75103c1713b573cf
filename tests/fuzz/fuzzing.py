"""What the fuzzers share: a program's `main` run in a process of its own that is forked, and what
must always hold.

A fork costs some milliseconds where a new interpreter costs a hundred, and the door is the same:
argv, the environment, the three descriptors. Every input comes from one seed, and one number of it
can be run again alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import select
import signal
import subprocess
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Callable

from storpool_ovirt import sentences

NEVER = (b"Traceback", b"internal error", b"Error:", b"Exception")
LONGEST_SECONDS = 100.0
CRASHED = 99  # our own code for what no program may do: let an exception out of `main`


@dataclasses.dataclass(frozen=True)
class Call:
    """One run of a program: `main` gets `argv`, its descriptors and environment are those of a new
    process."""

    program: str
    main: Callable[[list[str]], int]
    argv: list[str]
    stdin: bytes = b""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    limit_seconds: float = 10.0


@dataclasses.dataclass(frozen=True)
class Done:
    """What came of it; `code` is None for one that did not end within its limit."""

    code: int | None
    out: bytes
    err: bytes
    seconds: float


def run(call: Call) -> Done:
    """Run it to its end or its limit."""
    started = time.monotonic()
    pipes = [os.pipe() for _ in range(2)]
    with tempfile.TemporaryFile() as stdin:
        stdin.write(call.stdin)
        stdin.seek(0)
        pid = os.fork()
        if pid == 0:
            _child(call, stdin.fileno(), [writing for _, writing in pipes])
    for _, writing in pipes:
        os.close(writing)
    said = _read([reading for reading, _ in pipes], started + call.limit_seconds)
    seconds = time.monotonic() - started
    if seconds >= call.limit_seconds:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return Done(None if code == -signal.SIGKILL else code, *said, seconds)


def _child(call: Call, stdin: int, outputs: Sequence[int]) -> None:
    code = CRASHED
    try:
        for number, descriptor in enumerate((stdin, *outputs)):
            os.dup2(descriptor, number)
        os.environ.update(call.environment)
        code = call.main(list(call.argv))
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(code)


def _read(streams: Sequence[int], until: float) -> list[bytes]:
    said = dict.fromkeys(streams, b"")
    reading = set(streams)
    while reading and time.monotonic() < until:
        waiting = select.poll()
        for each in reading:
            waiting.register(each, select.POLLIN)
        for each, _ in waiting.poll(1000 * max(0.0, until - time.monotonic())):
            data = os.read(each, 1 << 16)
            said[each] += data
            if not data:
                reading.discard(each)
    for each in streams:
        os.close(each)
    return [said[each] for each in streams]


def differs(call: Call, done: Done, program: str) -> list[str]:
    """Run it as a real process, by the installed program; return how that ended otherwise."""
    try:
        argv = [os.fsencode(each) for each in call.argv]
    except UnicodeEncodeError:
        return []  # no process has such arguments
    environment = {**os.environ, **call.environment}
    ended = subprocess.run(
        argv,
        executable=program,
        input=call.stdin,
        capture_output=True,
        env=environment,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    same = (ended.returncode, ended.stdout, ended.stderr) == (done.code, done.out, done.err)
    return (
        []
        if same
        else [
            f"as a process ends with {ended.returncode} {ended.stdout!r:.300} {ended.stderr!r:.300}"
        ]
    )


def faults(call: Call, done: Done, codes: Iterable[int], secrets: Iterable[str]) -> list[str]:
    """Return what no program may do, whatever it was given; `codes` are the exit codes that it
    has."""
    found = []
    said = done.out + done.err
    if done.code is None:
        return [f"did not end within {call.limit_seconds} s"]
    if done.code not in codes:
        found.append(f"exit code {done.code}")
    found += [f"says {each.decode()}" for each in NEVER if each in said]
    found += ["says a secret" for each in secrets if each.encode() in said]
    return found


def sentence_faults(line: bytes, what: str) -> list[str]:
    """Return what is wrong with one line that a person reads."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return [f"{what} is not UTF-8"]
    if not text.endswith("\n") or text.count("\n") != 1:
        return [f"{what} is not exactly one line"]
    found = [] if text[:-1].isprintable() else [f"{what} has characters that are not seen"]
    if len(text) > sentences.SENTENCE_MAX + 60:  # a prefix
        found.append(f"{what} has {len(text)} characters")
    return found if len(text) > 20 else [*found, f"{what} says nothing"]


@dataclasses.dataclass
class Report:
    """What a run of a fuzzer has seen."""

    seed: int
    every: int = 0  # which inputs are run as real processes too
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    found: list[str] = dataclasses.field(default_factory=list)
    slowest: float = 0.0

    def add(
        self, number: int, call: Call, done: Done, problems: Sequence[str], note: str = ""
    ) -> None:
        """Count one run, and keep its problems with what makes it again."""
        self.counts[f"{call.program} exit {done.code}"] += 1
        self.slowest = max(self.slowest, done.seconds)
        for each in problems:
            told = f"--seed {self.seed} --first {number} --inputs 1: {call.program} {each} {note}"
            self.found.append(
                f"{told}\n  argv {call.argv!r:.600}\n  stdin {call.stdin!r:.300}\n  out"
                f" {done.out!r:.900}\n  err {done.err!r:.900}"
            )

    def text(self, seconds: float) -> str:
        """Return it for a person."""
        ends = ", ".join(f"{what}: {count}" for what, count in sorted(self.counts.items()))
        runs = sum(self.counts.values())
        head = (
            f"seed {self.seed}: {runs} inputs in {seconds:.0f} s, the slowest {self.slowest:.1f} s"
            f" ({ends})"
        )
        return "\n".join([*self.found, head, f"{len(self.found)} faults"])


def main(description: str, fuzz: Callable[[Report, range], None]) -> int:
    """Run a fuzzer as its command line says; return 1 where it found a fault."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inputs", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument(
        "--processes", type=int, default=0, metavar="N", help="every Nth as a real process too"
    )
    parser.add_argument(
        "--first", type=int, default=0, help="the first one: to run a single input of a seed again"
    )
    given = parser.parse_args()
    report = Report(given.seed, given.processes)
    started = time.monotonic()
    fuzz(report, range(given.first, given.first + given.inputs))
    print(report.text(time.monotonic() - started))
    return int(bool(report.found))
