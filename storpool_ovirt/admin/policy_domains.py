"""Of which storage domain a disk is: Engine's own database says it; where it does not, of one with
the template of its volume, by which defaults are told apart too (`config.Domain.key`).

What a command was given, or storpool.conf, may tell where the API is and no more; then Engine's own
database has the domains' options.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from storpool_ovirt import config, errors
from storpool_ovirt.engine import engine_images, engine_tables, stored_options, tree

_NOWHERE: Mapping[str, str] = MappingProxyType({})


class Of(NamedTuple):
    """The domain of a disk: how Engine calls those that it may be, its options, and the classes
    that there are, none where that is not known."""

    names: tuple[str, ...]
    domain: config.Domain
    classes: Sequence[str]

    def __str__(self) -> str:
        called = " or ".join(self.names)
        return f"{called} ({self.domain.key})" if called else f"the domain on {self.domain.key}"


class Domains(NamedTuple):
    """The domain that a command works with, those that Engine has on the same cluster, and in which
    of these disks are, by Engine's ids."""

    given: config.Domain
    known: Sequence[stored_options.Stored]
    places: Mapping[str, str] = _NOWHERE

    def of(self, template: str | None, disk: str = "") -> Of:
        """Return the domain of a disk whose volume has this template; None: nobody knows that."""
        place = self.places.get(disk)
        found: Sequence[stored_options.Stored]
        found = [each for each in self.known if each.id == place]
        is_given = not found and bool(template) and self.given.template == template
        if not found:
            found = self._like(template, alone=not is_given)
        meant = self.given
        if not is_given:
            meant = stored_options.agreed(self.given, [each.domain for each in found])
        lists = [each.domain.qos_classes for each in found]
        classes = tuple(dict.fromkeys(one for each in lists for one in each)) if all(lists) else ()
        if is_given or not classes:
            classes = self.given.qos_classes or classes
        return Of(tuple(each.name for each in found), meant, classes)

    def called(self, key: str) -> str:
        """Return the domains with this key as people know them.

        The key goes by where the API is: a default may be left without a domain.
        """
        found = [each.name for each in self.known if each.domain.key == key]
        if self.known and not found and key != self.given.key:
            return f"no storage domain that Engine has on this cluster ({key})"
        return f"{' and '.join(found)} ({key})" if found else f"the domain on {key}"

    def _like(self, template: str | None, alone: bool) -> Sequence[stored_options.Stored]:
        """Return which domains may have made a volume of this template; `alone`: also one without
        another beside it, as its volumes may have got another template since."""
        found = [
            each
            for each in self.known
            if template is not None and each.domain.template == (template or None)
        ]
        if found or not alone:
            return found
        if len(self.known) == 1:
            return self.known
        # StorPool may have chosen the template
        return [each for each in self.known if template and each.domain.template is None]


def look(work: tree.Work, disks: Collection[str] = ()) -> Domains:
    """Return the domains, and where these disks are; Engine's only where its database can be
    asked."""
    try:
        limit = work.mapping.session.deadline.within(engine_tables.READ_SECONDS)
        known = stored_options.beside(work.domain, limit, work.root)
    except errors.Interrupted:
        raise
    except errors.Error as error:
        work.log.line("engine_domains_unknown", reason=error)
        return Domains(work.domain, ())
    return placed(work, Domains(work.domain, known), disks)


def placed(work: tree.Work, domains: Domains, disks: Collection[str]) -> Domains:
    """Return the same domains with where these disks are, which is asked for where there are
    several."""
    if len(domains.known) < 2:
        return domains
    return domains._replace(places=engine_images.places(work, disks))


def within(work: tree.Work, disks: Mapping[str, str | None]) -> tree.Work:
    """Return the tools with what the domains of these disks say, as far as they agree, as
    `stored_options.agreed` has it; with each disk is the template of its volume, None where nobody
    knows that. The same tools where an administrator gave options: those count."""
    if work.is_told:
        return work
    domains = look(work)
    if domains.known:
        domains = domains._replace(places=engine_images.places(work, disks))
    # One that is in another domain has what the command goes by: nobody knows what that one says
    known = {None, *(each.id for each in domains.known)}
    found = [
        domains.of(template, disk).domain if domains.places.get(disk) in known else work.domain
        for disk, template in disks.items()
    ]
    # The cluster stays the one that is asked
    domain = replace(stored_options.agreed(work.domain, found), api=work.domain.api)
    return replace(work, domain=domain)
