"""storpool_conf.py: the file reads as with StorPool's own reader."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigs import faulty_files
from rigs.host_files import NODE, conf
from storpool_ovirt import errors, storpool_conf

WORDS = st.sampled_from(["SP_OURID", "SP_AUTH_TOKEN", "SP_X", "a.b", "1"])
VALUES = st.text(alphabet="ab1 #;=[]%\\\t\"'.:-", max_size=12)
LINES = st.one_of(
    st.builds("{}={}".format, WORDS, VALUES),
    st.builds(" {} = {} ".format, WORDS, VALUES),
    st.builds("{}=".format, WORDS),
    st.sampled_from(
        ["", "  ", "# c", "; c", "  # c=d", f"[{NODE}]", f"[ {NODE} ]", f"  [{NODE}]  ", "[other]"]
    ),
)
FILES = st.lists(LINES, max_size=8).map(lambda lines: "".join(f"{line}\n" for line in lines))


def official(root: Path, backend: str) -> dict[str, str] | None:
    """Read the configuration below `root` with StorPool's own reader; None where it refuses."""
    import confget
    from storpool import spconfig

    class Official(spconfig.SPConfig):  # type: ignore[misc, no-any-unimported]
        PATH_CONFIG = str(root / "etc/storpool.conf")
        PATH_CONFIG_DIR = str(root / "etc/storpool.conf.d")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(confget.BACKENDS, "ini", confget.BACKENDS[backend])
        try:
            keys = dict(Official(use_env=False).items())
        except spconfig.SPConfigException:
            return None
    return {key: value for key, value in keys.items() if spconfig.DEFAULTS.get(key) != value}


@given(FILES, FILES)
def test_storpool_conf_reads_as_with_the_official_reader(first: str, second: str) -> None:
    """[spconfig] Where StorPool's own reader reads the files, ours has the same keys and values.

    The official one has two parsers, which differ in corners (two backslashes in a row, a last line
    without an end, blanks on an empty continuation): there ours refuses or reads as one of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        conf(root, first, b=second)
        (root / "etc/storpool.conf.d/.hidden.conf").write_text("HIDDEN=1\n")
        strict, lenient = official(root, "ini-pyp"), official(root, "ini-regex")
        try:
            ours = storpool_conf.read(str(root))
        except errors.ConfigError:
            ours = None
    if strict is not None and strict == lenient:
        assert ours == strict
    elif ours is not None:
        assert ours in (strict, lenient)


# What Python's str.splitlines, str.strip and \\s take for more than it is, in the places where that
# could matter.
TRAPS = "\v\f\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u3000"
ODD = st.text(st.sampled_from("a1 \t=#;[]" + TRAPS), max_size=6)
ODD_LINES = st.one_of(
    st.builds("{}={}{}".format, WORDS, ODD, st.sampled_from(["", "\\", " \\", "\\n"])),
    st.builds(
        "{}[{}]{}".format,
        st.sampled_from(["", " ", "\t", "\f"]),
        st.one_of(st.just(NODE), ODD),
        ODD,
    ),
    st.builds("{}#{}".format, st.sampled_from(["", " ", *TRAPS]), ODD),
    ODD,
)
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r", "\n\n"])
ODD_FILES = st.lists(st.tuples(ODD_LINES, ENDS), max_size=6).map(
    lambda lines: "".join(f"{a}{b}" for a, b in lines)
)


@given(ODD_FILES)
def test_odd_characters_are_read_as_with_the_official_reader(text: str) -> None:
    """[spconfig] Whatever looks like a blank or the end of a line: the same keys and values, and
    the same is refused.

    Only what has two backslashes in a row its parser refuses and ours reads as two.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        conf(root, "")
        (root / "etc/storpool.conf").write_bytes(text.encode())
        theirs = official(root, "ini-pyp")
        try:
            ours = storpool_conf.read(str(root))
        except errors.ConfigError:
            ours = None
    if theirs is not None or "\\\\" not in text:
        assert ours == theirs


@pytest.mark.parametrize("trap", TRAPS)
def test_a_value_makes_no_key(trap: str) -> None:
    """A character in a token ends no line: what follows it is no other key, nor a section."""
    text = f"SP_AUTH_TOKEN=a{trap}SP_OURID=9{trap}[{NODE}]{trap}x\n"
    assert storpool_conf.parse(text, "f") == {
        "": {"SP_AUTH_TOKEN": text[len("SP_AUTH_TOKEN=") : -1]}
    }


