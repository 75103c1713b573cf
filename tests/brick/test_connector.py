"""connector.py: os-brick's interface, through HTTP against the simulator, on a host that is a
folder."""

from __future__ import annotations

from pathlib import Path

import brick_rig
import pytest
from brick_rig import BOTH_DEVICES, RW, Host, Info
from os_brick import exception

from cinder_driver.connector import StorPoolConnector
from rigs.core_fixtures import GIB
from storpool_ovirt import errors
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

# eventlet, where it is installed, warns whenever os-brick starts a program.
pytestmark = pytest.mark.filterwarnings("ignore:Using fork:DeprecationWarning")


@BOTH_DEVICES
def test_a_volume_is_attached_grown_and_detached(host: Host) -> None:
    """os-brick's InitiatorConnector: the path works from connect_volume until disconnect_volume,
    and data stays."""
    info = host.volume()
    connected = host.connector.connect_volume(info)
    path = connected["path"]
    assert connected == {"type": "block", "path": str(host.device(info))}
    assert host.attached() == RW
    with Path(path).open("r+b", buffering=0) as device:
        device.write(b"guest data" + bytes(502))
    assert host.connector.check_valid_device(path)
    assert host.connector.get_volume_paths({**info, "device_path": path}) == [path]
    assert host.connector.get_all_available_volumes(info) == [path]
    assert host.connector.get_search_path() == str(Path(path).parent)

    volumes.grow(host.core.client(), info["global_id"], 2 * GIB)
    assert host.connector.extend_volume({**info, "device_path": path}) == 2 * GIB

    host.connector.disconnect_volume(info, connected)
    assert host.attached() == set()
    assert not host.connector.check_valid_device(path)
    assert host.connector.get_volume_paths(info) == []
    assert host.connector.get_all_available_volumes() == []

    host.connector.connect_volume({**info, "access_mode": "ro"})
    assert host.attached() == {("os--volume-v1", 1, "ro")}
    with Path(path).open("rb") as device:
        assert device.read(10) == b"guest data"


def test_each_verb_costs_few_calls(host: Host) -> None:
    """An attach looks at what is attached and attaches; with the global id nothing has to be looked
    up by name."""
    info = host.volume()
    connected = host.connector.connect_volume(info)
    assert host.core.queries() == ("AttachmentsList", "VolumesReassignWait")
    host.connector.get_volume_paths(info)
    assert host.core.queries() == ()
    host.connector.disconnect_volume(info, connected)
    assert host.core.queries() == ("VolumesReassignWait",)


def test_the_constructor_asks_nothing(host: Host) -> None:
    """Nova makes connectors where no volume is attached: without StorPool's files one can still be
    made."""
    host.local("/etc/storpool.conf").unlink()
    made = brick_rig.connector()
    assert made.get_all_available_volumes() == []
    with pytest.raises(exception.BrickException, match=r"/etc/storpool\.conf is missing: install"):
        made.connect_volume({"volume": "v1", "access_mode": "rw"})


def test_the_host_tells_its_client_id_to_the_driver(host: Host) -> None:
    """get_connector_properties is asked on every host: SP_OURID where there is one, else nothing
    and no error."""
    ask = StorPoolConnector.get_connector_properties
    assert ask(None, host="h", multipath=True, enforce_multipath=True, execute=None) == {
        "storpool_client_id": 1
    }
    conf = host.local("/etc/storpool.conf")
    conf.write_text(conf.read_text().replace("SP_OURID", "SP_OTHER"))
    assert ask(None) == {}
    conf.write_text("neither this\n")
    assert ask("sudo") == {}
    conf.unlink()
    assert ask(None) == {}


@pytest.mark.parametrize("prefix", ["os", "stage-7"])
def test_connection_info_of_the_upstream_driver_works(host: Host, prefix: str) -> None:
    """[cinder] It has no global id: the volume is found by its name, with the prefix of the host's
    storpool.conf."""
    if prefix != "os":
        host.configure(f"SP_OPENSTACK_VOLUME_PREFIX={prefix}\n")
    made = volumes.create(host.core.client(), Plan(Owner(f"{prefix}--volume-v1"), GIB))
    info = {"client_id": 1, "volume": "v1", "access_mode": "rw"}
    connected = host.connector.connect_volume(info)
    assert connected["path"].endswith(f"/{made}")
    assert host.connector.get_volume_paths(info) == [connected["path"]]
    assert host.connector.extend_volume(info) == GIB
    host.connector.disconnect_volume(info, None)
    assert host.attached() == set()


def test_a_volume_is_known_by_its_global_id(host: Host) -> None:
    """A volume that was renamed since, or that Cinder took over under another name, is the same
    volume."""
    info = host.volume()
    host.core.client().volume_update(f"~{info['global_id']}", {"rename": "elsewhere"})
    connected = host.connector.connect_volume(info)
    assert host.attached() == {("elsewhere", 1, "rw")}
    host.connector.disconnect_volume(info, connected)
    assert host.attached() == set()


