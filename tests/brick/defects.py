"""What os-brick's own StorPool connector does wrong, as checks that any connector can be put to.

    python3 defects.py HOST_FOLDER [check ...]     puts os-brick's own connector to them; answers
                                                   with one JSON object on stdout

Run like this, client 1 is this machine itself: `/etc`, `/dev` and `/run` must be for this process
alone (rigs/stock_host.py). test_defects.py puts ours to the same checks. The numbers are those of
the rows of our list of defects of os-brick's initiator/connectors/storpool.py and
initiator/storpool_utils.py.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import brick_rig
from brick_rig import GIB, Host, Info
from os_brick import exception, utils
from os_brick.initiator import connector as factory

from storpool_ovirt.cluster import volumes

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    CINDER = importlib.util.find_spec("cinder.volume") is not None
except ModuleNotFoundError:
    CINDER = False

# Any failure is an answer where a check asks only what is left behind.
REFUSED = (exception.BrickException, OSError)


def another_client_is_not_attached_here(host: Host) -> None:
    """1: a client id that is not this host's is an error, and not replaced by this host's."""
    info = {**host.volume(), "client_id": 99}
    with contextlib.suppress(*REFUSED):
        host.connector.connect_volume(info)
    assert host.attached() == set(), "asked for client 99, attached to client 1"


def an_open_device_stays(host: Host) -> None:
    """2: without force, and after ten tries too, a device that is open is not pulled."""
    info = host.volume()
    connected = host.connector.connect_volume(info)
    with host.local(connected["path"]).open("rb"), contextlib.suppress(*REFUSED):
        host.connector.disconnect_volume(info, connected, force=False)
    assert host.attached() != set(), "the device was open and is gone"


def a_failure_after_the_attach_is_undone(host: Host) -> None:
    """3: whichever call fails, a connect_volume that raises leaves nothing attached."""
    info = host.volume()
    connected = host.connector.connect_volume(info)
    queries = dict.fromkeys(host.core.queries())
    host.connector.disconnect_volume(info, connected)
    for query in queries:
        host.fault("bad_gateway", query, times=1000)
        with contextlib.suppress(*REFUSED):
            host.connector.connect_volume(info)
        host.core.simulator.faults.clear()
        assert host.attached() == set(), f"left attached when {query} failed"


def paths_are_those_of_connect(host: Host) -> None:
    """4: get_volume_paths knows the path that connect_volume returned."""
    info = host.volume()
    path = host.connector.connect_volume(info)["path"]
    assert host.connector.get_volume_paths({**info, "device_path": path}) == [path]


def a_path_is_a_device(host: Host) -> None:
    """5: no path is returned before its device node is there."""
    conf = host.local("/etc/storpool.conf")
    # Client 2 has its devices elsewhere: StorPool attaches, and here nothing appears.
    conf.write_text(conf.read_text().replace("SP_OURID=1", "SP_OURID=2"))
    info = {**host.volume(), "client_id": 2}
    with contextlib.suppress(*REFUSED):
        path = host.connector.connect_volume(info)["path"]
        assert host.local(path).exists(), "a path without a device"
    assert host.attached() == set(), "attached without a device"


def a_size_is_the_new_one(host: Host) -> None:
    """6: extend_volume returns the new size or raises; the old size is no result."""
    info = host.volume()
    host.connector.connect_volume(info)
    with _still(host) as device:
        for link in (host.device(info), host.local("/dev/storpool/os--volume-v1")):
            link.unlink()
            link.symlink_to(device)
        volumes.grow(host.core.client(), info["global_id"], 2 * GIB)
        with contextlib.suppress(*REFUSED):
            size = host.connector.extend_volume(info)
            assert size == 2 * GIB, f"{size} was returned as the new size"


def an_encrypted_volume_is_cleaned_up(host: Host) -> None:
    """7: os-brick's clean-up calls disconnect_volume without device_info."""
    info = {**host.volume(), "encrypted": True}
    before, utils.CUSTOM_LINK_PREFIX = utils.CUSTOM_LINK_PREFIX, "/nowhere/os-brick"
    try:
        with contextlib.suppress(*REFUSED):
            host.connector.connect_volume(info)
    finally:
        utils.CUSTOM_LINK_PREFIX = before
    assert host.attached() == set(), "left attached"


