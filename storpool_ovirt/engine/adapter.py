"""storpool-adapter: the program that oVirt Engine runs for each verb on a managed block disk.

    storpool-adapter VERB DRIVER_JSON DATABASE_URL CORRELATION_ID [ARGUMENT...]

Arguments are positional (a correlation id may begin with "-"). The answer is exactly one line,
last: `<correlation id>:<payload>` with exit code 0, or `error:<one sentence>` with exit code 1
(oVirt's ManagedBlockExecutor, whose rules docs/verbs.md tells).
"""

from __future__ import annotations

import gc
import os
import sys
import time

from storpool_ovirt import (
    config,
    documents,
    errors,
    installation,
    names,
    program,
    secret,
    sentences,
    text,
)
from storpool_ovirt.deadline import END_SECONDS, Deadline, enforced, limit_end
from storpool_ovirt.engine import database_url
from storpool_ovirt.engine.verbs import VERBS
from storpool_ovirt.light import TYPE_CHECKING, contextmanager, suppress
from storpool_ovirt.limits import LIMITS
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, NoReturn

    from storpool_ovirt.engine.claim import Claim
    from storpool_ovirt.engine.journal import Journal
    from storpool_ovirt.engine.mapping import Mapping
    from storpool_ovirt.engine.verbs import Verb
    from storpool_ovirt.limits import Limits

PROGRAM = "storpool-adapter"
USAGE = (
    f"run it as Engine does: {PROGRAM} VERB DRIVER_JSON DATABASE_URL CORRELATION_ID [ARGUMENT...]"
)

# What Engine lets through as a correlation id (its ValidationUtils); it may begin with "-", "_" or
# "error".
CORRELATION_ID = text.Shape(f"{text.DIGITS}{text.LETTERS}_-", (1, 50))
# What a verb keeps back of its time to write its answer, and the last net below all other limits.
ANSWER_SECONDS = 3.0
GRACE_SECONDS = 0.5
ARGUMENT_MAX = 200  # in the journal, for people: ids and sizes are shorter
# To tell the journal how it ended, also when the time is up.
NOTE_SECONDS = 0.3
RECORD_SECONDS = 1.0


def run() -> NoReturn:
    """Run the program: as `main`, and end at once, as Engine waits for the process.

    Taking the interpreter apart costs as long as the work: everything is written and closed by now.
    """
    os._exit(main())


def main(argv: Sequence[str] | None = None, limits: Limits = LIMITS) -> int:
    """Run one verb and answer it; return the exit code, 0 or 1.

    How long the whole of it takes the option `sp_deadline` says; the rest is in `limits`.
    """
    started = time.monotonic()
    # A process that lives for a tenth of a second leaves nothing to collect: this saves a tenth of
    # it
    gc.disable()
    arguments = list(sys.argv if argv is None else argv)
    path = config.engine_log(PROGRAM)
    if program.is_asked_who_it_is(arguments):
        from storpool_ovirt import introduction

        return introduction.given(
            PROGRAM, arguments[1], __doc__, [_verbs(), introduction.log(path)]
        )
    program.close_stdin()
    log = Log(PROGRAM, path)
    answer = program.Answer(log.descriptor)
    try:
        _hide_what_engine_gave(arguments, log)
        _run(arguments, log, answer, limits)
    except program.FAILURES as error:
        limit_end()
        # A bug too is one sentence for Engine, and its trace is in the log.
        event = "answer_not_delivered" if isinstance(error, errors.NotDelivered) else "verb_failed"
        place = f"the system's log, journalctl -t {PROGRAM}," if log.descriptor is None else path
        reason = program.reason(error, log, f"{place} on Engine's machine", installation.ENGINE)
    else:
        return 0
    verb = arguments[1] if len(arguments) > 1 else ""
    log.line(event, verb=verb, reason=reason, seconds=f"{time.monotonic() - started:.3f}")
    if not answer.given:
        with suppress(errors.NotDelivered):
            _give(answer, "error", reason)
    return 1


