"""conf.py: where engine-setup says that the mapping database is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs import faulty_files
from rigs.engine_conf_files import CINDERLIB, SETUP, lines, write
from storpool_ovirt import errors
from storpool_ovirt.engine import client_file, conf

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "prefix"), [(SETUP, "MANAGEDBLOCK_DB_"), (CINDERLIB, "CINDERLIB_DB_")]
)
def test_the_address_is_read(tmp_path: Path, name: str, prefix: str) -> None:
    """Engine's keys of today, and those of 4.5.7 and older."""
    text = "# written by engine-setup\n\n" + lines(prefix) + f"{prefix}SECURED=False\n"
    there = conf.database(write(tmp_path, **{name: text}))
    assert (str(there), there.user, there.password.reveal()) == (
        "mapping at localhost:5432",
        "block",
        "secret",
    )


def an_engine_up_to_4_5_7(root: Path) -> None:
    """Install one: it has a client of its own, and reads the keys of before."""
    path = root / client_file.FOLDER[1:] / client_file.OF_THE_SAME_PACKAGE
    path.parent.mkdir(parents=True)
    path.touch()


def test_the_keys_that_engine_reads_count(tmp_path: Path) -> None:
    """Both are there while an upgrade runs, where it was broken off, and after a way back: those
    of the Engine that is installed, in whichever order the files are."""
    files = {SETUP: lines(DATABASE="new"), "99-old.conf": lines("CINDERLIB_DB_", DATABASE="old")}
    root = write(tmp_path, **files)
    assert conf.database(root).name == "new"
    an_engine_up_to_4_5_7(tmp_path)
    assert conf.database(root).name == "old"


def test_what_an_upgrade_moved_away_counts_no_more(tmp_path: Path) -> None:
    """engine-setup gives the old files a time behind `.conf`, and writes database and user of
    before under the new keys."""
    root = write(
        tmp_path,
        **{
            SETUP: lines(DATABASE="ovirt_cinderlib", USER="ovirt_cinderlib"),
            f"{CINDERLIB}.20261126103000": lines("CINDERLIB_DB_", HOST="elsewhere"),
        },
    )
    assert str(conf.database(root)) == "ovirt_cinderlib at localhost:5432"
    assert conf.database(root).user == "ovirt_cinderlib"


def test_before_engine_setup_has_run_the_old_keys_are_all_there_is(tmp_path: Path) -> None:
    """The packages are new, the settings are not: the database is the same."""
    assert conf.database(write(tmp_path, **{CINDERLIB: lines("CINDERLIB_DB_")})).name == "mapping"


@pytest.mark.parametrize("gone", ["PASSWORD", "DATABASE", "USER", "PORT"])
def test_half_of_the_keys_is_never_filled_up_with_others(tmp_path: Path, gone: str) -> None:
    """A database that is put together from two would be a third one, or another Engine's."""
    half = "".join(each for each in lines().splitlines(True) if f"_{gone}=" not in each)
    root = write(tmp_path, **{SETUP: half, CINDERLIB: lines("CINDERLIB_DB_")})
    with pytest.raises(errors.ConfigError, match=f"MANAGEDBLOCK_DB_{gone} is missing"):
        conf.database(root)
    an_engine_up_to_4_5_7(tmp_path)
    assert conf.database(root).name == "mapping"


def test_a_later_file_wins(tmp_path: Path) -> None:
    """By name, as Engine reads them; what is no .conf counts for nothing."""
    later = {
        "20-mine.conf": "MANAGEDBLOCK_DB_PORT=5433\n",
        "30-mine.conf.rpmsave": "MANAGEDBLOCK_DB_PORT=5434\n",
    }
    assert conf.database(write(tmp_path, **{SETUP: lines()}, **later)).port == 5433


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"a\:b\\c", r"a:b\c"),
        (r"\"quoted\"", '"quoted"'),
        (r"\$HOME", "$HOME"),
        ("p@ss:w/rd@%41", "p@ss:w/rd@%41"),
        ("with = and # and  blanks", "with = and # and  blanks"),
        ("'", "'"),
    ],
)
def test_a_password_is_what_was_escaped(tmp_path: Path, written: str, meant: str) -> None:
    """A backslash takes the meaning from what follows it."""
    there = conf.database(write(tmp_path, **{SETUP: lines(PASSWORD=written)}))
    assert there.password.reveal() == meant


@given(
    password=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
)
def test_any_password_survives(tmp_path_factory: pytest.TempPathFactory, password: str) -> None:
    """Whatever engine-setup's generator or an administrator chose."""
    escaped = "".join(f"\\{char}" if char in ':\\"$' else char for char in password)
    root = write(tmp_path_factory.mktemp("root"), **{SETUP: lines(PASSWORD=escaped)})
    assert conf.database(root).password.reveal() == password


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("K=plain", "plain"),
        ("K=", ""),
        ("  K=indented", "indented"),
        ("K=two words", "two"),
        ('K="two words"', "two words"),
        ('K="a\\"b\\"c"', 'a"b"c'),
        ('K="a#b"', "a#b"),
        ("K=a#b", "a"),
        ('K="a#b"# comment', "a#b"),
        ('K="a#b" # comment', "a#b"),
        ('K="a"b"c d"', "abc d"),
        ('K="open', "open"),
        ('K="pre ${A} ${B} ${NONE} suf"', "pre 1 2 3  suf"),
        ("K=${A}${B}", "12 3"),
        (r'K="\${A}"', "${A}"),
        ("K=a\tb", "a\tb"),
        ("K='a b'", "'a"),
        ("K=a\\", "a"),
        (r"K=a\ b", "a b"),
        ("K==", "="),
        ("K=a\vb\fc\x85d\u2028K=e", "a\vb\fc\x85d\u2028K=e"),
        ("#K=x\nK=y", "y"),
        ("K=1\r\nK=2\rK=3", "3"),
        ("K=${K}\nK=a${K}", "a"),
    ],
)
def test_a_line_means_what_engine_reads(tmp_path: Path, line: str, meant: str) -> None:
    """Quotes, backslashes, variables, comments: the examples of Engine's own reader, and what could
    be mistaken."""
    first = "A=1\nB='2 3'\nB=\"2 3\"\n"
    text = first + line + "\n" + lines(PASSWORD="is ${K}")
    assert conf.database(write(tmp_path, **{SETUP: text})).password.reveal() == f"is {meant}"


