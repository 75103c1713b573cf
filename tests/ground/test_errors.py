"""errors.py: the tree, and the sentences."""

from __future__ import annotations

import inspect

import pytest

from storpool_ovirt import errors

EXAMPLES = [
    errors.InputError("the size argument", "is not a size", "give whole GiB"),
    errors.ConfigError("driver option sp_template", "is not valid"),
    errors.Unseen("/dev/storpool-byid", "cannot be looked at (Permission denied)", "correct that"),
    errors.Unnamed('"web01"', "is the name of 2 disks: a, b", "give the id of one"),
    errors.Mistyped("disk", '"wep01"', 'in Engine\'s database: do you mean "web01"?'),
    errors.NotFound("", "volume x, snapshot y", "in the StorPool cluster at 127.0.0.1:81"),
    errors.NotFound("volume", "~a.b.c", "in the StorPool cluster at 127.0.0.1:81"),
    errors.Conflict("volume x", "exists with 1 byte", "use another id"),
    errors.Exists("ovirt--x", "exists already"),
    errors.Foreign("ovirt--x", "does not carry our tags", "it is left alone"),
    errors.WrongCluster("volume x", "lives elsewhere", "use the other domain"),
    errors.InUse("volume x", ("client 1", "client 2")),
    errors.InUse("volume x", ()),
    errors.Locked("disk x", 30),
    errors.Locked("disk x", 30, "delete_volume, process 7"),
    errors.NoSpace("volume x", "12 GiB too few"),
    errors.Rejected("VolumeCreate", "invalidParam", "bad name"),
    errors.ApiUnavailable("127.0.0.1:81", "VolumeCreate", "refused", ambiguous=False),
    errors.AddressUnknown("name.invalid:81", "Name or service not known"),
    errors.DatabaseUnavailable("db at localhost:5432", "refused"),
    errors.EngineRefused("to add x", "Cannot add Storage", "see engine.log"),
    errors.EngineUnavailable("https://engine/ovirt-engine/api", "refused", "is it up?"),
    errors.DeadlineExceeded("the API", 100),
    errors.Interrupted("the API", "SIGTERM"),
    errors.LibvirtRefused("blockResize", "web", "no"),
    errors.LibvirtUnavailable("Connection refused"),
    errors.GuestSilent("web", "guest agent is not connected"),
    errors.ClientDown(3),
    errors.DeviceMissing("/dev/storpool-byid/a.b.c", 10),
    errors.NotDelivered("Broken pipe"),
]


def all_errors() -> set[type[errors.Error]]:
    """Every class of the module."""
    return {
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.Error)
    }


def test_the_drawing_shows_every_class() -> None:
    """The tree in the docstring is the whole tree: a class that is not drawn is not understood by
    callers."""
    drawing = inspect.getdoc(errors) or ""
    for each in all_errors():
        assert each.__name__ in drawing, each


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_each_error_is_one_sentence_with_its_facts(error: errors.Error) -> None:
    """An error stores facts, and each fact that is a text is in its sentence, which has no line
    break."""
    text = str(error)
    assert text.isprintable()
    words = text.split()
    assert all(word != following for word, following in zip(words, words[1:])), text
    assert "  " not in text
    for fact in error.args:
        if isinstance(fact, str):
            assert fact in text


def test_every_class_that_is_raised_has_an_example() -> None:
    """The examples above cover the tree, so that a new class gets a sentence that was looked at."""
    abstract = {errors.Error, errors.Unavailable}
    assert {type(error) for error in EXAMPLES} | abstract == all_errors()
