"""Of which storage domain a disk is, as far as its policy goes: of one with the template of its
volume, by which defaults are told apart too (`config.Domain.key`).

What a command was given, or storpool.conf, may tell where the API is and no more; then Engine's own
database has the domains' options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storpool_ovirt import config, errors
from storpool_ovirt.engine import engine_tables, stored_options, tree


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
    """The domain that a command works with, and those that Engine has on the same cluster, with
    their names."""

    given: config.Domain
    known: Sequence[stored_options.Stored]

    def of(self, template: str | None) -> Of:
        """Return the domain of a volume of this template."""
        wanted = template or None
        found = [each for each in self.known if each.domain.template == wanted]
        is_given = self.given.template is not None and self.given.template == wanted
        if not found and not is_given:  # StorPool may have chosen the template
            found = [each for each in self.known if each.domain.template is None]
        meant = self.given
        if not is_given:
            meant = stored_options.agreed(self.given, [each.domain for each in found])
        return Of(tuple(each.name for each in found), meant, self._classes(found))

    def called(self, key: str) -> str:
        """Return the domains with this key as people know them.

        The key goes by where the API is: a default may be left without a domain.
        """
        found = [each.name for each in self.known if each.domain.key == key]
        if self.known and not found and key != self.given.key:
            return f"no storage domain that Engine has on this cluster ({key})"
        return f"{' and '.join(found)} ({key})" if found else f"the domain on {key}"

    def _classes(self, found: Sequence[stored_options.Stored]) -> Sequence[str]:
        """Return the given domain's; without any those of all that it may be, if each has some."""
        if self.given.qos_classes:
            return self.given.qos_classes
        lists = [each.domain.qos_classes for each in found]
        return tuple(dict.fromkeys(one for each in lists for one in each)) if all(lists) else ()


def look(work: tree.Work) -> Domains:
    """Return the domains; Engine's only where its database can be asked."""
    try:
        limit = work.mapping.session.deadline.within(engine_tables.READ_SECONDS)
        return Domains(work.domain, stored_options.beside(work.domain, limit, work.root))
    except errors.Error as error:
        work.log.line("engine_domains_unknown", reason=error)
        return Domains(work.domain, ())
