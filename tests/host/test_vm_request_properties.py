"""vm_request.py: the properties of a VM in what the hook asks root for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from storpool_ovirt import errors
from storpool_ovirt.host import domain_xml, vm_request
from storpool_ovirt.policy import properties

UUID = "11111111-1111-4111-8111-111111111111"
POINT = "before_vm_start"
MAX = vm_request.PROPERTY_MAX_CHARACTERS
DISK = domain_xml.Disk("/dev/storpool-byid/a.b.c", UUID, False)


def _written(said: dict[str, str]) -> bytes:
    return vm_request.write(vm_request.Request(POINT, UUID, [("a.b.c", DISK)], said))


def _read(said: Any) -> vm_request.Request:
    document = json.loads(_written({}))
    line = json.dumps({**document, "properties": said}, separators=(",", ":"), sort_keys=True)
    return vm_request.read(line.encode() + b"\n", [POINT])


def test_one_limit() -> None:
    """What the door takes is no longer than what is read of it afterwards."""
    assert MAX == properties.CHARACTERS_MAX == 8192


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"sp_qos": "gold"},
        {"sp_qos": f"gold,{UUID}:silver", "sp_vc_policy": "no"},
        {"sp_qos": '{"a":"b"};\u00fc\U0001f600'},
        {"sp_qos": "x" * MAX, "sp_vc_policy": "\U0001f600" * MAX},
    ],
)
def test_round_trip(said: dict[str, str]) -> None:
    """What the hook writes the door reads, up to the limit."""
    assert vm_request.read(_written(said), [POINT]).properties == said


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "gold",
        True,
        {"sp_qos": ""},
        {"sp_qos": None},
        {"sp_qos": ["gold"]},
        {"sp_qos": {"gold": "gold"}},
        {"sp_qos": "gold\n"},
        {"sp_qos": "\u2028"},
        {"sp_qos": "\ud800"},
        {"sp_qos": "\x00"},
        {"sp_qos": "x" * (MAX + 1)},
        {"sp_QOS": "gold"},
        {"vmId": UUID},
        {"sp_qos": "gold", "PATH": "/tmp"},
    ],
)
def test_what_the_door_refuses(said: Any) -> None:
    """Anything else than one line of text of these two names is refused."""
    with pytest.raises(errors.InputError, match="properties"):
        _read(said)


@pytest.mark.parametrize(
    "said", ["x" * (16 << 10), "gold\nsilver", "\u2028", "\udcff", "\x1b[0m", "x" * (MAX + 1)]
)
def test_what_the_hook_makes_of_a_hostile_one(said: str) -> None:
    """A property that the door would refuse reaches it as one that makes no sense, and no other
    variable goes along."""
    found = vm_request.properties({"sp_qos": said, "PATH": "/tmp", "SP_AUTH_TOKEN": "1"})
    assert list(found) == ["sp_qos"]
    assert vm_request.read(_written(found), [POINT]).properties == found
    assert properties.read("qos", found["sp_qos"])[0] is None
