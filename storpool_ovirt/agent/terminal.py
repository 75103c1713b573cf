"""The log of a program that somebody may start by hand: its lines are on that terminal too."""

from __future__ import annotations

import os
import select

from storpool_ovirt import log


class Log(log.Log):
    """Lines of a log, of which a copy goes to the terminal that stderr is, once that is asked for.

    To be made before stderr is taken away. Nobody waits for a terminal that is stopped, or fails
    with it: such a line is in the log alone.
    """

    def __init__(self, program: str, path: str | None) -> None:
        terminal = os.dup(2) if os.isatty(2) else None
        super().__init__(program, path)
        self._terminal, self._is_shown = terminal, False

    def show(self) -> None:
        """Write the lines from here on to the terminal too, where there is one."""
        self._is_shown = True

    def _write(self, text: str, whole: bytes) -> None:
        super()._write(text, whole)
        if self._terminal is None or not self._is_shown:
            return
        try:
            ready = select.poll()
            ready.register(self._terminal, select.POLLOUT)
            if ready.poll(0):
                os.write(self._terminal, whole)
        except OSError:
            pass
