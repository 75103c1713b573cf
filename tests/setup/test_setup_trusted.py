"""fapolicyd, which lets nothing of pip's be run unless its trust files have it."""

from __future__ import annotations

import pytest
from setup_ground import Setup, states, step

from rigs.machine import PREFIX

# As fapolicyd-cli(8): a folder is added with all its files, `--update` tells the daemon.
CLI = r"""
echo "$*" >>/run/fapolicyd.asked
case "$*" in
    "--file add "*" --trust-file "*)
        file="/etc/fapolicyd/trust.d/${5##*/}"
        find "$3" -type f | sort | while read -r each; do
            sum=$(sha256sum "$each"); echo "$each $(stat -c %s "$each") ${sum%% *}"
        done >>"$file" ;;
    --update) ;;
    *) exit 1 ;;
esac
"""
FILE = "/etc/fapolicyd/trust.d/storpool-ovirt-pip"


@pytest.fixture
def trusting(host: Setup) -> Setup:
    """A host with fapolicyd."""
    host.machine.do("mkdir -p /etc/fapolicyd/trust.d")
    host.machine.tool("fapolicyd-cli", CLI)
    return host


def test_what_pip_installed_is_trusted(trusting: Setup) -> None:
    """Each file, once; the daemon is told when that has come and when it goes."""
    before = trusting.tree()
    assert states(trusting.run())["fapolicyd"] == "changed"
    lines = trusting.machine.read(FILE).splitlines()
    assert any(line.startswith(f"{PREFIX}/bin/storpool-vm-hook ") for line in lines)
    assert states(trusting.run())["fapolicyd"] == "done"
    trusting.run("--undo")
    asked = trusting.machine.read("/run/fapolicyd.asked").splitlines()
    assert asked == [f"--file add {PREFIX}/ --trust-file storpool-ovirt-pip", *["--update"] * 2]
    trusting.machine.do("rm /run/fapolicyd.asked")
    assert trusting.tree() == before


def test_a_new_release_is_trusted_anew(trusting: Setup) -> None:
    """A file that pip wrote anew is not the one that was trusted."""
    trusting.run()
    changed = f"{PREFIX}/bin/storpool-vm-hook"
    trusting.machine.do(f"echo '# newer' >>{changed}")
    said = step(trusting.run("--dry-run"), "fapolicyd")
    assert (said["state"], changed in said["what"]) == ("would change", True)
    assert states(trusting.run())["fapolicyd"] == "changed"
    assert states(trusting.run())["fapolicyd"] == "done"


def test_a_fapolicyd_that_takes_nothing_is_told(trusting: Setup) -> None:
    """All other steps are done."""
    trusting.machine.tool("fapolicyd-cli", "echo 'cannot open the trust file' >&2; exit 1")
    document = trusting.run(code=1)
    said = step(document, "fapolicyd")
    assert (said["state"], "cannot open the trust file" in said["what"]) == ("failed", True)
    assert states(document)["helper"] == "changed"


def test_without_it_nothing_is_done(host: Setup) -> None:
    """Most machines have none."""
    assert states(host.run())["fapolicyd"] == "not needed"
    assert FILE not in host.tree()
