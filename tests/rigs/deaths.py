"""What goes wrong while a verb runs in this process: a fault of the simulator, or its death.

A process that dies is an exception that nothing catches, raised before the n-th line of ours.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from storpool_ovirt.cluster import attachments, volumes
from storpool_ovirt.engine import (
    claim,
    creation,
    disks,
    disposal,
    members,
    moments,
    ownership,
    recovery,
    removal,
    settlement,
    snapshots,
    trash_copies,
    vm_tag,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_MORTAL = frozenset(
    module.__file__
    for module in (
        disks,
        snapshots,
        claim,
        members,
        moments,
        creation,
        recovery,
        settlement,
        removal,
        disposal,
        trash_copies,
        ownership,
        vm_tag,
        volumes,
        attachments,
    )
)


class Death(BaseException):
    """The process was killed at this point."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong while a verb runs: a fault of the simulator, or the death of the process.

    It dies before the n-th line (`lines`), or before the first one at which `when` is true.
    """

    kind: str
    query: str | None = None
    times: int = 1
    lines: int = 0
    when: Callable[[], bool] | None = None


@contextlib.contextmanager
def dying(fault: Fault | None) -> Iterator[None]:
    """Raise Death before the n-th line of our own code that runs inside, if there are so many."""
    if fault is None or fault.kind != "death":
        yield
        return
    left = fault.lines

    def line(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        left -= event == "line"
        if fault.when() if fault.when else left <= 0:
            raise Death
        return line

    def call(frame: FrameType, _event: str, _argument: object) -> Any:
        return line if frame.f_code.co_filename in _MORTAL else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(before)