@pytest.mark.parametrize(
    "line", ["nonsense", "A B=1", "export A=1", "A-B=1", "A=$B", "A=a$", "A=${B", "\xa0A=1"]
)
def test_a_line_that_stops_engine_is_told_without_what_it_says(tmp_path: Path, line: str) -> None:
    """Engine does not start with it; the sentence names file and line, never the line itself."""
    text = f"OK=1\n{line.replace('1', 'secret')}\n{lines()}"
    with pytest.raises(
        errors.ConfigError, match=rf"line 2 of .*{SETUP} is not KEY=value as Engine reads it"
    ) as raised:
        conf.database(write(tmp_path, **{SETUP: text}))
    assert "secret" not in str(raised.value)


def test_engines_own_files_come_first(tmp_path: Path) -> None:
    """Its defaults, engine.conf, then the folder; variables of the first are known in the last."""
    root = write(tmp_path, **{SETUP: lines(DATABASE="${NAME}", PORT="${PORT}")})
    for path, text in {conf.DEFAULTS: "NAME=a\nPORT=1\n", conf.FILE: 'NAME="b"\n'}.items():
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text(text)
    assert (conf.database(root).name, conf.database(root).port) == ("b", 1)


@pytest.mark.parametrize(
    ("encoding", "why"), [("utf-16", "is UTF-16"), ("utf-8-sig", "begins with a byte order mark")]
)
def test_another_encoding_is_named(tmp_path: Path, encoding: str, why: str) -> None:
    """Engine would not start with such a file either."""
    root = write(tmp_path, **{SETUP: ""})
    (tmp_path / conf.FOLDER[1:] / SETUP).write_bytes(lines().encode(encoding))
    with pytest.raises(errors.ConfigError, match=f"{SETUP} {why}"):
        conf.database(root)


def test_latin_1_matters_only_where_it_is_read(tmp_path: Path) -> None:
    """Engine reads a comment in Latin-1 too; a password it reads as another one, so that is
    told."""
    root = write(tmp_path, **{SETUP: lines()})
    path = tmp_path / conf.FOLDER[1:] / SETUP
    path.write_bytes("# für\n".encode("latin-1") + lines().encode())
    assert conf.database(root).name == "mapping"
    path.write_bytes(lines(PASSWORD="für").encode("latin-1"))
    with pytest.raises(errors.ConfigError, match="MANAGEDBLOCK_DB_PASSWORD is not UTF-8 in"):
        conf.database(root)


@pytest.mark.parametrize("text", [None, "", "# nothing\n", lines("OTHER_DB_"), "#" + lines()])
def test_no_database_is_a_clear_error(tmp_path: Path, text: str | None) -> None:
    """Where there is no Engine, the sentence says what to give."""
    root = str(tmp_path) if text is None else write(tmp_path, **{SETUP: text})
    with pytest.raises(
        errors.ConfigError,
        match=r"is not told in .*: run this on Engine's machine, or give --database",
    ):
        conf.database(root)


@pytest.mark.parametrize("key", ["PORT", "USER", "PASSWORD", "DATABASE"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_missing_key_is_named(tmp_path: Path, key: str, how: str) -> None:
    """An engine-setup that was interrupted leaves half of it."""
    text = lines(**{key: ""})
    if how == "absent":
        text = "".join(
            line for line in text.splitlines(keepends=True) if not line.endswith('=""\n')
        )
    with pytest.raises(errors.ConfigError, match=f"MANAGEDBLOCK_DB_{key} is missing in"):
        conf.database(write(tmp_path, **{SETUP: text}))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The sentence says as whom to run."""
    root = write(tmp_path)
    (tmp_path / "etc" / "ovirt-engine" / "engine.conf.d" / SETUP).mkdir()
    with pytest.raises(
        errors.ConfigError,
        match=rf"{SETUP} cannot be read \(.*\): run this as root or as the user ov",
    ):
        conf.database(root)


@pytest.mark.parametrize("code", faulty_files.ERRORS)
def test_a_folder_that_cannot_be_looked_at_is_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """It is not said that Engine keeps no database: the sentence names the folder, the reason, and
    as whom to run."""
    root = write(tmp_path, **{SETUP: lines()})
    faulty_files.inject(monkeypatch, f"{root}{conf.FOLDER}", code)
    with pytest.raises(
        errors.ConfigError, match=r"engine\.conf\.d cannot be read \(.*\): run this as root or as"
    ):
        conf.database(root)


def test_a_port_that_is_none_is_told_without_the_password(tmp_path: Path) -> None:
    """What is wrong is never told with the secret beside it."""
    with pytest.raises(errors.InputError) as failure:
        conf.database(write(tmp_path, **{SETUP: lines(PORT="postgres")}))
    assert "secret" not in str(failure.value)


def test_a_wrong_value_is_told_with_its_key(tmp_path: Path) -> None:
    """The administrator reads which file to correct."""
    with pytest.raises(errors.InputError, match="MANAGEDBLOCK_DB_PORT"):
        conf.database(write(tmp_path, **{SETUP: lines(PORT="postgres")}))
