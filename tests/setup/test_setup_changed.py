"""What stands in our places and looks like ours, but does not do what ours does."""

from __future__ import annotations

import pytest
from setup_ground import VDSM, Setup, states, step

from rigs.engine_config_tool import Keys
from rigs.machine import PREFIX

SUDOERS = "/etc/sudoers.d/storpool-ovirt"
MULTIPATH = "/etc/multipath/conf.d/storpool-ovirt.conf"
DROP_IN = "/etc/systemd/system/ovirt-engine.service.d/50-storpool-ovirt.conf"


def appended(setup: Setup, path: str, text: str, then: str = "") -> None:
    """Add a text at the end of a file."""
    setup.machine.do(f'printf "%s" "$2" >>"$1"; {then}', path, text)


@pytest.mark.parametrize(
    "text",
    [
        "this is garbage\n",
        "vdsm ALL=(root) !STORPOOL_VM_DOOR\n",
        "Defaults!STORPOOL_DOORS setenv\n",
        "#36 ALL=(root) !ALL\n",
        "#include /srv/theirs\n",
        "%kvm ALL=(root) PASSWD: ALL\n",
    ],
)
def test_sudoers_that_take_ours_back_need_you(host: Setup, text: str) -> None:
    """All of our lines in it are not enough."""
    host.run()
    appended(host, SUDOERS, text)
    there = host.machine.read(SUDOERS)
    said = step(host.run(code=1), "sudoers")
    assert (said["state"], SUDOERS in said["what"]) == ("needs you", True)
    assert host.machine.read(SUDOERS) == there


def test_a_comment_does_no_harm_unless_it_goes_on(host: Setup) -> None:
    """One that ends with a backslash has the next line in it."""
    host.run()
    shipped = host.machine.read(SUDOERS)
    host.machine.write(SUDOERS, f"# ours\n\n{shipped}bob ALL=(root) /bin/true\n", 0o440)
    assert states(host.run())["sudoers"] == "done"
    host.machine.write(SUDOERS, shipped.replace("\nvdsm ", "\n# more \\\nvdsm "), 0o440)
    assert states(host.run(code=1))["sudoers"] == "needs you"


@pytest.mark.parametrize("then", ["chmod 0666", "chown vdsm"])
def test_a_changed_file_with_a_wrong_mode_or_owner_needs_you(host: Setup, then: str) -> None:
    """What somebody else wrote is not made root's by us."""
    host.run()
    appended(host, SUDOERS, "# more\n", f'{then} "$1"')
    said = step(host.run(code=1), "sudoers")
    assert said["state"] == "needs you"
    assert "the wrong mode or owner" in said["what"]
    assert f"chown root:root {SUDOERS} && chmod 0440 {SUDOERS}" in said["do"]


def test_rules_that_another_file_has_too_are_taken_back(host: Setup) -> None:
    """With an alias twice sudo works for nobody: it goes on working, and a person hears why."""
    shipped = f"{PREFIX}/lib/python3*/site-packages/storpool_ovirt/setup/files/sudoers.d/*"
    host.machine.do(f"cp {shipped} /etc/sudoers.d/zz-old; chmod 0440 /etc/sudoers.d/zz-old")
    for _ in range(2):
        said = step(host.run(code=1), "sudoers")
        assert said["state"] == "needs you"
        assert "STORPOOL_VM_DOOR" in said["what"]
        assert host.machine.run("visudo", "-c").returncode == 0
        assert sorted(host.machine.do("ls -A /etc/sudoers.d").split()) == ["README", "zz-old"]
    host.machine.do("rm /etc/sudoers.d/zz-old")
    assert states(host.run())["sudoers"] == "changed"
    assert host.machine.run("visudo", "-c").returncode == 0


def test_rules_that_were_bad_before_are_no_fault_of_ours(host: Setup) -> None:
    """Ours is there when somebody has mended them."""
    host.machine.write("/etc/sudoers.d/bad", "what is this\n", 0o440)
    assert states(host.run())["sudoers"] == "changed"


def test_an_exception_of_multipaths_needs_you(host: Setup) -> None:
    """It takes back what ours says."""
    host.run()
    appended(host, MULTIPATH, "# ours\n")
    assert states(host.run())["multipath"] == "done"
    appended(host, MULTIPATH, 'blacklist_exceptions {\n    devnode "^sp-[0-9]+"\n}\n')
    assert states(host.run())["multipath"] == "needs you"


def test_a_drop_in_that_clears_ours_needs_you(engine: Setup, keys: Keys) -> None:
    """An empty ExecStartPre= behind it."""
    engine.run()
    assert keys.calls()
    appended(engine, DROP_IN, "ExecStartPre=\n")
    assert states(engine.run())["drop-in"] == "needs you"


LINKS = {
    "vm-door": "storpool-vm-door",
    "boot-hook": "storpool-boot-hook",
    "helper": "managedvolume-helper-storpool",
}


@pytest.mark.parametrize("how", ["rm", "chmod a-x"])
def test_a_link_to_what_cannot_be_run_is_not_done(host: Setup, how: str) -> None:
    """A person hears how the program comes back; then it is done."""
    host.run()
    for name, program in LINKS.items():
        path = f"{PREFIX}/bin/{program}"
        host.machine.do(f"cp -a {path} /srv/; {how} {path}")
        said = step(host.run(code=int(name != "helper")), name)
        assert (said["state"], path in said["what"]) == ("needs you", True)
        assert "pip install" in said["do"]
        host.machine.do(f"cp -a /srv/{program} {path}")
        assert states(host.run())[name] == "done"
    assert host.machine.do(f"ls {VDSM}").split()
