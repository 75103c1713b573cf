"""releases.py of the demo, and how Engine and Vdsm of each release call: order, folder, shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from demo_callers import SD, VOL, MakeEngine, write_program

from ovirt_demo import children, engine_software, host_software, releases, vdsm, vdsm_rows

TOLD = """
import json, os, sys
print(sys.argv[4] + ":" + json.dumps({"argv": sys.argv, "cwd": os.getcwd()}))
"""


def connection(kind: str) -> dict[str, Any]:
    """Return connection information of ours, as a volume of this kind."""
    data = {"volume": VOL, "global_id": "a.b.c", "access_mode": "rw"}
    return {"adapter": "storpool", "driver_volume_type": kind, "data": data}


@pytest.fixture
def host(tmp_path: Path) -> vdsm.Host:
    """Give a host whose helpers are one toy, in both places, that notes how it was started."""
    root = tmp_path / "host"
    stock = root / vdsm.STOCK_HELPER.lstrip("/")
    for folder in (root / "dev", stock.parent):
        folder.mkdir(parents=True)
    (root / "dev/x").touch()
    body = f"""
import os, sys
with open({str(root / "asked")!r}, "a") as file:
    file.write(f"{{sys.argv[0]}} {{sys.argv[1]}} {{sys.stdin.read()}}\\n")
path = {{"type": "block", "path": "/dev/x"}}
print('{{"type": "block", "path": "/dev/x"}}' if sys.argv[1] == "attach" else "{{}}")
"""
    write_program(stock, body, str(children.find("python3"))).chmod(0o644)
    ours = write_program(Path(f"{stock}-storpool"), body, str(children.find("python3")))
    return vdsm.Host(root, ours)


def asked(host: vdsm.Host) -> list[tuple[str, str, Any]]:
    """List what the toys were asked: which one, verb, stdin."""
    lines = (line.split(" ", 2) for line in (host.root / "asked").read_text().splitlines())
    return [
        (Path(program).name, verb, json.loads(sent) if sent else None)
        for program, verb, sent in lines
    ]


@pytest.mark.parametrize("release", releases.VDSMS, ids=lambda each: each.name)
def test_a_vdsm_starts_the_helper_of_its_release(host: vdsm.Host, release: releases.Vdsm) -> None:
    """A release starts its own helper by Python, whatever its mode is, with the bare connection
    information; master starts the adapter's, with a document; a detach sends both the row."""
    host.release = release
    info = connection("local")
    host.attach_volume(SD, VOL, info)
    host.detach_volume(SD, VOL)
    name = f"managedvolume-helper{'-storpool' if release.dispatches else ''}"
    row = {
        "vol_id": VOL,
        "connection_info": info,
        "path": "/dev/x",
        "attachment": {"type": "block", "path": "/dev/x"},
    }
    sent = {"connection_info": info} if release.dispatches else info
    assert asked(host) == [(name, "attach", sent), (name, "detach", row)]


@pytest.mark.parametrize("release", [releases.VDSM_4_50_5, *releases.VDSMS], ids=lambda v: v.name)
@pytest.mark.parametrize("kind", ["local", "storpool"])
def test_a_vdsm_looks_at_the_type_after_the_helper_attached(
    host: vdsm.Host, release: releases.Vdsm, kind: str
) -> None:
    """What it does not take it detaches again, and forgets: 2009."""
    host.release = release
    if kind in release.driver_types:
        host.attach_volume(SD, VOL, connection(kind))
        return
    with pytest.raises(vdsm.VdsmError) as caught:
        host.attach_volume(SD, VOL, connection(kind))
    assert caught.value.code == vdsm.UNSUPPORTED_DRIVER
    assert [verb for _, verb, _ in asked(host)] == ["attach", "detach"]
    assert set(asked(host)[1][2]) == {"connection_info", "attachment"}
    assert host.rows == {}


@pytest.mark.parametrize("release", [releases.VDSM_MASTER, releases.VDSM_MASTER_483])
def test_attached_is_what_has_a_path_or_what_has_a_link(
    host: vdsm.Host, release: releases.Vdsm
) -> None:
    """PR 483: a row without a run link is an old one, whether its path is there or not."""
    host.release = release
    host.attach_volume(SD, VOL, connection("storpool"))
    host.local(vdsm_rows.link(SD, VOL)).unlink()
    if release.by_link:
        host.attach_volume(SD, VOL, connection("storpool"))
        return
    with pytest.raises(vdsm.VdsmError) as caught:
        host.attach_volume(SD, VOL, connection("storpool"))
    assert caught.value.code == vdsm.ALREADY_ATTACHED


