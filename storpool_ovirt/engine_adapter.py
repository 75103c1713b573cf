"""storpool-adapter: the program that oVirt Engine runs for each verb on a managed block disk.

    storpool-adapter VERB DRIVER_JSON DATABASE_URL CORRELATION_ID [ARGUMENT...]

Arguments are positional (a correlation id may begin with "-").  The answer is exactly one line, last:
`<correlation id>:<payload>` with exit code 0, or `error:<one sentence>` with exit code 1 (oVirt's
ManagedBlockExecutor, whose rules docs/verbs.md tells).
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, NoReturn

from storpool_ovirt import config, errors, log, names, streams
from storpool_ovirt.deadline import Deadline, enforced

PROGRAM = "storpool-adapter"
LOG_FOLDER = "/var/log/ovirt-engine"
USAGE = f"run it as Engine does: {PROGRAM} VERB DRIVER_JSON DATABASE_URL CORRELATION_ID [ARGUMENT...]"

# What Engine lets through as a correlation id (its ValidationUtils); it may begin with "-", "_" or "error".
CORRELATION_ID = re.compile(r"[0-9a-zA-Z_-]{1,50}\Z")
MAX_GIB = (1 << 63) // (1 << 30) - 1  # the API's sizes are signed 64-bit numbers of bytes
# What a verb keeps back of its time to write its answer, and the last net below all other limits.
ANSWER_SECONDS = 1.0
GRACE_SECONDS = 0.5


class Argument(NamedTuple):
    """One argument of a verb: its name in messages, how it is read, and whether the verb needs it at all."""

    name: str
    parse: Callable[[str, str], Any]
    used: bool = True


class Verb(NamedTuple):
    """One verb: its arguments, and the function of `disks` that does it; None: a success that changes nothing."""

    arguments: tuple[Argument, ...]
    does: str | None


def _size_bytes(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= MAX_GIB):
        raise errors.InputError(what, f"is not a size ({names.shown(text)})", f"give whole GiB from 1 to {MAX_GIB}")
    return int(text) << 30


def _object(text: str, what: str) -> object:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if not (isinstance(value, dict) or value is None):
        raise errors.InputError(what, "is not a JSON object", "Engine passes what the host reported")
    return value


def _refresh(text: str, what: str) -> bool:
    if text not in ("true", "false"):
        raise errors.InputError(what, f"is neither true nor false ({names.shown(text)})", "Engine passes true")
    return text == "true"


VOLUME = Argument("volume id", names.uuid)
SNAPSHOT = Argument("snapshot id", names.uuid)
ANY_VOLUME = VOLUME._replace(used=False)
SIZE = Argument("size", _size_bytes)

# The snapshot's id alone decides in the last two, which get their ids in opposite order.  The attachment is the host's
# matter: disconnect_volume (which names no host, and comes for one side of a migration while the other runs) and
# save_device do nothing.
VERBS: dict[str, Verb] = {
    "create_volume": Verb((VOLUME, SIZE), "create"),
    "delete_volume": Verb((VOLUME,), "delete"),
    "connect_volume": Verb((VOLUME, Argument("connector info", _object, used=False)), "connection"),
    "disconnect_volume": Verb((VOLUME,), None),
    "extend_volume": Verb((VOLUME, SIZE), "extend"),
    "save_device": Verb((VOLUME, Argument("device", _object)), None),
    "get_connection_info": Verb((VOLUME,), "connection"),
    "storage_stats": Verb((Argument("refresh", _refresh, used=False),), "stats"),
    "clone_volume": Verb((Argument("source volume id", names.uuid), Argument("new volume id", names.uuid)), "clone"),
    "create_snapshot": Verb((VOLUME,), "snapshot"),
    "remove_snapshot": Verb((SNAPSHOT, ANY_VOLUME), "remove"),
    "create_volume_from_snapshot": Verb((ANY_VOLUME, SNAPSHOT), "preview"),
}


def run() -> NoReturn:
    """Run the program: as `main`, and end at once, as Engine waits for the process.

    Taking the interpreter apart costs as long as the work: everything is written and closed by now.
    """
    os._exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and answer it; return the exit code, 0 or 1."""
    started = time.monotonic()
    gc.disable()  # a process that lives for a tenth of a second leaves nothing to collect: this saves a tenth of it
    arguments = list(sys.argv if argv is None else argv)
    streams.close_stdin()
    journal = log.Log(PROGRAM, log_path())
    answer = streams.Answer(journal.descriptor)
    verb = arguments[1] if len(arguments) > 1 else ""
    prefix = "error"
    try:
        payload = _run(arguments, journal)
        # Engine takes a line that begins with "error" for one and cuts six characters: such an id would be cut wrong.
        prefix = prefix if journal.correlation_id.startswith("error") else journal.correlation_id
        code = 0
    except errors.Error as error:
        payload, code = str(error), 1
    except ImportError as error:
        payload, code = f"a library is missing or broken ({error}): install storpool-ovirt[engine] for this Python", 1
    except Exception as error:
        # The door: a bug too is one sentence for Engine, and its trace is in the log.
        payload, code = f"internal error {error.__class__.__name__}: see {log_path()} on Engine's machine", 1
        journal.trace()
    if code:
        journal.line("verb_failed", verb=verb, reason=payload, seconds=f"{time.monotonic() - started:.3f}")
    try:
        answer.give(f"{prefix}:{streams.one_line(journal.masked(payload))}")
    except OSError as error:
        journal.line("answer_not_delivered", verb=verb, reason=error)
        code = 1
    return code


