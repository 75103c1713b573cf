"""Engine's way to run an adapter: one process for each verb, and what it takes from the output.

The rules are those of oVirt's ManagedBlockExecutor (docs/verbs.md), measured with that class: same
argv, working folder, environment and pipes, the same reading of the output and the same order of
waiting. Only one thing differs: a call that would hang for ever is given up after a limit, and the
process is killed. Which program an older release starts, and where, is in releases.py; how the
programs get there, in engine_software.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import selectors
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ovirt_demo import children, releases

# Engine's ManagedBlockCommandTimeoutInMinutes, as installed. It counts from the answer on, not from
# the start.
EXIT_LIMIT_SECONDS = 120.0
# Ours: Engine waits for an answer without any limit. It is longer than the deadline that an adapter
# sets itself.
ANSWER_LIMIT_SECONDS = 150.0
ERROR_PREFIX = "error"
READ_BYTES = 65536
USR = "usr/share/ovirt-engine"
STOCK_CLIENT = "cinderlib-client.py"


class AdapterMissing(Exception):
    """There is no file to run for the `adapter` option; Engine does not start anything then."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Storage adapter not found at {path}")


class VerbFailed(Exception):
    """A verb did not succeed in Engine's eyes."""

    def __init__(self, result: Result) -> None:
        self.result = result
        super().__init__(
            f"{result.verb} failed ({result.outcome}): {result.answer or 'no reason given'}"
        )


@dataclasses.dataclass(frozen=True)
class Result:
    """One run of a verb, as Engine sees it.

    `output` is everything that the process wrote, stdout and stderr as they came, also what Engine
    never reads. `answer` is the text that Engine takes from it: "" when no line matched, None when
    Engine's own code would fail (StringIndexOutOfBoundsException: a line that is nothing but the
    prefix). `returncode` is None when the process did not end within the limits. `hung` is true
    when it did not even answer, which Engine would wait for without end.
    """

    verb: str
    arguments: tuple[str, ...]
    correlation_id: str
    returncode: int | None
    output: bytes
    answer: str | None
    seconds: float
    hung: bool = False

    @property
    def succeeded(self) -> bool:
        """Engine's verdict: the exit code alone decides, if its code comes that far."""
        return self.returncode == 0 and self.answer is not None

    @property
    def outcome(self) -> str:
        """How it ended, in words."""
        if self.hung:
            return "no answer, Engine would wait for ever"
        if self.returncode is None:
            return "managed block call timed out"
        return f"exit code {self.returncode}"

    def require(self) -> Result:
        """Return itself, or raise VerbFailed."""
        if not self.succeeded:
            raise VerbFailed(self)
        return self

    def map(self) -> dict[str, Any]:
        """Return the answer as the JSON object that connect_volume and storage_stats owe.

        Like Engine's reader it takes the first document and ignores what comes after it. Raises
        VerbFailed.
        """
        try:
            value, _ = json.JSONDecoder().raw_decode((self.require().answer or "").lstrip())
        except ValueError as error:
            raise VerbFailed(self) from error
        if not isinstance(value, dict):
            raise VerbFailed(self)
        return value

    def guid(self) -> str:
        """Return the answer as the id that the two snapshot verbs owe.

        This is stricter than Engine, which takes an empty answer for the id 0 and stores it: that
        is a defect to be found. Raises VerbFailed.
        """
        answer = self.require().answer or ""
        try:
            canonical = str(uuid.UUID(answer))
        except ValueError as error:
            raise VerbFailed(self) from error
        if canonical != answer:
            raise VerbFailed(self)
        return answer


