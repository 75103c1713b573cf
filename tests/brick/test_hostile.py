"""connector.py among other users and odd words: its locks, what it is told, what it reads, and old
answers."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import brick_rig
import pytest
from brick_rig import Host, Info
from os_brick import exception
from oslo_config import cfg

from rigs import transports
from rigs.core_fixtures import GIB, TOKEN
from storpool_ovirt.cluster import volumes

pytestmark = pytest.mark.filterwarnings("ignore:Using fork:DeprecationWarning")

RW = {("os--volume-v1", 1, "rw")}
NOISE = "\x1b[31m\u2028\r\nforged line\x00\u202e"


@pytest.fixture
def stranger(host: Host, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of locks of a service that is not root, as another user may have prepared
    it."""
    folder = host.local("/var/tmp/locks")
    folder.mkdir(parents=True)
    cfg.CONF.set_override("lock_path", "/var/tmp/locks", group="oslo_concurrency")
    monkeypatch.setattr("cinder_driver.connector._is_root", lambda: False)
    return folder / f"storpool-{os.geteuid()}"


@pytest.mark.parametrize("kind", ["link", "open to all", "file", "another user's"])
def test_a_folder_of_locks_that_others_prepared_is_refused(
    host: Host, stranger: Path, tmp_path: Path, kind: str
) -> None:
    """Where all can write, somebody may have been there first: no lock is taken in what is not this
    user's alone."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        stranger.symlink_to(elsewhere)
    elif kind == "file":
        stranger.touch()
    else:
        stranger.mkdir()
        stranger.chmod(0o777 if kind == "open to all" else 0o700)
        if kind == "another user's":
            if os.geteuid() != 0:
                pytest.skip("needs root, to give a folder away")
            os.chown(stranger, 65534, 65534)
    info = host.volume()
    with pytest.raises(exception.BrickException, match=r"the folder of locks .* cannot be used"):
        host.connector.connect_volume(info)
    assert host.attached() == set()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "fifo", "hard link"])
def test_a_lock_that_is_no_plain_file_is_refused(
    host: Host, stranger: Path, tmp_path: Path, kind: str
) -> None:
    """A link, a FIFO, a file with another name: none is opened for a lock, none is waited for, none
    changes."""
    info = host.volume()
    stranger.mkdir(mode=0o700)
    victim, lock = tmp_path / "victim", stranger / f"{info['global_id']}.lock"
    victim.write_text("not ours\n")
    if kind == "link":
        lock.symlink_to(tmp_path / "made-by-us")
    elif kind == "fifo":
        os.mkfifo(lock)
    else:
        os.link(victim, lock)
    with pytest.raises(exception.BrickException, match="cannot be used"):
        host.connector.connect_volume(info)
    assert (victim.read_text(), (tmp_path / "made-by-us").exists(), host.attached()) == (
        "not ours\n",
        False,
        set(),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": 10**5000},
        {"client_id": "1" * 5000},
        {"client_id": "\u0661"},
        {"client_id": [1]},
        {"client_id": NOISE},
        {"access_mode": ["rw"]},
        {"access_mode": 10**5000},
        {"access_mode": NOISE * 1000},
        {"global_id": ["sim.a.1"]},
        {"global_id": 10**5000},
        {"global_id": NOISE},
        {"global_id": "sim.a.1\n"},
        {"global_id": None, "volume": 7},
        {"global_id": None, "volume": ["v1"]},
        {"global_id": None, "volume": NOISE},
        {"global_id": None, "volume": "x" * 5000},
        {"global_id": None, "volume": "d\u00edsk"},
        {"global_id": None, "volume": "~sim.a.1"},
    ],
    ids=range(18),
)
def test_odd_words_are_one_sentence(host: Host, change: Info) -> None:
    """Whatever stands in connection_properties: InvalidParameterValue, one line, and nothing is
    attached."""
    info = {**host.volume(), **change}
    calls = [lambda: host.connector.connect_volume(info)]
    if "global_id" in change:
        calls += [
            lambda: host.connector.disconnect_volume(info, None),
            lambda: host.connector.extend_volume(info),
            lambda: host.connector.get_volume_paths(info),
        ]
    for call in calls:
        with pytest.raises(exception.InvalidParameterValue) as caught:
            call()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1200
    assert host.attached() == set()


@pytest.mark.parametrize("path", [7, ["/dev"], b"\xff/dev", {"path": 1}])
def test_a_path_that_is_no_text_is_one_sentence(host: Host, path: Any) -> None:
    """device_info of a caller that kept it badly."""
    info = host.volume()
    host.connector.connect_volume(info)
    with pytest.raises(exception.InvalidParameterValue, match="the device path"):
        host.connector.disconnect_volume(info, {"type": "block", "path": path})
    assert host.attached() == RW


@pytest.mark.parametrize(
    "path", ["/dev/storpool-byid/../sda", "/dev/storpool-byid/a.b.c/../x", "/dev/sda", "x", NOISE]
)
def test_another_path_names_no_volume(host: Host, path: str) -> None:
    """Only the path that connect_volume gave is one; else the connection info says which volume is
    meant."""
    info = host.volume()
    host.connector.connect_volume(info)
    with pytest.raises(exception.InvalidParameterValue, match="names no volume"):
        host.connector.disconnect_volume({"client_id": 1}, {"path": path})
    assert host.attached() == RW


def test_a_device_that_cannot_be_looked_at_is_not_absent(host: Host) -> None:
    """A link in a circle, a folder that is not one for this user: the error says so, it is no empty
    list."""
    info = host.volume()
    host.connector.connect_volume(info)
    device = host.device(info)
    device.unlink()
    device.symlink_to(device)
    with pytest.raises(exception.BrickException, match="Too many levels of symbolic links"):
        host.connector.get_volume_paths(info)
    device.unlink()
    assert host.connector.get_volume_paths(info) == []


FOLDER_LOCKED = """
import json, os, sys
from cinder_driver.connector import StorPoolConnector
from oslo_concurrency import lockutils

