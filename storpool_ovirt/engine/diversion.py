"""storpool-engine-divert: puts our dispatcher in the place of a released Engine's cinderlib client,
or takes it away again.

    storpool-engine-divert on|off|status

`on`: /usr/share/ovirt-engine/cinderlib/cinderlib-client.py becomes a link to
storpool-engine-dispatcher, Engine's own file stays beside it as cinderlib-client.py.ovirt. `off`:
that file is back as it was. Both may be run again and again, and after a death at any moment;
Engine finds a whole client all the time. A later Engine, which has no such file, needs nothing:
that is a success. `status` tells in words what is there.

Packages run it, ovirt-engine.service before each start, and whoever installs with pip. The exit
code is 0 when it is as asked (status: when no call of Engine's misses us), else 1 with one sentence
on stderr. What it changes is in the system's log (journalctl -t storpool-engine-divert).
"""

from __future__ import annotations

import fcntl
import os
import pwd
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from storpool_ovirt import config, errors, installation, presence, program, rights
from storpool_ovirt.deadline import Deadline, polls
from storpool_ovirt.engine import client_file, dispatcher, fapolicyd
from storpool_ovirt.engine.client_file import COPY, FOREIGN, LINK, MISSING, OTHER, STOCK
from storpool_ovirt.log import Log

PROGRAM = "storpool-engine-divert"
USER = "ovirt"  # who runs Engine, and so the dispatcher (ovirt-engine.spec.in)
# Another one of these, which takes moments, and at most three runs of fapolicyd's program.
LOCK_SECONDS = 40.0
# Whoever may read a file may lock it (flock(2)), so it is in no folder that others can search.
LOCK_FOLDER = "/run/storpool-ovirt"
_LOCK = "engine-divert.lock"
_REINSTALL = "reinstall ovirt-engine"


