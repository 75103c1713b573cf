"""registration.py and the command: os-brick's factory in fresh processes of a Python of its own."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import brick_rig
import pytest
from os_brick.initiator import connector as factory

from cinder_driver import __main__ as command
from cinder_driver import registration
from rigs.core_fixtures import GIB, Core
from storpool_ovirt.cluster import volumes
from storpool_ovirt.cluster.plans import Owner, Plan

PROJECT = Path(registration.__file__).parent.parent
LOOK = (
    "from os_brick.initiator import connector;"
    " print(connector.get_connector_mapping('x86_64')['STORPOOL'])"
)

# What Vdsm's own helper does for a volume without `adapter` (oVirt's vdsm, managedvolume-helper).
VDSM = """
import json, sys
from os_brick.initiator import connector
data = json.loads(sys.argv[1])
props = connector.get_connector_properties(None, None, True, True)
made = connector.InitiatorConnector.factory(
    "storpool", None, use_multipath=props["multipath"], device_scan_attempts=3, conn=props)
attachment = made.connect_volume(data)
read = open(attachment["path"]).read(4)
print(json.dumps([type(made).__module__, props.get("storpool_client_id"), attachment, read]))
made.disconnect_volume(data, attachment, force=False, ignore_errors=False)
"""


# The stock connector of older releases imports StorPool's binding, which says this where simplejson
# is absent.
BINDINGS_GREETING = "simplejson unavailable, fall-back to standard python json\n"


@dataclass
class Python:
    """A Python with libraries of its own, which are those of this one and this project."""

    folder: Path

    @property
    def site_packages(self) -> Path:
        """Where its .pth files are."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it in a fresh process."""
        return subprocess.run(
            [str(self.folder / "bin" / "python"), *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "ignore", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd="/",
        )

    def command(self, action: str) -> tuple[int, str, str]:
        """Run the command with one action: exit code, stdout, stderr."""
        done = self.run("-m", "cinder_driver", action)
        return done.returncode, done.stdout, done.stderr

    def said(self, code: str, **environment: str) -> str:
        """Run code that has to succeed without a word on stderr."""
        done = self.run("-c", code, **environment)
        assert (done.returncode, done.stderr.replace(BINDINGS_GREETING, "")) == (0, ""), done
        return done.stdout.strip()


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Give a Python on which nothing is registered."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "python")], check=True
    )
    made = Python(tmp_path / "python")
    paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(PROJECT)]
    (made.site_packages / "0-libraries.pth").write_text("\n".join(dict.fromkeys(paths)) + "\n")
    return made


def test_the_command_registers_for_all_processes_to_come(python: Python) -> None:
    """install, status and remove say what a fresh process gets, and their exit codes tell whether
    it is as asked."""
    file = python.site_packages / command.FILE
    assert python.said(LOOK) == registration.STOCK
    assert python.command("status")[0] == 1
    code, out, err = python.command("install")
    assert (code, err) == (0, "")
    assert out.endswith(f"os-brick's connector for storpool is {registration.CONNECTOR} ({file})\n")
    assert python.said(LOOK) == registration.CONNECTOR
    assert python.command("install") == (0, out, "")
    assert python.command("status") == (0, out, "")
    assert python.command("remove")[0] == 0
    assert (file.exists(), python.said(LOOK)) == (False, registration.STOCK)
    assert python.command("remove")[0] == 0


def test_a_folder_that_cannot_be_written_is_told(python: Python) -> None:
    """The command says which file it could not write, in one sentence."""
    done = python.run("-m", "cinder_driver", "install", "--folder", "/proc/nowhere")
    assert done.returncode == 1
    assert (
        done.stderr
        == f"/proc/nowhere/{command.FILE} cannot be changed (No such file or directory): run this"
        " as its owner\n"
    )


