"""A newcomer's hour: packages, set-up, a domain, a disk, a VM; something breaks, doctor finds it,
and what doctor prints mends it; in the end everything is as it was."""

from __future__ import annotations

import itertools
import os
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import newcomer_mistakes
import pytest
from newcomer_ground import Here, Hour

from rigs import engine_config_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovirt_demo.database import Database

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make machines of its own")

SEEDS = 20
ROUNDS = 3
TOPS = (
    "/etc",
    "/run",
    "/usr/lib/storpool-ovirt",
    "/usr/lib/systemd",
    "/usr/lib/tmpfiles.d",
    "/usr/libexec",
    "/usr/sbin",
    "/usr/share/bash-completion",
    "/usr/share/man/man8",
    "/usr/share/ovirt-engine",
    "/var/lib",
    "/var/log",
)
# What rpm and Vdsm write for themselves, and logs, which stay.
OTHERS = re.compile(r"/var/lib/(rpm|vdsm)/|/var/log/|/run/(?!storpool)")
_numbers = itertools.count(1)


def arrived(
    folder: Path, packages: dict[str, Path], server: Database, mapping: Database
) -> tuple[Hour, Here, Here]:
    """Return what there is for an hour, and its two machines with oVirt and nothing of ours."""
    folder.mkdir(mode=0o755)
    hour = Hour(folder, [path for name, path in packages.items() if name != "src"])
    hour.open(server, mapping)
    return hour, hour.ready("engine"), hour.ready("host")


def served(hour: Hour, engine: Here, host: Here) -> None:
    """Do what README says, to a VM that runs on a disk."""
    for here in (engine, host):
        here.install()
    told = engine.setup("--token-file", "-", stdin=f"{hour.simulator.token}\n")
    assert told["changed"] == 3, "the token, and Engine's lists"
    assert [each["service"] for each in told["restarts"]] == ["ovirt-engine"]
    assert host.setup()["changed"] == 0, "packages have brought all"
    for here in (engine, host):
        hour.wake(here)
    hour.refresh(host)
    assert hour.create_domain(engine).endswith("added and active in data center Default\n")
    hour.start_vm(engine, host)


@pytest.fixture(scope="module")
def hour(
    tmp_path_factory: pytest.TempPathFactory,
    packages: dict[str, Path],
    database_server: Database,
) -> Iterator[Hour]:
    """An hour in which all is well, with what its machines are kept."""
    mapping = database_server.fresh(f"newcomer_{next(_numbers)}")
    folder = tmp_path_factory.mktemp("newcomer") / "hour"
    hour, engine, host = arrived(folder, packages, database_server, mapping)
    try:
        served(hour, engine, host)
        for here in (engine, host):
            found = here.wrong()
            assert [(each["id"], each["cause"]) for each in found] == []
            hour.keep(here)
        yield hour
    finally:
        hour.close()
        mapping.drop()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_breaks_is_found_and_mended(hour: Hour, tmp_path: Path, seed: int) -> None:
    """Something out of all, by chance: doctor names it and what needs it, and no more; it is well
    again when what is printed was done, and done again where more is printed."""
    names = sorted(newcomer_mistakes.MISTAKES)
    name = random.Random(SEEDS).sample(names, SEEDS)[seed]
    broken = newcomer_mistakes.MISTAKES[name]
    here = hour.copy(broken.place, tmp_path)
    hour.wake(here)
    here.machine.do(broken.script)
    wrong = here.wrong()
    assert {each["id"] for each in wrong} == {broken.check, *broken.follow}, (name, wrong)
    step = next(each for each in wrong if each["id"] == broken.check)
    for _ in range(ROUNDS):
        assert step["risk"], (name, step)
        here.type(step["fix"])
        wrong = here.wrong()
        assert broken.check not in {each["id"] for each in wrong}, (name, wrong)
        if not wrong:
            return
        step = wrong[0]
    raise AssertionError((name, wrong))


def test_everything_is_undone(
    tmp_path: Path, packages: dict[str, Path], database_server: Database, database: Database
) -> None:
    """The VM's data is on the disk; the disk goes, then ours: no file is left but logs, and nothing
    in the cluster."""
    hour, engine, host = arrived(tmp_path / "hour", packages, database_server, database)
    try:
        keys = engine_config_tool.Keys(engine.machine)
        options = keys.values()
        before = {here.place: here.machine.tree(*TOPS) for here in (engine, host)}
        served(hour, engine, host)
        host.run("dd", "of=" + hour.disk.link, "conv=notrunc", stdin="guest", user="qemu")
        assert host.run("head", "-c5", hour.disk.link) == "guest"
        hour.stop_vm(engine, host)
        hour.verb(engine, "delete_volume", hour.disk.id)
        assert hour.simulator.api("AttachmentsList") == []
        assert hour.simulator.api("VolumesList") == []
        hour.remove_domain()
        assert engine.setup("--undo")["changed"] == 3
        assert keys.values() == options, "what others have in Engine's lists is theirs"
        assert host.setup("--undo")["changed"] == 0
        for here in (engine, host):
            here.erase()
            was, now = before[here.place], here.machine.tree(*TOPS)
            other = {path for path in {*was, *now} if was.get(path) != now.get(path)}
            assert [path for path in sorted(other) if not OTHERS.match(path)] == []
    finally:
        hour.close()