lockutils.set_defaults("/var/lib/nova/tmp")
made, info = StorPoolConnector(None), json.loads(sys.argv[1])
made.extend_volume(info)  # as root, so that everything is loaded: its libraries may be root's alone
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    print(made.get_volume_paths(info))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_folder_that_may_not_be_searched_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """EACCES on /dev/storpool-byid is no "there is no such device"."""
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), Path(name) / "host1"
        monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(root))
        with brick_rig.cluster(folder, root) as core:
            host = Host(core, root, None)
            folder.chmod(0o755)
            host.local("/etc/storpool.conf").chmod(0o644)
            info = host.volume()
            core.client().reassign([{"volume": f"~{info['global_id']}", "rw": [1]}], 5, "v1")
            host.local("/dev/storpool-byid").chmod(0o700)
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", FOLDER_LOCKED, json.dumps(info)],
                capture_output=True,
                text=True,
                check=False,
            )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith("BrickException ")
    assert "Permission denied" in done.stdout


def test_what_was_just_made_or_grown_is_found(host: Host) -> None:
    """T16: "there is none", and a size, of a moment ago: neither ends a detach, nor is it a
    result."""
    info = host.volume()
    by_name = {key: value for key, value in info.items() if key != "global_id"}
    connected = host.connector.connect_volume(by_name)
    faults = host.core.simulator.faults
    faults.add("old", query="Volume", changes=2, times=1)
    assert host.connector.get_volume_paths(by_name) == [connected["path"]]
    faults.clear()
    volumes.grow(host.core.client(), info["global_id"], 2 * GIB)
    faults.add("old", query="Volume", changes=1, times=1)
    assert host.connector.extend_volume(info) == 2 * GIB
    faults.clear()
    faults.add("old", query="Volume", changes=3, times=1)
    host.connector.disconnect_volume(by_name, None)
    assert host.attached() == set()


