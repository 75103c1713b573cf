"""A new storage domain as somebody asks for it: each option checked before anything is done.

Engine never lets anybody correct an option of a domain: what is wrong has to be told now.
`option_table.py` is the home of the options; here is what a person may type, and where the token
is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storpool_ovirt import config, errors, names, option_table, option_values, presence, text
from storpool_ovirt.engine import gate
from storpool_ovirt.secret import Secret
from storpool_ovirt.setup import token

# Engine's own (ValidationUtils.NO_SPECIAL_CHARACTERS_I18N; the option StorageDomainNameSizeLimit).
NAME_MAX = 50
# Engine encrypts all sensitive options as one RSA message of 190 bytes (EngineEncryptionUtils, a
# key of 2,048 bits), in which their JSON has blanks and the name of the option too.
SENSITIVE_MAX = 160
_NAME_SIGNS = "0123456789._-"


@dataclass(frozen=True)
class Asked:
    """What was typed: options are texts like `sp_template=nvme`.

    `as_option`: Engine is given the token itself, not the path of its file.
    """

    name: str
    options: Sequence[str] = ()
    token_file: str | None = None
    as_option: bool = False


@dataclass(frozen=True)
class Wanted:
    """A domain as Engine is to have it: all values are texts, as REST takes them.

    `token` is StorPool's, wherever it is from.
    """

    name: str
    options: Mapping[str, str]
    sensitive: Mapping[str, Secret]
    token: Secret

    def all_options(self) -> dict[str, str]:
        """Return what Engine hands to the adapter: the sensitive ones over the others."""
        return {**self.options, **{key: each.reveal() for key, each in self.sensitive.items()}}


def checked(asked: Asked, root: str = "") -> Wanted:
    """Return the domain that was asked for; raise ConfigError naming what is wrong with it.

    What options lack has to be in storpool.conf, as for the adapter itself.
    """
    _check_name(asked.name)
    options = {names.ADAPTER_KEY: names.ADAPTER, **_typed(asked.options)}
    _check_token(asked, options)
    if asked.token_file is not None:
        options[gate.TOKEN_FILE] = asked.token_file
    elif gate.TOKEN_FILE not in options and presence.there(root + token.FILE):
        options[gate.TOKEN_FILE] = root + token.FILE
    if asked.as_option and gate.TOKEN_FILE not in options:
        raise errors.ConfigError(
            "--token-as-option", "needs the token", "give --token-file FILE, too"
        )
    found = config.domain(options, root)
    if gate.TOKEN_FILE in options:
        _check_token_file(options[gate.TOKEN_FILE])
    sensitive = {}
    if asked.as_option:
        options.pop(gate.TOKEN_FILE)
        _check_room(found.api.token)
        sensitive[gate.TOKEN] = found.api.token
    order = [names.ADAPTER_KEY, *(each.name for each in option_table.OPTIONS)]
    given = {key: options[key] for key in order if key in options}
    return Wanted(asked.name, given, sensitive, found.api.token)


def _check_name(name: str) -> None:
    if not 0 < len(name) <= NAME_MAX:
        raise errors.ConfigError(
            f"the name {names.shown(name)}",
            "is not as long as Engine wants it",
            f"give 1 to {NAME_MAX} characters",
        )
    if not all(each.isalpha() or each in _NAME_SIGNS for each in name):
        raise errors.ConfigError(
            f"the name {names.shown(name)}",
            "has a character that Engine takes in no name of a storage domain",
            "give letters, digits, dots, hyphens and underscores",
        )


def _typed(given: Sequence[str]) -> dict[str, str]:
    """Return the options that were typed, by their names; no value is in the text of an error
    before it is known to be no secret."""
    found: dict[str, str] = {}
    for each in given:
        key, equals, value = each.partition("=")
        _check_key(key)
        if key in found:
            raise errors.ConfigError(f"driver option {key}", "is given twice", "give it once")
        if not equals:
            raise errors.ConfigError(
                f"driver option {key}", "has no value", f"give it as {key}=VALUE"
            )
        found[key] = _value(key, value)
    return found


def _check_key(key: str) -> None:
    config.check_ours_alone({key: ""})
    known = [names.ADAPTER_KEY, *(each.name for each in option_table.OPTIONS)]
    if key not in known:
        word = key.strip().lower().replace("-", "_")
        near = option_values.nearest(word, known, config.PREFIX)
        advice = f"do you mean {near}?" if near else f"the options are {', '.join(known)}"
        raise errors.ConfigError(f"driver option {names.shown(key)}", "is not known", advice)
    if key == gate.TOKEN:
        raise errors.ConfigError(
            f"driver option {key}",
            "is a secret, and every local user can read a command line",
            "write it to a file that root and ovirt alone can read, and give --token-file FILE",
        )


def _value(key: str, given: str) -> str:
    value = text.stripped(given)
    if not value:
        raise errors.ConfigError(
            f"driver option {key}", "is empty", "give a value, or leave it out"
        )
    if not value.isprintable():
        raise errors.ConfigError(
            f"driver option {key}", "has a character that nobody can see or type", "leave that out"
        )
    if key == names.ADAPTER_KEY and value != names.ADAPTER:
        raise errors.ConfigError(
            f"driver option {key}",
            f"is {names.shown(value)}",
            f"it has to be {names.ADAPTER}: leave it out",
        )
    # Engine's REST makes an array of a text in brackets (BackendStorageDomainsResource).
    is_address = (
        key == option_table.OPTIONS[0].name and value.startswith("[") and value.endswith("]")
    )
    return value[1:-1] if is_address else value


def _check_token(asked: Asked, options: Mapping[str, str]) -> None:
    typed = options.get(gate.TOKEN_FILE)
    if asked.token_file is not None and typed not in (None, asked.token_file):
        raise errors.ConfigError(
            "--token-file",
            f"and driver option {gate.TOKEN_FILE} name two files",
            "give one of them",
        )
    if asked.token_file is not None and not asked.token_file.isprintable():
        raise errors.ConfigError(
            "--token-file", "has a character that nobody can see or type", "give another path"
        )


def _check_room(token: Secret) -> None:
    if len(token.reveal()) > SENSITIVE_MAX:
        raise errors.ConfigError(
            "--token-as-option",
            f"takes no token of more than {SENSITIVE_MAX} characters, as Engine encrypts no more",
            "leave it out",
        )


def _check_token_file(path: str) -> None:
    option_values.path(path)
    if gate.is_open_to_all(path):
        raise errors.ConfigError(
            f"the token file {path}",
            "can be read by every local user of this machine",
            "let only root and group ovirt read it (root:ovirt, 0640), or give it to"
            "  storpool-ovirt setup engine --token-file",
        )
