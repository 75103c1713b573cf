"""connector.py in os-brick's hands: links of encrypted volumes, other users, its interface."""

from __future__ import annotations

import inspect
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import brick_rig
import pytest
from brick_rig import Host
from os_brick import exception, utils
from os_brick.initiator import initiator_connector
from oslo_config import cfg

from cinder_driver import connector as connector_module
from cinder_driver.connector import StorPoolConnector
from rigs import clusters
from rigs.core_fixtures import GIB, TOKEN
from storpool_ovirt import errors
from storpool_ovirt.cluster import volumes

# eventlet, where it is installed, warns whenever os-brick starts a program.
pytestmark = pytest.mark.filterwarnings("ignore:Using fork:DeprecationWarning")


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
        clusters.need_devices("loop", folder)
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
