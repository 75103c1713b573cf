"""The options of the storage domains as Engine has them: what a command is not told is there."""

from __future__ import annotations

from collections.abc import Iterator

from storpool_ovirt import config, errors, presence
from storpool_ovirt.admin import console
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import conf

_ADVICE = "give --options FILE with the driver options of the one that is meant"


def domain(out: console.Console, root: str) -> config.Domain | None:
    """Return what the domains of this machine's Engine say, None where there is no Engine, or it
    has no domain of ours.

    Raises ConfigError where they are on several clusters, or none of them can be read, and the
    errors of Engine's database.
    """
    if not presence.named(root + conf.FOLDER):
        return None
    found: list[tuple[str, config.Domain]] = []
    failed: list[errors.ConfigError] = []
    for name, options in _options(out, root):
        try:
            found.append((name, config.domain(options, root)))
        except errors.ConfigError as error:
            failed.append(error)
    if not found:
        if failed:
            raise failed[0]
        return None
    clusters = {(each.api.host, each.api.port, each.api.cluster_id) for _, each in found}
    if len(clusters) > 1:
        names = " and ".join(name for name, _ in found)
        raise errors.ConfigError(
            f"the storage domains {names}", "are on several StorPool clusters", _ADVICE
        )
    return found[0][1]


def _options(out: console.Console, root: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each domain of ours with all of its options; what is secret is hidden from then on."""
    from storpool_ovirt.engine import engine_tables, sealed_options  # they need the database's

    deadline = Deadline(engine_tables.READ_SECONDS)
    out.hide(conf.own_database(root).password.reveal())
    for each in engine_tables.of_this_machine(deadline, root).domains:
        if each.adapter == engine_tables.ADAPTER:
            opened = sealed_options.opened(each, deadline, root)
            sealed = {key: value.reveal() for key, value in opened.items()}
            out.hide(*sealed.values())
            yield each.name, {**each.options, **sealed}