def run() -> NoReturn:
    """Run the program: as `main`."""
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is asked; return the exit code."""
    arguments = list(sys.argv if argv is None else argv)
    if program.is_asked_who_it_is(arguments):
        from storpool_ovirt import introduction

        return introduction.given(PROGRAM, arguments[1], __doc__, [])
    log = Log(PROGRAM, None)
    answer = program.Answer(None)
    done, reason = program.guarded(lambda: _run(arguments, log), log, "the system's log")
    if done is None:
        program.delivered(answer, log.sentence(reason), log, error=True)
        return 1
    code, said = done
    return code if program.delivered(answer, log.sentence(said), log) else 1


def _run(arguments: Sequence[str], log: Log) -> tuple[int, str]:
    if len(arguments) != 2 or arguments[1] not in ("on", "off", "status"):
        raise errors.InputError("the arguments", "are not one word of these", usage(arguments[0]))
    own = f"{os.path.dirname(os.path.realpath(arguments[0]))}/{dispatcher.PROGRAM}"
    asked = Diversion(config.root(), own, log)
    if arguments[1] == "status":
        return asked.status()
    return 0, asked.on() if arguments[1] == "on" else asked.off()


def usage(started: str) -> str:
    """Return how the program is run that was `started` by this path: it is in no folder of PATH."""
    return f"run it as root: {installation.program(PROGRAM, started)} on, off or status"


class Diversion:
    """The diversion on one host, to the dispatcher `own` of this installation."""

    def __init__(self, root: str, own: str, log: Log) -> None:
        self._root = root
        self._own = own
        self._program = installation.program(PROGRAM, own)
        self._again = f"{_REINSTALL}, then run {self._program} on"
        self._log = log
        self._place = client_file.Place(root)

    def on(self) -> str:
        """Divert; return what is so now. Raises one of our errors, and nothing has changed then but
        what a dead run left, and a link to a dispatcher that does not work."""
        if self._is_nothing_there():
            return self._not_needed()
        wrong = _fault_of(self._own)
        if wrong:
            raise self._undiverted(wrong)
        with self._alone() as state:
            client, kept = state.client, state.kept
            self._refuse_foreign(state)
            if client.kind == MISSING and not state.packaged:
                self._clear(state)
                return self._not_needed()
            untrusted = self._keep(state)
            if (client.kind, client.target) != (LINK, self._own):
                self._place.divert(client, self._own)
                self._log.line("client_diverted", path=self._place.client, to=self._own)
            if STOCK not in (client.kind, kept.kind):
                raise errors.Conflict(
                    self._place.client,
                    f"leads to us, but {self._place.kept} is missing",
                    self._again,
                )
        note = f"; but {untrusted}" if untrusted else ""
        return f"on: {self._place.client} leads to {self._own}{note}"

    def off(self) -> str:
        """Take the diversion away; return what is so now. Raises as `on`."""
        if self._is_nothing_there():
            return self._not_needed()
        with self._alone() as state:
            client, kept = state.client, state.kept
            if client.kind == LINK and client.target != self._own and not _fault_of(client.target):
                return f"left as it is: {self._place.client} leads to {client.target}"
            if client.kind in (FOREIGN, OTHER):
                raise self._somebodys(self._place.client, client)
            if client.kind == MISSING and not state.packaged:
                self._clear(state)
                return self._not_needed()
            if client.kind == STOCK:
                self._clear(state)
            elif kept.kind == STOCK:
                self._give_back(client)
            else:
                raise errors.Conflict(
                    self._place.client,
                    f"cannot be given back: {self._place.kept} is {kept.kind}",
                    _REINSTALL,
                )
        return f"off: {self._place.client} is Engine's own"

    def status(self) -> tuple[int, str]:
        """Return the exit code, and in words what is there."""
        state = self._place.read()
        code, said = self._words(state)
        stock = state.client if state.client.kind == STOCK else state.kept
        if stock.kind == STOCK and not stock.executable:
            said += "; Engine's own file has no permission to be executed"
        return code, said

    def _words(self, state: client_file.State) -> tuple[int, str]:
        """Return the exit code of status for a state, and the state in words."""
        client, name = state.client, self._place.client
        if client.kind == LINK:
            return self._words_of_link(state)
        if client.kind == MISSING:
            return self._words_without_client(state)
        if client.kind == STOCK:
            return 1, f"off: {name} is Engine's own{_words_of_kept(state, self._place)}"
        if client.kind == COPY:
            how = f"{self._program} on, or off, mends that"
            return 1, f"copied: {name} is {COPY}, as a restore leaves it: {how}"
        leads = f", to {client.target}" if client.target else ""
        return 1, f"foreign: {name} is {client.kind}{leads}"

    def _words_of_link(self, state: client_file.State) -> tuple[int, str]:
        target, kept, place = state.client.target, state.kept.kind, self._place
        if not presence.there(target):
            how = f"{self._mend_of_link(target)}; {self._words_of_off(state)}"
            return 1, f"broken: {place.client} leads to {target}, which is not there: {how}"
        wrong = _fault_of(target)
        if wrong:
            how = f"{wrong.advice}; {self._words_of_off(state)}"
            return 1, f"broken: {place.client} leads to {target}, which {wrong.why}: {how}"
        if kept != STOCK:
            return 1, f"half: {place.client} leads to us, but {place.kept} is {kept}: {self._again}"
        other = "" if target == self._own else ", of another installation"
        return 0, f"on: {place.client} leads to {target}{other}"

    def _mend_of_link(self, target: str) -> str:
        if target != self._own and presence.there(self._own):
            return f"run {self._program} on"
        return f"{_again()}  to have it again"

    def _words_of_off(self, state: client_file.State) -> str:
        if state.kept.kind == STOCK:
            return f"{self._program} off goes back to Engine's own client"
        return f"{self._place.kept} is {state.kept.kind}: {_REINSTALL} too"

    def _words_without_client(self, state: client_file.State) -> tuple[int, str]:
        client, kept = self._place.client, self._place.kept
        if not state.packaged:
            if state.kept.kind == MISSING:
                return 0, f"not needed: no Engine here starts {client}"
            how = f"{self._program} on, or off, takes it away"
            return 0, f"not needed any more: {kept} was left, {how}"
        if state.kept.kind != STOCK:
            return 1, f"broken: {client} is missing, and {kept} is {state.kept.kind}: {self._again}"
        return 1, f"broken: {client} is missing: {self._program} on, or off, mends that"

    def _is_nothing_there(self) -> bool:
        return not presence.named(self._place.folder)

    def _not_needed(self) -> str:
        return f"nothing to do: no Engine here starts {self._place.client}"

    def _keep(self, state: client_file.State) -> str:
        """Have Engine's file under its second name; return what fapolicyd has against it."""
        if state.client.kind == STOCK and not state.is_one_file:
            self._place.keep()
            self._log.line("client_kept", path=self._place.kept)
        if STOCK in (state.client.kind, state.kept.kind):
            return fapolicyd.trust(self._root, self._place.kept)
        if state.kept.kind in (COPY, LINK):
            self._place.forget()
        return ""

    def _give_back(self, client: client_file.Entry) -> None:
        self._place.give_back(client)
        fapolicyd.forget(self._root, self._place.kept)
        self._log.line("client_given_back", path=self._place.client)

    def _undiverted(self, wrong: errors.ConfigError) -> errors.ConfigError:
        """Return the error for our dispatcher, which does not work. Where Engine's name leads to
        such a one, Engine has its own file again: other domains live then."""
        with self._alone() as state:
            client = state.client
            if client.kind != LINK or state.kept.kind != STOCK or not _fault_of(client.target):
                return wrong
            self._give_back(client)
        now = f"{self._place.client} is Engine's own again until then"
        return errors.ConfigError(wrong.what, wrong.why, f"{wrong.advice}; {now}")

    def _clear(self, state: client_file.State) -> None:
        """Take away the second name, which nothing needs, where it is ours, and the folder if it is
        empty now."""
        if state.kept.kind in (STOCK, COPY, LINK):
            self._place.forget()
            self._log.line("kept_client_removed", path=self._place.kept)
        fapolicyd.forget(self._root, self._place.kept)
        if state.client.kind == MISSING and not state.packaged:
            self._place.leave()

    def _refuse_foreign(self, state: client_file.State) -> None:
        if state.client.kind in (FOREIGN, OTHER):
            raise self._somebodys(self._place.client, state.client)
        if state.kept.kind in (FOREIGN, OTHER):
            raise self._somebodys(self._place.kept, state.kept)

    def _somebodys(self, path: str, entry: client_file.Entry) -> errors.Conflict:
        what = f"{entry.kind}, to {entry.target}" if entry.target else entry.kind
        return errors.Conflict(
            path, f"is {what}", f"take it away if nobody needs it; {self._again}"
        )

    @contextmanager
    def _alone(self) -> Iterator[client_file.State]:
        """Hold off other runs; give what is there when they are done, without what they left."""
        limit = Deadline(LOCK_SECONDS)
        folder = self._root + LOCK_FOLDER
        try:
            lock = rights.private(folder, _LOCK)
        except OSError as error:
            why = f"cannot be made or opened ({error.strerror})"
            raise errors.ConfigError(
                f"the lock {folder}/{_LOCK}", why, "run this as root"
            ) from error
        try:
            for _ in polls(limit, time.sleep):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    continue
            else:
                raise errors.Locked(self._place.folder, LOCK_SECONDS)
            self._place.read()  # may refuse the folder
            self._place.tidy()
            yield self._place.read()
        finally:
            os.close(lock)


