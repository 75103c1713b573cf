"""A verb as Engine itself starts it: the very file, in its folder, as its user, with its database.

Which file that is depends on the release of this machine's Engine: up to 4.5.7 it is the cinderlib
client, in whose place our dispatcher stands, later the adapter itself (docs/verbs.md#how-engine-
calls). What it says is read as Engine reads it.
"""

from __future__ import annotations

import json
import os
import pwd
import selectors
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storpool_ovirt import config, documents, errors, names, text, tool
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import client_file, conf, dispatcher

USER = "ovirt"
LATER_FOLDER = "/usr/share/ovirt-engine/managedblock"
# An adapter that answers at all does so long before: its own tries end after
# `engine.disks.STATS_SECONDS`.
STATS_SECONDS = 30.0
STATS = "storage_stats"
# An answer has some hundreds, and what a broken one writes is of no use.
OUTPUT_MAX_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_ERROR = "error"
# As Engine's service has it (packaging/services/ovirt-engine), and the words of its language.
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "en_US.UTF-8",
    "LC_ALL": "en_US.UTF-8",
}


@dataclass(frozen=True)
class Program:
    """What Engine starts for an adapter: the command's first word, and the folder it is started
    in."""

    word: str
    folder: str

    @property
    def path(self) -> str:
        """The whole path of that file."""
        return os.path.normpath(os.path.join(self.folder, self.word))


@dataclass(frozen=True)
class Answer:
    """What a verb answered Engine: `facts` of a success, else the `sentence` why not."""

    facts: Mapping[str, Any] | None
    sentence: str = ""


def program(adapter: str, root: str = "") -> Program:
    """Return what the Engine of this machine starts for a domain with this adapter; raise Unseen
    where that cannot be looked at."""
    if conf.is_released(root):
        return Program(f"./{dispatcher.CLIENT}", root + client_file.FOLDER)
    folder = root + LATER_FOLDER
    return Program(f"{folder}/{adapter}-adapter", folder)


def storage_stats(
    options: Mapping[str, object], deadline: Deadline, root: str = "", correlation_id: str = "check"
) -> Answer:
    """Ask whether a domain with these options works, as Engine does before it adds one.

    `options` are all of them, the sensitive ones too, and are on the command line as Engine's are.
    As root it is run as user ovirt, unless `root` is a folder that stands for `/`.

    Raises ConfigError where it cannot be started as Engine does, DeadlineExceeded.
    """
    adapter = str(options.get(names.ADAPTER_KEY, names.ADAPTER))
    started = program(adapter, root)
    address = conf.database(root)
    login = f"{address.user}:{address.password.reveal()}"
    url = f"postgresql+psycopg2://{login}@{address.host}:{address.port}/{address.name}"
    given = json.dumps(dict(options), separators=(",", ":"), ensure_ascii=False)
    command = [started.word, STATS, given, url, correlation_id, "true"]
    output, code = _run(started, command, deadline.within(STATS_SECONDS), root)
    said = answer_of(output, correlation_id)
    if code != 0:
        return Answer(None, said or _last_line(output) or f"it ended with exit code {code}")
    return _success(said)


def answer_of(output: str, correlation_id: str) -> str:
    """Return what Engine takes from the output of a verb, empty where it finds nothing."""
    for line in text.lines(output):
        for prefix in (_ERROR, correlation_id):  # in this order
            if line.startswith(prefix):
                return line[len(prefix) + 1 :]
    return ""


def _success(said: str) -> Answer:
    try:
        facts = documents.parse(said, "", "")
    except errors.InputError:
        facts = None
    if isinstance(facts, dict):
        return Answer(facts)
    return Answer(None, "it answered nothing that Engine can read as a success")


def _last_line(output: str) -> str:
    lines = [line.strip() for line in text.lines(output) if line.strip()]
    return lines[-1] if lines else ""


def _run(started: Program, command: list[str], limit: Deadline, root: str) -> tuple[str, int]:
    environment = {**_ENVIRONMENT, **({config.ROOT_VARIABLE: root} if root else {})}
    what = f"the answer of {started.path}"
    rights = _rights(root)
    unread, unwritten = os.pipe()  # Engine keeps stdin open and writes nothing
    try:
        process = subprocess.Popen(
            command,
            cwd=started.folder,
            env=environment,
            umask=0o022,
            start_new_session=True,
            stdin=unread,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **rights,
        )
        return _read(process, what, limit)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise errors.ConfigError(
            started.path, f"cannot be started as Engine starts it ({why})", _advice()
        ) from error
    finally:
        os.close(unread)
        os.close(unwritten)


def _read(process: subprocess.Popen[bytes], what: str, limit: Deadline) -> tuple[str, int]:
    with process:
        try:
            output = _output(process, what, limit)
            process.wait(limit.left(what))
        except (subprocess.TimeoutExpired, TimeoutError):
            raise errors.DeadlineExceeded(what, limit.seconds) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return output.decode(errors="replace"), process.returncode


def _output(process: subprocess.Popen[bytes], what: str, limit: Deadline) -> bytes:
    """Return what a verb writes until its end; raise ConfigError where that is too much."""
    if process.stdout is None:
        return b""
    data = bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while ready.select(limit.left(what)):
            piece = os.read(process.stdout.fileno(), _PIECE_BYTES)
            if not piece:
                return bytes(data)
            data += piece
            if len(data) > OUTPUT_MAX_BYTES:
                raise errors.ConfigError(what, f"has more than {OUTPUT_MAX_BYTES} bytes", _advice())
    raise TimeoutError


def _rights(root: str) -> dict[str, Any]:
    """Return what Popen needs for Engine's user, with all groups that a service of theirs has."""
    if os.geteuid() != 0 or root:
        return {}
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        raise errors.ConfigError(
            f"user {USER}", "is not known on this machine", "is this Engine's machine?"
        ) from None
    return tool.rights_of(entry)


def _advice() -> str:
    from storpool_ovirt import installation

    return f"run  storpool-ovirt setup engine ; is it installed? {installation.mend('engine')}"
