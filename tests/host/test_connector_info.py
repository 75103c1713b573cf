"""connector_info.py, volume_type.py: what a host says about itself, by its Vdsm and its rows."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovirt_demo import children, host_software, releases, vdsm, vdsm_rows
from storpool_ovirt import names

VOL = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
OTHER = "a0d5b2ce-4b5f-4b1e-8f0f-0d9f0c4e7b11"
PATH = "/dev/storpool-byid/dyo8.b.d"
TAKEN = {"type": "block", "path": PATH}
LOG = "/var/log/vdsm/storpool-helper.log"
NONE, LOCAL, STORPOOL = "none", "local", None
RELEASED, MASTER = releases.VDSM_4_50_7, releases.VDSM_MASTER


@pytest.fixture
def software(tmp_path: Path) -> Iterator[host_software.HostSoftware]:
    """Give a host with our package, on which no Vdsm runs yet."""
    host = vdsm.Host(tmp_path, tmp_path / "usr/libexec/vdsm/managedvolume-helper-storpool")
    made = host_software.HostSoftware(host, MASTER)
    made.install()
    made.integrate()
    yield made
    made.stop()


def runs(software: host_software.HostSoftware, release: releases.Vdsm) -> None:
    """Have a host run this Vdsm."""
    software.upgrade(release)


def told(software: host_software.HostSoftware) -> str | None:
    """Have Vdsm ask; return the type that the host tells."""
    software.host.refresh_capabilities()
    return software.host.connector_info.get(names.VOLUME_TYPE_KEY)


def put(software: host_software.HostSoftware, kind: str, vol_id: str = VOL) -> dict[str, Any]:
    """Keep a row of ours, as of an attach with this type; return it."""
    data = {"volume": vol_id, "global_id": "dyo8.b.d", "access_mode": "rw", "more": 1.50}
    info = {"adapter": "storpool", "driver_volume_type": kind, "data": data, "unknown": [1]}
    row = {"vol_id": vol_id, "connection_info": info, "path": PATH, "attachment": TAKEN}
    software.host.rows[vol_id] = row
    # The device is here: what starts vdsmd leaves the row then.
    device = software.host.local(PATH)
    device.parent.mkdir(parents=True, exist_ok=True)
    device.touch()
    link = software.host.local(vdsm_rows.link("sd", vol_id))
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(device)
    return row


def kind_of(software: host_software.HostSoftware, vol_id: str = VOL) -> str:
    """Return the type of a row."""
    kind: str = software.host.rows[vol_id]["connection_info"]["driver_volume_type"]
    return kind


def logged(software: host_software.HostSoftware) -> str:
    """Return the host's log."""
    file = software.host.local(LOG)
    return file.read_text() if file.exists() else ""


@pytest.mark.parametrize(
    ("release", "meant"),
    [(releases.VDSM_4_50_5, NONE)]
    + [(each, STORPOOL if each.dispatches else LOCAL) for each in releases.VDSMS],
    ids=lambda each: getattr(each, "name", each),
)
def test_each_vdsm_is_asked_for_what_it_takes(
    software: host_software.HostSoftware, release: releases.Vdsm, meant: str | None
) -> None:
    """A host that takes `storpool` says nothing, as one that has nothing of ours."""
    runs(software, release)
    assert told(software) == meant


def test_the_keys_are_those_of_os_brick(software: host_software.HostSoftware) -> None:
    """With this machine's values; Vdsm's schema has a text for those that nobody asks for."""
    initiator = software.host.local("/etc/iscsi/initiatorname.iscsi")
    initiator.parent.mkdir(parents=True)
    initiator.write_text("## from iscsi-iname\n InitiatorName = iqn.1994-05.com.redhat:x=y \n")
    runs(software, MASTER)
    told(software)
    uname = os.uname()
    assert software.host.connector_info == {
        "initiator": "iqn.1994-05.com.redhat:x=y",
        "ip": "",
        "platform": uname.machine,
        "host": uname.nodename,
        "do_local_attach": False,
        "os_type": "linux",
        "multipath": True,
    }
    initiator.write_bytes(b"\xff")
    told(software)
    assert software.host.connector_info["initiator"] == ""


def test_after_an_update_a_host_stays_local_until_its_last_local_row_is_gone(
    software: host_software.HostSoftware,
) -> None:
    """Rows of running VMs stay as they are, and what is attached beside them has the same type."""
    runs(software, RELEASED)
    put(software, "local")
    runs(software, MASTER)
    assert told(software) == LOCAL
    put(software, "local", OTHER)
    del software.host.rows[VOL]
    assert told(software) == LOCAL
    del software.host.rows[OTHER]
    assert told(software) == STORPOOL


