"""A host on which disks can be attached has all that keeps two hosts from writing one of them."""

from __future__ import annotations

import pytest
from setup_ground import VDSM, Setup, states, step

from rigs.machine import PREFIX
from storpool_ovirt import names

HELPER = f"{VDSM}/managedvolume-helper-storpool"
HOOK = f"{VDSM}/hooks/before_vm_start/50_storpool"
RUN_LINK = (
    f"{names.RUN_FOLDER}/1f9b2c60-0000-4000-8000-000000000001_1f9b2c60-0000-4000-8000-000000000002"
)
DEVICE = names.device_path("ab.c.1")
ATTACHING = ("helper", "os-brick")
KEEPING = ("vm-door", "fence-door", "sudoers", "hook-before-vm-start", "boot-hook")
# A VM's disk comes: its device, and Vdsm's link to it.
ATTACH = (
    f"mkdir -p {names.RUN_FOLDER} {names.DEVICE_FOLDER}; touch {DEVICE}; ln -sf {DEVICE} {RUN_LINK}"
)


@pytest.mark.parametrize(
    ("spoil", "lacking"),
    [
        (f"echo theirs >{HOOK}", "hook-before-vm-start"),
        (f"chmod 0777 {VDSM}/hooks/before_vm_start", "hook-before-vm-start"),
        (f"rm -r {VDSM}/hooks; ln -s /nowhere {VDSM}/hooks", "hook-before-vm-start"),
        ("mkdir -p /usr/libexec/storpool-ovirt/storpool-vm-door", "vm-door"),
        ("echo 'vdsm ALL=(root) ALL' >/etc/sudoers.d/storpool-ovirt", "sudoers"),
    ],
)
def test_nothing_can_be_attached_where_vms_would_start_unfenced(
    host: Setup, spoil: str, lacking: str
) -> None:
    """A look foretells it, with why; once that is put right, all comes."""
    host.machine.do(spoil)
    before = host.tree()
    for words in (("--dry-run",), ()):
        said = host.run(*words, code=1)
        assert states(said)[lacking] in ("needs you", "failed")
        for name in ATTACHING:
            assert step(said, name)["state"] == "failed"
            assert f"unfenced without the step {lacking} (" in step(said, name)["what"]
        assert not {HELPER, f"{VDSM}/os_brick"} & {*host.tree()}
        assert not words or host.tree() == before
    host.machine.do(
        f"rm -rf {VDSM}/hooks /etc/sudoers.d/storpool-ovirt /usr/libexec/storpool-ovirt"
    )
    after = states(host.run())
    assert {after[name] for name in ATTACHING} == {"changed"}


def test_an_undo_leaves_what_another_installations_helper_needs(host: Setup) -> None:
    """That helper is not this undo's; so no hook goes, nor sudo's file, nor a door."""
    host.run()
    host.machine.do(
        f"cp -a {PREFIX} /opt/other; sed -i 's#{PREFIX}/bin#/opt/other/bin#' /opt/other/bin/*"
    )
    host.machine.do(f"ln -sfn /opt/other/bin/managedvolume-helper-storpool {HELPER}")
    for words in (("--undo", "--dry-run"), ("--undo",)):
        said = host.run(*words)
        assert {states(said)[name] for name in (*KEEPING, "helper")} == {"not needed"}
        assert "disks can be attached here" in step(said, "sudoers")["what"]
    assert host.machine.path(HOOK).is_symlink()
    host.machine.do(f"rm {HELPER}")
    after = states(host.run("--undo"))
    assert {after[name] for name in KEEPING} == {"undone"}


def test_an_undo_that_cannot_take_the_helper_leaves_the_rest(host: Setup) -> None:
    """Where its folder became another user's."""
    host.run()
    host.machine.do(f"chown vdsm {VDSM}")
    said = host.run("--undo", code=1)
    assert states(said)["helper"] == "failed"
    assert {states(said)[name] for name in KEEPING} == {"not needed"}
    host.machine.do(f"chown root {VDSM}")
    after = states(host.run("--undo"))
    assert {after[name] for name in KEEPING} == {"undone"}


def test_an_undo_looks_again_before_the_first_hook_goes(host: Setup) -> None:
    """A VM may have started since the first look: its attach was under way."""
    host.run()
    host.machine.do("mkdir -p /run/systemd/system; rm -f /usr/bin/systemctl")
    host.machine.tool("systemctl", f"{ATTACH}; exit 1")  # asked when helper and os_brick are gone
    said = host.run("--undo", code=1)
    assert {states(said)[name] for name in ATTACHING} == {"undone"}
    assert {states(said)[name] for name in KEEPING} == {"failed"}
    assert DEVICE in step(said, "sudoers")["what"]
    assert "setup host  again" in step(said, "sudoers")["do"]
    host.machine.do(f"rm {DEVICE}")


@pytest.mark.parametrize("package", [False, True])
def test_a_run_link_to_a_device_refuses_an_undo(host: Setup, package: bool) -> None:
    """Without any database of Vdsm's; also with our package of what both places share."""
    host.run()
    host.machine.do(ATTACH)
    if package:
        folder = "/usr/lib/storpool-ovirt/storpool_ovirt"
        host.machine.do(f"mkdir -p {folder}; touch {folder}/__init__.py")
    before = host.tree()
    for words in (("--undo",), ("--undo", "--dry-run")):
        assert f"the first is disk {DEVICE}" in host.run(*words, code=1)["error"]
    assert host.tree() == before
