"""Lists of which each value is made when it is asked for: of what there may be very much, and is
only written out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Callable


class Each(list[Any]):
    """A list that makes its values anew each time that somebody goes through it, and holds none:
    `json` writes it as any list."""

    def __init__(self, values: Callable[[], Iterable[Any]]) -> None:
        super().__init__()
        self._values = values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values())

    def __len__(self) -> int:
        return sum(1 for _ in self._values())

    def __bool__(self) -> bool:
        return any(True for _ in self._values())
