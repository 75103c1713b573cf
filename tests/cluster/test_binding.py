"""binding.py: the official binding, loaded without what it does not need."""

from __future__ import annotations

import subprocess
import sys


def test_the_binding_stays_whole_for_others_in_the_process() -> None:
    """Held back, confget is loaded when the binding's own reader first wants it; nothing is printed
    meanwhile."""
    code = """
from storpool_ovirt.cluster import binding
import sys
spapi = binding.load()
assert "confget" not in sys.modules
from storpool import spconfig
assert spconfig.SPConfig(missing_ok=True)["SP_API_HTTP_PORT"]
assert "confget" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