def test_a_link_in_the_files_place_is_replaced_not_followed(python: Python, tmp_path: Path) -> None:
    """What somebody left there as a link, or as a file that others can write, is ours and plain
    after the install."""
    file, victim = python.site_packages / command.FILE, tmp_path / "victim"
    victim.write_text("not ours\n")
    for leave in (lambda: file.symlink_to(victim), lambda: file.write_text("import sys\n" * 9)):
        file.unlink(missing_ok=True)
        leave()
        if file.is_file() and not file.is_symlink():
            file.chmod(0o666)
        assert python.command("install")[0] == 0
        assert (victim.read_text(), file.read_text(), file.is_symlink()) == (
            "not ours\n",
            command.LINE,
            False,
        )
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert sorted(each.name for each in python.site_packages.iterdir()) == [
        "0-libraries.pth",
        command.FILE,
    ]


def test_the_file_is_readable_whatever_the_umask(
    python: Python, monkeypatch: pytest.MonkeyPatch
) -> None:
    """root's umask may be 077: the services that run this Python are other users."""
    before = os.umask(0o077)
    try:
        assert command.main(["install", "--folder", str(python.site_packages)]) in (
            0,
            1,
        )  # this Python's own may differ
    finally:
        os.umask(before)
    assert stat.S_IMODE((python.site_packages / command.FILE).stat().st_mode) == 0o644


