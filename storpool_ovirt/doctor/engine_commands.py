"""Commands that a person pastes into root's shell: what comes from a database or a folder of others
is quoted in them, and what cannot be quoted well is in none."""

from __future__ import annotations

import shlex

# A longer value would be cut where it is shown, and the quotes with it.
VALUE_MAX = 500
# The place of a value that is given by whoever runs it.
BY_HAND = (
    "by hand: it has a character that nobody can see, or is too long, for a command to be told"
)


def fits(*values: str) -> bool:
    """Return whether values can be in a command: short, and of characters that people see."""
    return all(len(each) <= VALUE_MAX and each.isprintable() for each in values)


def command(template: str, *values: str) -> str:
    """Return a command with each value as one word of a shell in the place of each `{}`.

    A sentence instead where a value fits in none, or would be taken for an option.
    """
    if not fits(*values) or any(each.startswith("-") for each in values):
        return BY_HAND
    return template.format(*(shlex.quote(each) for each in values))


def literal(value: str) -> str:
    """Return a text of SQL."""
    return "'" + value.replace("'", "''") + "'"
