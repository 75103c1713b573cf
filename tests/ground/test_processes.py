"""processes.py: what proc(5) tells of a process, whatever it is called."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from storpool_ovirt import processes

pytestmark = pytest.mark.fast
GONE = 1 << 22  # no pid is so large


def test_a_process_has_a_parent_and_an_age() -> None:
    """Its age is that of its start, not of its files; a name with parentheses and blanks is one."""
    code = "import sys; open('/proc/self/comm', 'w').write(') 1 (x'); print(flush=True); input()"
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", code, "a word", ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"KEY": "a=b", "EMPTY": ""},
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        told = processes.told(child.pid)
        assert told is not None
        assert told.parent == os.getpid()
        assert 0 <= told.age_seconds() < time.monotonic() - began + 0.1
        assert processes.words(child.pid)[-2:] == ["a word", ""]
        assert processes.environment(child.pid) == {"KEY": "a=b", "EMPTY": ""}
        assert child.pid in processes.all_of_them()
        child.communicate(b"\n")


def test_one_that_is_not_there_tells_nothing() -> None:
    """No error: it may have ended this moment."""
    assert processes.told(GONE) is None
    assert processes.words(GONE) == []
    assert processes.environment(GONE) == {}
    assert processes.words(2) == [] or os.getpid() < 10  # a thread of the kernel's has no words
