"""The steps of random lives of VMs: what administrators, Engine, Vdsm, hosts and networks do, in
whatever order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import vm_lives_hosts as hosts
import vm_lives_starts as starts

if TYPE_CHECKING:
    from vm_lives import Life

    Step = tuple[int, int, int, int]

# How often each is tried, but restart, which costs most.
WEIGHTS: dict[Callable[[Life, int, int, int], bool], int] = {
    starts.start: 10,
    hosts.lose: 3,
    hosts.comes_back: 5,
    hosts.migrate: 7,
    hosts.migrate_further: 11,
    hosts.migration_fails: 5,
    starts.start_freezes: 6,
    starts.thaw: 4,
    starts.race: 3,
    starts.stop: 6,
    starts.late_detach: 6,
    starts.detach_freezes: 2,
    starts.again: 3,
    starts.detach_of_what_runs: 3,
    starts.hot_plug: 9,
    hosts.stray_attach: 8,
    hosts.client_down: 3,
}
TABLE = tuple(action for action, weight in WEIGHTS.items() for _ in range(weight))
STRIDE = 23  # to quite another kind of step, and in the end to each


def do(life: Life, step: Step) -> None:
    """Do a step, or another one that makes sense; then look who can write."""
    for offset in range(len(TABLE)):
        action = TABLE[(step[0] + offset * STRIDE) % len(TABLE)]
        life.tell(f"{action.__name__} {step[1:]}")
        if action(life, *step[1:]):
            break
    life.check()
