"""The manual pages of all programs, and what shells complete, from what the programs say of
themselves.

    manuals.py SETUP_PY FOLDER[:FOLDER...] SHARE SECONDS

FOLDERs are where the code and its libraries are, SHARE is the folder that becomes /usr/share, and
SECONDS since 1970 give the day of the pages: two runs over one source write the same. A program of
setup.py gets a page of its own, and so does each command of `storpool-ovirt`: whoever adds one
writes no page. Options and commands come from the objects that they are, the rest from the help.
"""

from __future__ import annotations

import gzip
import inspect
import io
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import launchers
import roff
from roff import Block, Page, Term, Verbatim

LIMIT_SECONDS = 60
STORPOOL_CONF = Term(
    "/etc/storpool.conf",
    "StorPool's settings, with the files in storpool.conf.d: its API, the token, SP_OURID.",
)
ENGINE_CONF = Term(
    "/etc/ovirt-engine/engine.conf.d/", "Engine's settings: where the mapping database is."
)
# These know nothing of StorPool's API.
WITHOUT_STORPOOL = {"storpool-engine-dispatcher", "storpool-engine-divert", "storpool-host-in-use"}
FENCE = "fence_storpool"
ABOUT_ITSELF = (
    Term("--help", "Tell what this program is."),
    Term("--version", "Tell which version this is."),
)
DOCUMENTS = "The pages in /usr/share/doc/storpool-ovirt-common/, of which README.md has a list."
SENTENCES = re.compile(r"(?<=\.) (?=[A-Z`])")


