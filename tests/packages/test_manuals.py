"""The manual pages: one for each program and command, made from what these say of themselves."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import storpool_ovirt
from rigs import built_packages
from rigs.built_packages import PACKAGES, TREE, launchers, query
from storpool_ovirt.admin import group

MANUALS = "packaging/manuals.py"
FOLDER = "/usr/share/man/man8/"
SECONDS = 1_700_000_000
LIMIT_SECONDS = 60
PROGRAMS = [
    line.partition(" = ")[0]
    for line in launchers.entry_points(TREE / "setup.py")["console_scripts"]
    if line.partition(" = ")[0] not in launchers.BY_PIP
]


def written(share: Path, tree: Path = TREE, **environment: str) -> Path:
    """Write the pages of a tree below a folder; return where they are."""
    subprocess.run(
        [sys.executable, MANUALS, "setup.py", str(tree), str(share), str(SECONDS)],
        cwd=tree,
        env={"PATH": "/usr/bin:/bin", **environment},
        check=True,
        timeout=LIMIT_SECONDS,
    )
    return share / "man" / "man8"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the pages of this tree."""
    return written(tmp_path_factory.mktemp("share"))


def walked(command: click.Command, parent: click.Context | None) -> Iterator[click.Context]:
    """Yield the context of a command, and of those below it."""
    settings = command.context_settings
    context = click.Context(command, info_name=command.name, parent=parent, **settings)
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            below.name = name
            yield from walked(below, context)


COMMANDS = {
    each.command_path.replace(" ", "-"): each
    for each in walked(group.all_of("storpool-ovirt", ""), None)
}


def read(page: Path) -> str:
    """Return a page as a person reads it, with blanks for lines and words."""
    built_packages.needed("mandoc")
    done = subprocess.run(
        ["mandoc", "-T", "ascii", "-O", "width=200", str(page)],
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_SECONDS,
    )
    return re.sub(r".\x08", "", done.stdout)


def test_each_program_and_each_command_has_a_page(pages: Path) -> None:
    """Also those that somebody adds tomorrow."""
    names = {each.name for each in pages.iterdir()}
    assert names == {f"{each}.8.gz" for each in (*PROGRAMS, *COMMANDS)}


def test_a_page_is_right_for_both_who_read_it(pages: Path) -> None:
    """mandoc and groff have nothing to say of any."""
    built_packages.needed("mandoc", "man")
    for page in sorted(pages.iterdir()):
        checks = (
            ["mandoc", "-T", "lint", str(page)],
            ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)],
        )
        for command in checks:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
            )
            said = done.stderr + (done.stdout if command[0] == "mandoc" else "")
            assert (done.returncode, said) == (0, "")


def test_apropos_finds_them(pages: Path, tmp_path: Path) -> None:
    """By a word of what they are; whatis by their names."""
    built_packages.needed("mandb", "apropos")
    shutil.copytree(pages, tmp_path / "man8")
    subprocess.run(
        ["mandb", "--quiet", "--create", "--user-db", str(tmp_path)],
        check=True,
        timeout=LIMIT_SECONDS,
    )
    for words, wanted in (
        (["apropos", "lost host"], {"fence_storpool", "storpool-ovirt-fence-host"}),
        (["whatis", "storpool-adapter"], {"storpool-adapter"}),
    ):
        done = subprocess.run(
            [words[0], "--long", "--manpath", str(tmp_path), *words[1:]],
            capture_output=True,
            text=True,
            check=True,
            timeout=LIMIT_SECONDS,
        )
        assert {line.split()[0] for line in done.stdout.splitlines()} == wanted


