"""The programs of an installation by package, made from the console_scripts of setup.py.

    launchers.py SETUP_PY CODE_FOLDER BUILDROOT PROGRAMS_FOLDER
    launchers.py --metadata SETUP_PY VERSION DIST_INFO_FOLDER

Each is a few lines for the Python of the system, without what else is installed there: `-I` keeps
the environment and the starter's folder out, `-S` saves the 2 ms that site-packages take at each
start, and what a broken .pth file there would write to stderr, which Engine reads; `-B` leaves
compiled code to the package. The second form is for Cinder's Python: which options we have.
Standard library only, as it runs where packages are built.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

# For these the packages have no program: what they need comes with pip.
BY_PIP = {"storpool-simulator"}
# Who has the database, and whose libraries are beyond those that all have.
WITH_DATABASE = {"storpool-adapter", "storpool-ovirt"}
COMMAND = "storpool-ovirt"
LAUNCHER = """\
#!/usr/bin/python3 -ISB
import sys

sys.path[:0] = [{folders}]
{database}from {module} import {function}

sys.exit({function}())
"""
# psycopg2 is the distribution's, compiled, so in the folder of compiled modules.  Pure ones are in
# another: a StorPool binding of somebody else's there is never taken for ours.
DATABASE = """\
sys.path.append(
    f"{sys.prefix}/{sys.platlibdir}/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
)
"""


def entry_points(setup: Path) -> dict[str, list[str]]:
    """Return the entry points of setup.py, by group: each as `name = module:function`."""
    for node in ast.walk(ast.parse(setup.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "entry_points":
            found = ast.literal_eval(node.value)
            return {str(group): [str(each) for each in lines] for group, lines in found.items()}
    raise SystemExit(f"{setup} has no entry_points")


def launcher(code: str, name: str, target: str) -> str:
    """Return the text of a program."""
    module, _, function = target.partition(":")
    folders = [code, f"{code}/bundled"]
    if name == COMMAND:
        folders.append(f"{code}/bundled-admin")
    return LAUNCHER.format(
        folders=", ".join(f'"{each}"' for each in folders),
        database=DATABASE if name in WITH_DATABASE else "",
        module=module,
        function=function,
    )


def write_programs(setup: Path, code: str, folder: Path) -> None:
    """Write all programs that packages have."""
    folder.mkdir(parents=True, exist_ok=True)
    for line in entry_points(setup)["console_scripts"]:
        name, _, target = line.partition(" = ")
        if name not in BY_PIP:
            (folder / name).write_text(launcher(code, name, target), encoding="utf-8")
            (folder / name).chmod(0o755)


def write_metadata(setup: Path, version: str, folder: Path) -> None:
    """Write what oslo.config looks for: the entry points of Cinder's options, and no more."""
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: storpool-ovirt\nVersion: {version}\n", encoding="utf-8"
    )
    group = "oslo.config.opts"
    lines = "\n".join(entry_points(setup)[group])
    (folder / "entry_points.txt").write_text(f"[{group}]\n{lines}\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Write what is asked for."""
    if arguments[0] == "--metadata":
        setup, version, folder = arguments[1:]
        write_metadata(Path(setup), version, Path(folder))
    else:
        setup, code, buildroot, programs = arguments
        write_programs(Path(setup), code, Path(buildroot + programs))


if __name__ == "__main__":
    main(sys.argv[1:])
