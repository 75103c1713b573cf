"""docs/restore.md: each of its commands, in their order, does what the page says, by the installed
program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rigs import disk_rig, policy_yard, runbook, trash_yard
from rigs.disk_model import GIB
from rigs.policy_yard import VM
from rigs.yard import DISK, OTHER, Yard

if TYPE_CHECKING:
    from ovirt_demo.database import Database

NAME = "web01"


def test_the_page_is_played(yard: Yard, database_server: Database) -> None:
    """T83: the VM goes back, and turns round; checksums of both."""
    first, second = sorted((DISK, OTHER))
    options = yard.folder / "options.json"
    api = {"sp_api_http_host": yard.simulator.host, "sp_api_http_port": yard.simulator.port}
    options.write_text(json.dumps({**api, "sp_auth_token": disk_rig.TOKEN}))
    where = ["--database", yard.url, "--options", str(options)]
    environment = {"STORPOOL_OVIRT_ROOT": str(yard.folder), "PATH": "/usr/bin:/bin"}
    known = {"ID": VM, "NAME": NAME, "FIRST": first, "SECOND": second}
    with policy_yard.engine_of(yard, database_server) as engine:
        for disk in (first, second):
            yard.verb("create", disk, GIB)
            policy_yard.has_disk(engine, disk)
            trash_yard.write(yard, disk, 1)
        policy_yard.has_vm(engine, VM, NAME, first, second)
        volumes = [{"volume": yard.address(disk)} for disk in (first, second)]
        yard.ask("VolumesGroupSnapshot", {"volumes": volumes})
        for disk in (first, second):
            trash_yard.write(yard, disk, 2)
        digests = [trash_yard.digest(yard, disk) for disk in (first, second)]
        seen = []
        for step in runbook.steps("restore.md"):
            said = runbook.typed(runbook.filled(step.command, known), where, environment)
            assert (said.returncode, said.stderr) == (0, ""), (step, said)
            assert said.stdout
            if step.output:
                runbook.check(step, said.stdout.splitlines(), known)
            seen.append([trash_yard.digest(yard, disk) for disk in (first, second)])
    assert seen[1] == seen[-1] == digests
    assert digests[0] not in seen[2]
    assert digests[1] not in seen[2]
    assert {each.kind for each in yard.report().findings} == {"kept by others"}