def test_after_a_downgrade_rows_get_the_type_that_vdsm_takes(
    software: host_software.HostSoftware,
) -> None:
    """Nothing else of them changes, and nothing of other vendors' rows, one with our path too."""
    runs(software, MASTER)
    before = put(software, "storpool")
    theirs = {
        f"id-{number}": {"vol_id": f"id-{number}", "connection_info": info, "path": PATH}
        for number, info in enumerate(
            [
                {"driver_volume_type": "storpool", "data": {}},
                {"driver_volume_type": "local", "adapter": "linstor", "data": {}},
                {"driver_volume_type": "iscsi", "adapter": "storpool", "data": {}},
            ]
        )
    }
    for vol_id, row in theirs.items():
        software.host.rows[vol_id] = row
    assert told(software) == STORPOOL
    assert software.host.rows[VOL] == before
    runs(software, RELEASED)
    assert software.host.rows[VOL] == before, "whoever starts vdsmd leaves a running VM's row alone"
    assert told(software) == LOCAL
    info = {**before["connection_info"], "driver_volume_type": "local"}
    assert dict(software.host.rows) == {**theirs, VOL: {**before, "connection_info": info}}
    assert "row_converted" in logged(software)


def test_a_row_that_nobody_can_read_hides_no_other(software: host_software.HostSoftware) -> None:
    """T95: it stays as it is, the others get the type, and Engine is told."""
    runs(software, MASTER)
    put(software, "storpool")
    odd = b'{"adapter": "storpool", "driver_volume_type": "storpool", "data": "\xff"}'
    file = software.host.local(vdsm_rows.DATABASE)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        with connection:
            connection.execute(
                "INSERT INTO volumes (vol_id, connection_info) VALUES ('0', ?)", (odd,)
            )
        runs(software, RELEASED)
        assert told(software) == LOCAL
        [kept] = connection.execute("SELECT connection_info FROM volumes WHERE vol_id = '0'")
        assert kept == (odd,)
        with connection:
            connection.execute("DELETE FROM volumes WHERE vol_id = '0'")
    assert kind_of(software) == "local"
    lines = logged(software).splitlines()
    assert [line for line in lines if "row_keeps_its_type" in line and "volume=0" in line]
    assert [line for line in lines if "row_converted" in line and f"volume={VOL}" in line]


def test_who_has_both_says_what_is_vdsms_own(software: host_software.HostSoftware) -> None:
    """An attach that was under way while the host was asked: Engine knows the new type already."""
    runs(software, MASTER)
    put(software, "storpool")
    put(software, "local", OTHER)
    assert told(software) == STORPOOL
    assert kind_of(software, OTHER) == "storpool"


@pytest.mark.parametrize(
    ("running", "files"), [(RELEASED, MASTER), (MASTER, RELEASED)], ids=["update", "downgrade"]
)
def test_a_file_that_is_newer_than_vdsm_does_not_speak_for_it(
    software: host_software.HostSoftware, running: releases.Vdsm, files: releases.Vdsm
) -> None:
    """Until it is restarted the rows do, and `local` where there is none: every Vdsm takes that."""
    runs(software, running)
    kind = "storpool" if running.dispatches else "local"
    put(software, kind)
    time.sleep(0.05)  # the kernel tells a start in hundredths of a second
    software.release = files
    software.install()
    assert told(software) == (STORPOOL if running.dispatches else LOCAL)
    assert kind_of(software) == kind
    del software.host.rows[VOL]
    assert told(software) == LOCAL


@pytest.mark.parametrize("content", [None, "def", "x = 1\n", "SUPPORTED_DRIVERS = f()\n", "\0"])
def test_a_vdsm_that_does_not_tell_is_asked_for_what_every_one_takes(
    software: host_software.HostSoftware, content: str | None
) -> None:
    """A later Vdsm may have its list elsewhere; the rows go before a guess."""
    file = software.host.local(host_software.SITE) / "vdsm/storage/managedvolume.py"
    runs(software, MASTER)
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    assert told(software) == LOCAL
    put(software, "storpool")
    assert told(software) == STORPOOL
    assert "vdsms_drivers_unknown" in logged(software)


