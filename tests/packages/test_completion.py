"""What shells complete of `storpool-ovirt`, by the scripts that are in the packages."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import package_root
import pytest
import typing_shell

from ovirt_demo import children
from rigs import built_packages
from rigs.built_packages import TREE
from storpool_ovirt.admin import commands

VARIABLE = "_STORPOOL_OVIRT_COMPLETE"
PATH = f"{children.find('storpool-ovirt').parent}:/usr/bin:/bin"
LIMIT_SECONDS = 60
SCRIPTS = {
    "bash": "bash-completion/completions/storpool-ovirt",
    "fish": "fish/vendor_completions.d/storpool-ovirt.fish",
    "zsh": "zsh/site-functions/_storpool-ovirt",
}


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/usr/share, as the program of the packages fills it."""
    folder = tmp_path_factory.mktemp("share")
    words = ["setup.py", str(TREE), str(folder), "0"]
    subprocess.run(
        [sys.executable, "packaging/manuals.py", *words],
        cwd=TREE,
        check=True,
        timeout=LIMIT_SECONDS,
    )
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where somebody types, beside a file."""
    (tmp_path / "options.json").write_text("{}")
    return tmp_path


def typed(shell: str, share: Path, folder: Path, line: str) -> list[str]:
    """Return the words that a line has become that was typed in a shell."""
    built_packages.needed(shell)
    script = share / SCRIPTS[shell]
    start, before = {
        "bash": (["bash", "--norc", "--noprofile", "-i"], f"source {script}"),
        "zsh": (
            ["zsh", "-f", "-i"],
            f"fpath=({script.parent} $fpath); bindkey -e; autoload -U compinit; compinit -u -D",
        ),
    }[shell]
    return typing_shell.completed(start, before, line, folder, PATH=PATH)


LINES = {
    "aud\t": "audit",
    "--vers\t": "--version",
    "reconcile --dr\t": "reconcile --dry-run",
    "audit --options opt\t": "audit --options options.json",
    "audit --opt\topt\t": "audit --options options.json",
    "audit --options ./opt\t--js\t": "audit --options ./options.json --json",
    "mend \tx": "mend x",
    "setup e\t--tok\topt\t": "setup engine --token-file options.json",
    "nonsense --opt\t": "nonsense --opt",
}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.replace("\t", "<Tab>"))
def test_a_line_goes_on(shell: str, line: str, share: Path, folder: Path) -> None:
    """Commands, their options, and files for the options that are files; what nobody knows stays
    as it was typed."""
    words = typed(shell, share, folder, f"storpool-ovirt {line}")
    assert words == ["storpool-ovirt", *LINES[line].split()]


def test_zsh_completes_each_time(share: Path, folder: Path) -> None:
    """Its second Tab of a session too, for which click's own script does nothing."""
    line = "\x15".join(f"storpool-ovirt {each}\t" for each in ("aud", "cla", "att"))
    assert typed("zsh", share, folder, line) == ["storpool-ovirt", "attachments"]
    line = "\x15".join(f"storpool-ovirt {each}\t" for each in ("aud", "cla"))
    assert typed("zsh", share, folder, line) == ["storpool-ovirt", "claim"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("storpool-ovirt cl", {"claim"}),
        ("storpool-ovirt audit --js", {"--json"}),
        ("storpool-ovirt audit --options opt", {"options.json"}),
    ],
)
def test_fish_completes(share: Path, folder: Path, line: str, wanted: set[str]) -> None:
    """By the script in the folder where it looks for those of vendors."""
    built_packages.needed("fish")
    done = subprocess.run(
        ["fish", "-c", f"complete -C '{line}'"],
        cwd=folder,
        env={
            "HOME": str(folder),
            "PATH": PATH,
            "XDG_DATA_DIRS": f"{share}:/usr/share",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_SECONDS,
    )
    assert {each.partition("\t")[0] for each in done.stdout.splitlines()} == wanted


def asked(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ask as the script of bash does: for the last of the words, which is incomplete."""
    return subprocess.run(
        [children.find("storpool-ovirt")],
        env={
            VARIABLE: "bash_complete",
            "COMP_WORDS": "\n".join(["storpool-ovirt", *words]),
            "COMP_CWORD": str(len(words)),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )


def test_nothing_is_asked_or_written(tmp_path: Path) -> None:
    """No cluster, though there is one to ask; no log, though it could be opened."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        conf = tmp_path / "etc" / "storpool.conf"
        conf.parent.mkdir()
        port = server.getsockname()[1]
        conf.write_text(f"SP_API_HTTP_HOST=127.0.0.1\nSP_API_HTTP_PORT={port}\nSP_AUTH_TOKEN=1\n")
        (tmp_path / "var" / "log" / "ovirt-engine" / "managedblock").mkdir(parents=True)
        before = sorted(tmp_path.rglob("*"))
        for name in ("", *commands.TABLE):
            for word in ("", "-", "x"):
                words = (name, word) if name else (word,)
                done = asked(*words, STORPOOL_OVIRT_ROOT=str(tmp_path))
                assert (done.returncode, done.stderr) == (0, ""), words
        with pytest.raises(BlockingIOError):
            server.accept()
    assert sorted(tmp_path.rglob("*")) == before


def test_names_load_no_command() -> None:
    """Each Tab starts Python: names and what they mean come from the table."""
    code = (
        "import sys; from storpool_ovirt.admin import command\n"
        "command.main(['storpool-ovirt'])\n"
        "print([each for each in sys.modules if each.startswith('storpool_ovirt.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={VARIABLE: "zsh_complete", "COMP_WORDS": "storpool-ovirt a", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_SECONDS,
    )
    lines = done.stdout.splitlines()
    assert lines[:3] == ["plain", "attachments", commands.TABLE["attachments"]]
    assert "storpool_ovirt.admin.commands'" in lines[-1]
    assert not re.search(r"admin\.commands\.|\.cluster|\.engine", lines[-1])


@pytest.mark.parametrize(
    "environment",
    [
        {VARIABLE: "powershell_complete"},
        {VARIABLE: "nonsense"},
        {"COMP_WORDS": "storpool-ovirt '"},
        {"COMP_CWORD": "x"},
        {"COMP_CWORD": "99"},
    ],
    ids=str,
)
def test_what_it_does_not_understand_is_no_word_to_who_types(environment: dict[str, str]) -> None:
    """A line that cannot go on stays as it is."""
    done = asked("nonsense", "a", **environment)
    assert done.stderr == ""
    assert "Traceback" not in done.stdout


@pytest.fixture
def root(installed: Callable[[str], package_root.Root], tmp_path: Path) -> package_root.Root:
    """A host with the packages, and bash."""
    tmp_path.chmod(0o755)
    made = installed("host").copy(tmp_path / "root")
    bash = shutil.which("bash")
    assert bash is not None
    shutil.copy(bash, made.path("/usr/bin/bash"))
    return made


def test_the_script_of_the_package_asks_the_program_of_the_package(root: package_root.Root) -> None:
    """Where bash looks for it, with the click that the package has, whatever the user may read."""
    ask = (
        f"source /usr/share/{SCRIPTS['bash']}; COMP_CWORD=$#;"
        ' COMP_WORDS=(storpool-ovirt "$@");'
        ' _storpool_ovirt_completion storpool-ovirt; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    before = root.files()
    for user in ("root", "vdsm"):
        for words, wanted in ((["rec"], ["reconcile"]), (["audit", "--js"], ["--json"])):
            done = root.run("/usr/bin/bash", "-c", ask, "bash", *words, user=user)
            assert (done.stdout.split(), done.stderr) == (wanted, ""), words
        names = root.run("/usr/bin/bash", "-c", ask, "bash", "", user=user).stdout.split()
        assert names == sorted(commands.TABLE.keys() - {"demo"})
    assert root.files() == before


def test_the_scripts_are_those_of_the_bundled_click(root: package_root.Root) -> None:
    """What asks and what answers are of one release: each script is there, and can be read."""
    for shell, name in SCRIPTS.items():
        text = root.path(f"/usr/share/{name}").read_text()
        assert f"{VARIABLE}={shell}_complete" in text
        if shutil.which(shell):
            checked = subprocess.run(
                [shell, "-n"], input=text, text=True, check=False, timeout=LIMIT_SECONDS
            )
            assert checked.returncode == 0, shell