def main(arguments: Sequence[str]) -> None:
    """Write all of it."""
    setup, folders, share, seconds = arguments
    sys.dont_write_bytecode = True
    sys.path[:0] = folders.split(":")
    os.environ.pop("ENGINE_LOG", None)
    os.environ.pop("STORPOOL_OVIRT_ROOT", None)
    import storpool_ovirt
    from storpool_ovirt.admin import command, completion

    day = time.strftime("%Y-%m-%d", time.gmtime(int(seconds)))
    pages = [*programs(Path(setup), folders.split(":")), *commands()]
    place = Path(share, f"man/man{roff.SECTION}")
    place.mkdir(parents=True, exist_ok=True)
    for page in pages:
        others = [each.name for each in pages if _is_near(each.name, page.name)]
        data = roff.text(_with_others(page, others), day, storpool_ovirt.__version__).encode()
        (place / f"{page.name}.{roff.SECTION}.gz").write_bytes(_packed(data))
    for shell, name in completion.PLACES.items():
        file = Path(share, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = completion.script(command.PROGRAM, command.COMPLETE, shell)
        file.write_text(f"{text.rstrip()}\n", encoding="utf-8")


def _packed(data: bytes) -> bytes:
    """Return data as gzip packs them, the same with each Python: `gzip.compress` has changed what
    it writes of the system."""
    made = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=made, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(data)
    return made.getvalue()


def programs(setup: Path, folders: Sequence[str]) -> Iterator[Page]:
    """Yield the pages of the programs without commands, from their help."""
    for line in launchers.entry_points(setup)["console_scripts"]:
        name, _, target = line.partition(" = ")
        if name not in launchers.BY_PIP | {launchers.COMMAND}:
            yield program(name, helped(name, target, folders))


def helped(name: str, target: str, folders: Sequence[str]) -> str:
    """Return what a program says when it is asked for help."""
    module, _, function = target.partition(":")
    code = (
        f"import sys; sys.path[:0] = {list(folders)!r}; sys.argv = [{name!r}, '--help']\n"
        f"from {module} import {function}; sys.exit({function}())"
    )
    done = subprocess.run(
        [sys.executable, "-IB", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    if done.returncode != 0 or not done.stdout.startswith(f"{name}: "):
        raise SystemExit(f"{name} --help does not tell who it is: {done.stdout}{done.stderr}")
    return done.stdout


def program(name: str, text: str) -> Page:
    """Return the page of a program with this help."""
    about, *blocks = blocks_of(text)
    ways = [each for each in blocks if isinstance(each, Verbatim) and _calls(name, each)][:1]
    logs = [each for each in blocks if isinstance(each, str) and each.startswith("Log: ")]
    listed = [each for each in blocks if name == FENCE and str(each).startswith("options: ")]
    told, codes = exit_codes([each for each in blocks if each not in (*ways, *logs, *listed)])
    called = textwrap.dedent("\n".join(ways[0].lines)).split("\n") if ways else [name]
    storpool = [] if name in WITHOUT_STORPOOL else [STORPOOL_CONF]
    return Page(
        name,
        purpose(about),
        [*called, f"{name} --help | --version"],
        [
            ("DESCRIPTION", told),
            ("OPTIONS", [*(fence_options() if name == FENCE else ()), *ABOUT_ITSELF]),
            ("EXIT STATUS", codes),
            ("FILES", [*map(log_file, logs), *storpool]),
        ],
    )


def purpose(first: Block) -> str:
    """Return what the first paragraph of a help says that it is: `name: purpose.`"""
    return str(first).partition(": ")[2].rstrip(".")


def blocks_of(text: str) -> Iterator[str | Verbatim]:
    """Yield the paragraphs of a help; those with indented lines as they are."""
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        lines = part.split("\n")
        if any(line.startswith("  ") for line in lines):
            yield Verbatim(lines)
        else:
            yield " ".join(lines)


def _calls(name: str, block: Verbatim) -> bool:
    """Return whether a block tells how a program is called, and not what its words mean."""
    return all(line.startswith("    ") for line in block.lines) and name in "".join(block.lines)


def exit_codes(blocks: Sequence[str | Verbatim]) -> tuple[list[Block], list[Block]]:
    """Return a description, and what it tells of exit codes: paragraphs that begin with them are
    only there, sentences that mention them are in both."""
    kept: list[Block] = []
    codes: list[Block] = []
    for block in blocks:
        if not isinstance(block, str):
            kept.append(block)
        elif block.startswith("Exit codes: "):
            codes += _listed_codes(block)
        elif block.startswith("The exit code"):
            codes.append(block)
        else:
            kept.append(block)
            codes += [each for each in SENTENCES.split(block) if re.search(r"exit codes?\b", each)]
    return kept, codes


def _listed_codes(paragraph: str) -> Iterator[Block]:
    """Yield the codes of `Exit codes: 0 this; 1 that. And more.`"""
    listed, *rest = SENTENCES.split(paragraph.partition(": ")[2])
    for each in re.split(r"; (?=\d)", listed.rstrip(".")):
        number, _, meaning = each.partition(" ")
        yield Term(number, f"{meaning}.")
    yield from rest


def log_file(told: str) -> Term:
    """Return the file of the paragraph that says where a log is."""
    name, _, rest = told.partition("Log: ")[2].partition(",")
    return Term(name, f"The log,{rest}")


def fence_options() -> Iterator[Term]:
    """Yield the options of the fence agent, from its own table."""
    from storpool_ovirt.fence import options

    for each in options.OPTIONS:
        if not each.told or each.same_as:
            continue
        flags = options.mixed(each).replace("[", "").replace("]", "") if each.flags else ""
        lines = " or ".join(f"`{name}=`" for name in options.names_of(each.name))
        default = f" Without it: {each.default}." if each.default else ""
        yield Term(flags or f"{each.name}=", f"{each.meaning}.{default} On stdin {lines}.")


def commands() -> Iterator[Page]:
    """Yield the pages of `storpool-ovirt`: its own, and one for each of its commands."""
    from storpool_ovirt import config, introduction
    from storpool_ovirt.admin import command, group

    about, *blocks = blocks_of(command.__doc__ or "")
    _, codes = exit_codes(blocks)
    whole = group.all_of(command.PROGRAM, command.__doc__ or "")
    log = log_file(introduction.log(config.engine_log(command.PROGRAM)))
    for each, context in walked(whole, None):
        told, own = exit_codes([*blocks_of(_help(each))])
        yield Page(
            context.command_path.replace(" ", "-"),
            purpose(about) if each is whole else _short(each, context),
            [" ".join([context.command_path, *each.collect_usage_pieces(context)])],
            [
                ("DESCRIPTION", told[1:] if each is whole else told),
                ("COMMANDS", [*_commands(each, context)]),
                ("OPTIONS", [*_options(each, context)]),
                ("EXIT STATUS", own or codes),
                ("FILES", [log, *_files(each)]),
            ],
        )


def walked(command: Any, parent: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a command of click's and those below it, each with a context."""
    context = command.context_class(
        command, info_name=command.name, parent=parent, **command.context_settings
    )
    yield command, context
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        found = command.get_command(context, name)
        found.name = name
        yield from walked(found, context)


def _help(command: Any) -> str:
    """Return a command's own help; what click is not to wrap has a mark that is click's."""
    return inspect.cleandoc(command.help or "").replace("\b\n", "")


def _short(command: Any, context: Any) -> str:
    """Return what a command is in half a sentence: the table's words, or its own."""
    from storpool_ovirt.admin import commands as table

    own = table.TABLE.get(command.name) if context.parent.parent is None else None
    return own or SENTENCES.split(" ".join(_help(command).split()))[0].rstrip(".")


def _commands(command: Any, context: Any) -> Iterator[Term]:
    for each, below in walked(command, context.parent):
        if below.parent is not None and below.parent.command is command:
            yield Term(each.name, f"{_short(each, below)}.")


def _options(command: Any, context: Any) -> Iterator[Term]:
    for each in command.get_params(context):
        record = each.get_help_record(context)
        if record is not None:
            yield Term(*record)


def _files(command: Any) -> Iterator[Term]:
    """Yield the files that the options of a command stand in for."""
    names = {name for each in command.params for name in each.opts}
    if "--options" in names:
        yield STORPOOL_CONF
    if "--database" in names:
        yield ENGINE_CONF


def _is_near(name: str, other: str) -> bool:
    """Return whether a page is to be named on another one: on that of a command its relatives, on
    others all programs."""
    related = name.startswith(f"{other}-") or other.startswith(f"{name}-")
    of_commands = (each.startswith(f"{launchers.COMMAND}-") for each in (name, other))
    return name != other and (related or not any(of_commands))


def _with_others(page: Page, others: Sequence[str]) -> Page:
    told = ", ".join(f"`{each}`({roff.SECTION})" for each in sorted(others))
    return page._replace(sections=[*page.sections, ("SEE ALSO", [f"{told}.", DOCUMENTS])])


if __name__ == "__main__":
    main(sys.argv[1:])
