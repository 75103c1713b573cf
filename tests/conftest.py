"""What all tests share: the stage (stage_fixtures.py, shared_stage.py ...) and hypothesis profiles."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "host_files", "core_fixtures", "stage_fixtures", "shared_stage", "helper_stage", "flow_stage", "fault_summary",
    "yard_fixtures",
]  # fmt: skip

# Machines that run tests are slow and shared: a slow example is no failure.  CI always runs the same examples.
settings.register_profile(
    "default", deadline=None, derandomize=bool(os.environ.get("CI")), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")
