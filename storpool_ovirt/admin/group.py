"""The commands of `storpool-ovirt` as click has them; each is loaded when it is run."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click import shell_completion

import storpool_ovirt
from storpool_ovirt import names, option_values
from storpool_ovirt.admin import commands, console, options


class Commands(click.Group):
    """The table of commands: none is loaded for the list of all."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names of those that are here."""
        return list(commands.listed())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Return a command; None where there is no such one."""
        if cmd_name not in commands.TABLE:
            return None
        return _strict(commands.loaded(cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant; fail with the name that is nearest to what was typed.

        Click looks for that among those that are loaded, which are none.
        """
        name = str(args[0])
        if name in commands.TABLE or name.startswith("-"):
            return super().resolve_command(ctx, args)
        meant = option_values.nearest(name, self.list_commands(ctx))
        advice = f"Did you mean {meant}?" if meant else f"{ctx.command_path} --help has all."
        return ctx.fail(f"No such command: {names.shown(name)}. {advice}")

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[shell_completion.CompletionItem]:
        """Return how a word may go on that is a command, or an option of all.

        The names are the table's: click would load each command for them.
        """
        found = [
            shell_completion.CompletionItem(name, help=about)
            for name, about in commands.listed().items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        """Write the list of all from the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(commands.listed().items()))


def _strict(command: click.Command) -> click.Command:
    """Have a command, and those below it, take no empty text; a shell completes the names of
    files."""
    for parameter in command.params:
        if parameter.type is click.STRING:
            parameter.type = options.Text()
        if parameter.metavar == "FILE" and type(parameter.type) is options.Text:
            parameter.type = options.File()
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _strict(each)
    return command


def all_of(program: str, about: str) -> click.Group:
    """Return the group of all commands; `about` is what help says of it."""
    made = Commands(
        name=program, help=about, context_settings={"help_option_names": ["-h", "--help"]}
    )
    version = storpool_ovirt.__version__
    click.version_option(version, prog_name=program, message="%(prog)s %(version)s")(made)
    return made


def run(arguments: Sequence[str], out: console.Console, about: str, misused: int) -> int:
    """Run what was typed, and return the exit code: `misused` and a sentence where it is no command
    of ours.

    `about` is what help says of all; a command with commands below it, alone, tells its own, as all
    of this does. Raises KeyboardInterrupt for click's word for it, and what
    the commands raise.
    """
    is_bare = _is_group(arguments)
    words = [*arguments, "--help"] if is_bare else list(arguments)
    try:
        code: int | None = all_of(out.program, about).main(
            words, prog_name=out.program, standalone_mode=False, obj=out
        )
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.ClickException as error:
        return out.complain(" ".join(error.format_message().split()), misused)
    return misused if is_bare else code or 0


def _is_group(arguments: Sequence[str]) -> bool:
    """Return whether this is the name of a command that has others below it, and nothing more."""
    if len(arguments) != 1 or arguments[0] not in commands.TABLE:
        return False
    return isinstance(commands.loaded(arguments[0]), click.Group)
