"""The wires to a virtual machine: lines that are waited for with a limit, and QMP, QEMU's own
protocol, over them."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

# Ours: an emulated guest boots in 2 s, and in 20 s where ten other tests want its processor
LIMIT_SECONDS = 120.0
NAP_SECONDS = 0.02  # between two looks at something that tells nobody when it changes


class SilenceError(Exception):
    """Something did not come: what was waited for, and what came instead."""


class Wire:
    """One end of a pair of sockets, whose other end QEMU gets; or of one that QEMU has made."""

    def __init__(self, name: str, made: socket.socket | None = None) -> None:
        self.name = name
        self.ours, self.theirs = (made, made) if made else socket.socketpair()
        self.lines: list[str] = []
        self._rest = b""

    def send(self, text: str, descriptor: int | None = None) -> None:
        """Write a line; give this descriptor away with it."""
        line = f"{text}\n".encode()
        if descriptor is None:
            self.ours.sendall(line)
        else:
            socket.send_fds(self.ours, [line], [descriptor])

    def go_on(self, other: Wire) -> None:
        """Read the rest of a line here whose beginning came over another wire."""
        self._rest, other._rest = other._rest + self._rest, b""

    def line(self, deadline: float, waited_for: str) -> str:
        """Return the next line; raises SilenceError."""
        while b"\n" not in self._rest:
            # At the deadline there is one more look: who has none left takes what has come.
            waiting = select.poll()
            waiting.register(self.ours, select.POLLIN)
            if not waiting.poll(1000 * max(0.0, deadline - time.monotonic())):
                raise self._silence(waited_for, "nothing more")
            data = b""
            with contextlib.suppress(ConnectionResetError):
                data = self.ours.recv(65536)
            if not data:
                raise self._silence(waited_for, "the end")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        self.lines.append(line.decode(errors="replace").rstrip("\r"))
        return self.lines[-1]

    def close(self) -> None:
        """Close both ends."""
        self.ours.close()
        self.theirs.close()

    def _silence(self, waited_for: str, came: str) -> SilenceError:
        said = "\n    ".join(self.lines[-12:])
        return SilenceError(
            f"{self.name}: waited for {waited_for}, there came {came}, after\n    {said}"
        )


class Monitor:
    """QMP: commands with their answers, and events."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.events: list[dict[str, Any]] = []

    def greet(self) -> None:
        """Take the greeting and leave the negotiation."""
        json.loads(self.wire.line(time.monotonic() + LIMIT_SECONDS, "QMP's greeting"))
        self.ask("qmp_capabilities")

    def ask(self, command: str, *, descriptor: int | None = None, **arguments: Any) -> Any:
        """Run a command and return what it returns; raises RefusedError.

        `descriptor` is what getfd takes.
        """
        deadline = time.monotonic() + LIMIT_SECONDS
        self.wire.send(json.dumps({"execute": command, "arguments": arguments}), descriptor)
        while True:
            message = json.loads(self.wire.line(deadline, f"the answer to {command}"))
            if "error" in message:
                raise RefusedError(command, message["error"]["desc"])
            if "return" in message:
                return message["return"]
            self.events.append(message)

    def event(
        self, *names: str, wanted: Callable[[dict[str, Any]], bool] = lambda _data: True
    ) -> dict[str, Any]:
        """Wait for the first event of these names with such data, take it and all before it, and
        return its data."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while True:
            while self.events:
                each = self.events.pop(0)
                if each["event"] in names and wanted(each.get("data", {})):
                    data: dict[str, Any] = {"event": each["event"], **each.get("data", {})}
                    return data
            self.events.append(
                json.loads(self.wire.line(deadline, f"the event {' or '.join(names)}"))
            )


class RefusedError(Exception):
    """QEMU refused a command."""

    def __init__(self, command: str, reason: str) -> None:
        super().__init__(f"{command}: {reason}")


def looks(waited_for: str) -> Iterator[None]:
    """Give turns to look at something, until the limit; then raise SilenceError."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        yield
        select.select([], [], [], NAP_SECONDS)
    raise SilenceError(f"waited for {waited_for}")
