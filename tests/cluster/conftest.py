"""Fixtures of this room: a volume to attach; each test is run by both ways to StorPool."""

import pytest
from attachment_ground import target

from rigs import transports

__all__ = ["target"]


@pytest.fixture(autouse=True, params=transports.WAYS)
def transport_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way that clients have here."""
    monkeypatch.setenv(transports.VARIABLE, request.param)
    return str(request.param)
