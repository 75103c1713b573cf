"""Growth: a guest's disk grows to its device, and never does anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt.agent import growth
from storpool_ovirt.agent.growth import Growth

GIB = 1 << 30
sizes = st.integers(-GIB, 1 << 50) | st.integers(0, 1 << 40).map(lambda each: each * 512)


@pytest.mark.parametrize(
    ("device", "shown", "moving", "expected"),
    [
        (2 * GIB, GIB, False, Growth.GROW),
        (2 * GIB, GIB, True, Growth.LATER),
        (GIB, GIB, False, Growth.NONE),
        (GIB, 2 * GIB, False, Growth.SHRUNK),
        (GIB, 2 * GIB, True, Growth.SHRUNK),
        (0, GIB, False, Growth.NONE),
        (GIB, 0, False, Growth.NONE),
        (GIB + 1, GIB, False, Growth.NONE),
    ],
)
def test_what_is_done(device: int, shown: int, moving: bool, expected: Growth) -> None:
    """A larger device is shown, but for a VM that moves; what is odd or unknown is left alone."""
    assert growth.decided(device, shown, moving=moving) is expected


@given(sizes, sizes, st.booleans())
def test_it_never_shrinks_and_ends(device: int, shown: int, moving: bool) -> None:
    """Whatever was seen: only what is smaller grows, and what has grown is left alone."""
    if growth.decided(device, shown, moving=moving) is Growth.GROW:
        assert device > shown > 0
        assert not moving
        assert growth.decided(device, device, moving=moving) is Growth.NONE
