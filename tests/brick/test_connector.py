"""connector.py: os-brick's interface, through HTTP against the simulator, on a host that is a
folder."""

from __future__ import annotations

import inspect
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import brick_rig
import pytest
from brick_rig import Host, Info
from os_brick import exception, utils
from os_brick.initiator import initiator_connector
from oslo_config import cfg

from cinder_driver import connector as connector_module
from cinder_driver.connector import StorPoolConnector
from rigs.core_fixtures import GIB, TOKEN
from storpool_ovirt import errors
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

# eventlet, where it is installed, warns whenever os-brick starts a program.
pytestmark = pytest.mark.filterwarnings("ignore:Using fork:DeprecationWarning")

BOTH_DEVICES = pytest.mark.parametrize("host", ["file", "loop"], indirect=True)
RW = {("os--volume-v1", 1, "rw")}


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


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let os-brick make its links for encrypted volumes in a folder of this test."""
    folder = tmp_path / "by-id"
    folder.mkdir()
    monkeypatch.setattr(utils, "CUSTOM_LINK_PREFIX", f"{folder}/os-brick")
    return folder


def test_an_encrypted_volume_has_a_link_of_its_own(host: Host, links: Path) -> None:
    """connect_volume_prepare_result: encryptors want a link that they may replace; the detach
    removes it again."""
    info = {**host.volume(), "encrypted": True}
    for device_info_is_given in (True, False):
        connected = host.connector.connect_volume(info)
        link = Path(connected["path"])
        assert link.parent == links
        assert link.resolve() == host.device(info).resolve()
        with_path = {**info, "device_path": str(link)}
        volumes.grow(host.core.client(), info["global_id"], 2 * GIB)
        for told in (with_path, {"encrypted": True, "device_path": str(link)}):
            assert host.connector.extend_volume(told) == 2 * GIB
        if device_info_is_given:
            host.connector.disconnect_volume(info, connected)
        else:
            host.connector.disconnect_volume(with_path, None)
        assert (list(links.iterdir()), host.attached()) == ([], set())


def test_os_bricks_own_clean_up_detaches(host: Host, links: Path) -> None:
    """connect_volume_prepare_result: when the link cannot be made it detaches, with the result and
    no device_info."""
    info = {**host.volume(), "encrypted": True}
    links.rmdir()
    with pytest.raises(FileNotFoundError):
        host.connector.connect_volume(info)
    assert host.attached() == set()


def test_other_users_lock_in_os_bricks_folder(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nova and Cinder are not root: their locks are where os-brick's are, and without such a folder
    they are told."""
    info = host.volume()
    monkeypatch.setattr(connector_module, "_is_root", lambda: False)
    cfg.CONF.set_override("lock_path", None, group="oslo_concurrency")
    with pytest.raises(
        exception.BrickException, match=r"lock_path is not set: .*\[oslo_concurrency\]"
    ):
        host.connector.connect_volume(info)
    cfg.CONF.set_override("lock_path", "/var/lib/nova/tmp", group="oslo_concurrency")
    with caplog.at_level(logging.INFO):
        host.connector.connect_volume(info)
    assert host.local(
        f"/var/lib/nova/tmp/storpool-{os.geteuid()}/{info['global_id']}.lock"
    ).exists()
    assert (
        f"attached target=volume os--volume-v1 global_id={info['global_id']} client=1 mode=rw"
        in caplog.text
    )
    assert TOKEN not in caplog.text


SERVICE = """
import json, os, sys
from oslo_config import cfg
from cinder_driver.connector import StorPoolConnector
from oslo_concurrency import lockutils

lockutils.set_defaults("/var/lib/nova/tmp")
made = StorPoolConnector(None)
info = json.loads(sys.argv[1])
# As root, so that everything is loaded: its libraries may be root's alone.
made.disconnect_volume(info, None)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
path = made.connect_volume(info)["path"]
print(path, made.extend_volume(info), os.access(path, os.R_OK))
made.disconnect_volume(info, None)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_service_that_is_not_root_attaches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova's and Cinder's user: storpool.conf and a folder of locks are all it needs, not even the
    device itself."""
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), Path(name) / "host1"
        brick_rig.need_devices("loop", folder)
        monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(root))
        with brick_rig.cluster(folder, root, "loop") as core:
            host = Host(core, root, None)
            folder.chmod(0o755)
            host.local("/etc/storpool.conf").chmod(0o644)
            host.local("/var/lib/nova/tmp").mkdir(parents=True)
            host.local("/var/lib/nova/tmp").chmod(0o777)
            info = host.volume()
            arguments = [sys.executable, "-W", "ignore", "-c", SERVICE, json.dumps(info)]
            done = subprocess.run(arguments, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert done.stdout.split() == [str(host.device(info)), str(GIB), "False"]
            assert host.attached() == set()


def test_every_error_of_ours_has_one_of_os_bricks() -> None:
    """No error of this project's tree reaches a caller of os-brick as itself; the broader classes
    come last."""
    assert connector_module._CLASSES[-1] == (errors.Error, exception.BrickException)
    for position, (ours, theirs) in enumerate(connector_module._CLASSES):
        assert issubclass(theirs, exception.BrickException)
        assert not any(
            issubclass(later, ours) for later, _ in connector_module._CLASSES[position + 1 :]
        )


@pytest.mark.parametrize("name", sorted(initiator_connector.InitiatorConnector.__abstractmethods__))
def test_the_interface_is_os_bricks(name: str) -> None:
    """Parameters have the base class's names, order and defaults; what it demands may have a
    default here."""
    theirs = inspect.signature(getattr(initiator_connector.InitiatorConnector, name)).parameters
    ours = inspect.signature(getattr(StorPoolConnector, name)).parameters
    assert list(ours) == list(theirs)
    for parameter, facts in theirs.items():
        assert ours[parameter].kind == facts.kind
        assert facts.default in (inspect.Parameter.empty, ours[parameter].default)


def test_the_class_stands_where_it_is_promised() -> None:
    """`cinder_driver.connector.StorPoolConnector` can be made from its name, as os-brick's factory
    does it."""
    from oslo_utils import importutils

    made: Any = importutils.import_class("cinder_driver.connector.StorPoolConnector")
    assert made is StorPoolConnector
    assert not made.__abstractmethods__
