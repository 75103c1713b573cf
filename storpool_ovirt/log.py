"""The log: one line for each change of the world, with the correlation id.

    2026-11-20T11:22:33.123Z storpool-adapter[4711] <correlation id> volume_create volume=...

It goes to a file. A line is appended in one write, so that lines of processes that run at once
never mix; logrotate needs no signal, as each process opens the file anew. It goes to syslog where
the file's folder is missing, and where what has the file's name is no plain file that the user of
that folder may write. It never goes to stdout or stderr: Engine and Vdsm read those.
"""

from __future__ import annotations

import os
import time

from storpool_ovirt import rights, sentences, text

# Facts may be lists of many objects; more than this of one is of no use to a reader.
FACT_MAX = 4000


class Log:
    """The lines that one process writes."""

    def __init__(self, program: str, path: str | None) -> None:
        self._program = program
        self._file = _opened(path)
        self._secrets = sentences.Secrets()
        self.correlation_id = "-"

    @property
    def descriptor(self) -> int | None:
        """The open file, so that a door can point stderr at it; None where lines go to syslog."""
        return self._file

    def hide(self, secret: str) -> None:
        """Mask this text wherever it would be written.

        This is the last net under words that others chose.
        """
        self._secrets.hide(secret)

    def masked(self, text: str) -> str:
        """Return the text without the secrets."""
        return self._secrets.masked(text)

    def sentence(self, said: object) -> str:
        """Return an error, or a text, as one sentence: without secrets, on one line."""
        return sentences.fit(self.masked(str(said)))

    def line(self, event: str, **facts: object) -> None:
        """Write one line: what happened, and the facts as `key=value`.

        A log that fails never fails the work.
        """
        told = (f"{key}={_value(self.masked(str(fact)))}" for key, fact in facts.items())
        text = " ".join([sentences.visible(self.masked(self.correlation_id)), event, *told])
        self._write(text, self._whole(text))

    def _write(self, text: str, whole: bytes) -> None:
        if self._file is None:
            _to_syslog(self._program, text)
            return
        try:
            if os.write(self._file, whole) == len(whole):
                return
            os.write(self._file, b"\n")  # a disk that became full: the next line is one of its own
        except OSError:
            pass
        _to_syslog(self._program, text)

    def _whole(self, text: str) -> bytes:
        line = f"{_stamp(time.time())} {self._program}[{os.getpid()}] {text}\n"
        return line.encode("utf-8", "backslashreplace")

    def trace(self) -> None:
        """Write the exception that is being handled, a line for each of its lines."""
        import traceback

        for line in text.lines(traceback.format_exc()):
            self.line("trace", at=line)


class Unwritten(Log):
    """The log of what is not done, only rehearsed: it masks as another one does, and writes
    nothing."""

    def __init__(self, like: Log) -> None:
        super().__init__("", None)
        self._secrets = like._secrets
        self.correlation_id = like.correlation_id

    def line(self, event: str, **facts: object) -> None:
        """Write nothing: it did not happen."""


def _stamp(now: float) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{seconds}.{int(now * 1000) % 1000:03d}Z"


def _opened(path: str | None) -> int | None:
    try:
        return None if path is None else _above_streams(rights.appended(path))
    except OSError:
        return None


def _above_streams(file: int) -> int:
    """Return the file under a number of its own.

    In the place of a closed stdout it would be taken for stdout.
    """
    if file > 2:
        return file
    try:
        return _above_streams(os.dup(file))
    finally:
        os.close(file)


def _to_syslog(program: str, text: str) -> None:
    import syslog

    syslog.openlog(program, syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_INFO, text)


def _value(text: str) -> str:
    if text.isprintable() and text.isascii() and text and not any(each in text for each in ' "'):
        return sentences.shortened(text, FACT_MAX)
    quoted = sentences.visible(text.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{sentences.shortened(quoted, FACT_MAX)}"'
