"""An Engine whose verbs share one start of Python (`forked`), for tests that run some hundred."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from ovirt_demo import engine
from rigs import forked, quick_starts

ADAPTER = quick_starts.ADAPTER


class Engine(engine.Engine):
    """An Engine. Without a `keeper` each verb is a real start, or shares that of the session where
    it `is_quick`."""

    keeper: forked.Keeper | None = None
    is_quick = False

    @contextlib.contextmanager
    def started(
        self, verb: str, *arguments: str, correlation_id: str
    ) -> Iterator[subprocess.Popen[bytes] | forked.Run]:
        """Start a verb and give the process, as `engine.Engine` does."""
        kept = self.keeper
        if kept is None and self.is_quick:
            kept = quick_starts.keeper(self.program, self.environment)
        if kept is None:
            begun = super().started(verb, *arguments, correlation_id=correlation_id)
        else:
            argv = self.argv(verb, *arguments, correlation_id=correlation_id)
            begun = kept.started(argv, self.programs, quick_starts.UMASK, self.environment)
        with begun as process:
            yield process


def keeper(caller: engine.Engine) -> forked.Keeper:
    """Return a keeper of this Engine's verbs, to be closed."""
    return forked.Keeper(ADAPTER, caller.environment)


@contextlib.contextmanager
def of(given: engine.Engine) -> Iterator[Engine]:
    """Give the same Engine once more, with verbs that share one start."""
    made = Engine(given.folder, given.program.readlink(), given.options, given.database_url)
    made.observe = given.observe
    with contextlib.closing(keeper(made)) as made.keeper:
        yield made
