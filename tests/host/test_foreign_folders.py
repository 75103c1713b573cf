"""Programs of root's whose logs and files lie in folders of other users, who gain nothing by what
they put there."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from ovirt_demo import children
from rigs.host_files import NODE
from storpool_ovirt import config, option_table
from storpool_ovirt.admin import access
from storpool_ovirt.engine import adapter
from storpool_ovirt.fence import agent
from storpool_ovirt.host import boot_hook, helper
from storpool_ovirt.secret import Secret

USER = 54321  # in no list of users
SECONDS = 20.0  # no program here asks anybody: each ends at once, on a machine that is busy
SETTINGS = (
    f"SP_API_HTTP_HOST=127.0.0.1\nSP_API_HTTP_PORT=1\n"
    f"SP_AUTH_TOKEN=1556560560218011653\n[{NODE}]\nSP_OURID=1\n"
)
SECRET = "root:*:1:0:99999:7:::\n"


class Program(NamedTuple):
    """A program, how it is run so that it writes its log and ends, where that log is, and how it
    ends."""

    name: str
    arguments: tuple[str, ...]
    log: str
    code: int


PROGRAMS = (
    Program(helper.PROGRAM, ("attach",), config.HELPER_LOG, 1),
    Program(boot_hook.PROGRAM, (), config.HELPER_LOG, 0),
    Program(agent.PROGRAM, (), agent.LOG_FILE, 1),
    Program(
        adapter.PROGRAM,
        ("no-verb",),
        f"{config.ENGINE_LOG_FOLDER}/managedblock/storpool-adapter.log",
        1,
    ),
    Program(
        "storpool-ovirt",
        ("fence-host", "nobody"),
        f"{config.ENGINE_LOG_FOLDER}/managedblock/storpool-ovirt.log",
        1,
    ),
)


@dataclass(frozen=True)
class Place:
    """A host that is a folder, one of whose folders is another user's, and a file of root's beside
    it."""

    root: Path
    secret: Path

    def log(self, program: Program) -> Path:
        """Return where the program's log is, in a folder that was made for it."""
        path = Path(f"{self.root}{program.log}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.own(path.parent)
        return path

    def own(self, path: Path) -> None:
        """Give something to the user, where that is possible."""
        if os.geteuid() == 0:
            os.chown(path, USER, USER, follow_symlinks=False)

    def run(self, program: Program) -> None:
        """Run it and check that it ended as it should, in time."""
        began = time.monotonic()
        done = subprocess.run(
            [str(children.find(program.name)), *program.arguments],
            input=b"",
            capture_output=True,
            check=False,
            timeout=SECONDS,
            env={"STORPOOL_OVIRT_ROOT": str(self.root), "PATH": os.environ["PATH"]},
        )
        assert done.returncode == program.code, done
        assert b"Traceback" not in done.stdout + done.stderr
        assert b"internal error" not in done.stdout + done.stderr
        assert time.monotonic() - began < SECONDS

    def check_secret(self) -> None:
        """Check that root's file is as it was, and alone in its folder."""
        facts = self.secret.stat()
        assert (facts.st_uid, facts.st_mode & 0o777, self.secret.read_text()) == (
            os.geteuid(),
            0o600,
            SECRET,
        )
        assert [path.name for path in self.secret.parent.iterdir()] == [self.secret.name]


@pytest.fixture
def place() -> Iterator[Place]:
    """Give such a host."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        root, secret = Path(folder, "host"), Path(folder, "roots", "secret")
        for path in (root / "etc", secret.parent):
            path.mkdir(parents=True)
        (root / "etc" / "storpool.conf").write_text(SETTINGS)
        secret.write_text(SECRET)
        secret.chmod(0o600)
        yield Place(root, secret)


@pytest.mark.parametrize("program", PROGRAMS, ids=[each.name for each in PROGRAMS])
def test_a_log_belongs_to_the_user_of_its_folder(place: Place, program: Program) -> None:
    """It is made as theirs, and what is theirs is appended to."""
    log = place.log(program)
    place.run(program)
    assert log.stat().st_uid == log.parent.stat().st_uid
    before = log.read_text()
    place.run(program)
    assert log.read_text().startswith(before)
    # fence-host has a line for each change only, and changed nothing.
    assert len(log.read_text()) > len(before) > 0 or program.name == "storpool-ovirt"


@pytest.mark.parametrize("program", PROGRAMS, ids=[each.name for each in PROGRAMS])
def test_a_folder_that_is_missing_is_not_made(place: Place, program: Program) -> None:
    """As on Engine's machine before 4.5.8: the lines go to syslog, and the work is done."""
    log = place.log(program)
    log.parent.rmdir()
    place.run(program)
    assert not log.parent.exists()


def _leads(place: Place, log: Path, what: str) -> None:
    """Put in the place of a log, or of its folder, what whoever owns that folder can put there."""
    if what == "link":
        log.symlink_to(place.secret)
    elif what == "dangling":
        log.symlink_to(place.secret.parent / "made")
    elif what == "hard":
        os.link(place.secret, log)
    elif what == "folder":
        log.mkdir()
    else:
        log.parent.rmdir()
        log.parent.symlink_to(place.secret.parent)
        place.own(log.parent)
    if what != "link to a folder":
        place.own(log) if what != "hard" else None


@pytest.mark.parametrize("what", ["link", "dangling", "hard", "folder", "link to a folder"])
@pytest.mark.parametrize("program", PROGRAMS, ids=[each.name for each in PROGRAMS])
def test_a_log_leads_nowhere_else(place: Place, program: Program, what: str) -> None:
    """A link, a second name, a folder that is a link: root's file is not written to nor given away,
    nothing is made."""
    if what == "link to a folder" and os.geteuid() != 0:
        pytest.skip("whoever is not root may follow a link of their own to a folder of their own")
    log = place.log(program)
    if program.log.startswith(config.ENGINE_LOG_FOLDER):
        place.own(log.parent.parent)
    else:
        place.own(log.parent)
    _leads(place, log, what)
    place.run(program)
    place.check_secret()


@pytest.mark.parametrize("listened", [False, True])
@pytest.mark.parametrize("program", PROGRAMS, ids=[each.name for each in PROGRAMS])
def test_a_fifo_in_the_place_of_a_log_is_not_waited_for(
    place: Place, program: Program, listened: bool
) -> None:
    """Whether somebody reads it or not: the program ends, and says nothing there."""
    log = place.log(program)
    os.mkfifo(log)
    place.own(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK) if listened else None
    place.run(program)
    if reader is not None:
        assert os.read(reader, 100) == b""
        os.close(reader)


@pytest.mark.parametrize("program", PROGRAMS[:3], ids=[each.name for each in PROGRAMS[:3]])
@pytest.mark.parametrize("what", ["fifo", "socket", "folder", "huge", "link to a device"])
@pytest.mark.parametrize("file", ["storpool.conf", "storpool.conf.d/x.conf"])
def test_settings_that_are_no_plain_file_are_told(
    place: Place, program: Program, what: str, file: str
) -> None:
    """storpool.conf and what is beside it: nothing is waited for, nor read without end."""
    path = place.root / "etc" / file
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        if what == "fifo":
            os.mkfifo(path)
        elif what == "socket":
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
        elif what == "folder":
            path.mkdir()
        elif what == "huge":
            path.touch()
            os.truncate(path, 1 << 40)
        else:
            path.symlink_to("/dev/zero")
        place.log(program)
        place.run(program)


@pytest.mark.parametrize("what", ["fifo", "device", "huge", "utf-16", "latin-1", "link"])
@pytest.mark.parametrize("where", ["token", "options"])
def test_files_that_an_administrator_names_are_plain(place: Place, where: str, what: str) -> None:
    """A token file, a file of options: one sentence at once that names the file, with nothing of
    its content."""
    path = place.root / "named"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "huge":
        path.touch()
        os.truncate(path, 1 << 40)
    elif what == "link":
        if os.geteuid() != 0:
            pytest.skip("only root can read what others cannot")
        theirs = place.root / "theirs"
        theirs.mkdir()
        place.own(theirs)
        path = theirs / "named"
        path.symlink_to(place.secret)
    else:
        path.write_bytes("пароль-é".encode(what, "replace"))
    options = path
    if where == "token":
        options = place.root / "options"
        options.write_text(f'{{"sp_api_http_host": "127.0.0.1", "sp_auth_token_file": "{path}"}}')
    done = subprocess.run(
        [str(children.find("storpool-ovirt")), "fence-host", "1", "--options", str(options)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={"STORPOOL_OVIRT_ROOT": str(place.root), "PATH": "/bin"},
    )
    assert done.returncode == 1, done
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr
    assert "99999" not in done.stderr


def test_a_mark_of_an_editor_does_no_harm(tmp_path: Path) -> None:
    """A token file and a file of options that begin with a byte order mark of UTF-8 are read
    without it."""
    token, options = tmp_path / "token", tmp_path / "options"
    token.write_text(" 1556560560218011653\r\n", "utf-8-sig")
    options.write_text(f'{{"sp_api_http_host": "h", "sp_auth_token_file": "{token}"}}', "utf-8-sig")
    domain = config.domain(access.driver_options(str(options)), str(tmp_path))
    assert domain.api == config.Api("h", option_table.API_PORT, Secret("1556560560218011653"))


def test_locks_are_not_led_elsewhere(place: Place) -> None:
    """A host's /run that another user can write in: the folder of locks is not one of root's
    elsewhere."""
    if os.geteuid() != 0:
        pytest.skip("whoever is not root may follow a link of their own to a folder of their own")
    run = place.root / "run"
    run.mkdir()
    place.own(run)
    (run / "storpool-ovirt").symlink_to(place.secret.parent)
    place.own(run / "storpool-ovirt")
    place.log(PROGRAMS[0])
    data = {
        "volume": "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10",
        "global_id": "a.b.c",
        "access_mode": "rw",
    }
    info = {"adapter": "storpool", "driver_volume_type": "storpool", "data": data}
    done = subprocess.run(
        [str(children.find(helper.PROGRAM)), "attach"],
        input=json.dumps({"connection_info": info}).encode(),
        capture_output=True,
        check=False,
        timeout=90,
        env={"STORPOOL_OVIRT_ROOT": str(place.root), "PATH": "/bin"},
    )
    assert done.returncode == 1
    assert b"the folder of locks" in done.stderr
    place.check_secret()
