"""What all tests share: the stages (tests/rigs/) and the profile of hypothesis."""

import os
import sys

from hypothesis import HealthCheck, settings

pytest_plugins = [
    f"rigs.{name}"
    for name in (
        "pace",
        "behind",
        "host_files",
        "core_fixtures",
        "stage_fixtures",
        "shared_stage",
        "helper_stage",
        "hook_stage",
        "fence_stage",
        "flow_stage",
        "release_stage",
        "yard_fixtures",
        "vdsm_user",
        "door_stage",
        "machine",
        "booted",
        "package_fixtures",
    )
]

# Machines that run tests are slow and shared: a slow example is no failure. The examples are the
# same each time, so that a failure tells about the change at hand; for others there is pytest
# --hypothesis-seed=NUMBER.
settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")

# Each start of a program would compile this tree anew where the shell forbids to keep what was
# compiled: a third of all work.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
