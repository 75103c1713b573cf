"""connector.py: detaching, growing, and what an open device means."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import brick_rig
import pytest
from brick_rig import BOTH_DEVICES, RW, Host, Info
from os_brick import exception

from rigs.core_fixtures import GIB

# eventlet, where it is installed, warns whenever os-brick starts a program.
pytestmark = pytest.mark.filterwarnings("ignore:Using fork:DeprecationWarning")


@pytest.mark.parametrize(
    "said",
    [
        {"device_info": "result"},
        {"device_info": None},
        {"device_info": None, "without": ("global_id",)},
        {"device_info": None, "without": ("global_id", "volume"), "device_path": True},
        {"device_info": {"type": "block"}},
        {"device_info": {"path": "/dev/sp-7"}},
        {"device_info": "result", "without": ("global_id", "volume", "client_id", "access_mode")},
        {"device_info": "seen from the host"},
    ],
    ids=str,
)
def test_a_detach_knows_the_volume_by_whatever_it_is_told(host: Host, said: Info) -> None:
    """device_info as returned, or none; the path in the connection info (Nova); the global id; the
    name."""
    info = host.volume()
    connected = host.connector.connect_volume(info)
    device_info = {
        "result": connected,
        "seen from the host": {"type": "block", "path": f"/dev/storpool-byid/{info['global_id']}"},
    }.get(str(said["device_info"]), said["device_info"])
    told = {key: value for key, value in info.items() if key not in said.get("without", ())}
    if said.get("device_path"):
        told["device_path"] = connected["path"]
    host.connector.disconnect_volume(told, device_info)
    assert host.attached() == set()
    host.connector.disconnect_volume(told, device_info)


def test_a_detach_that_contradicts_itself_detaches_nothing(host: Host) -> None:
    """The path of one volume with the global id of another is nobody's wish."""
    one, other = host.volume(), host.volume("v2")
    for each in (one, other):
        host.connector.connect_volume(each)
    with pytest.raises(exception.InvalidParameterValue, match="is not that of volume"):
        host.connector.disconnect_volume(one, {"path": str(host.device(other))})
    with pytest.raises(exception.InvalidParameterValue, match="names no volume"):
        host.connector.disconnect_volume({"client_id": 1}, None)
    assert len(host.attached()) == 2


@BOTH_DEVICES
@pytest.mark.parametrize(
    ("force", "ignore_errors"), [(False, False), (False, True), (True, False), (True, True)]
)
def test_an_open_device_is_never_pulled(
    host: Host, force: bool, ignore_errors: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a caller asks for, who has the device open keeps it; force with ignore_errors only
    hides the error."""
    info = host.volume()
    connected = host.connector.connect_volume(info)
    with Path(connected["path"]).open("r+b", buffering=0) as device, brick_rig.hasty():
        if force and ignore_errors:
            host.connector.disconnect_volume(
                info, connected, force=force, ignore_errors=ignore_errors
            )
            assert "ignored, as asked: volume os--volume-v1 is open at client 1" in caplog.text
        else:
            with pytest.raises(
                exception.VolumePathNotRemoved,
                match="is open at client 1: stop what uses the device",
            ):
                host.connector.disconnect_volume(
                    info, connected, force=force, ignore_errors=ignore_errors
                )
        device.write(bytes(512))
        assert host.attached() == RW
    assert not any("'force': True" in str(each.body) for each in host.core.simulator.calls.list())
    host.connector.disconnect_volume(info, connected, force=force, ignore_errors=ignore_errors)
    assert host.attached() == set()


@pytest.mark.parametrize("host", ["loop"], indirect=True)
def test_force_has_nothing_to_skip(host: Host) -> None:
    """What was written without fsync is there after the device was closed and detached at once: no
    flush is missing."""
    info = host.volume(size=64 << 20)
    data = os.urandom(1 << 20) * 8
    path = Path(host.connector.connect_volume(info)["path"])
    with path.open("r+b", buffering=0) as device:
        device.write(data)
    host.connector.disconnect_volume(info, None, force=True)
    path = Path(host.connector.connect_volume(info)["path"])
    with path.open("rb") as device:
        assert device.read(len(data)) == data


def test_growth_that_the_host_does_not_see_is_an_error(host: Host) -> None:
    """The old size is not returned as if it were a result, and the wait has a limit."""
    info = host.volume()
    host.connector.connect_volume(info)
    device = host.device(info)
    device.unlink()
    device.write_bytes(b"stale")
    with (
        brick_rig.hasty(),
        pytest.raises(exception.BrickException, match=f"grow from 5 to {GIB} bytes"),
    ):
        host.connector.extend_volume(info)


def test_a_volume_that_is_not_attached_has_no_size_here(host: Host) -> None:
    """extend_volume is for attached volumes: the error says what is missing."""
    with pytest.raises(exception.NotFound, match=r"no device .* attach the volume first"):
        host.connector.extend_volume(host.volume())


def test_attaches_at_once_are_one(host: Host) -> None:
    """Threads that attach and detach the same volumes at once all succeed, and end as one would
    have."""
    infos = [host.volume(f"v{number}") for number in range(3)]
    failures: list[Exception] = []

    def work(info: Info, *, detach: bool) -> None:
        try:
            connected = host.connector.connect_volume(info)
            if detach:
                host.connector.disconnect_volume(info, connected)
        except Exception as error:
            failures.append(error)

    for detach in (False, True):
        threads = [
            threading.Thread(target=work, args=(info,), kwargs={"detach": detach})
            for info in infos * 3
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        expected = set() if detach else {(f"os--volume-v{number}", 1, "rw") for number in range(3)}
        assert (failures, host.attached()) == ([], expected)