def test_engine_keeps_what_a_host_said_until_it_is_told(host: vdsm.Host) -> None:
    """Capabilities are asked when the host is connected, or by an administrator."""
    host.release, host.connector_info = releases.VDSM_4_50_7, {"old": True}
    host.attach_volume(SD, VOL, connection("local"))
    assert host.connector_info == {"old": True}
    host.refresh_capabilities()
    assert host.connector_info == {}
    assert asked(host)[-1][:2] == ("managedvolume-helper", "connector_info")


def test_helpers_have_a_parent_as_old_as_the_last_start(tmp_path: Path) -> None:
    """The daemons are a real process with Vdsm's folder first in PYTHONPATH; it ends with us."""
    root = tmp_path / "host"
    (root / "etc").mkdir(parents=True)
    (root / "etc/storpool.conf").write_text("SP_OURID=1\n")
    software = host_software.HostSoftware(vdsm.Host(root, tmp_path), releases.VDSM_4_50_7)
    software.install()
    software.restart()
    daemon = software.host.daemon
    try:
        assert daemon is not None
        say = "import os,sys; print(os.getppid(), os.environ['PYTHONPATH'].split(':')[0])"
        argv = [str(children.find("python3")), "-c", say]
        first, again = (daemon.run(argv, None, 10)[1].split() for _ in range(2))
        assert first == again
        assert first[1].decode() == str(root / "usr/libexec/vdsm")
        assert daemon.run(["/no/such/program"], None, 10)[0] == 127
        assert daemon.run(["/bin/cat"], b"\xff\n", 10) == (0, b"\xff\n", b"")
        assert daemon.run(["/bin/sleep", "60"], b"", 0.2)[0] is None
        software.restart()
        assert software.host.daemon is not None
        assert software.host.daemon.run(argv, None, 10)[1].split()[0] != first[0]
    finally:
        software.stop()


@pytest.mark.parametrize("release", releases.ENGINES, ids=lambda each: each.name)
def test_an_engine_starts_the_program_of_its_release(
    make_engine: MakeEngine, release: releases.Engine
) -> None:
    """Up to 4.5.7 always `./cinderlib-client.py`, whatever the options say, in the folder
    cinderlib; later what `adapter` names, by its absolute path, in managedblock."""
    caller = make_engine(TOLD, str(children.find("python3")), release=release)
    if not release.dispatches:
        (caller.programs / "cinderlib-client.py").symlink_to(caller.folder.parent / "toy")
    seen = caller.run("create_volume", "d", "1").map()
    started = caller.program if release.dispatches else "./cinderlib-client.py"
    assert seen["argv"][:2] == [str(started), "create_volume"]
    assert seen["cwd"] == str(caller.folder / "usr/share/ovirt-engine" / release.folder)
    if not release.dispatches:
        del caller.options["adapter"]
        assert caller.program.name == "cinderlib-client.py"
        caller.program.unlink()
        with pytest.raises(FileNotFoundError):
            caller.run("storage_stats", "true")


def test_an_upgrade_of_engine_renames_the_keys(make_engine: MakeEngine) -> None:
    """The same database and user under another name; the file of before stays, under a name that
    nobody reads."""
    caller = make_engine("true", release=releases.ENGINE_4_5_7)
    software = engine_software.EngineSoftware(caller)
    software.install()
    folder = caller.folder / "etc/ovirt-engine/engine.conf.d"
    [before] = folder.iterdir()
    assert before.name == "10-setup-cinderlib-database.conf"
    written = before.read_text()
    assert 'CINDERLIB_DB_PASSWORD="p@ss:w/rd"' in written
    software.upgrade(releases.ENGINE_MASTER)
    [after] = folder.glob("*.conf")
    assert after.name == "10-setup-managedblock-database.conf"
    assert after.read_text() == written.replace("CINDERLIB_DB_", "MANAGEDBLOCK_DB_")
    assert len([*folder.iterdir()]) == 2


def test_an_unknown_release_is_one_sentence_with_those_that_there_are() -> None:
    """So that nobody has to look for them."""
    with pytest.raises(
        releases.Unknown, match=r"'4\.5\.9' is no release .*4\.5\.4, 4\.5\.7, master"
    ):
        releases.pair("4.5.9")
