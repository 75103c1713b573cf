"""What is wrong with os-brick's own connector is right with ours: each check is shown to fail on
the stock one."""

from __future__ import annotations

import importlib.util
import json
import re

import brick_rig
import defects
import pytest
from brick_rig import Host

from rigs import stock_host

# How os-brick's connector (6.11 and later, with an API client of its own) fails each check.
STOCK = {
    "another_client_is_not_attached_here": "asked for client 99, attached to client 1",
    "an_open_device_stays": "the device was open and is gone",
    "a_failure_after_the_attach_is_undone": "left attached when VolumeGetInfo failed",
    "paths_are_those_of_connect": "Internal error: StorPool volume path",
    "a_path_is_a_device": "a path without a device",
    "a_size_is_the_new_one": "1048576 was returned as the new size",
    "an_encrypted_volume_is_cleaned_up": "TypeError: .*device_info",
    "a_repeated_request_is_the_same": "Communication with the StorPool API failed",
    "a_page_of_a_proxy_is_survived": "Communication with the StorPool API failed: Expecting value",
    "hidden_files_are_not_read": "Communication with the StorPool API failed: HTTP: 401",
    "a_percent_sign_is_a_character": "Could not initialize the StorPool API: .*'%'",
    "a_volume_of_our_driver_works": "^passed$",
}


@pytest.mark.filterwarnings("ignore:Using fork:DeprecationWarning")
@pytest.mark.parametrize("name", defects.CHECKS)
def test_our_connector_does_it_right(host: Host, name: str) -> None:
    """Each check of defects.py holds for our connector."""
    with brick_rig.hasty():
        defects.CHECKS[name](host)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Put the stock connector to all checks, once."""
    stock_host.need()
    names = list(defects.CHECKS)
    if importlib.util.find_spec("os_brick.initiator.storpool_utils") is None:
        if importlib.util.find_spec("storpool.spopenstack") is None:
            pytest.skip(
                "this os-brick's own connector needs storpool.spopenstack, which is not installed"
            )
        names = ["a_volume_of_our_driver_works"]
    folder = tmp_path_factory.mktemp("stock")
    found: dict[str, str] = json.loads(
        stock_host.run(folder, defects.__file__, str(folder / "hosts"), *names)
    )
    return found


@pytest.mark.parametrize("name", defects.CHECKS)
def test_the_stock_connector_shows_that_the_check_can_fail(
    outcomes: dict[str, str], name: str
) -> None:
    """Each check fails on os-brick's own connector with the defect that it is about."""
    if name not in outcomes:
        pytest.skip(
            "this os-brick's own connector works through storpool.spopenstack; its defects are"
            " others"
        )
    assert re.search(STOCK[name], outcomes[name]), outcomes[name]


def test_the_tests_have_the_connection_info_of_our_driver(host: Host) -> None:
    """What the connector's tests take for our driver's connection info has its keys and their
    types."""
    if not defects.CINDER:
        pytest.skip("Cinder is not installed for this Python")
    theirs, ours = defects.driver_info(host), host.volume()
    assert {key: type(value) for key, value in theirs.items()} == {
        key: type(value) for key, value in ours.items()
    }
