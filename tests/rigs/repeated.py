"""Something that happens again and again beside what a test does."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def repeated(act: Callable[[], object], pause_seconds: float) -> Iterator[None]:
    """Do it in a thread again and again while what is inside runs; what it raises ends it, and is
    raised at the end."""
    ended, broken = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            act()
            while not ended.wait(pause_seconds):
                act()
        except BaseException as error:  # it is raised below
            broken.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    for error in broken:
        raise error