def _run(argv: Sequence[str], log: Log, answer: program.Answer, limits: Limits) -> None:
    """Parse the arguments, run the verb and give its answer."""
    started = time.monotonic()
    verb, options, database, arguments = _parse(argv, log)
    if verb.is_gate:
        from storpool_ovirt.engine import gate

        gate.check(options, config.root(), log)
    domain = config.domain(options, config.root())
    log.hide(domain.api.token.reveal())
    log.hide(database.password.reveal())
    # Engine takes a line that begins with "error" for one and cuts six characters: such an id would
    # be cut wrong.
    prefix = "error" if log.correlation_id.startswith("error") else log.correlation_id
    if verb.does is None:
        limit_end()
        _give(answer, prefix, "")
        return
    deadline = Deadline(domain.deadline_seconds - min(ANSWER_SECONDS, domain.deadline_seconds / 10))
    with enforced(deadline, "the verb to end", GRACE_SECONDS) as end_enforcing:
        # From here on the database's driver and what talks to StorPool are needed; what ends before
        # is spared them.
        from storpool_ovirt.engine import journal, mapping, meanwhile

        shown = tuple(
            sentences.shortened(sentences.visible(log.masked(each)), ARGUMENT_MAX)
            for each in argv[5:]
        )
        caller = journal.Caller(log.masked(log.correlation_id), argv[1], shown)
        loading = meanwhile.loaded(argv[1])
        with mapping.opened(database, deadline, caller, meanwhile=loading) as opened:
            with _journaled(opened.journal, deadline, log):
                payload, calls = _done(verb, arguments, domain, opened, log=log, limits=limits)
                _give(answer, prefix, payload)
            end_enforcing()
            limit_end(NOTE_SECONDS + 2 * RECORD_SECONDS + END_SECONDS)
            _record(opened.journal, database, deadline, log)
    took = f"{time.monotonic() - started:.3f}"
    # Engine has its answer, and the journal says so: a log that cannot be written must not change
    # the exit code.
    with suppress(errors.Error), enforced(deadline.after(END_SECONDS), "the log", 0):
        log.line(
            "verb_done",
            verb=argv[1],
            api=calls,
            sql=opened.session.statements,
            loc=opened.location,
            seconds=took,
        )


def _done(  # noqa: PLR0913  what a verb works with, before it is known how much of it is needed
    verb: Verb,
    arguments: Sequence[Any],
    domain: config.Domain,
    opened: Mapping,
    *,
    log: Log,
    limits: Limits,
) -> tuple[str, int]:
    """Do what a verb means; return its payload, and how many calls of StorPool's API it took.

    StorPool's binding is half of what is imported: a verb that needs no call is spared it.
    """
    begun: tuple[Claim, ...] = ()
    if verb.claims:
        from storpool_ovirt.engine import claim

        tools = claim.Tools(domain, opened, log, config.root())
        begun = (claim.tried(tools, *arguments),)
        if begun[0].answer is not None:
            return begun[0].answer, 0
    from storpool_ovirt.cluster import api
    from storpool_ovirt.engine import disks, tree

    client = api.Client(domain.api, opened.session.deadline, limits=limits)
    work = tree.Work(domain, client, opened, log, config.root())
    result = getattr(disks, str(verb.does))(work, *arguments, *begun)
    if result is None:
        return "", client.tally.calls
    return result if isinstance(result, str) else documents.written(result), client.tally.calls


def _verbs() -> str:
    """Return what help says of the verbs: each with its arguments."""
    width = max(map(len, VERBS))
    rows = (
        f"  {name:{width}}  {', '.join(each.name for each in verb.arguments)}"
        for name, verb in VERBS.items()
    )
    return "\n".join(["Verbs and their arguments:", *rows])


