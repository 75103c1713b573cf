"""Random backups, restores, moves, cuts, deaths, deletes and hours over three clusters: what is
where, until when, and with which contents, is what a small model says."""

from __future__ import annotations

import random
import sys

import pytest
from copies_story import Story

STORIES = 30
STEPS = 60


@pytest.mark.parametrize("seed", range(STORIES))
def test_what_was_promised_is_there_in_the_end_and_nothing_else(seed: int) -> None:
    """And at each step on the way, exactly when it must be."""
    story = Story(random.Random(seed))
    try:
        story.go(STEPS)
        story.end()
    finally:
        sys.stdout.write("\n".join(story.told))  # shown when it fails
        story.clusters.close()
