"""The Python that runs our programs: root's alone, and to be had by whom they are for."""

from __future__ import annotations

import pytest
from setup_ground import Setup

from rigs.machine import PREFIX

_FIRST = f'sed -i "1s|.*|#!$1|" {PREFIX}/bin/storpool-vm-hook {PREFIX}/bin/storpool-adapter'
_COPY = f"cp $(realpath {PREFIX}/bin/python3) $1"
OTHERS = {
    "link": f"ln -sfn /home/theirs/python3 {PREFIX}/bin/python3.theirs",
    "first line": "set -- /home/theirs/python3; " + _FIRST,
    "pyvenv.cfg": f"chown 1000 {PREFIX}/pyvenv.cfg",
    "library": f"chmod g+w $(realpath {PREFIX}/bin/python3 | sed s,/bin/.*,,)/lib/python3*/json",
    "editable": f"mkdir -p /home/theirs/src; echo /home/theirs/src >{PREFIX}/lib/python3*/"
    "site-packages/theirs.pth",
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_python_that_another_user_can_change_is_refused(place: Setup, what: str) -> None:
    """Root's doors would run it, whatever our own files are."""
    place.machine.do(
        f"mkdir -p /home/theirs; set -- /home/theirs/python3; {_COPY}; chown -R 1000 /home/theirs"
    )
    script = OTHERS[what].replace(f">{PREFIX}/lib/python3*/", f">$(echo {PREFIX}/lib/python3*)/")
    place.machine.do(script)
    before = place.tree()
    said = place.run(code=1)["error"]
    assert "can be changed by another user than root, who will run it" in said
    assert place.tree() == before


def test_a_python_that_the_places_user_cannot_run_is_refused(place: Setup) -> None:
    """Below a folder of root's alone, as uv and pyenv have theirs: no hook would run."""
    place.machine.do(f"mkdir -m 0700 /secret; set -- /secret/python3; {_COPY}; {_FIRST}")
    before = place.tree()
    said = place.run(code=1)["error"]
    assert "cannot be run by user " in said
    assert "Permission denied" in said
    assert place.tree() == before
