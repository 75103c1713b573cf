"""The papers name what there is: files, links, anchors, names of the source, commands, targets."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from house.test_layers import FILES, STOREYS, ours, room

from storpool_ovirt.admin import findings
from storpool_ovirt.engine import verbs

TREE = Path(__file__).parents[2]
PACKAGE = TREE / "storpool_ovirt"
PAGES = [
    path.relative_to(TREE)
    for pattern in (
        *("*.md", "docs/*.md", "benchmarks/*.md", "requirements/*.md", "tests/*.md"),
        *("ansible/*.md", "ansible/roles/*/*.md"),
    )
    for path in sorted(TREE.glob(pattern))
]
# Not for readers of the papers alone: what is said in them of other files holds too.
SETTINGS = [
    path.relative_to(TREE)
    for pattern in (
        "etc/**/* storpool_ovirt/setup/files/**/* .ci/* tox.ini Makefile pyproject.toml setup.py"
    ).split()
    for path in sorted(TREE.glob(pattern))
    if path.is_file()
]
FOLDERS = tuple(
    (
        "storpool_ovirt storpool_simulator ovirt_demo cinder_driver tests docs etc benchmarks "
        "requirements packaging"
    ).split()
)
# Files of other projects that the papers name, as their own repositories call them; and any test.
THEIRS = {
    "test_x.py",
    "cinderlib/cinderlib-client.py",
    "common/hooks.py",
    "managedvolume.py",
    "virt/vm.py",
    "virt/vmdevices/storage.py",
}
TABLES = {
    f"storpool_ovirt.{table}" for table in ("asked", "meta", "moment", "node", "operation", "trash")
}
_A_PYTHON_FILE = re.compile(r"(?<![\w/.*-])[\w][\w/.-]*\.py\b")
_A_PATH = re.compile(rf"(?<![\w/.~-])(?:{'|'.join(FOLDERS)})/[\w./*-]*")
_A_NAME = re.compile(rf"(?<![\w/.])((?:{'|'.join(FOLDERS[:4])})(?:\.\w+)+)")
_A_LINK = re.compile(r"\]\(([^)\s]+)\)")
_A_ROOM = "|".join(sorted(each.name for each in PACKAGE.iterdir() if each.is_dir()))
_IN_A_ROOM = re.compile(rf"`((?:{_A_ROOM})(?:/\w+)+)(?:\.(?!py\b)(\w+))?(?:\.py)?`")
_A_QUOTE = re.compile(r"`([^`\n]*…[^`\n]*)`")
_A_LOG = re.compile(r"/var/log/[\w./-]+\.log")
LEAST_QUOTED = 12  # letters of a sentence that are ours for certain; an event of the log is whole
OTHERS_LOGS = {"/var/log/ovirt-engine/engine.log"}
_A_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@functools.cache
def read(path: Path) -> str:
    """Return the text of a file of the tree."""
    return (TREE / path).read_text()


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", _A_FENCE.sub("", read(page)), re.MULTILINE):
        bare = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", bare.lower()).strip().replace(" ", "-")
        number = 0
        while (each := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(each)
    return found


def there(name: str, page: Path) -> bool:
    """Return whether a file is there by this name: from the tree, the package, or the page."""
    return any((folder / name).exists() for folder in (TREE, PACKAGE, (TREE / page).parent)) or (
        "/" not in name and any((TREE / "tests").rglob(name))
    )


@pytest.mark.parametrize("page", PAGES + SETTINGS, ids=str)
def test_every_python_file_that_is_named_is_there(page: Path) -> None:
    """By its path from the tree or within storpool_ovirt/; a test also by its bare name."""
    named = set(_A_PYTHON_FILE.findall(read(page))) - THEIRS
    assert not [each for each in sorted(named) if not there(each, page)]


@pytest.mark.parametrize("page", PAGES + SETTINGS, ids=str)
def test_every_path_that_is_named_is_there(page: Path) -> None:
    """A file or a folder of this tree; with a star, at least one."""
    for named in sorted(set(_A_PATH.findall(read(page)))):
        each = named.rstrip(".-")
        assert any(TREE.glob(each)) if "*" in each else (TREE / each).exists(), each


@pytest.mark.parametrize("page", PAGES + SETTINGS, ids=str)
def test_every_name_of_the_source_is_there(page: Path) -> None:
    """`storpool_ovirt.cluster.volumes` with what is in it, or shorter: `host/takeover.take`."""
    text = read(page)
    for dotted in sorted(set(_A_NAME.findall(text)) - TABLES):
        assert any(defined(dotted.replace(".", "/"))), dotted
    for module, name in sorted(set(_IN_A_ROOM.findall(text))):
        is_ours = any(defined(f"storpool_ovirt/{module}/{name}".rstrip("/")))
        assert is_ours or (not name and there(f"{module}.py", page)), f"{module}.{name}"


def defined(path: str) -> Iterator[bool]:
    """Give True where a path is a module, or a name at the top of one."""
    whole = TREE / path
    yield whole.is_dir() or whole.with_suffix(".py").exists()
    for module in (whole.parent.with_suffix(".py"), whole.parent / "__init__.py"):
        if module.exists():
            pattern = rf"^(?:def |class |from .*\b)?{whole.name}\b|^ +from .*\b{whole.name}\b"
            yield bool(re.search(pattern, module.read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file of this tree, and to a heading of it; links to the world are not followed."""
    for link in _A_LINK.findall(_A_FENCE.sub("", read(page))):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (TREE / page).parent.joinpath(name).resolve() if name else TREE / page
        assert target.exists(), link
        assert TREE in (target, *target.parents), link
        if anchor:
            assert anchor in anchors(target.relative_to(TREE)), link


