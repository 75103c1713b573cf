"""`storpool-ovirt doctor host` where packages have brought all: it starts, and what can be seen
there of ours is well, or comes back by dnf."""

from __future__ import annotations

import json
from collections.abc import Callable

from package_machine import Machine
from package_stock import Stock

from storpool_ovirt.doctor import checks, tables

COMMAND = "/usr/sbin/storpool-ovirt"
HOOK = "/usr/libexec/vdsm/hooks/before_vm_start/50_storpool"
OURS = ("host-hook-run", "host-hook-elsewhere", "host-programs", "host-sudoers", "host-locks")


def test_a_host_with_packages_is_looked_at(whole: Callable[..., Machine], stock: Stock) -> None:
    """Each check says something, none breaks; a hook that is gone comes back by dnf, not by us."""
    here = whole("host", stock.vdsm)
    here.root.path("/usr/bin/ls").symlink_to("/bin/busybox")  # what such a root has not
    found = looked_at(here)
    assert [*dict.fromkeys(found)] == [each.id for each in tables.of(checks.HOST)]
    told = {each: results for each, results in found.items() if each in OURS}
    assert {one["result"] for results in told.values() for one in results} == {"ok"}, told
    here.root.path(HOOK).unlink()
    [gone] = [each for each in looked_at(here)["host-hook-run"] if each["result"] == "critical"]
    assert gone["fix"].startswith("dnf reinstall storpool-ovirt-")
    assert not gone["fixable"]


def looked_at(here: Machine) -> dict[str, list[dict[str, str]]]:
    """Return the results of each check, in their order."""
    done = here.root.run(COMMAND, "doctor", "host", "--json")
    assert done.stderr == ""
    assert "internal error" not in done.stdout
    found: dict[str, list[dict[str, str]]] = {}
    for each in json.loads(done.stdout)["checks"]:
        found.setdefault(each["id"], []).append(each)
    return found
