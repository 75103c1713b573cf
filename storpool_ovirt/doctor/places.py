"""What a machine is in oVirt, and which checks are for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from storpool_ovirt import errors, presence
from storpool_ovirt.doctor import checks, tables

# What the packages of oVirt have there, and nobody else; one of them may just be what is broken.
_SIGNS = {
    checks.ENGINE: (
        "/etc/ovirt-engine/engine.conf.d",
        "/usr/share/ovirt-engine/services/ovirt-engine",
    ),
    checks.HOST: ("/etc/vdsm/vdsm.conf", "/usr/share/vdsm", "/usr/libexec/vdsm/hooks"),
}


def found(root: str = "") -> tuple[str, ...]:
    """Return what this machine is: engine, host or both; raise ConfigError where it is neither."""
    here = tuple(
        place
        for place, paths in _SIGNS.items()
        if any(presence.named(root + path) for path in paths)
    )
    if not here:
        raise errors.ConfigError(
            "this machine",
            "has neither oVirt Engine nor Vdsm",
            "run this on Engine's machine or on a host, or say which it is to be",
        )
    return here


def together(places: Sequence[str]) -> tuple[checks.Check, ...]:
    """Return the checks of several places as one table: each looks at a site of its own place.

    Raises ImportError as `tables.of` does.
    """
    return tuple(
        each._replace(look=partial(_look, place, each))
        for place in places
        for each in tables.of(place)
    )


def _look(place: str, check: checks.Check, site: checks.Site) -> Iterator[checks.Result]:
    # The list of secrets stays one: what is hidden there is hidden here.
    yield from check.look(replace(site, place=place))
