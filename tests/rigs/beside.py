"""Which modules have StorPool's services beside their stages: those that say `BESIDE = True`.

The domain of such a stage gives a class and a policy; storpool_qos and VolumeCare make passes
between verbs (services.py), and no verb takes away a tag (kept_tags.py). A module whose verbs
overlap says `BESIDE = beside.AMID`: passes come in the midst of verbs. One whose faults are
everybody's says `BESIDE = beside.ALL_THE_WHILE`: passes come at any moment. What fails in a pass
then the next one does.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from rigs.stage_fixtures import Stage

AMID, ALL_THE_WHILE = "amid", "all the while"


def options(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return what options of its domain a module's stage has for it."""
    if not _asked(request):
        return {}
    from rigs import kept_tags

    return {**kept_tags.OPTIONS}


@contextlib.contextmanager
def playing(request: pytest.FixtureRequest, stage: Stage) -> Iterator[None]:
    """Have the services be beside a stage, where the module says so."""
    asked = _asked(request)
    if not asked:
        yield
        return
    from rigs import kept_tags, services

    at_any_moment = asked == ALL_THE_WHILE
    observed = () if at_any_moment else (stage.engine, *stage.hosts.values())
    check = partial(kept_tags.check_stage, stage)
    amid = at_any_moment or asked == AMID
    with contextlib.ExitStack() as running:
        beside = services.beside(stage.simulator, *observed, check=check, amid=amid)
        made = running.enter_context(beside)
        if at_any_moment:
            running.enter_context(made.all_the_while())
        yield


def _asked(request: pytest.FixtureRequest) -> object:
    return getattr(request.module, "BESIDE", False)
