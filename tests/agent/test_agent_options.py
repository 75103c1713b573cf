"""The agent's options: keys of storpool.conf, each checked once."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from storpool_ovirt import errors, option_table, storpool_conf
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
    found = options.parsed(storpool_conf.read(str(tmp_path), environment=False))
    assert found == Options(thaw=False, period=3.0, thaw_latest=0.0)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("SP_OVIRT_AGENT_TAW", "true", "is not known: do you mean SP_OVIRT_AGENT_THAW?"),
        ("SP_OVIRT_AGENT_MIXED", "3", "do you mean SP_OVIRT_AGENT_THAW_MIXED?"),
        ("SP_OVIRT_AGENT_ZZ", "3", "is not known: use SP_OVIRT_AGENT_GROW, "),
        ("SP_OVIRT_AGENT_THAW", "perhaps", r'is neither true nor false \("perhaps"\): give true'),
        ("SP_OVIRT_AGENT_THAW_PERIOD", "x", r'is no number like 20 or 0.5 \("x"\): give a number'),
        ("SP_OVIRT_AGENT_THAW_MIXED", "1h", r'is no number .* \("1h"\): give a number from 0 to'),
        ("SP_OVIRT_AGENT_PERIOD", "nan", r'is no number .* \("nan"\): give a number from 1 to'),
        ("SP_OVIRT_AGENT_PERIOD", "--1", r'is no number .* \("--1"\)'),
        ("SP_OVIRT_AGENT_PERIOD", "-", r'is no number .* \("-"\)'),
        ("SP_OVIRT_AGENT_PERIOD", "0", "give a number from 1 to 3600"),
        ("SP_OVIRT_AGENT_THAW_LATEST", "-1", r'is out of range \("-1"\)'),
        ("SP_OVIRT_AGENT_LIBVIRT", "qemu+tcp://host/system", "is no address of a libvirt"),
    ],
)
def test_what_is_wrong(key: str, value: str, said: str) -> None:
    """A misspelt key or value is an error that names it."""
    with pytest.raises(errors.ConfigError, match=said) as raised:
        options.parsed({key: value})
    assert key in str(raised.value)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("SP_OVIRT_AGENTS_PERIOD", "SP_OVIRT_AGENT_PERIOD"),
        ("SP_OVIRT_VMTAG", "SP_OVIRT_VM_TAG"),
        ("SP_OVIRT_MULTI_CLUSTER", "SP_OVIRT_MULTICLUSTER"),
        ("sp_ovirt_vm_tag", "SP_OVIRT_VM_TAG"),
        ("SP-OVIRT-AGENT-THAW", "SP_OVIRT_AGENT_THAW"),
        ("SP_OVIRT_AGENT_TAW", "SP_OVIRT_AGENT_THAW"),
    ],
)
def test_a_key_that_is_meant_as_ours(key: str, meant: str) -> None:
    """No program reads it: the nearest one is told."""
    assert options.unknown({key: "1"}) == {key: f"do you mean {meant}?"}


def test_every_key_that_a_program_of_ours_reads_is_known() -> None:
    """A site may have one file for Engine's machine and all hosts."""
    read = {option.conf_key for option in option_table.OPTIONS if option.conf_key}
    assert {key for key in read if key.startswith(storpool_conf.OWN_PREFIX)} <= {*options.KEYS}


def test_keys_of_ours_and_of_others_are_no_unknown_ones() -> None:
    """What StorPool reads is none of our business; a word that is like none gets all of ours."""
    others = ("SP_OURID", "SP_OPENSTACK_VOLUME_PREFIX", "SP_OVIRTUAL")
    assert options.unknown(dict.fromkeys((*options.KEYS, *others), "1")) == {}
    assert options.unknown({"SP_OVIRT_ZZ": ""})["SP_OVIRT_ZZ"] == f"use {', '.join(options.KEYS)}"