@pytest.mark.parametrize("detach_absent", ["ok", "error"])
def test_a_refused_detach_is_none(host: Host, detach_absent: str) -> None:
    """T31: StorPool says no, and the list that is looked at then is one from before the attach: it
    is no detach."""
    host.core.simulator.switches.set({"detach_absent": detach_absent})
    info = host.volume()
    host.connector.connect_volume(info)
    host.core.simulator.faults.add(
        "error_200", query="VolumesReassignWait", name="invalidParam", descr="no"
    )
    host.core.simulator.faults.add("old", query="AttachmentsList", changes=1, times=1)
    with pytest.raises(exception.BrickException, match="refused"):
        host.connector.disconnect_volume(info, None)
    assert host.attached() == RW
    host.core.simulator.faults.clear()
    host.connector.disconnect_volume(info, None)
    host.connector.disconnect_volume(info, None)
    assert host.attached() == set()


@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_what_others_have_stays_theirs(host: Host, mode: str) -> None:
    """A volume that another client has: this host attaches and detaches itself alone, and pulls it
    from nobody."""
    info = {**host.volume(), "access_mode": mode}
    host.core.client().reassign([{"volume": f"~{info['global_id']}", "rw": [2]}], 5, "v1")
    host.core.set_client(2, open=[info["global_id"]])
    other = ("os--volume-v1", 2, "rw")
    connected = host.connector.connect_volume(info)
    assert host.attached() == {("os--volume-v1", 1, mode), other}
    host.connector.disconnect_volume(info, connected, force=True, ignore_errors=True)
    assert host.attached() == {other}


def test_a_token_that_comes_back_is_not_told(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the sentence, nor in the chain that a service logs; control characters forge no
    line."""
    caplog.set_level(logging.DEBUG)
    info = host.volume()
    descr = f"Authorization: Storpool v1:{TOKEN} {NOISE}"
    for query in ("AttachmentsList", "VolumesReassignWait"):
        host.core.simulator.faults.add("error_200", query=query, name="invalidParam", descr=descr)
        with pytest.raises(exception.BrickException, match=r"\*\*\*") as caught:
            host.connector.connect_volume(info)
        chain = "".join(
            traceback.format_exception(type(caught.value), caught.value, caught.value.__traceback__)
        )
        assert TOKEN not in chain
        assert str(caught.value).isprintable()
        host.core.simulator.faults.clear()
    host.connector.connect_volume(info)
    host.core.simulator.faults.add(
        "error_200", query="VolumesReassignWait", name="invalidParam", descr=descr
    )
    host.connector.disconnect_volume(info, None, force=True, ignore_errors=True)
    assert "***" in caplog.text
    assert TOKEN not in caplog.text
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("cinder_driver")]
    assert all(each.isprintable() for each in ours)


def test_a_silent_peer_ends_in_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then: the connector's own limit ends it, in a thread too, where no signal
    would."""
    import threading
    import time

    from rigs import canned_api

    said: list[str] = []

    def attach(info: Info) -> None:
        try:
            host.connector.connect_volume(info)
        except exception.BrickException as error:
            said.append(str(error))

    info = host.volume()
    conf = host.local("/etc/storpool.conf")
    with canned_api.answering([canned_api.DRIP]) as api, brick_rig.hasty(deadline_seconds=2.0):
        conf.write_text(
            conf.read_text().replace(f"PORT={host.core.simulator.port}", f"PORT={api.port}")
        )
        assert str(api.port) in conf.read_text()
        thread = threading.Thread(target=attach, args=(info,), daemon=True)
        begun = time.monotonic()
        thread.start()
        thread.join(30)
        seconds = time.monotonic() - begun
    assert len(said) == 1
    assert seconds < 10


@pytest.mark.parametrize("way", transports.WAYS)
def test_the_fuzz_program_finds_nothing(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some cases with fixed seeds; `python tests/brick/fuzz_connector.py 10000` runs more."""
    monkeypatch.setenv(transports.VARIABLE, way)
    import fuzz_connector

    assert fuzz_connector.run(60, 7) == []