class Engine:
    """An Engine host with one managed block storage domain.

    `folder` takes Engine's own folders, as they lie below `/`. `options` are the driver options of
    the domain, secrets included; the key `adapter` names the file to run. `environment` is added to
    what Engine's service gives to its children. `observe` is called with each Result.
    """

    def __init__(  # noqa: PLR0913  six facts make an Engine; no two of them belong together
        self,
        folder: Path,
        adapter_path: Path,
        options: Mapping[str, str],
        database_url: str,
        *,
        environment: Mapping[str, str] | None = None,
        observe: Callable[[Result], None] | None = None,
        release: releases.Engine = releases.ENGINE_MASTER,
    ) -> None:
        self.folder = folder
        self.options = dict(options)
        self.database_url = database_url
        self.observe = observe
        self.release = release
        self._adapter_path = adapter_path
        self.log_folder = folder / "var" / "log" / "ovirt-engine"
        self.environment = {**self._service_environment(), **(environment or {})}
        self._install()

    @property
    def programs(self) -> Path:
        """The folder in which Engine starts its program."""
        return self.folder / USR / self.release.folder

    @property
    def program(self) -> Path:
        """The file that Engine runs, not resolved: chosen by the option `adapter`, if this release
        knows of adapters."""
        adapter = self.options.get("adapter") if self.release.dispatches else None
        return self.programs / (STOCK_CLIENT if adapter is None else f"{adapter}-adapter")

    def argv(self, verb: str, *arguments: str, correlation_id: str) -> list[str]:
        """Return the argument list: everything by position, nothing quoted, no options."""
        driver = json.dumps(self.options, separators=(",", ":"), ensure_ascii=False)
        program = str(self.program) if self.release.dispatches else f"./{STOCK_CLIENT}"
        return [program, verb, driver, self.database_url, correlation_id, *arguments]

    def run(
        self,
        verb: str,
        *arguments: str,
        correlation_id: str | None = None,
        answer_limit_seconds: float = ANSWER_LIMIT_SECONDS,
        exit_limit_seconds: float = EXIT_LIMIT_SECONDS,
    ) -> Result:
        """Run a verb to its end, and return what Engine sees of it.

        Raises AdapterMissing, and OSError as the system does for a file that cannot be run or an
        argument of 128 KiB.
        """
        correlation_id = correlation_id or str(uuid.uuid4())
        began = time.monotonic()
        with self.started(verb, *arguments, correlation_id=correlation_id) as process:
            reader = _Reader(process, correlation_id)
            hung = not reader.read_answer(began + answer_limit_seconds)
            returncode = None if hung else _wait(process, exit_limit_seconds)
            seconds = time.monotonic() - began
            children.kill(process)
            reader.drain()
        result = Result(
            verb=verb,
            arguments=arguments,
            correlation_id=correlation_id,
            returncode=returncode,
            output=bytes(reader.output),
            answer=reader.answer,
            seconds=seconds,
            hung=hung,
        )
        if self.observe:
            self.observe(result)
        return result

    @contextlib.contextmanager
    def started(
        self, verb: str, *arguments: str, correlation_id: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Give the process of a verb, for a caller that wants to kill it half-way.

        It is gone afterwards. Raises AdapterMissing, and OSError as the system does.
        """
        if self.release.dispatches and not self.program.exists():
            raise AdapterMissing(self.program)
        process = subprocess.Popen(
            self.argv(verb, *arguments, correlation_id=correlation_id),
            cwd=self.programs,
            env=self.environment,
            umask=0o022,
            start_new_session=True,
            # Engine keeps stdin open and never writes; a child that reads it waits for ever.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            children.kill(process)
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()

    def link_adapter(self) -> None:
        """Put our link and the folder of its log there, the same for every release: the package's
        own files."""
        adapters = self.folder / USR / releases.ENGINE_MASTER.folder
        adapters.mkdir(parents=True, exist_ok=True)
        (self.log_folder / "managedblock").mkdir(mode=0o700, exist_ok=True)
        adapter = self.options.get("adapter")
        link = adapters / (STOCK_CLIENT if adapter is None else f"{adapter}-adapter")
        if not link.is_symlink():
            link.symlink_to(self._adapter_path)

    def _install(self) -> None:
        own_folders = [self.folder / name for name in ("tmp", "var", "cache")]
        for folder in (self.programs, self.log_folder, *own_folders):
            folder.mkdir(parents=True, exist_ok=True)
        self.link_adapter()

    def _service_environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "en_US.UTF-8",
            "LC_ALL": "en_US.UTF-8",
            "MALLOC_ARENA_MAX": "1",
            "ENGINE_DEFAULTS": str(self.folder / USR / "services/ovirt-engine/ovirt-engine.conf"),
            "ENGINE_VARS": str(self.folder / "etc/ovirt-engine/engine.conf"),
            "ENGINE_ETC": str(self.folder / "etc/ovirt-engine"),
            "ENGINE_LOG": str(self.log_folder),
            "ENGINE_TMP": str(self.folder / "tmp"),
            "ENGINE_USR": str(self.folder / USR),
            "ENGINE_VAR": str(self.folder / "var"),
            "ENGINE_CACHE": str(self.folder / "cache"),
        }


class _Reader:
    """The output, read line by line up to the answer; a line ends with LF, CR or both."""

    def __init__(self, process: subprocess.Popen[bytes], correlation_id: str) -> None:
        assert process.stdout is not None  # noqa: S101  it was started with a pipe
        self.output = bytearray()
        self.answer: str | None = ""
        self._correlation_id = correlation_id
        self._stream = process.stdout.fileno()
        self._line_start = 0
        os.set_blocking(self._stream, False)

    def read_answer(self, deadline: float) -> bool:
        """Read up to the answer or the end of the output; return False if the deadline is first."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stream, selectors.EVENT_READ)
            while not self._find_answer(ended=False):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return False
                data = os.read(self._stream, READ_BYTES)
                if not data:
                    self._find_answer(ended=True)
                    return True
                self.output += data
        return True

    def drain(self) -> None:
        """Take what is left in the pipe; Engine never reads it."""
        with contextlib.suppress(BlockingIOError):  # somebody else still holds the other end
            while data := os.read(self._stream, READ_BYTES):
                self.output += data

    def _find_answer(self, *, ended: bool) -> bool:
        # In this order, also for a correlation id that begins with "error".
        prefixes = (ERROR_PREFIX, self._correlation_id)
        for line in self._lines(ended=ended):
            for prefix in prefixes:
                if line.startswith(prefix):
                    cut = len(prefix) + 1  # whatever the character after the prefix is
                    self.answer = line[cut:] if len(line) >= cut else None
                    return True
        return False

    def _lines(self, *, ended: bool) -> Iterator[str]:
        while True:
            start = self._line_start
            marks = (self.output.find(mark, start) for mark in (b"\n", b"\r"))
            ends = [at for at in marks if at >= 0]
            if not ends and not (ended and start < len(self.output)):
                return
            end = min(ends, default=len(self.output))
            self._line_start = end + (2 if self.output[end : end + 2] == b"\r\n" else 1)
            yield self.output[start:end].decode(errors="replace")


def _wait(process: subprocess.Popen[bytes], limit_seconds: float) -> int | None:
    try:
        return _shell_status(process.wait(limit_seconds))
    except subprocess.TimeoutExpired:
        return None


def _shell_status(returncode: int) -> int:
    """Return the exit value as Java does: 128 + the signal for a killed process."""
    return returncode if returncode >= 0 else 128 - returncode
