"""An Engine whose verbs share one start of Python (`forked`), for tests that run some hundred."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from ovirt_demo import engine
from rigs import forked

UMASK = 0o022  # as Engine's
# What a verb that talks to StorPool and PostgreSQL imports
ADAPTER = (
    "storpool_ovirt.engine.adapter",
    "storpool_ovirt.engine.disks",
    "storpool_ovirt.cluster.binding:load",
    "storpool_ovirt.cluster.transport",
    "psycopg2",
    "pwd",
    "syslog",
    "threading",
    "uuid",
)


class Engine(engine.Engine):
    """An Engine; without a `keeper` each verb is a real start."""

    keeper: forked.Keeper | None = None

    @contextlib.contextmanager
    def started(
        self, verb: str, *arguments: str, correlation_id: str
    ) -> Iterator[subprocess.Popen[bytes] | forked.Run]:
        """Start a verb and give the process, as `engine.Engine` does."""
        if self.keeper is None:
            begun = super().started(verb, *arguments, correlation_id=correlation_id)
        else:
            argv = self.argv(verb, *arguments, correlation_id=correlation_id)
            begun = self.keeper.started(argv, self.programs, UMASK)
        with begun as process:
            yield process


def keeper(caller: engine.Engine) -> forked.Keeper:
    """Return a keeper of this Engine's verbs, to be closed."""
    return forked.Keeper(ADAPTER, caller.environment)


@contextlib.contextmanager
def of(given: engine.Engine) -> Iterator[Engine]:
    """Give the same Engine once more, with verbs that share one start."""
    made = Engine(given.folder, given.program.readlink(), given.options, given.database_url)
    with contextlib.closing(keeper(made)) as made.keeper:
        yield made