@pytest.mark.parametrize("name", sorted({*PROGRAMS, *COMMANDS}))
def test_a_page_has_what_one_looks_for(pages: Path, name: str) -> None:
    """In the order of all manual pages, with the version and the day of the source."""
    text = read(pages / f"{name}.8.gz")
    titles = re.findall(r"^[A-Z][A-Z ]+$", text, re.MULTILINE)
    wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "FILES", "SEE ALSO"]
    told = [each for each in wanted if each in titles]
    assert [each for each in titles if each != "COMMANDS"] == told
    assert {"NAME", "SYNOPSIS", "OPTIONS", "EXIT STATUS", "SEE ALSO"} <= {*titles}
    assert f"storpool-ovirt {storpool_ovirt.__version__}" in text
    assert "November 14, 2023" in text or "2023-11-14" in text
    assert re.search(rf"^ +{name} - \w.*\w$", text, re.MULTILINE)
    assert not re.search(r"[`\\]|None|0x[0-9a-f]{6}", text)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_is_told_as_it_is(pages: Path, name: str) -> None:
    """Each of its options and arguments with what it means, each command below it, and all that
    its help tells."""
    context = COMMANDS[name]
    command = context.command
    text = " ".join(read(pages / f"{name}.8.gz").split())
    assert " ".join([context.command_path, *command.collect_usage_pieces(context)]) in text
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        assert record is None or " ".join(" ".join(record).split()) in text, parameter
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            assert f"{name}-{below}(8)" in text
    for sentence in re.split(r"(?<=\.)\s+", command.help or ""):
        assert " ".join(sentence.split()) in text


def test_the_fence_agents_options_are_those_of_its_table(pages: Path) -> None:
    """With the flags and with the words for stdin."""
    from storpool_ovirt.fence import options

    text = " ".join(read(pages / "fence_storpool.8.gz").split())
    for each in options.OPTIONS:
        assert not each.told or f"{each.name}=" in text
        assert all(flag in text for flag in each.flags)
        assert each.same_as or each.meaning in text


def test_two_runs_write_the_same(pages: Path, tmp_path: Path) -> None:
    """Whoever runs it, whenever, and whatever that machine's settings are."""
    other = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "COLUMNS": "40", "ENGINE_LOG": "/x"}
    again = written(tmp_path, **other)
    for page in pages.iterdir():
        assert (again / page.name).read_bytes() == page.read_bytes()


def test_a_new_command_has_a_page_by_itself(tmp_path: Path) -> None:
    """It is a row of the table and a file; so is one with commands of its own."""
    tree = tmp_path / "tree"
    for name in ("packaging", "storpool_ovirt"):
        shutil.copytree(TREE / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TREE / "setup.py", tree)
    table = tree / "storpool_ovirt" / "admin" / "commands" / "__init__.py"
    row = '    "audit": "hold mapping, cluster and hosts against each other",\n'
    assert row in table.read_text()
    table.write_text(table.read_text().replace(row, f'{row}    "greet": "say hello",\n'))
    (table.parent / "greet.py").write_text(
        '''"""It greets."""
import click

@click.group()
def command():
    """Say hello, in words with a \\\\ in them.

    .And a line that begins with a full stop.
    """

@command.command()
@click.option("--name", metavar="WORD", help="Whom.")
def person(name):
    """Say it to 'one'."""
'''
    )
    found = written(tmp_path / "share", tree)
    page = gzip.decompress((found / "storpool-ovirt-greet.8.gz").read_bytes()).decode()
    assert "\\- say hello\n" in page
    text = " ".join(read(found / "storpool-ovirt-greet.8.gz").split())
    assert "in words with a \\ in them. .And a line" in text
    below = " ".join(read(found / "storpool-ovirt-greet-person.8.gz").split())
    assert "storpool-ovirt greet person [OPTIONS]" in below
    assert "--name WORD Whom." in below
    built_packages.needed("mandoc")
    for each in found.glob("*greet*"):
        lint = ["mandoc", "-T", "lint", str(each)]
        done = subprocess.run(lint, capture_output=True, text=True, check=False)
        assert done.stdout == ""


def test_a_page_is_in_the_package_of_its_program(packages: dict[str, Path]) -> None:
    """Packed, as EL has them; those of commands are with the command, but for the demo's, which
    comes with pip alone."""
    found = {}
    for package in PACKAGES:
        paths = query(packages[package], "--list")
        for each in paths:
            if each.startswith(FOLDER):
                found[each[len(FOLDER) : -len(".8.gz")]] = package
                program = each[len(FOLDER) : -len(".8.gz")]
                if program in PROGRAMS:
                    assert f"/usr/libexec/storpool-ovirt/{program}" in paths
        assert {each for each in paths if each.startswith(FOLDER)} <= {
            *query(packages[package], "--docfiles")
        }
    assert found.keys() == {*PROGRAMS, *COMMANDS} - {"storpool-ovirt-demo"}
    assert {found[each] for each in COMMANDS if each in found} == {"admin"}
