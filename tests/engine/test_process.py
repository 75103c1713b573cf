"""process.py: the journal's name for a process is written and read in one place."""

from __future__ import annotations

import os

import pytest

from storpool_ovirt.engine import process


def test_a_process_is_read_as_it_was_written() -> None:
    """T72: machine, pid and start, and so does this very process."""
    assert process.parse(str(process.own())) == process.own()
    assert process.parse("boot/space:4711:99") == process.Process("boot/space", 4711, 99)
    assert process.own().pid == os.getpid()


@pytest.mark.parametrize(
    "text", ["", "h:1", "h:1:2:3", "h:x:1", "h:1:", "h:4194305:1", "h:1:99999999999999999999"]
)
def test_what_no_process_is_called_is_not_read(text: str) -> None:
    """T24: nothing is decided from a row that others have changed."""
    with pytest.raises(ValueError, match=r".*"):
        process.parse(text)


def test_the_age_of_another_machines_process_is_not_known() -> None:
    """T72: a start is counted from the boot of its own machine."""
    assert process.parse("another-boot:1:1").age_seconds() is None
    older = process.Process(process.own().machine, 1, 1).age_seconds()
    assert older is not None
    assert older > 0
