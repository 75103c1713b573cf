"""database_url.py: where the mapping database is, in Engine's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import errors
from storpool_ovirt.engine import database_url

PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


@given(PASSWORDS, st.integers(1, 65535))
def test_a_database_url_is_read_whatever_the_password(password: str, port: int) -> None:
    """Engine puts the password into the URL unquoted: any of `@ : / ? # % [ ]` may be in it."""
    url = f"postgresql+psycopg2://ovirt_managedblock:{password}@localhost:{port}/ovirt_managedblock"
    database = database_url.parse(url)
    assert database.password.reveal() == password
    assert (database.user, database.host, database.port) == (
        "ovirt_managedblock",
        "localhost",
        port,
    )
    assert str(database) == f"ovirt_managedblock at localhost:{port}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "postgresql://",
        "postgresql://u:secret@h/db",
        "postgresql://u@h:1/db",
        "mysql://u:secret@h:1/db",
        "postgresql://u:secret@h:x/db",
        "postgresql://u:secret@h:1",
        "postgresql://u:secret@:1/db",
        "postgresql://u:secret@h:99999/db",
        "postgresql://u:secret@h:1/d\nb",
    ],
)
def test_a_bad_database_url_is_refused_without_its_password(url: str) -> None:
    """T75: the sentence tells the form, never what was given."""
    with pytest.raises(errors.InputError, match="USER:PASSWORD@HOST:PORT/DATABASE") as raised:
        database_url.parse(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("port", ["9" * 5000, "٣", "1_0", "+1", "0"])
def test_an_odd_port_of_the_database_is_one_sentence(port: str) -> None:
    """It is no number; a password that no server can be told is refused as well."""
    for url in (
        f"postgresql://u:secret@h:{port}/d",
        "postgresql://u:sec\0ret@h:1/d",
        "postgresql://u:sec\ud800@h:1/d",
    ):
        with pytest.raises(errors.InputError, match="database URL") as raised:
            database_url.parse(url)
        assert "sec" not in str(raised.value)
