"""The words that both kinds of devices share.

They say what is shown, to whom, and what each kind must be able to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

Key = tuple[int, str]  # (client, global id): one attachment
# Clients of all clusters of a process are numbered together: those of the n-th from n times this.
CLIENTS_OF_A_CLUSTER = 4096  # more than the largest client id [sptypes] MAX_CLIENT_ID


def client_id(client: int) -> int:
    """Return the id that a client has in its cluster."""
    return client % CLIENTS_OF_A_CLUSTER


class DeviceError(Exception):
    """A device cannot be had or changed as asked; the text is one sentence that says why."""


@dataclass(frozen=True)
class Node:
    """A volume or snapshot as one host is to see it."""

    global_id: str
    name: str | None
    """None: unnamed, so that only the link by id exists."""
    path: Path
    """Its data file."""
    size_bytes: int
    read_only: bool
    ids: tuple[str, ...] = ()
    """The global ids that lead to it, for the links by id; (): the one above."""


class Nodes(Protocol):
    """One kind of devices, without the links to them."""

    def start(self) -> dict[Key, Path]:
        """Clean up what an earlier run left, or take it over.

        Returns what was taken over, with its device paths.
        """

    def show(self, client_id: int, node: Node) -> Path:
        """Make or change the device of one attachment, and return its path. Idempotent."""

    def check_hide(self, keys: Collection[Key]) -> None:
        """Raise DeviceError when this kind cannot end just these attachments together."""

    def hide(self, keys: Collection[Key], cut: bool) -> None:
        """End attachments; absent ones are fine."""

    def holders(self, client_id: int, global_id: str) -> tuple[str, ...]:
        """Return who holds the device open; () also when there is none."""

    def resize(self, global_id: str, size_bytes: int) -> None:
        """Give every device of this object the new size of its data file."""

    def quiesce(self, global_ids: Iterable[str]) -> AbstractContextManager[None]:
        """Give a time in which writes to these objects wait."""

    def delay(self, client_id: int, seconds: float) -> None:
        """Make every read and write of one host take that much longer."""

    def close(self) -> None:
        """End everything."""