@pytest.mark.parametrize(
    "text", ["SP_X=a\nSP_Y=b", "SP_X=a\n[s]", "SP_X=a\\\\b\n", "SP_X=a\\\\\nb\n"]
)
def test_what_we_read_beyond_the_official_reader(text: str) -> None:
    """[spconfig] A last line without an end, and two backslashes in a row, are no reason for a VM
    not to start."""
    assert storpool_conf.parse(text, "f")[""]["SP_X"][0] == "a"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("SP_X=1\n".encode("utf-8-sig"), "begins with a byte order mark"),
        ("SP_X=1\n".encode("utf-16"), "is UTF-16, not UTF-8"),
        ("SP_X=1\n".encode("utf-16-le"), "has NUL bytes (is it UTF-16, or damaged?)"),
        (
            "# é\nSP_X=1\n".encode("latin-1"),
            "is not UTF-8 (line 1 has the byte 0xe9; is it Latin-1?)",
        ),
        (b"SP_X=1\n" + bytes(512), "has NUL bytes (is it UTF-16, or damaged?)"),
    ],
)
def test_another_encoding_is_one_sentence(tmp_path: Path, data: bytes, why: str) -> None:
    """[spconfig] The official reader loses the first key after a byte order mark, and takes NULs
    for letters of names: that is refused, as the key that is lost may say who this host is.
    """
    root = conf(tmp_path, "", more="SP_Y=1\n")
    path = tmp_path / "etc" / "storpool.conf"
    path.write_bytes(data)
    with pytest.raises(errors.ConfigError) as raised:
        storpool_conf.read(root)
    assert str(raised.value) == f"{path} {why}: save it as UTF-8 without a byte order mark"
    assert storpool_conf.read(root, optional=True) == {"SP_Y": "1"}
    assert storpool_conf.host_names(root) == {}


@pytest.mark.parametrize("our_id", ["0", "4096", "1" * 5000, "²", "٣", "-1", " ", "x"])
def test_an_id_that_is_none_names_no_host(tmp_path: Path, our_id: str) -> None:
    """Whatever a section has in its place, the other hosts' names are known."""
    root = conf(tmp_path, f"[a]\nSP_OURID={our_id}\n[b]\nSP_OURID=7\n")
    assert storpool_conf.host_names(root) == {7: "b"}


def test_the_environment_wins_as_with_the_official_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[spconfig] SP_AUTH_TOKEN, SP_API_HTTP_HOST and SP_API_HTTP_PORT of the environment win over
    the files."""
    monkeypatch.setenv("SP_API_HTTP_HOST", "from-environment")
    root = conf(tmp_path, "SP_API_HTTP_HOST=h\nSP_AUTH_TOKEN=1\n")
    assert storpool_conf.read(root)["SP_API_HTTP_HOST"] == "from-environment"


SHARED = "[a]\nSP_OURID=2\n[b]\nSP_OURID=2\n[c]\nSP_OURID=3\n[d]\nSP_OURID=x\n[e]\nSP_OURID=x\n"


def test_a_client_id_of_two_sections_is_nobodys(tmp_path: Path) -> None:
    """Nobody can tell which host it is: neither name has an id, and to be shown it has both; others
    keep theirs."""
    root = conf(tmp_path, SHARED)
    for host in ("a", "b"):
        with pytest.raises(
            errors.ConfigError, match=r"client 2 is 2 hosts in /etc/storpool\.conf, a and b"
        ):
            storpool_conf.client_id(host, root)
    assert [storpool_conf.client_id(host, root) for host in ("c", "d")] == ["3", "x"]
    assert storpool_conf.host_names(root) == {2: "a or b", 3: "c"}


def test_a_later_file_may_part_them(tmp_path: Path) -> None:
    """What counts is what each section says at the end: an id that was overwritten is nobody's name
    any more."""
    root = conf(tmp_path, SHARED, more="[b]\nSP_OURID=4\n")
    assert [storpool_conf.client_id(host, root) for host in ("a", "b")] == ["2", "4"]
    assert storpool_conf.host_names(root) == {2: "a", 3: "c", 4: "b"}


@pytest.mark.parametrize("code", faulty_files.ERRORS)
@pytest.mark.parametrize("place", ["storpool.conf", "storpool.conf.d", "storpool.conf.d/more.conf"])
def test_what_cannot_be_read_is_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, code: int
) -> None:
    """A file, or the folder, that cannot be looked at is an error that names it: its keys are not
    taken for unset."""
    root = conf(tmp_path, "SP_API_HTTP_HOST=a\n", more="SP_API_HTTP_HOST=b\n")
    faulty_files.inject(monkeypatch, tmp_path / "etc" / place, code)
    for ask in (storpool_conf.read, storpool_conf.client_ids):
        with pytest.raises(errors.ConfigError) as raised:
            ask(root)
        assert str(raised.value).startswith(str(tmp_path / "etc" / place))
        assert os.strerror(code) in str(raised.value)
    assert storpool_conf.read(root, optional=True).get("SP_API_HTTP_HOST") != "b"
    assert storpool_conf.host_names(root) == {}


@pytest.mark.parametrize("place", ["storpool.conf", "storpool.conf.d/more.conf"])
def test_a_link_that_leads_nowhere_is_no_missing_file(tmp_path: Path, place: str) -> None:
    """[spconfig] A file that is there by its name must be read, as StorPool's own reader has it."""
    root = conf(tmp_path, "SP_API_HTTP_HOST=a\n", more="SP_API_HTTP_HOST=b\n")
    file = tmp_path / "etc" / place
    file.unlink()
    file.symlink_to("nowhere")
    with pytest.raises(errors.ConfigError, match="leads nowhere"):
        storpool_conf.read(root)


