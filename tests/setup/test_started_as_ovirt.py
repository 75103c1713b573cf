"""What Engine starts is started as Engine's user, on a machine that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rigs.machine import Machine


def test_root_runs_it_as_ovirt(machine: Machine) -> None:
    """On a real machine it has the rights of Engine's service, and no others."""
    machine.do("mkdir -p /etc/ovirt-engine/engine.conf.d /usr/share/ovirt-engine/managedblock")
    keys = {"HOST": "127.0.0.1", "PORT": "1", "USER": "u", "PASSWORD": "p", "DATABASE": "d"}
    conf = "/etc/ovirt-engine/engine.conf.d/10-setup-managedblock-database.conf"
    lines = "".join(f"MANAGEDBLOCK_DB_{key}={value}\n" for key, value in keys.items())
    machine.write(conf, lines, 0o640, "root:ovirt")
    program = "/usr/share/ovirt-engine/managedblock/storpool-adapter"
    machine.write(program, '#!/bin/sh\necho "error:$(id -un) $(id -Gn)"\nexit 1\n', 0o755)
    code = (
        "from storpool_ovirt.engine import as_engine; from storpool_ovirt.deadline import Deadline;"
        "print(as_engine.storage_stats({'adapter': 'storpool'}, Deadline(30)).sentence)"
    )
    done = machine.run("/opt/storpool-ovirt/bin/python3", "-c", code)
    assert done.stdout == "ovirt ovirt\n", done
