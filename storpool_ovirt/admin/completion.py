"""What shells complete of `storpool-ovirt`: click's own scripts, and click's answers to them.

A script of a package is made once, by the click that answers it (packaging/manuals.py); who has
installed with pip asks for one: docs/packages.md.
"""

from __future__ import annotations

from click import shell_completion

from storpool_ovirt.admin import group

# Where a shell looks for the script of a command by itself, below /usr/share.
PLACES = {
    "bash": "bash-completion/completions/storpool-ovirt",
    "fish": "fish/vendor_completions.d/storpool-ovirt.fish",
    "zsh": "zsh/site-functions/_storpool-ovirt",
}


def answer(program: str, variable: str, asked: str) -> int:
    """Write what a shell asks for, such as `bash_complete` or `bash_source`; return the exit code,
    1 for what nobody knows.

    Raises whatever goes wrong.
    """
    return shell_completion.shell_complete(group.all_of(program, ""), {}, program, variable, asked)


def script(program: str, variable: str, shell: str) -> str:
    """Return the script of a shell.

    Not click's `source`, which tells of the bash that is here.
    """
    made = shell_completion.get_completion_class(shell)
    if made is None:
        raise ValueError(f"click knows no shell {shell}")
    complete = made(group.all_of(program, ""), {}, program, variable)
    text = shell_completion.ShellComplete.source(complete)
    # zsh runs such a file for the first Tab of a session, and for the second one again, where
    # click's only says from then on what completes.
    call = f'    {complete.func_name} "$@"\n'
    return text.replace(call, f"    compdef {complete.func_name} {program}\n{call}")