@pytest.mark.parametrize("client_id", [1, "1", None])
def test_the_client_id_is_only_compared(host: Host, client_id: object) -> None:
    """The host knows itself; a driver that does not tell a client id is fine."""
    info = {**host.volume(), "client_id": client_id}
    host.connector.connect_volume(info)
    assert host.attached() == RW


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"access_mode": "rx"}, "access_mode is neither rw nor ro"),
        ({"access_mode": None}, "access_mode is neither rw nor ro"),
        ({"client_id": 65}, 'client_id "65" is not this host, which is client 1'),
        ({"global_id": "../x"}, "global_id is not one of StorPool's"),
        ({"global_id": 7}, "global_id is not one of StorPool's"),
        ({"global_id": None, "volume": None}, "names no volume"),
        ({"global_id": None, "volume": "../../x"}, "is not valid"),
    ],
)
def test_wrong_words_are_refused(host: Host, change: Info, words: str) -> None:
    """What a caller says wrongly is InvalidParameterValue, in one sentence, and nothing is
    attached."""
    info = {**host.volume(), **change}
    with pytest.raises(exception.InvalidParameterValue, match=words) as caught:
        host.connector.connect_volume(info)
    assert str(caught.value).isprintable()
    assert isinstance(caught.value.__cause__, errors.InputError)
    assert host.attached() == set()


def test_what_does_not_exist_is_not_found(host: Host) -> None:
    """An unknown volume is NotFound for every method but the detach, for which it is gone
    already."""
    by_name = {"client_id": 1, "volume": "gone", "access_mode": "rw"}
    for info in (by_name, {**by_name, "global_id": "sim.a.zzz"}):
        with pytest.raises(exception.NotFound, match="there is no volume"):
            host.connector.connect_volume(info)
        with pytest.raises(exception.NotFound):
            host.connector.extend_volume(info)
        assert host.connector.get_volume_paths(info) == []
        host.connector.disconnect_volume(info, None)


def test_a_client_that_storpool_does_not_know_is_told(host: Host) -> None:
    """[csi] "No such client registered": SP_OURID is what the administrator has to look at."""
    conf = host.local("/etc/storpool.conf")
    conf.write_text(conf.read_text().replace("SP_OURID=1", "SP_OURID=99"))
    with pytest.raises(exception.NotFound, match=r"no client .*check SP_OURID"):
        host.connector.connect_volume({**host.volume(), "client_id": 99})
    assert host.attached() == set()


def test_a_client_that_is_down_leaves_nothing(host: Host) -> None:
    """[sptypes] attachTimeout: the attach ends with an error in time, and is taken back."""
    info = host.volume()
    host.core.set_client(1, status="down")
    with brick_rig.hasty(), pytest.raises(exception.BrickException):
        host.connector.connect_volume(info)
    assert host.attached() == set()


def test_a_device_that_does_not_appear_is_told(host: Host) -> None:
    """Attached, but no device node: the error says where it was expected and what to check, and
    nothing is left."""
    conf = host.local("/etc/storpool.conf")
    conf.write_text(conf.read_text().replace("SP_OURID=1", "SP_OURID=2"))
    info = {**host.volume(), "client_id": 2}
    expected = (
        rf"/host1/dev/storpool-byid/{info['global_id']} did not appear within 0\.5 s .*check the"
        r" storpool_block"
    )
    with brick_rig.hasty(), pytest.raises(exception.VolumeDeviceNotFound, match=expected):
        host.connector.connect_volume(info)
    assert host.attached() == set()


def test_an_attach_is_repeatable_and_keeps_its_mode(host: Host) -> None:
    """The same again is a success; another mode is refused, as the first user counts on his."""
    info = host.volume()
    assert host.connector.connect_volume(info) == host.connector.connect_volume(info)
    with pytest.raises(exception.BrickException, match="with mode rw, not ro: detach it first"):
        host.connector.connect_volume({**info, "access_mode": "ro"})
    assert host.attached() == RW


@pytest.mark.parametrize("query", ["Volume", "AttachmentsList", "VolumesReassignWait"])
@pytest.mark.parametrize("kind", ["transient", "bad_gateway", "reset_before", "reset_after"])
def test_one_failure_of_the_api_is_survived(host: Host, query: str, kind: str) -> None:
    """All that the connector asks is safe to repeat: attach and detach work over one failure of
    each call."""
    info = host.volume()
    by_name = {key: value for key, value in info.items() if key != "global_id"}
    host.fault(kind, query)
    connected = host.connector.connect_volume(by_name)
    assert host.attached() == RW
    host.fault(kind, query)
    host.connector.disconnect_volume(by_name, connected)
    assert host.attached() == set()


@pytest.mark.parametrize("query", ["Volume", "AttachmentsList", "VolumesReassignWait"])
@pytest.mark.parametrize("kind", ["transient", "bad_gateway", "reset_after"])
def test_an_api_that_fails_for_good_leaves_nothing(host: Host, query: str, kind: str) -> None:
    """The error is os-brick's and names what to check; what the failing call may have attached is
    taken back."""
    info = host.volume()
    by_name = {key: value for key, value in info.items() if key != "global_id"}
    host.fault(kind, query, times=1000)
    with (
        brick_rig.hasty(),
        pytest.raises(exception.BrickException, match="gave no usable answer to") as caught,
    ):
        host.connector.connect_volume(by_name)
    assert isinstance(caught.value.__cause__, errors.ApiUnavailable)
    host.core.simulator.faults.clear()
    assert host.attached() == set()
