"""The driver against Cinder's interfaces: its own compliance suite, and the strict comparison that
the suite lacks."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest
from cinder import interface
from cinder.interface import (
    volume_driver,
    volume_group_driver,
    volume_manageable_driver,
    volume_snapshot_revert,
    volume_snapshotmanagement_driver,
)
from cinder.volume import driver as cinder_driver_module

from cinder_driver.driver import StorPoolDriver

INTERFACES = (
    volume_driver.VolumeDriverCore,
    volume_group_driver.VolumeGroupDriver,
    volume_manageable_driver.VolumeListManageableDriver,
    volume_snapshotmanagement_driver.VolumeSnapshotManagementDriver,
    volume_snapshot_revert.VolumeSnapshotRevertDriver,
)
# What Cinder's base class does as well: it attaches the volume, or keeps its own state.
LEFT_TO_CINDER = {
    *(
        "clone_image",
        "copy_image_to_volume",
        "copy_volume_to_image",
        "before_volume_copy",
        "after_volume_copy",
    ),
    *(
        "init_capabilities",
        "initialized",
        "set_initialized",
        "set_throttle",
        "supported",
        "update_provider_info",
    ),
}


def public(of: type) -> dict[str, Any]:
    """Return the functions that a class defines for its callers."""
    return {
        name: function
        for name, function in inspect.getmembers(of, inspect.isfunction)
        if not name.startswith("_") and name != "get_driver_options"
    }


def methods() -> list[tuple[type, str]]:
    """Return each method of each interface that is ours to do."""
    return [
        (each, name) for each in INTERFACES for name in public(each) if name not in LEFT_TO_CINDER
    ]


def bind(function: Any, like: inspect.Signature) -> None:
    """Call the signature as callers of `like` do: by position, and by name what may be left out."""
    given = [
        each
        for each in like.parameters.values()
        if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    needed = [each for each in given if each.default is inspect.Parameter.empty]
    named = {each.name: None for each in given if each.default is not inspect.Parameter.empty}
    signature = inspect.signature(function)
    signature.bind(*[None for _ in given])
    signature.bind(*[None for _ in needed], **named)
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in like.parameters.values()):
        signature.bind(*[None for _ in needed], force=True)


@pytest.mark.parametrize(
    ("of", "name"), methods(), ids=lambda each: getattr(each, "__name__", each)
)
def test_each_method_takes_what_its_interface_says(of: type, name: str) -> None:
    """T25: every method is our own, with the interface's parameters in its order, and by its
    names."""
    ours = getattr(StorPoolDriver, name)
    assert ours.__module__ == "cinder_driver.driver"
    bind(ours, inspect.signature(getattr(of, name)))


@pytest.mark.parametrize("name", sorted(set(public(StorPoolDriver)) & set(vars(StorPoolDriver))))
def test_each_method_takes_what_cinders_base_class_takes(name: str) -> None:
    """T25: no method of ours is unknown to Cinder, and each can be called as Cinder calls its
    own."""
    base = getattr(cinder_driver_module.VolumeDriver, name)
    bind(vars(StorPoolDriver)[name], inspect.signature(base))


def test_no_abstract_method_is_left() -> None:
    """The class can be made."""
    assert not inspect.isabstract(StorPoolDriver)


def test_cinder_knows_the_class() -> None:
    """T25: [interface] registered as a volume driver, with a version and the name of its CI."""
    assert StorPoolDriver in interface._volume_register
    assert StorPoolDriver.VERSION
    assert StorPoolDriver.CI_WIKI_NAME


def test_cinders_compliance_suite_passes_for_the_class() -> None:
    """T25: cinder/tests/compliance, with our class among the drivers that it finds."""
    pytest.importorskip("ddt", reason="Cinder's tests need ddt")
    pytest.importorskip("testtools", reason="Cinder's tests need testtools")
    code = """
import warnings
warnings.simplefilter("ignore")
import unittest
import cinder_driver.driver
from cinder.interface import util
util._ensure_loaded = lambda _path: None
from cinder.tests.compliance import test_volume_drivers as suite
assert cinder_driver.driver.StorPoolDriver in [each.cls for each in suite.VOLUME_DRIVERS]
unittest.main(module=suite, argv=["compliance"], warnings="ignore", verbosity=2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "test_volume_driver_compliance" in done.stderr, done.stderr
    assert "skipped" not in done.stderr