def test_who_only_looks_changes_no_row(software: host_software.HostSoftware) -> None:
    """An administrator who runs Vdsm's helper by hand; Engine learns nothing of it."""
    runs(software, MASTER)
    put(software, "storpool")
    runs(software, RELEASED)
    site = software.host.local(host_software.SITE)
    done = subprocess.run(
        software.host.helper_argv("connector_info"),
        env={**software.host.environment, "PYTHONPATH": str(site)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)[names.VOLUME_TYPE_KEY] == "local"
    assert kind_of(software) == "storpool"


@pytest.mark.parametrize("release", [RELEASED, MASTER], ids=lambda release: release.name)
@pytest.mark.parametrize("damage", ["folder", "text", "locked"])
def test_rows_that_cannot_be_read_never_fail_a_host(
    software: host_software.HostSoftware, damage: str, release: releases.Vdsm
) -> None:
    """Engine would lose the host for all its storage: it is `local` then, which each Vdsm takes,
    soon, and the log says so."""
    runs(software, release)
    put(software, "storpool")
    file = software.host.local(vdsm_rows.DATABASE)
    with contextlib.ExitStack() as stack:
        if damage == "locked":
            other = stack.enter_context(contextlib.closing(sqlite3.connect(file)))
            other.execute("BEGIN EXCLUSIVE")
        else:
            file.unlink()
            file.mkdir() if damage == "folder" else file.write_text("x" * 5000)
        began = time.monotonic()
        assert told(software) == LOCAL
        assert time.monotonic() - began < 6.0
    assert "volume_type_without_rows" in logged(software)


STRICT = "[devel]\napi_strict_mode = true\n"


@pytest.mark.parametrize(
    ("files", "meant"),
    [
        ({"etc/vdsm/vdsm.conf": STRICT}, STORPOOL),
        ({"etc/vdsm/vdsm.conf": "[devel]\napi_strict_mode = false\n"}, LOCAL),
        ({"etc/vdsm/vdsm.conf.d/50.conf": STRICT}, STORPOOL),
        ({"usr/lib/vdsm/vdsm.conf.d/50.conf": STRICT}, STORPOOL),
        ({"run/vdsm/vdsm.conf.d/50.conf": STRICT}, STORPOOL),
        ({"etc/vdsm/vdsm.conf.d/50.txt": STRICT}, LOCAL),
        (
            {
                "usr/lib/vdsm/vdsm.conf.d/60.conf": STRICT.replace("true", "no"),
                "etc/vdsm/vdsm.conf.d/50.conf": STRICT,
            },
            LOCAL,
        ),
        ({"etc/vdsm/vdsm.conf": "[vars]\nssl = true\nx = 50%\n"}, LOCAL),
        ({"etc/vdsm/vdsm.conf.d/.50.conf": STRICT}, LOCAL),
        ({"etc/vdsm/vdsm.conf": "[devel]\n[DEFAULT]\napi_strict_mode = true\n"}, LOCAL),
        ({"etc/vdsm/vdsm.conf.d": STRICT}, LOCAL),
        ({"etc/vdsm/vdsm.conf.d/50.conf/folder": STRICT}, LOCAL),
        ({"etc/vdsm/vdsm.conf": STRICT.replace("\n", "\r")}, STORPOOL),
        ({"etc/vdsm/vdsm.conf": "no section"}, STORPOOL),
        ({"etc/vdsm/vdsm.conf": "[devel]\napi_strict_mode = perhaps\n"}, STORPOOL),
        ({"etc/vdsm/vdsm.conf": "# " + "x" * (2 << 20)}, STORPOOL),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, dict) else each,
)
def test_a_strict_vdsm_is_told_nothing_that_it_would_refuse(
    software: host_software.HostSoftware, files: dict[str, str], meant: str | None
) -> None:
    """It would refuse its own capabilities, and the host be of no use; the files are read in Vdsm's
    order."""
    for name, content in files.items():
        file = software.host.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    runs(software, RELEASED)
    assert told(software) == meant
    assert ("volume_type_not_told" in logged(software)) == (meant is STORPOOL)


def test_a_strict_vdsm_that_takes_storpool_has_no_row_of_the_other_type(
    software: host_software.HostSoftware,
) -> None:
    """T95: after an update Engine sends it `storpool`, as it cannot be told to wait."""
    runs(software, RELEASED)
    put(software, "local")
    conf = software.host.local("/etc/vdsm/vdsm.conf")
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(STRICT)
    runs(software, MASTER)
    assert told(software) == STORPOOL
    assert kind_of(software) == "storpool"


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("--help", "x")])
def test_a_wrong_use_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Exit code 1, nothing on stdout."""
    done = subprocess.run(
        [children.find("managedvolume-helper-storpool"), "connector_info", *arguments],
        capture_output=True,
        text=True,
        env={"STORPOOL_OVIRT_ROOT": str(tmp_path)},
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "managedvolume.py" in done.stderr
