"""What all tests share: the stages (tests/rigs/) and the profile of hypothesis."""

import os
import signal
import sys

from hypothesis import HealthCheck, settings

pytest_plugins = [
    f"rigs.{name}"
    for name in (
        "pace",
        "hung",
        "overdue",
        "behind",
        "quick_starts",
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

# A nohup, or a shell that starts them in the background, ignores these signals, and all that the
# tests start would: they are as at a terminal. Workers have it from whoever starts them.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
