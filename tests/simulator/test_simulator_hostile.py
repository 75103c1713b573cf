"""Requests that nobody means well, some thousand of them; more by hand: docs/fuzzing.md."""

from __future__ import annotations

from typing import Any

import fuzz_requests
import pytest

from storpool_simulator import errors
from storpool_simulator.model import machines, volumes

INPUTS = 1500


@pytest.mark.parametrize("seed", [1, 2])
def test_every_request_is_answered_by_the_rules(seed: int) -> None:
    """Strings for numbers, nulls, unknown fields, absurd sizes, wrong types, bodies without end,
    paths with percent signs: a reply or a refusal with a name of its own, never internalError; what
    is refused changes nothing, and what was accepted lets every list be read."""
    assert list(fuzz_requests.run(seed, INPUTS)) == []


def test_what_is_planted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that fails by itself, and one that is refused after it has changed something."""
    update = volumes.update

    def updated_and_refused(*given: Any) -> None:
        update(*given)
        raise errors.InvalidParamError("after all")

    monkeypatch.setattr(volumes, "update", updated_and_refused)
    monkeypatch.setattr(machines, "peers", lambda *_given: 1 // 0)
    found = "".join(fuzz_requests.run(1, 4 * len(fuzz_requests.good())))
    assert "refused, and changed" in found
    assert "internalError" in found