def test_a_host_is_who_its_own_section_says(tmp_path: Path) -> None:
    """[spconfig] SP_OURID of a host's section; later files win; what stands before all sections is
    nobody's."""
    root = conf(
        tmp_path,
        "SP_OURID=1\n[a]\nSP_OURID=2\n[b]\nSP_X=y\n",
        more="[a]\nSP_OURID=3\n[b]\nSP_Y=z\n",
    )
    assert [storpool_conf.client_id(host, root) for host in ("a", "b", "c", "")] == [
        "3",
        None,
        None,
        None,
    ]
    assert storpool_conf.client_id("a", str(tmp_path / "nothing")) is None
    (tmp_path / "etc" / "storpool.conf").write_text("?\n")
    with pytest.raises(errors.ConfigError, match="line 1 of"):
        storpool_conf.client_id("a", root)


def test_clients_of_two_clusters_have_the_same_number(tmp_path: Path) -> None:
    """Two sections may have one client id where their clusters differ, as the file's own or a
    section's SP_CLUSTER_ID says; in one cluster nobody knows which host it is."""
    text = "SP_CLUSTER_ID=loc.a\n[a]\nSP_OURID=1\n[b]\nSP_OURID=1\nSP_CLUSTER_ID=loc.b\n"
    root = conf(tmp_path, text)
    assert [storpool_conf.client_id(host, root) for host in ("a", "b")] == ["1", "1"]
    (tmp_path / "etc" / "storpool.conf").write_text(text.replace("loc.b", "loc.a"))
    for host in ("a", "b"):
        with pytest.raises(errors.ConfigError, match="is 2 hosts"):
            storpool_conf.client_id(host, root)


@pytest.mark.parametrize("value", ["1", "true", "Yes", " on ", "0", "false", "no", "OFF", "", None])
def test_whether_there_are_several_clusters(value: str | None) -> None:
    """Each way to say yes or no is read; what is not set is no."""
    keys = {} if value is None else {"SP_OVIRT_MULTICLUSTER": value}
    is_yes = str(value).strip().lower() in ("1", "true", "yes", "on")
    assert storpool_conf.is_multicluster(keys) is is_yes


@pytest.mark.parametrize("value", ["treu", "2", "enabled", "y e s"])
def test_a_misspelt_yes_is_no_no(value: str) -> None:
    """A start on a host of several clusters that takes them for one would see too few hosts."""
    with pytest.raises(errors.ConfigError, match="is neither yes nor no"):
        storpool_conf.is_multicluster({"SP_OVIRT_MULTICLUSTER": value})