def _words_of_kept(state: client_file.State, place: client_file.Place) -> str:
    if state.kept.kind == MISSING:
        return ""
    if state.is_one_file:
        return "; a run of on was interrupted"
    if state.kept.kind == STOCK:
        return f", and newer than {place.kept}: ovirt-engine was updated or restored"
    return f", and {place.kept} is {state.kept.kind}"


def _again() -> str:
    """Return what puts our dispatcher's file in its place again."""
    if installation.is_packaged():
        return "run  dnf reinstall storpool-ovirt-engine"
    pip = f"{sys.prefix}/bin/pip install --force-reinstall --no-deps ."
    return f"run  {pip}  in the folder of the release"


def _fault_of(path: str) -> errors.ConfigError | None:
    """Return why Engine could not start our dispatcher there, so that no verb at all would work."""
    again = _again()
    try:
        facts = os.stat(path)
        content = rights.read(path)
    except OSError as error:
        return errors.ConfigError(path, f"cannot be started ({error.strerror})", again)
    if not dispatcher.starts_ours(content):
        # A shell's `>` and cp follow the link. It may be a patch of Engine's client.
        why = f"is no dispatcher of ours: what was written to {dispatcher.CLIENT} is in it"
        return errors.ConfigError(path, why, f"copy it if anybody wants that, then {again}")
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        allowed = bool(facts.st_mode & 0o111)  # no Engine yet
    else:
        with rights.taken(rights.User(user.pw_uid, user.pw_gid)):
            allowed = os.access(path, os.R_OK | os.X_OK, effective_ids=True)
    if allowed:
        return None
    advice = f"user {USER} must be able to execute it and to search the folders above it"
    return errors.ConfigError(path, f"cannot be started by Engine's user {USER}", advice)