def test_a_write_that_fails_leaves_what_was_there(
    python: Python, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk: the old file is whole, no piece of the new one lies about, and the sentence says
    why."""
    file = python.site_packages / command.FILE
    file.write_text("old\n")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert command.main(["install", "--folder", str(python.site_packages)]) == 1
    assert capsys.readouterr().err.endswith(
        "cannot be changed (No space left on device): run this as its owner\n"
    )
    assert {each.name for each in python.site_packages.iterdir()} == {
        "0-libraries.pth",
        command.FILE,
    }
    assert file.read_text() == "old\n"


def test_the_look_takes_nothing_from_where_it_was_started(python: Python, tmp_path: Path) -> None:
    """Another user's folder, or a variable of the environment, puts no code of its own into what
    root asks for."""
    python.command("install")
    trap = tmp_path / "trap"
    (trap / "os_brick").mkdir(parents=True)
    (trap / "os_brick" / "__init__.py").write_text("raise SystemExit('trapped')\n")
    code = (
        f"import os; os.chdir({str(trap)!r}); from cinder_driver.__main__ import main;"
        " exit(main(['status']))"
    )
    done = python.run(
        "-c", code, PYTHONPATH=str(trap), PYTHONSTARTUP=str(trap / "os_brick" / "__init__.py")
    )
    assert (done.returncode, "trapped" in done.stdout + done.stderr) == (0, False), done


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("exit 3", "not there (exit code 3)"),
        ("echo one >&2; printf 'two\\033[31m\\n' >&2; exit 1", "not there (two\\x1b[31m)"),
        ("exec sleep 30", "timed out after"),
    ],
)
def test_a_python_that_answers_oddly_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    says: str,
    told: str,
) -> None:
    """No words, control characters, or no answer at all: one line, exit code 1, within a limit."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(command, "LOOK_SECONDS", 2.0)
    assert command.main(["status", "--folder", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert told in out
    assert out.rstrip("\n").isprintable()


def test_an_os_brick_that_we_do_not_know_works_all_the_same(python: Python) -> None:
    """Its module has other lists than ours: importing it succeeds, and our log says what is
    missing."""
    python.command("install")
    newer = python.site_packages / "os_brick"
    (newer / "initiator").mkdir(parents=True)
    (newer / "__init__.py").touch()
    (newer / "initiator" / "__init__.py").touch()
    (newer / "initiator" / "connector.py").write_text("CONNECTORS = {'ISCSI': 'their.Class'}\n")
    done = python.run("-c", "from os_brick.initiator import connector; print(connector.CONNECTORS)")
    assert (done.returncode, done.stdout) == (0, "{'ISCSI': 'their.Class'}\n"), done
    assert done.stderr.startswith("os-brick has no such lists of connectors as we know")
    assert python.command("status")[0] == 1


def test_python_starts_as_before(python: Python) -> None:
    """The registration loads two small modules at a start of Python, and nothing of os-brick."""
    loaded = "import sys; print(*sorted(sys.modules))"
    before = set(python.said(loaded).split())
    python.command("install")
    assert set(python.said(loaded).split()) - before <= {
        "cinder_driver",
        "cinder_driver.registration",
        "__future__",
    }


def test_a_package_that_was_removed_leaves_no_noise(python: Python) -> None:
    """When only the .pth file is left, Python starts without a word, and os-brick has its own
    connector again."""
    python.command("install")
    (python.site_packages / "0-libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    libraries = {path.name for path in Path(sysconfig.get_path("purelib")).iterdir()}
    if "cinder_driver" in libraries:
        pytest.skip(
            "this project is installed in site-packages itself: it cannot be removed for one test"
        )
    assert python.said(LOOK) == registration.STOCK


def test_the_registration_survives_an_upgrade_of_os_brick(python: Python) -> None:
    """Another os_brick that comes first on the path is registered with as well: nothing of ours
    lies in its files."""
    python.command("install")
    upgraded = python.site_packages / "os_brick"
    (upgraded / "initiator").mkdir(parents=True)
    (upgraded / "__init__.py").touch()
    (upgraded / "initiator" / "__init__.py").touch()
    (upgraded / "initiator" / "connector.py").write_text(
        "_connector_mapping_linux = {'STORPOOL': 'new.Class'}\nunix_connector_list ="
        " ['new.Class']\ndef get_connector_mapping(arch=None):\n    return"
        " _connector_mapping_linux\n"
    )
    assert python.said(f"{LOOK}; print(connector.unix_connector_list)").split("\n") == [
        registration.CONNECTOR,
        f"['new.Class', '{registration.CONNECTOR}']",
    ]


def test_register_is_repeatable_and_replaces_the_stock_connector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In this process: the factory's class and the list of those that are asked for properties,
    each once."""
    monkeypatch.setattr(factory, "_connector_mapping_linux", dict(factory._connector_mapping_linux))
    monkeypatch.setattr(factory, "unix_connector_list", list(factory.unix_connector_list))
    for register in (registration.register, registration.arm, registration.register):
        register()
        assert factory.unix_connector_list.count(registration.CONNECTOR) == 1
        assert registration.STOCK not in factory.unix_connector_list
    made = factory.InitiatorConnector.factory(
        "storpool", None, use_multipath=False, device_scan_attempts=3, conn={}
    )
    assert f"{type(made).__module__}.{type(made).__name__}" == registration.CONNECTOR


def test_arming_twice_adds_one_finder(python: Python) -> None:
    """Every import asks each finder once: there is never more than one of ours."""
    code = (
        "import sys; from cinder_driver import registration as r; r.arm(); r.arm();"
        " print(sum(type(each).__module__ == r.__name__ for each in sys.meta_path)); r.register();"
        " r.arm(); " + LOOK
    )
    assert python.said(code) == f"1\n{registration.CONNECTOR}"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as Vdsm's helper does")
def test_vdsms_own_helper_gets_our_connector(python: Python, tmp_path: Path) -> None:
    """oVirt's stock path: exactly the calls of Vdsm's default helper, in a fresh process, on a
    registered host."""
    python.command("install")
    programs = tmp_path / "bin"
    programs.mkdir()
    # Programs of a host that this machine may lack: os-brick asks for both before it looks at
    # StorPool.
    for name, text in (("sudo", 'exec "$@"'), ("multipathd", "echo path checker states:")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    root = tmp_path / "host1"
    with brick_rig.cluster(tmp_path, root) as core:
        info = _volume(core)
        environment = {
            "STORPOOL_OVIRT_ROOT": str(root),
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = python.run("-c", VDSM, json.dumps(info), **environment)
        assert done.returncode == 0, done.stderr
        path = f"{root}/dev/storpool-byid/{info['global_id']}"
        assert json.loads(done.stdout) == [
            "cinder_driver.connector",
            1,
            {"type": "block", "path": path},
            "\0" * 4,
        ]
        assert core.client().attachments() == []
        assert core.queries().count("VolumesReassignWait") == 2


def _volume(core: Core) -> brick_rig.Info:
    global_id = volumes.create(core.client(), Plan(Owner("os--volume-v1"), GIB))
    return {"client_id": 1, "volume": "v1", "access_mode": "rw", "global_id": global_id}