def log_path() -> str:
    """Return where the log is: Engine tells its log folder in its children's environment."""
    return f"{os.environ.get('ENGINE_LOG') or config.root() + LOG_FOLDER}/managedblock/{PROGRAM}.log"


def _run(argv: Sequence[str], journal: log.Log) -> str:
    """Parse the arguments, run the verb and return the payload."""
    started = time.monotonic()
    verb, options, database, arguments = _parse(argv, journal)
    domain = config.domain(options, config.root())
    journal.hide(domain.api.token.reveal())
    journal.hide(database.password.reveal())
    if verb.does is None:
        return ""
    deadline = Deadline(domain.deadline_seconds - min(ANSWER_SECONDS, domain.deadline_seconds / 10))
    with enforced(deadline, "the verb to end", GRACE_SECONDS):
        # From here on the database driver and StorPool's binding are needed; what ends before is spared them.
        from storpool_ovirt import api, disks, mapping, trees

        with mapping.opened(database, deadline, journal.correlation_id) as opened:
            client = api.Client(domain.api, deadline)
            engine = trees.Engine(domain, client, opened, journal, config.root())
            result = getattr(disks, verb.does)(engine, *arguments)
    took = f"{time.monotonic() - started:.3f}"
    journal.line("verb_done", verb=argv[1], api=client.calls, sql=opened.statements, seconds=took)
    return result if isinstance(result, str) else json.dumps(result) if result is not None else ""


def _parse(argv: Sequence[str], journal: log.Log) -> tuple[Verb, dict[str, object], config.Database, list[Any]]:
    for position, text in enumerate(argv[1:], 1):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise errors.InputError(f"argument {position}", "is not UTF-8", USAGE) from None
    head = ("verb", "driver options", "database URL", "correlation id")
    for position, name in enumerate(head, 1):
        if len(argv) <= position:
            raise errors.InputError(f"the {name} argument", "is missing", USAGE)
    _, name, options_text, url, correlation_id, *texts = argv
    if not CORRELATION_ID.match(correlation_id):
        why = f"is not valid ({names.shown(correlation_id)})"
        raise errors.InputError("the correlation id argument", why, "give 1 to 50 of the characters 0-9 a-z A-Z _ -")
    journal.correlation_id = correlation_id
    verb = VERBS.get(name)
    if verb is None:
        raise errors.InputError(f"the verb {names.shown(name)}", "does not exist", f"the verbs are {', '.join(VERBS)}")
    for missing in verb.arguments[len(texts) :]:
        raise errors.InputError(f"the {missing.name} argument of {name}", "is missing", USAGE)
    if len(texts) > len(verb.arguments):
        raise errors.InputError(f"{name}", f"takes {len(verb.arguments)} arguments, {len(texts)} were given", USAGE)
    options = config.parse_driver_json(options_text)
    database = config.parse_database_url(url)
    parsed = [
        (each.used, each.parse(text, f"the {each.name} argument of {name}"))
        for each, text in zip(verb.arguments, texts)
    ]
    return verb, options, database, [value for used, value in parsed if used]