def _hide_what_engine_gave(argv: Sequence[str], log: Log) -> None:
    """Hide the secrets in the arguments before any of them is looked at: one in a wrong place is
    shown in an error."""
    for argument in argv[1:]:
        for found in secret.found_in(argument):
            log.hide(found)


def _give(answer: program.Answer, prefix: str, payload: str) -> None:
    """Write the line: a sentence after "error", or the payload of a success as it is, which a
    program reads."""
    try:
        answer.give(f"{prefix}:{payload}")
    except OSError as error:
        raise errors.NotDelivered(str(error)) from error


@contextmanager
def _journaled(own_journal: Journal, deadline: Deadline, log: Log) -> Iterator[None]:
    """Write into the journal how a verb ended that did not end well.

    What it began may have taken effect all the same.
    """
    try:
        yield
    except BaseException as error:
        deadline.extend(NOTE_SECONDS)
        undelivered = isinstance(error, errors.NotDelivered)
        try:
            own_journal.failed("undelivered" if undelivered else "failed", log.sentence(error))
        except Exception as unwritten:  # the failure itself is the one that is told
            log.line("failure_not_recorded", reason=unwritten)
        raise


def _record(
    own_journal: Journal, database: database_url.Database, deadline: Deadline, log: Log
) -> None:
    """Write that Engine has the answer; through a new connection if the first one broke just now.

    Where that fails too, nobody knows what is written. Then the journal is told once more that
    Engine has no answer, and the error that is raised makes that true: for the exit code 1 Engine
    drops the answer.
    """
    from storpool_ovirt.engine import mapping

    deadline.extend(NOTE_SECONDS)  # a verb may have used all of its time and succeeded
    try:
        own_journal.delivered()
    except errors.Error as error:
        log.line("delivery_not_recorded", reason=error)
    else:
        return
    try:
        with mapping.opened(
            database, deadline.after(RECORD_SECONDS), own_journal.caller, own_journal.own
        ) as again:
            again.journal.delivered()
    except errors.Error as error:
        with mapping.opened(
            database, deadline.after(RECORD_SECONDS), own_journal.caller, own_journal.own
        ) as again:
            again.journal.claim_again(log.sentence(error))
        raise


def _parse(
    argv: Sequence[str], log: Log
) -> tuple[Verb, dict[str, object], database_url.Database, list[Any]]:
    for position, argument in enumerate(argv[1:], 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise errors.InputError(f"argument {position}", "is not UTF-8", USAGE) from None
    head = ("verb", "driver options", "database URL", "correlation id")
    for position, name in enumerate(head, 1):
        if len(argv) <= position:
            raise errors.InputError(f"the {name} argument", "is missing", USAGE)
    _, name, options_text, url, correlation_id, *texts = argv
    if not CORRELATION_ID.fits(correlation_id):
        why = f"is not valid ({names.shown(correlation_id)})"
        raise errors.InputError(
            "the correlation id argument", why, "give 1 to 50 of the characters 0-9 a-z A-Z _ -"
        )
    log.correlation_id = correlation_id
    verb = VERBS.get(name)
    if verb is None:
        raise errors.InputError(
            f"the verb {names.shown(name)}", "does not exist", f"the verbs are {', '.join(VERBS)}"
        )
    for missing in verb.arguments[len(texts) :]:
        raise errors.InputError(f"the {missing.name} argument of {name}", "is missing", USAGE)
    if len(texts) > len(verb.arguments):
        raise errors.InputError(
            f"{name}",
            f"takes {sentences.counted(len(verb.arguments), 'argument')}, {len(texts)} were given",
            USAGE,
        )
    options = config.parse_driver_json(options_text)
    database = database_url.parse(url)
    parsed = [
        (each.used, each.parse(given, f"the {each.name} argument of {name}"))
        for each, given in zip(verb.arguments, texts)
    ]
    return verb, options, database, [value for used, value in parsed if used]
