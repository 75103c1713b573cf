"""Engine after 4.5.7, and our packages in place of pip: what is different for the checks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from engine_ground import CONF_D, LINK, PREFIX, USR, ServedMachine

from rigs import engine_database

if TYPE_CHECKING:
    from ovirt_demo.database import Database

CODE = "/usr/lib/storpool-ovirt"
PROGRAMS = "/usr/libexec/storpool-ovirt"


@pytest.fixture
def later(served: ServedMachine, database_server: Database) -> Iterator[ServedMachine]:
    """Give an Engine that starts adapters itself."""
    own = database_server.fresh(f"later_{uuid.uuid4().hex[:8]}")
    served.tables = engine_database.made(own, "master")
    served.tables.add_data_domain("nfs", served.tables.add_data_center())
    served.connect()
    served.do(f"rm -r {USR}/cinderlib; cd {CONF_D}; mv 10-setup-cinderlib.conf 10-setup-mb.conf")
    served.do(f"sed -i s/CINDERLIB/MANAGEDBLOCK/ {CONF_D}/*.conf")
    yield served
    own.drop()


def test_a_later_engine(later: ServedMachine) -> None:
    """Its keys, its table, its folder; what is wrong is told in its words."""
    later.domain(sp_auth_token_file=later.token())
    found = later.look(
        "engine-dispatcher",
        "engine-service",
        "engine-database-enabled",
        "engine-mapping-database",
        "engine-domain-adapter",
        "engine-domain-options",
        "engine-domain-stats",
        "engine-time-out",
        "engine-capacity",
    )
    assert [each.result for each in found] == ["ok"] * 9, found
    later.tables.set_option("ManagedBlockCommandTimeoutInMinutes", "0")
    later.tables.execute(
        "UPDATE mb_storage SET driver_options = driver_options || %s", json.dumps({"x": "y"})
    )
    timeout, options = later.look("engine-time-out", "engine-domain-options")[::-1]
    assert "ManagedBlockCommandTimeoutInMinutes" in timeout.fix
    later.do(options.fix)
    assert later.one("engine-domain-options").result == "ok"
    later.do(f"rm {LINK}")
    stats = later.one("engine-domain-stats")
    assert (stats.result, "storpool-adapter" in stats.cause) == ("critical", True), stats
    later.write(f"{CONF_D}/10-setup-mb.conf", "MANAGEDBLOCK_DB_ENABLE=false\n")
    assert "MANAGEDBLOCK_DB_ENABLE" in later.one("engine-database-enabled").cause


@pytest.fixture
def packaged(served: ServedMachine) -> ServedMachine:
    """Give a machine whose code is where our packages have it."""
    served.do(f"mkdir -p {CODE}; cp -a {PREFIX}/lib/python3*/site-packages/storpool_ovirt {CODE}/")
    served.environment = {"PYTHONPATH": CODE}
    served.tool("rpm", "cat /srv/rpm 2>/dev/null; [ ! -e /srv/rpm ]")
    return served


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (None, "ok"),
        ("S.5....T.  c /etc/logrotate.d/storpool-ovirt-engine\n", "ok"),
        (f"S.5....T.    {CODE}/storpool_ovirt/config.py\n", "warning"),
        (f"missing     {PROGRAMS}/storpool-adapter\n", "warning"),
        ("missing   c /etc/logrotate.d/storpool-ovirt-engine\n", "warning"),
        ("package storpool-ovirt-engine is not installed\n", "warning"),
    ],
)
def test_packages_are_compared_by_rpm(
    packaged: ServedMachine, said: str | None, result: str
) -> None:
    """Settings may be changed, nothing else may; what is told is rpm's own word."""
    packaged.do(f"rm -rf {PREFIX}/lib/python3*/site-packages/storpool_ovirt/none")
    if said is not None:
        packaged.write("/srv/rpm", said)
    found = packaged.one("engine-packages")
    assert found.result == result, found
    if result == "warning":
        assert said is not None
        assert said.split()[-1] in found.cause
        assert found.fix.startswith("dnf reinstall storpool-ovirt-common")


def test_without_rpm_nobody_knows(packaged: ServedMachine) -> None:
    """What packages have is its to tell."""
    packaged.machine.without("rpm")
    assert packaged.one("engine-packages").result == "unknown"


def test_packages_mend_by_dnf(packaged: ServedMachine) -> None:
    """setup makes no link there: the adapter's comes back with its package."""
    packaged.do(f"rm {LINK}")
    found = packaged.one("engine-adapter")
    packages = "storpool-ovirt-common storpool-ovirt-admin storpool-ovirt-engine"
    assert (found.fix, found.action) == (f"dnf reinstall {packages}", "")
