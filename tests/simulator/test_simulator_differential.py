"""The simulator against a second reading of the rules, by random calls through the official
binding; 20,000 and more by hand: docs/fuzzing.md.

tiny_model.py and tiny_rules.py are that reading, differential.py compares. What is asked depends on
the seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import differential
import pytest
from tiny_model import Model

CALLS = 500
VARIANTS: tuple[dict[str, str], ...] = (
    {},
    {
        "revert_identity": "all",
        "tag_update": "replace",
        "linger": "0",
        "bad_name_error": "objectDoesNotExist",
        "empty_name": "generated",
        "on_volume": "parent",
    },
    {
        "revert_identity": "keep",
        "tag_empty": "keep",
        "tag_empty_new": "drop",
        "linger": "100",
        "revert_size": "keep",
        "template_in_use": "keep",
    },
    {
        "small_child": "truncate",
        "revert_size": "snapshot",
        "revert_attached": "attached",
        "freeze_attached": "never",
        "group_twice": "each",
    },
    {
        "detach_absent": "error",
        "detach_and_rw": "error",
        "empty_item": "error",
        "busy_error": "invalidParam",
        "own_device": "reattach",
        "on_volume_none": "empty",
    },
    {
        "busy_error": "preconditionViolation",
        "delete_attached_snapshot": "invalidParam",
        "downgrade_open": "busy",
        "unnamed_auto_name": "gid",
        "revert_attached": "allow",
        "template_in_use": "preconditionViolation",
        "list_order": "reversed",
        "name_tags_limit": "false",
    },
)


@pytest.mark.parametrize("switches", VARIANTS, ids=lambda values: "+".join(values) or "defaults")
@pytest.mark.parametrize("seed", [1, 2])
def test_random_calls_do_what_the_model_says(seed: int, switches: Mapping[str, str]) -> None:
    """Each call is refused by a rule that it breaks or does what the sources say; lists show that
    and nothing else, and a refused call changes nothing."""
    sent, problem = differential.checked(seed, CALLS, switches)
    assert not problem, f"seed {seed}: {problem}"
    assert sent >= CALLS


@pytest.mark.parametrize("rule", ["tags", "names", "parents"])
def test_a_rule_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """A model that reads one rule wrong disagrees, and the history that shows it is short."""
    if rule == "tags":
        monkeypatch.setattr(
            Model,
            "is_on",
            lambda self, name, value: name != "tag_empty" and self.switches[name] == value,
        )
    elif rule == "names":
        monkeypatch.setattr(Model, "check_name", lambda *_given: None)
    else:
        monkeypatch.setattr(Model, "remove", lambda self, thing: self.things.remove(thing))
    _, problem = differential.checked(3, 3000, {})
    assert problem
    assert problem.count("\n") <= 8, problem