def test_every_page_is_found_from_readme() -> None:
    """README's table has each page of docs/, and the papers beside it."""
    linked = {link.partition("#")[0] for link in _A_LINK.findall(read(Path("README.md")))}
    pages = {str(page) for page in PAGES if page.parts[0] != "ansible"}  # that is a reader's own
    assert pages - {"README.md"} <= linked


def test_every_program_is_in_readme() -> None:
    """Under the name that an installation gives it."""
    programs = re.findall(r'^ +"([\w-]+) = \w+[\w.]*:\w+",$', read(Path("setup.py")), re.MULTILINE)
    assert len(programs) > 1
    assert not [each for each in programs if f"`{each}`" not in read(Path("README.md"))]


@pytest.fixture(scope="module")
def commands() -> set[str]:
    """Give the commands of storpool-ovirt, as its help lists them."""
    program = Path(sysconfig.get_path("scripts")) / "storpool-ovirt"
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    listed = done.stdout.partition("Commands:")[2]
    return set(re.findall(r"^\W*([a-z][a-z-]+)  ", listed, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_that_is_named_is_there(page: Path, commands: set[str]) -> None:
    """`storpool-ovirt audit`, in the text or on a line to be typed; and targets of make."""
    text = read(page)
    typed = re.findall(r"(?:`|^ {4}(?:# )?)storpool-ovirt ([a-z][a-z-]*)\b", text, re.MULTILINE)
    assert {*typed} <= commands
    targets = set(re.findall(r"^([a-z-]+):", read(Path("Makefile")), re.MULTILINE))
    made = re.findall(r"(?:`|^ {4}(?:sudo )?)make ([a-z][a-z-]*)\b", text, re.MULTILINE)
    assert {*made} <= targets


def test_every_file_of_the_product_has_a_line() -> None:
    """docs/architecture.md tells what each file of storpool_ovirt/ is, or its folder, and tells of
    no other."""
    rows = re.findall(
        r"^\| (`[\w/.]+`(?:, `[\w/.]+`)*) \|", read(Path("docs/architecture.md")), re.M
    )
    told = [each for row in rows for each in re.findall(r"`([\w/.]+)`", row)]
    files = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")}
    lacks = [
        each
        for each in sorted(files)
        if not each.endswith("__init__.py")
        and not any(each == one or (one[-1] == "/" and each.startswith(one)) for one in told)
    ]
    assert lacks == [], "docs/architecture.md lacks a line for these"
    assert len(told) == len({*told})


def test_the_storeys_are_told_once_and_as_they_are_held() -> None:
    """The line in docs/development.md is that of test_layers.py, and no other page has one."""
    rooms = (f"{{{', '.join(each)}}}" if len(each) > 1 else each[0] for each in STOREYS)
    line = " < ".join(rooms)
    assert [str(page) for page in PAGES if "cluster <" in read(page)] == ["docs/development.md"]
    assert f"\n    {line}\n" in read(Path("docs/development.md"))


@pytest.fixture(scope="module")
def said() -> set[str]:
    """Give all texts of the product; of an f-string the parts between what is put in."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        found |= {
            node.value.strip(" :")
            for node in nodes
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        }
    return found


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_sentence_that_is_quoted_is_said(page: Path, said: set[str]) -> None:
    """What stands between the "…" of a quotation is in a text of a program."""
    for quoted in sorted(set(_A_QUOTE.findall(read(page)))):
        parts = [part.strip(" :") for part in quoted.split("…") if part.strip(" :")]
        assert all(is_said(part, said) for part in parts), quoted
        assert quoted == "…" or any(len(part) >= LEAST_QUOTED or part in said for part in parts), (
            quoted
        )


def is_said(part: str, said: set[str]) -> bool:
    """Return whether a part is in one text, or goes from one to the next, as in an error's what,
    why and advice; short pieces of it have to be whole texts."""
    if any(part in each for each in said):
        return True
    for at in range(1, len(part)):
        left, right = part[:at].strip(" :"), part[at:].strip(" :")
        if part[at] not in " :" or not left or not right:
            continue
        is_enough = len(right) >= LEAST_QUOTED or right in said
        if is_enough and is_whole(left, said) and is_said(right, said):
            return True
    return False


def is_whole(piece: str, said: set[str]) -> bool:
    """Return whether a text is this, or ends with it where it is long enough to be known."""
    return piece in said or (
        len(piece) >= LEAST_QUOTED and any(each.endswith(piece) for each in said)
    )


@pytest.mark.parametrize(
    ("quoted", "ours"),
    [
        ("did not appear within", True),
        ("attached", True),
        ("SP_OURID is missing in", True),
        ("did not appear in", False),
        ("there is no StorPool here", False),
    ],
)
def test_the_search_for_sentences_finds_them(quoted: str, ours: bool, said: set[str]) -> None:
    """Words that are all ours do not make a sentence of ours."""
    assert is_said(quoted, said) is ours


def test_every_log_that_is_named_is_written(said: set[str]) -> None:
    """And logrotate knows it."""
    rotated = "".join(read(page) for page in SETTINGS if "logrotate.d" in str(page))
    for page in PAGES:
        for log in set(_A_LOG.findall(read(page))) - OTHERS_LOGS:
            assert log in rotated or Path(log).parent / "*.log" in map(Path, rotated.split()), log
            assert any(Path(log).stem in each for each in said), log


def test_the_verbs_that_are_told_are_those_that_there_are() -> None:
    """The table of docs/verbs.md has a row for each verb of the adapter, and no other."""
    section = read(Path("docs/verbs.md")).partition("\n## The verbs\n")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(told) == sorted(verbs.VERBS)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_word_that_selects_tests_selects_some(page: Path) -> None:
    """`pytest FILE -k WORD` on a line to be typed."""
    for path, word in re.findall(r"pytest (\S+) -k (\w+)", read(page)):
        assert re.search(rf"def test_\w*{word}", read(Path(path))), word


def test_the_picture_of_the_rooms_is_what_they_import() -> None:
    """Each arrow is an import that there is, and each import is an arrow, or several in a row."""
    picture = read(Path("docs/development.md")).partition("```mermaid\n")[2].partition("```")[0]
    drawn = {
        (upper, lower)
        for left, right in re.findall(r"^ +(\w+(?: & \w+)*) --> (\w+(?: & \w+)*)$", picture, re.M)
        for upper in left.split(" & ")
        for lower in right.split(" & ")
        if upper != "cinder"
    }
    real = {(room(module), room(each)) for module, path in FILES.items() for each in ours(path)}
    assert drawn <= real
    reached = set(drawn)
    for _ in STOREYS:
        reached |= {(upper, last) for upper, to in reached for lower, last in drawn if to == lower}
    assert {each for each in real if each[0] != each[1]} <= reached


def test_the_findings_that_are_told_are_those_that_there_are() -> None:
    """The table of docs/audit.md has each kind, and no other."""
    section = read(Path("docs/audit.md")).partition("| finding | what it is |")[2]
    rows = re.findall(r"^\| ([^|]+?) \|", section.partition("\n\n")[0], re.MULTILINE)
    told = {kind for row in rows for kind in row.split(", ")} - {"---"}
    words = {
        value for name, value in vars(findings).items() if name.isupper() and isinstance(value, str)
    }
    severities = {findings.INFO, findings.WARNING, findings.CRITICAL}
    actions = {
        *("settle", "delete", "detach", "retag", "resize", "follow"),
        *("discard", "keep", "end", "purge"),
    }
    assert told == words - severities - actions
