"""The agent's options: keys of storpool.conf, each checked once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from storpool_ovirt import errors
from storpool_ovirt.agent import options
from storpool_ovirt.agent.options import OPTIONS, Options


def test_nothing_is_set() -> None:
    """Without a key, the values are those of the defaults, and each option is a field."""
    assert options.parsed({}) == Options()
    assert [each.name for each in OPTIONS] == [each.name for each in fields(Options)]


def test_what_is_set(tmp_path: Path) -> None:
    """Each key of storpool.conf is read, of the host's own section too."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/storpool.conf").write_text(
        "SP_OVIRT_AGENT_THAW=false\nSP_OVIRT_AGENT_PERIOD=3\nSP_OVIRT_AGENT_THAW_LATEST=0\n"
    )
    found = options.read(str(tmp_path))
    assert found == Options(thaw=False, period=3.0, thaw_latest=0.0)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("SP_OVIRT_AGENT_TAW", "true", "is not known: use SP_OVIRT_AGENT_GROW"),
        ("SP_OVIRT_AGENT_THAW", "perhaps", "is neither true nor false"),
        ("SP_OVIRT_AGENT_PERIOD", "0", "give a number from 1 to 3600"),
        ("SP_OVIRT_AGENT_THAW_LATEST", "-1", "is out of range"),
        ("SP_OVIRT_AGENT_LIBVIRT", "qemu+tcp://host/system", "is no address of a libvirt"),
    ],
)
def test_what_is_wrong(key: str, value: str, said: str) -> None:
    """A misspelt key or value is an error that names it."""
    with pytest.raises(errors.ConfigError, match=said) as raised:
        options.parsed({key: value})
    assert key in str(raised.value)
