"""What a verb loads while its database server works: a server that starts a process for it, proves
its password and reads its tables takes some milliseconds, in which nobody else would do anything.

Nothing rests on it: what is not loaded here is loaded by whoever needs it first.
"""

# ruff: noqa: F401

from __future__ import annotations

from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def loaded(verb: str) -> Iterator[None]:
    """Load what a verb of this name needs, a piece at each step.

    One that may find its work done by another one (`claim.py`) needs nothing of StorPool's until it
    has looked.
    """
    if verb == "create_snapshot":
        from storpool_ovirt.engine import moments

        yield
        from storpool_ovirt.engine import claim

        return
    from storpool_ovirt.cluster import replies

    yield
    from storpool_ovirt.cluster import api

    yield
    from storpool_ovirt.engine import disks, tree

    yield
    from storpool_ovirt.cluster import requests, transport

    yield
    if verb in ("create_volume", "clone_volume", "create_volume_from_snapshot"):
        from storpool_ovirt.engine import creation

        yield
    if verb in ("delete_volume", "remove_snapshot"):
        from storpool_ovirt.engine import removal

        yield
    if verb != "create_volume":
        from storpool_ovirt.engine import ownership
