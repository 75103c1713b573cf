"""Simulators for tests that are not about the simulator, with the switches that this run asks for.

    STORPOOL_SIMULATOR_SWITCHES=old .venv/bin/pytest tests/flows
    STORPOOL_SIMULATOR_SWITCHES='detach_absent=error linger=0' .venv/bin/pytest tests/engine

What holds on the defaults has to hold on every other value too, as nobody knows which of them a
real cluster has. A test that sets a switch itself has its own value.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from rigs import transports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    import ovirt_demo.simulator
    import storpool_simulator

VARIABLE = "STORPOOL_SIMULATOR_SWITCHES"
# What was the default until the sources of docs/simulator.md were read again: the run `old`.
OLD: dict[str, str] = {
    "revert_identity": "keep",
    "preserved_id": "false",
    "reassign_wait_for": "gaining",
    "unnamed_auto_name": "gid",
    "empty_name": "generated",
    "bad_json_error": "invalidParam",
    "bad_name_error": "objectDoesNotExist",
    "string_numbers": "false",
    "limit_type": "false",
    "reply_fields": "binding",
    "revert_size": "keep",
    "on_volume": "parent",
    "space_limit": "stored",
    "template_in_use": "keep",
}


def switches(text: str | None = None) -> dict[str, str]:
    """Return the switches that this run asks for, from the variable or this text.

    Raises ValueError for what is no NAME=VALUE.
    """
    found: dict[str, str] = {}
    for word in (os.environ.get(VARIABLE, "") if text is None else text).replace(",", " ").split():
        name, sign, value = word.partition("=")
        if not sign and word != "old":
            raise ValueError(f"{VARIABLE}: {word!r} is neither NAME=VALUE nor 'old'")
        found.update(OLD if not sign else {name: value})
    return found


def running(state: Path, **given: Any) -> AbstractContextManager[storpool_simulator.Simulator]:
    """Run a simulator in this process; the options are those of storpool_simulator.running."""
    import storpool_simulator

    for folder in (given.get("hosts") or {}).values():
        transports.tell(folder)
    asked_for = {**switches(), **(given.pop("switches", None) or {})}
    return storpool_simulator.running(state, switches=asked_for, **given)


def process(
    folder: Path, hosts: Mapping[int, Path], **given: Any
) -> AbstractContextManager[ovirt_demo.simulator.Simulator]:
    """Run `storpool-simulator`; the options are those of ovirt_demo.simulator.running."""
    from ovirt_demo import simulator

    for host in hosts.values():
        transports.tell(host)
    asked_for = [f"--switch={name}={value}" for name, value in switches().items()]
    return simulator.running(
        folder, hosts, options=[*asked_for, *given.pop("options", ())], **given
    )


def need_devices(kind: str, folder: Path) -> None:
    """Skip where the simulator cannot have devices of this kind."""
    from storpool_simulator.devices import devices

    try:
        devices.Devices(kind, folder / "state", {})
    except devices.DeviceError as error:
        pytest.skip(str(error))
