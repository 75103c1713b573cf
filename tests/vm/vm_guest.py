"""The guest of a virtual machine (vm_init.sh), which is talked to over a serial port, a command a
line; it runs in a QEMU of the test's own (vm_machine.py) or in libvirt's (vm_domain.py)."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import TypeVar

from vm_wire import LIMIT_SECONDS, SilenceError, Wire

MEMORY_MB = 192
KERNEL_OPTIONS = (
    "console=ttyS0 quiet panic=-1 random.trust_cpu=on "
    # What an emulated guest need not spend its time on while it boots:
    "mitigations=off nokaslr no_timer_check audit=0 cryptomgr.notests rcupdate.rcu_expedited=1"
)
REPORT = re.compile(r"(stream|count|broken|churn|spoilt|ended) (\S+) (\d+)")
_Guest = TypeVar("_Guest", bound="Guest")


class Guest:
    """A guest that can be told to do something; `console` is where its kernel speaks."""

    def __init__(self, name: str, talk: Wire, console: Path) -> None:
        self.name = name
        self.console = console
        self.reports: dict[tuple[str, str], int] = {}
        self.boot_id = ""
        self._talk = talk

    def ready(self: _Guest) -> _Guest:
        """Wait until the guest has booted."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not self.boot_id:
            self.boot_id = self._line(f"the boot ({self.console})", deadline).partition("ready ")[2]
        return self

    def run(self, command: str) -> list[str]:
        """Have the guest run a command that has to succeed; return its output."""
        deadline = time.monotonic() + LIMIT_SECONDS
        self._talk.send(command)
        said: list[str] = []
        while not (line := self._line(f"the end of: {command}", deadline)).startswith("done "):
            said.extend([line] if line else [])
        assert line == "done 0", f"{self.name}: {command} ended with {line}: {said}"
        return said

    def until(self, kind: str, name: str, number: int = 0, or_else: str = "") -> int:
        """Wait for a report of this kind that has come to this number, and return the last one's.

        A failure of the same name ends it, and the test; `or_else` is a kind of failure that will
        do too.
        """
        deadline = time.monotonic() + LIMIT_SECONDS
        while self.reports.get((kind, name), -1) < number:
            if or_else and (or_else, name) in self.reports:
                break
            for failure in {"broken", "spoilt"} - {kind}:
                assert (failure, name) not in self.reports, (
                    f"{failure} before {kind} {name} {number}"
                )
            self._line(f"{kind} {name} {number}", deadline)
        return self.reports.get((kind, name), -1)

    def further(self, kind: str, name: str, by: int, or_else: str = "") -> int:
        """Wait until something has gone on by so much, as `until` does."""
        self.catch_up()
        return self.until(kind, name, self.reports.get((kind, name), 0) + by, or_else)

    def catch_up(self) -> None:
        """Take what the guest has said until now."""
        with contextlib.suppress(SilenceError):
            while True:
                self._line("nothing", time.monotonic())

    def take_over(self, source: Guest) -> None:
        """Go on with the guest where it stopped talking."""
        source.catch_up()
        self.boot_id, self.reports = source.boot_id, {**source.reports}
        self._talk.go_on(source._talk)

    def troubles(self) -> list[str]:
        """List what the guest's kernel had to complain about."""
        lines = (
            self.console.read_text(errors="replace").splitlines() if self.console.exists() else []
        )
        return [
            line
            for line in lines
            if re.search(r"I/O error|EXT4-fs (error|warning)|JBD2|Call Trace", line)
        ]

    def _line(self, waited_for: str, deadline: float) -> str:
        """Return the guest's next line; "" for a report, which is noted."""
        line = self._talk.line(deadline, waited_for)
        if report := REPORT.fullmatch(line):
            self.reports[report[1], report[2]] = int(report[3])
            return ""
        return line
