"""A name server that never answers."""

from __future__ import annotations

import _socket
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from storpool_ovirt.cluster import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

HELD_SECONDS = 30.0


@contextlib.contextmanager
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have whoever resolves a name wait until the end of the block; ours gives up after a moment.

    The resolver is the C library's: it cannot be broken off, and a real one would need root.
    """
    over = threading.Event()

    def getaddrinfo(*_: object, flags: int = 0, **__: object) -> list[object]:
        if not flags:
            over.wait(HELD_SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(_socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(wire, "RESOLVE_SECONDS", 0.2)
    try:
        yield
    finally:
        over.set()