def a_repeated_request_is_the_same(host: Host) -> None:
    """8: after a transient error the second request says what the first one said."""
    info = host.volume()
    host.fault("transient", "VolumesReassignWait")
    host.connector.connect_volume(info)
    first, second = (
        each.body
        for each in host.core.simulator.calls.list()
        if each.query == "VolumesReassignWait"
    )
    assert first == second


def a_page_of_a_proxy_is_survived(host: Host) -> None:
    """9: an answer that is not StorPool's, once, is no reason to fail."""
    info = host.volume()
    host.fault("bad_gateway", "VolumesReassignWait")
    host.connector.connect_volume(info)


def hidden_files_are_not_read(host: Host) -> None:
    """10: as StorPool's own reader, storpool.conf.d/.x.conf is none of ours."""
    host.configure("SP_AUTH_TOKEN=old\n", ".hidden.conf")
    host.connector.connect_volume(host.volume())


def a_percent_sign_is_a_character(host: Host) -> None:
    """10: as for StorPool's own reader, a % in a value is nothing special."""
    host.configure("SP_SOMETHING=100%\n")
    host.connector.connect_volume(host.volume())


def a_volume_of_our_driver_works(host: Host) -> None:
    """No defect: the connection info of our driver is what every StorPool connector understands."""
    info = driver_info(host)
    connected = host.connector.connect_volume(info)
    assert host.attached() == {(f"os--volume-{info['volume']}", 1, "rw")}
    with host.local(connected["path"]).open("r+b", buffering=0) as device:
        device.write(b"data")
    host.connector.disconnect_volume(info, connected)
    assert host.attached() == set()


def driver_info(host: Host) -> Info:
    """Make a volume and return the connection info for it: our driver's own where there is a Cinder
    for it."""
    if not CINDER:
        return host.volume()
    sys.path.append(str(Path(__file__).parent.parent / "cinder"))
    stock = dict(factory._connector_mapping_linux), list(factory.unix_connector_list)
    with warnings.catch_warnings():
        # Cinder's libraries announce what they are about to drop.
        warnings.simplefilter("ignore")
        from rigs import driver_rig

        with driver_rig.backend(host.core) as backend:
            volume = driver_rig.volume()
            backend.driver.create_volume(volume)
            found: Info = backend.driver.initialize_connection(
                volume, {"host": "h", "storpool_client_id": 1}
            )["data"]
    # The driver registers our connector, and it is another one that may be under test.
    factory._connector_mapping_linux, factory.unix_connector_list = stock
    return found


CHECKS: dict[str, Callable[[Host], None]] = {
    each.__name__: each
    for each in (
        another_client_is_not_attached_here,
        an_open_device_stays,
        a_failure_after_the_attach_is_undone,
        paths_are_those_of_connect,
        a_path_is_a_device,
        a_size_is_the_new_one,
        an_encrypted_volume_is_cleaned_up,
        a_repeated_request_is_the_same,
        a_page_of_a_proxy_is_survived,
        hidden_files_are_not_read,
        a_percent_sign_is_a_character,
        a_volume_of_our_driver_works,
    )
}


class _Late:
    """A connector that is made at first use, by os-brick's factory: its constructor reads
    storpool.conf."""

    def __getattr__(self, name: str) -> object:
        made = factory.InitiatorConnector.factory(
            "storpool", None, use_multipath=False, device_scan_attempts=3
        )
        return getattr(made, name)


def _outcome(check: Callable[[Host], None], folder: Path) -> str:
    folder.mkdir()
    with _own_etc(), brick_rig.cluster(folder, Path("/")) as core, brick_rig.without_privsep():
        try:
            check(Host(core, Path("/"), _Late()))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return "passed"


@contextlib.contextmanager
def _still(host: Host) -> Iterator[Path]:
    """Give a device that never grows: os-brick's own connector asks block devices only."""
    file = host.core.folder / "still"
    file.write_bytes(bytes(1 << 20))
    if host.root != Path("/"):
        yield file
        return
    made = subprocess.run(
        ["losetup", "--find", "--show", file], capture_output=True, text=True, check=True
    )
    node = Path(made.stdout.strip())
    try:
        yield node
    finally:
        subprocess.run(["losetup", "--detach", node], check=True)


@contextlib.contextmanager
def _own_etc() -> Iterator[None]:
    yield
    for path in Path("/etc/storpool.conf.d").glob("*"):
        path.unlink()


def main(folder: Path, wanted: list[str]) -> None:
    """Put os-brick's own connector to the checks."""
    folder.mkdir()
    outcomes = {name: _outcome(CHECKS[name], folder / name) for name in wanted or CHECKS}
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
