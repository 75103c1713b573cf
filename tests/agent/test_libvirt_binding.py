"""What guests and Vdsm's files say, whatever it is; libvirt itself is in test_agent_libvirt.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import errors
from storpool_ovirt.agent import hypervisor, libvirt_binding
from storpool_ovirt.agent.hypervisor import Disk, Domain

DOMAIN = Domain("00000000-0000-0000-0000-000000000001", 1, "web", ())
ANSWERS = [
    "",
    "null",
    "[]",
    "{}",
    '{"return": "thawing"}',
    '{"return": true}',
    '{"return": {"frozen": 1}}',
    '{"error": {}}',
    "frozen",
    "[" * 3000,
    '{"return": "frozen"' + " " * 5000 + "}",
    '{"return": 1e999}',
]


class Binding:
    """As much of libvirt's binding as one guest agent's answer passes through."""

    VIR_CRED_AUTHNAME, VIR_CRED_PASSPHRASE = 2, 5
    VIR_CONNECT_LIST_DOMAINS_ACTIVE = 1
    libvirtError = RuntimeError  # noqa: N815  the name is libvirt's

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int]] = []

    def openAuth(self, *_: object) -> Binding:  # noqa: N802
        """It is its own connection, and its own domain."""
        return self

    def lookupByUUIDString(self, _uuid: str) -> Binding:  # noqa: N802
        """Return the one domain."""
        return self

    def listAllDomains(self, _flags: int) -> list[Binding]:  # noqa: N802
        """Return itself, and one whose XML can be read."""
        return [self, Binding("<domain/>")]

    def name(self) -> str:
        """Return a name."""
        return "web"

    def UUIDString(self) -> str:  # noqa: N802
        """Return an id."""
        return DOMAIN.uuid

    def XMLDesc(self, _flags: int) -> object:  # noqa: N802
        """Return what is set as its answer."""
        return self.answer

    def ID(self) -> int:  # noqa: N802
        """Return the only run."""
        return 1

    def qemuAgentCommand(self, _found: object, asked: str, seconds: int, _: int) -> object:  # noqa: N802
        """Answer."""
        self.asked.append((json.loads(asked)["execute"], seconds))
        return self.answer


def guest(answer: object) -> tuple[libvirt_binding.Libvirt, Binding]:
    """Return a connection to a VM whose guest agent answers so."""
    made, binding = libvirt_binding.Libvirt("qemu:///system"), Binding(answer)
    made._libvirt = made._agents = binding
    return made, binding


def test_what_agents_say() -> None:
    """qemu-ga's own words, and the two commands that it is asked."""
    for said, frozen in (("frozen", True), ("thawed", False)):
        libvirt, binding = guest(json.dumps({"return": said}))
        assert libvirt.is_frozen(DOMAIN) is frozen
    assert binding.asked == [("guest-fsfreeze-status", 3)]
    libvirt, binding = guest('{"return": 2}')
    libvirt.thaw(DOMAIN)
    assert binding.asked == [("guest-fsfreeze-thaw", 10)]


@pytest.mark.parametrize("answer", ANSWERS)
def test_nonsense_is_silence(answer: str) -> None:
    """Whatever else a guest answers: nobody knows whether it is frozen."""
    libvirt, _ = guest(answer)
    with pytest.raises(errors.GuestSilent):
        libvirt.is_frozen(DOMAIN)


@given(
    st.text()
    | st.none()
    | st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text() | st.just("return"), each),
    ).map(json.dumps)
)
def test_any_answer(answer: object) -> None:
    """Frozen is only what says so."""
    libvirt, _ = guest(answer)
    with pytest.raises(errors.GuestSilent):
        libvirt.is_frozen(DOMAIN)


@pytest.mark.parametrize("xml", ["", "<domain", "<!DOCTYPE x><domain/>", "<domain>" * 300])
def test_a_vm_that_cannot_be_read(xml: str) -> None:
    """It is left out; the others are looked after."""
    libvirt, _ = guest(xml)
    assert [each.uuid for each in libvirt.domains()] == [DOMAIN.uuid]


def asked(binding: Any) -> list[list[Any]]:
    """Return what SASL asks for."""
    kinds = (binding.VIR_CRED_AUTHNAME, binding.VIR_CRED_PASSPHRASE)
    return [[kind, "", "", "", None] for kind in kinds]


def test_vdsms_password_is_told(tmp_path: Path) -> None:
    """The first line of Vdsm's file; nothing where it cannot be read, or is a link."""
    binding = Binding("")
    libvirt = libvirt_binding.Libvirt("qemu:///system", str(tmp_path))
    libvirt._libvirt = binding
    wanted = asked(binding)
    assert libvirt._told(wanted, None) == -1
    file = tmp_path / libvirt_binding.PASSWORD_FILE[1:]
    file.parent.mkdir(parents=True)
    file.write_text("secret one\nsecond line\n")
    assert libvirt._told(wanted, None) == 0
    assert [each[4] for each in wanted] == ["vdsm@ovirt", "secret one"]
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert libvirt._told(asked(binding), None) == -1


XML = """\
<domain type="kvm" id="7"><devices>
  <disk type="block"><source dev="/dev/storpool-byid/a.b.1"/><target dev="sda"/></disk>
  <disk type="file" device="disk"><source file="/rhev/image"/><target dev="sdb"/></disk>
  <disk type="network" device="disk"><source protocol="rbd" name="x"/><target dev="sdc"/></disk>
  <disk type="block" device="disk"><source dev="/dev/x"/><target dev="sdd"/><readonly/></disk>
  <disk type="file" device="cdrom"><source file="/iso"/><target dev="sde"/></disk>
  <disk type="file" device="floppy"><source file="/f"/><target dev="fda"/></disk>
  <channel type="unix"><target type="virtio" name="{channel}" state="{state}"/></channel>
</devices></domain>
"""


@pytest.mark.parametrize(
    ("channel", "state", "expected"),
    [
        ("org.qemu.guest_agent.0", "connected", True),
        ("org.qemu.guest_agent.0", "disconnected", False),
        ("com.redhat.spice.0", "connected", False),
    ],
)
def test_a_vms_xml(channel: str, state: str, expected: bool) -> None:
    """All that is written counts, also what has no path; what holds no file systems does not."""
    found = hypervisor.parsed("u", 7, "web", XML.format(channel=channel, state=state))
    assert found.disks == (
        Disk("sda", "/dev/storpool-byid/a.b.1"),
        Disk("sdb", "/rhev/image"),
        Disk("sdc", ""),
        Disk("sdd", "/dev/x", writable=False),
    )
    assert found.has_agent is expected
