"""The standard streams of `storpool-ovirt`: people and programs read them, and they may be full,
closed or ASCII only.

What is written has no secret in it, and no control character but line breaks. An output that
nobody can take ends the command with an exit code of its own; it never ends in a trace.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TextIO

from storpool_ovirt import config, errors, sentences
from storpool_ovirt.admin import lazily
from storpool_ovirt.limits import LIMITS, Limits
from storpool_ovirt.log import Log

# Ours: more in one piece take memory, and no less time.
LINES_AT_ONCE, WORDS_AT_ONCE = 1000, 10_000
INTERRUPTED = 130  # the exit code of Ctrl-C, as of shells
_UNWRITTEN = (errno.ENOSPC, errno.EPIPE, errno.EBADF, errno.EIO, errno.EFBIG, errno.EDQUOT)


class Console:
    """Where one run of the command writes, and how long it may take where no option says so.

    `as_json`: a program reads it, also what went wrong.
    """

    def __init__(self, program: str, as_json: bool = False, limits: Limits = LIMITS) -> None:
        self.program = program
        self.limits = limits
        self._as_json = as_json
        self._secrets = sentences.Secrets()
        self._hidden: list[str] = []
        self._log: Log | None = None
        self._unread = ""  # why nobody reads stdout
        if sys.stdout is None:
            self._unread = "stdout is closed"
        _fill_holes()
        for stream in (sys.stdout, sys.stderr):
            # Names are written as they are; a terminal that has no such characters gets their
            # numbers.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    @property
    def log_file(self) -> str:
        """Where the log is, unless it is in syslog."""
        return config.engine_log(self.program)

    @property
    def log(self) -> Log:
        """The command's log, opened when it is first needed: some commands need none, and some
        users may not."""
        if self._log is None:
            self._log = Log(self.program, self.log_file)
            for secret in self._hidden:
                self._log.hide(secret)
        return self._log

    def hide(self, *secrets: str) -> None:
        """Mask these in all that is written from now on, to the log too."""
        self._hidden += secrets
        for secret in secrets:
            self._secrets.hide(secret)
            if self._log is not None:
                self._log.hide(secret)

    def masked(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return facts as they may be written to a file."""
        shown: dict[str, Any] = _map(facts, self._secrets.masked)
        return shown

    def check(self) -> None:
        """Raise NotDelivered when there is no stdout: a command whose result nobody can read is not
        begun."""
        if self._unread:
            raise errors.NotDelivered(self._unread)

    def say(self, text: str) -> None:
        """Write lines to stdout, none longer than a sentence may be; raise NotDelivered when they
        cannot be written."""
        lines = self._secrets.masked(text).split("\n")
        text = "\n".join(
            sentences.shortened(sentences.visible(line), sentences.SENTENCE_MAX) for line in lines
        )
        self._write([text])

    def say_all(self, lines: Iterable[str]) -> None:
        """Write text for people, of any number of lines: some at a time."""
        left = iter(lines)
        while piece := list(islice(left, LINES_AT_ONCE)):
            self.say("\n".join(piece))

    def document(self, facts: dict[str, Any]) -> None:
        """Write one JSON document, with all names in it whole; what cannot be seen is written with
        JSON's escapes."""
        encoder = json.JSONEncoder(indent=2, ensure_ascii=not _takes_all(sys.stdout))
        words = encoder.iterencode(self.masked(facts))
        self._write(_visible(words))

    def progress(self, step: str) -> None:
        """Write on stderr what is being done, for whoever waits; where nobody can, let it be."""
        try:
            if sys.stderr is not None:
                sys.stderr.write(f"{sentences.fit(self._secrets.masked(step))}\n")
                sys.stderr.flush()
        except (OSError, ValueError):
            _give_up(sys.stderr)

    def complain(self, sentence: str, code: int) -> int:
        """Write why the command failed, on stderr or as a document, and return the exit code."""
        line = sentences.fit(self._secrets.masked(sentence))
        if self._as_json:
            try:
                self.document({"error": line})
            except errors.NotDelivered:
                pass  # then on stderr
            else:
                return code
        if sys.stderr is not None:
            try:
                sys.stderr.write(f"{self.program}: {line}\n")
                sys.stderr.flush()
            except (OSError, ValueError):
                _give_up(sys.stderr)
        return code

    def unread(self, error: BaseException) -> str:
        """Return why stdout cannot be read, "" where it can; `error` ended the command, which may
        be that of a write.

        What others write (click's help) fails without a word of ours, and no file has such an error
        in our own work.
        """
        if isinstance(error, OSError) and error.errno in _UNWRITTEN and error.filename is None:
            self._unread = _reason(error)
        return self._unread

    def close(self) -> None:
        """Write what others left in the streams; where that cannot be, let it go: Python would end
        with a trace."""
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                _give_up(stream)

    def _write(self, pieces: Iterable[str]) -> None:
        self.check()
        try:
            for piece in pieces:
                sys.stdout.write(piece)
            sys.stdout.write("\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            self._unread = _reason(error)
            _give_up(sys.stdout)
            raise errors.NotDelivered(self._unread) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _visible(words: Iterable[str]) -> Iterator[str]:
    """Yield the words of a document, many of them at a time, with what cannot be seen escaped."""
    left = iter(words)
    while piece := list(islice(left, WORDS_AT_ONCE)):
        # By lines, as most have nothing to escape and there may be many
        lines = "".join(piece).split("\n")
        yield "\n".join(line if line.isprintable() else _escaped(line) for line in lines)


def _escaped(line: str) -> str:
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in line)


def _takes_all(stream: TextIO) -> bool:
    return (
        (stream.encoding or "").lower().replace("-", "") == "utf8" if stream is not None else True
    )


def _map(value: Any, change: Any) -> Any:
    if isinstance(value, lazily.Each):
        return lazily.Each(lambda: (_map(each, change) for each in value))
    if isinstance(value, dict):
        return {key: _map(each, change) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


def _fill_holes() -> None:
    """Have something at all three descriptors: the next socket would take the place of one that is
    closed."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    while nowhere <= 2:
        nowhere = os.dup(nowhere)
    os.close(nowhere)


def _give_up(stream: TextIO) -> None:
    """Send what a stream still has to nowhere (Python's documentation on SIGPIPE): its flush at
    exit would fail too."""
    try:
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
        stream.flush()
    except (OSError, ValueError):
        return
