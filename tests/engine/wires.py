"""Two wires between an adapter's process and its servers, which count what passes and strike at one
chosen point.

A wire is a TCP proxy that knows where a request begins and where its answer ends, so a strike needs
no timing. Points of the SQL wire are the connection itself and each statement, points of the API
wire are the requests. "before" a point the server sees nothing of it; "after" it the server has
answered, so it took effect, and the client sees nothing of that answer.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from dataclasses import dataclass

from wire_talks import CUT, KILL, LIMIT_SECONDS, SQL, ApiTalk, SqlTalk, Strike, Talk


@dataclass(frozen=True)
class Point:
    """One thing that passed a wire: the `number` counts from 1 on each wire."""

    wire: str
    number: int
    label: str


class Wires:
    """Both wires: the ports that a client is to be given, what passed, and the strike that
    waits."""

    def __init__(self, sql: tuple[str, int], api: tuple[str, int]) -> None:
        self.struck: Point | None = None
        self._points: list[Point] = []
        self._strike: Strike | None = None
        self._talks: set[Talk] = set()
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._victim: int | None = None
        self._doors: list[tuple[socket.socket, threading.Thread]] = []
        self.sql_port = self._open(SqlTalk, sql)
        self.api_port = self._open(ApiTalk, api)

    def __enter__(self) -> Wires:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def points(self) -> list[Point]:
        """What has passed since the last `clear`, in order."""
        with self._changed:
            return [*self._points]

    def clear(self, strike: Strike | None = None) -> None:
        """Count anew, and strike once when that point is reached."""
        if strike and strike.wire == SQL and strike.how not in (KILL, CUT):
            raise ValueError(f"PostgreSQL has no answer like {strike.how}")
        with self._changed:
            self._points, self.struck, self._strike = [], None, strike
            self._released.clear()
            self._forget_victim()

    def victim(self, pid: int) -> None:
        """Tell which child of this process a strike kills; to be called after `clear`."""
        with self._changed:
            self._forget_victim()
            self._victim = os.pidfd_open(pid)
            self._changed.notify_all()

    def release(self) -> None:
        """Close what is held; it never gets an answer."""
        with self._changed:
            self._released.set()
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait until no conversation is left: what a dead client asked for has ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._talks, LIMIT_SECONDS), (
                "somebody is still connected"
            )

    def close(self) -> None:
        """Cut everything off."""
        self.release()
        for door, thread in self._doors:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            thread.join(LIMIT_SECONDS)
            door.close()
        for talk in [*self._talks]:
            talk.wake()
        self.settle()
        self._forget_victim()

    def reach(self, wire: str, label: str) -> Strike | None:
        """Count a point; return the strike that belongs to it, once."""
        with self._changed:
            point = Point(wire, 1 + sum(each.wire == wire for each in self._points), label)
            self._points.append(point)
            strike = self._strike
            if strike is None or (strike.wire, strike.number) != (point.wire, point.number):
                return None
            self._strike, self.struck = None, point
            return strike

    def kill(self) -> None:
        """Kill the victim and wait until it is dead."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._victim is not None or self._released.is_set(), LIMIT_SECONDS
            )
            assert self._victim is not None, "nobody is to be killed"
            victim = os.dup(self._victim)
        signal.pidfd_send_signal(victim, signal.SIGKILL)
        waiting = select.poll()
        waiting.register(victim, select.POLLIN)
        dead = waiting.poll(1000 * LIMIT_SECONDS)
        os.close(victim)
        assert dead, "it outlives SIGKILL"

    def hold(self) -> None:
        """Wait for `release`."""
        self._released.wait(LIMIT_SECONDS)

    def ended(self, talk: Talk) -> None:
        """Forget a conversation."""
        with self._changed:
            self._talks.discard(talk)
            self._changed.notify_all()

    def _forget_victim(self) -> None:
        if self._victim is not None:
            os.close(self._victim)
        self._victim = None

    def _open(self, kind: type[Talk], server: tuple[str, int]) -> int:
        door = socket.create_server(("127.0.0.1", 0), backlog=64)
        thread = threading.Thread(target=self._accept, args=(door, kind, server), daemon=True)
        thread.start()
        self._doors.append((door, thread))
        port: int = door.getsockname()[1]
        return port

    def _accept(self, door: socket.socket, kind: type[Talk], server: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):  # the door was closed
            while True:
                talk = kind(self, door.accept()[0], server)
                with self._changed:
                    self._talks.add(talk)
                threading.Thread(target=talk.run, daemon=True).start()
