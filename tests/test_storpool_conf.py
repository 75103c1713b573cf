"""storpool_conf.py: the file reads as with StorPool's own reader."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from host_files import NODE, conf
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import errors, storpool_conf

WORDS = st.sampled_from(["SP_OURID", "SP_AUTH_TOKEN", "SP_X", "a.b", "1"])
VALUES = st.text(alphabet="ab1 #;=[]%\\\t\"'.:-", max_size=12)
LINES = st.one_of(
    st.builds("{}={}".format, WORDS, VALUES),
    st.builds(" {} = {} ".format, WORDS, VALUES),
    st.builds("{}=".format, WORDS),
    st.sampled_from(["", "  ", "# c", "; c", "  # c=d", f"[{NODE}]", f"[ {NODE} ]", f"  [{NODE}]  ", "[other]"]),
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

    The official one has two parsers, which differ in corners (two backslashes in a row, a last line without an end,
    blanks on an empty continuation): there ours refuses or reads as one of them.
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


def test_the_environment_wins_as_with_the_official_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[spconfig] SP_AUTH_TOKEN, SP_API_HTTP_HOST and SP_API_HTTP_PORT of the environment win over the files."""
    monkeypatch.setenv("SP_API_HTTP_HOST", "from-environment")
    root = conf(tmp_path, "SP_API_HTTP_HOST=h\nSP_AUTH_TOKEN=1\n")
    assert storpool_conf.read(root)["SP_API_HTTP_HOST"] == "from-environment"


def test_a_host_is_who_its_own_section_says(tmp_path: Path) -> None:
    """[spconfig] SP_OURID of a host's section; later files win; what stands before all sections is nobody's."""
    root = conf(tmp_path, "SP_OURID=1\n[a]\nSP_OURID=2\n[b]\nSP_X=y\n", more="[a]\nSP_OURID=3\n[b]\nSP_Y=z\n")
    assert [storpool_conf.client_id(host, root) for host in ("a", "b", "c", "")] == ["3", None, None, None]
    assert storpool_conf.client_id("a", str(tmp_path / "nothing")) is None
    (tmp_path / "etc" / "storpool.conf").write_text("?\n")
    with pytest.raises(errors.ConfigError, match="line 1 of"):
        storpool_conf.client_id("a", root)
