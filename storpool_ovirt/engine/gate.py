"""What a domain's options say about themselves, before anything is asked: cheap, and certain.

`storage_stats`, which Engine runs before it has a domain and whose options nobody can correct
afterwards, refuses what cannot work and writes the rest into its log; `storpool-ovirt doctor`
tells all of it.
"""

from __future__ import annotations

import os
import stat

from storpool_ovirt import config, errors, names, option_table, option_values, storpool_conf
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IN_ARGUMENTS, OPEN = "token_in_arguments", "token_open"
TOKEN_KEY = "SP_AUTH_TOKEN"  # noqa: S105  a key
TOKEN, TOKEN_FILE = "sp_auth_token", "sp_auth_token_file"
# Those that mean nothing here and are looked at elsewhere, or that every example of Cinder has.
_OTHERS = {names.ADAPTER_KEY, config.CINDER_DRIVER, "volume_backend_name"}


class Fault(NamedTuple):
    """One thing that is wrong with a domain's options, by which option (`key`).

    `refuses`: no domain like it can work. `risk` is what happens if nobody does anything.
    """

    name: str
    key: str
    error: errors.ConfigError
    risk: str
    refuses: bool = False


def check(options: Mapping[str, object], root: str, log: Log) -> None:
    """Raise ConfigError for options with which no domain can work; log what else is wrong."""
    for fault in faults(options, root):
        if fault.refuses:
            raise fault.error
        log.line("option_doubtful", kind=fault.name, reason=fault.error)


def faults(options: Mapping[str, object], root: str = "") -> Iterator[Fault]:
    """Yield what is wrong with a domain's options by themselves.

    No secret is in it. How each value is read is not looked at here: that is config.domain's.
    """
    try:
        config.check_ours_alone(options)
    except errors.ConfigError as error:
        risk = (
            "with the diversion off, Engine's own client says of a delete that it was done: Engine"
            " forgets a disk whose volume stays in StorPool"
        )
        yield Fault("volume_driver", config.CINDER_DRIVER, error, risk, refuses=True)
    yield from _ignored(options)
    conf = _conf(root)
    if _says_of_new_disks(options, conf):
        from storpool_ovirt.engine import policy_gate

        for each in policy_gate.faults(options, conf):
            yield Fault("policy", *each)
    yield from _of_token(options)
    for path in _token_paths(options, root):
        yield from _readers(path, root)


def _ignored(options: Mapping[str, object]) -> Iterator[Fault]:
    """Yield the options that nobody reads: Cinder's own, and misspelt ones without our prefix.

    Those with it config.domain refuses.
    """
    known = {option.name for option in option_table.OPTIONS} | _OTHERS
    for key in options:
        word = key.strip().lower()
        if key in known or word.startswith(config.PREFIX):
            continue
        # Cinder's driver has storpool_template.
        meant = config.PREFIX + word.partition("storpool_")[2] if "storpool_" in word else word
        near = option_values.nearest(meant, sorted(known), config.PREFIX)
        advice = f"do you mean {near}?" if near else "leave it out"
        error = errors.ConfigError(
            f"driver option {names.shown(key)}", "is not one of ours and does nothing", advice
        )
        yield Fault("ignored", key, error, "what it was meant to say is not so")


def _of_token(options: Mapping[str, object]) -> Iterator[Fault]:
    if not options.get(TOKEN):
        return
    error = errors.ConfigError(
        f"driver option {TOKEN}",
        "is on the command line of each verb, where every local user of this machine can read it",
        f"give {TOKEN_FILE} in its place",
    )
    yield Fault(IN_ARGUMENTS, TOKEN, error, WHO_HAS_IT)
    if options.get(TOKEN_FILE):
        error = errors.ConfigError(
            f"driver option {TOKEN_FILE}", f"does nothing beside {TOKEN}", f"leave {TOKEN} out"
        )
        yield Fault(
            "token_file_unused", TOKEN_FILE, error, "a new token in that file is never used"
        )


def _says_of_new_disks(options: Mapping[str, object], conf: Mapping[str, str]) -> bool:
    """Return whether the options, or storpool.conf, say what new disks get; cheap."""
    return any(
        options.get(option.name) or conf.get(str(option.conf_key))
        for option in option_table.OPTIONS
        if option.is_policy
    )


def _conf(root: str) -> Mapping[str, str]:
    """Return storpool.conf; nothing where it cannot be read, which config.domain tells."""
    try:
        return storpool_conf.read(root, optional=True)
    except errors.ConfigError:
        return {}


WHO_HAS_IT = "who has the token can read, change and delete every volume of the StorPool cluster"


def _token_paths(options: Mapping[str, object], root: str) -> list[str]:
    """Return the file that the token comes from, as far as the options tell."""
    if options.get(TOKEN):
        return []
    path = options.get(TOKEN_FILE)
    return [path] if isinstance(path, str) and path else [root + storpool_conf.FILE]


def _readers(path: str, root: str) -> Iterator[Fault]:
    if not is_open_to_all(path):
        return
    # An option may name any file of the machine: no command for it is told.
    advice = (
        "move the token:  storpool-ovirt setup engine --token-file FILE, and give"
        f" {TOKEN_FILE} the path that it tells"
    )
    if path == root + storpool_conf.FILE:
        import shlex

        where = shlex.quote(path)
        advice = f"run  chown root:ovirt {where} && chmod 0640 {where}"
    error = errors.ConfigError(path, "can be read by every local user of this machine", advice)
    yield Fault(OPEN, TOKEN_FILE, error, WHO_HAS_IT)


def is_open_to_all(path: str) -> bool:
    """Return whether every user can read a file, by its mode and those of the folders above it.

    What cannot be looked at is not open by what can be seen: who reads it says so.
    """
    try:
        place = os.path.realpath(path)
        if not os.stat(place).st_mode & stat.S_IROTH:
            return False
        while place != "/":
            place = os.path.dirname(place)
            if not os.stat(place).st_mode & stat.S_IXOTH:
                return False
    except (OSError, ValueError):  # ValueError: a NUL in its name, which config.domain refuses
        return False
    return True
