"""Settings: the options of a storage domain, completed from /etc/storpool.conf.

`OPTIONS` is the one place where an option lives. A value is parsed once, here, and is plain and
typed from there on.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Callable, NamedTuple

from storpool_ovirt import documents, errors, names, rights, storpool_conf, text

ROOT_VARIABLE = "STORPOOL_OVIRT_ROOT"
PREFIX = "sp_"
ENGINE_LOG_FOLDER = "/var/log/ovirt-engine"
# Of the helper and the boot hook: who asks why a volume was detached finds all of it in one place.
HELPER_LOG = "/var/log/vdsm/storpool-helper.log"

API_PORT = 81  # StorPool's default, `storpool.spconfig.DEFAULTS`
PORT_MAX = (1 << 16) - 1
DEADLINE_SECONDS = (
    100.0  # below Engine's own two minutes, which count only after our output has ended
)

_HOST = re.compile(r"[A-Za-z0-9._:\-\[\]]{1,253}\Z")
# What inet_aton(3) takes for an address, and what an administrator means by one.
_NUMBERS = re.compile(r"(?:0[xX][0-9a-fA-F]+|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]+|[0-9]+))*\Z")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!\Z)|\Z)){4}\Z")
# What an option with a secret looks like in JSON, or as Python prints it, however the rest of it
# does.
_SECRET_OPTION = re.compile(
    r"""["'][^"]{0,100}?(?:token|password|secret)["']\s{0,9}:\s{0,9}"""
    r"""("(?:[^"\\]|\\.){0,9999}"?|'(?:[^'\\]|\\.){0,9999}'?|[0-9a-zA-Z.+-]{1,9999})""",
    re.I,
)
_LABEL_MAX = 63  # of a name's part, in the DNS
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}\Z")


class Secret:
    """A text that is never shown: its `repr` and `str` are masked, `reveal` is called where it is
    used."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself, for the one place that sends it."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


@dataclass(frozen=True)
class Api:
    """How to reach one StorPool cluster.

    `cluster_id` pins it: every request is addressed to that cluster.
    """

    host: str
    port: int
    token: Secret
    multicluster: bool = False
    cluster_id: str | None = None


@dataclass(frozen=True)
class Domain:
    """What a storage domain's driver options say."""

    api: Api
    template: str | None
    deadline_seconds: float


@dataclass(frozen=True)
class HostSettings:
    """What a host's own storpool.conf says: its cluster, its client id there, and what names of
    Cinder's begin with."""

    api: Api
    client_id: int
    openstack_prefix: str = storpool_conf.OPENSTACK_PREFIX


@dataclass(frozen=True)
class Database:
    """Where the mapping database is. Its `str` has no password in it."""

    host: str
    port: int
    user: str
    password: Secret
    name: str

    def __str__(self) -> str:
        return f"{self.name} at {self.host}:{self.port}"


def _is_utf8(text: str) -> bool:
    """Tell whether a text can be given to the system, or a server: half a character can not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _host(text: str) -> str:
    # A resolver refuses what is no name, in words of its own; the dot at the end of a whole name is
    # no part of it.
    parts = text[:-1].split(".") if text.endswith(".") else text.split(".")
    if (
        "://" in text
        or not _HOST.match(text)
        or not all(0 < len(part) <= _LABEL_MAX for part in parts)
    ):
        raise ValueError(
            "is not a host name or address", "give it alone, without http:// and without a port"
        )
    if text.count(":") == 1 or "]:" in text:  # an IPv6 address has more of them
        raise ValueError(
            "has a port in it", "give the port as sp_api_http_port, or SP_API_HTTP_PORT"
        )
    if _NUMBERS.match(text) and not _IPV4.match(text):
        # The C library takes 10.1.100 for 10.1.0.100, and would send the token there.
        raise ValueError("is not an address", "give all four numbers of it")
    return text


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(given: str) -> float:
        number = text.decimal(given)
        if number is None or not low <= number <= high:
            raise ValueError("is out of range", f"give a number from {low:g} to {high:g}")
        return number

    return parse


def _port(given: str) -> int:
    port = text.number(given, 1, PORT_MAX)
    if port is None:
        raise ValueError("is not a port", f"give a number from 1 to {PORT_MAX}")
    return port


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
            text.lower()
        ]
    except KeyError:
        raise ValueError("is neither true nor false", "give true or false") from None


def _token(text: str) -> Secret:
    if not _TOKEN.match(text):
        raise ValueError(
            "is not a token", "give the value of SP_AUTH_TOKEN, without blanks or line breaks"
        )
    return Secret(text)


def _path(text: str) -> str:
    if not text.startswith("/") or "\0" in text or not _is_utf8(text):
        raise ValueError(
            "is not an absolute path", "give the full path of a file that holds only the token"
        )
    return text


def _pattern(pattern: re.Pattern[str], advice: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.match(text):
            raise ValueError("is not valid", advice)
        return text

    return parse


class Option(NamedTuple):
    """One driver option: its name, how it is read, where it comes from when absent, and why one
    would set it."""

    name: str
    parse: Callable[[str], Any]
    conf_key: str | None
    default: str | None
    meaning: str


OPTIONS = (
    Option(
        "sp_api_http_host",
        _host,
        "SP_API_HTTP_HOST",
        None,
        "address of the StorPool API, best the floating one",
    ),
    Option(
        "sp_api_http_port", _port, "SP_API_HTTP_PORT", str(API_PORT), "port of the StorPool API"
    ),
    Option(
        "sp_auth_token",
        _token,
        "SP_AUTH_TOKEN",
        None,
        "API token; every local user of Engine's machine can see it",
    ),
    Option(
        "sp_auth_token_file",
        _path,
        None,
        None,
        "file with the token alone: it stays out of argv and of Engine's log",
    ),
    Option(
        "sp_template",
        _pattern(names.TEMPLATE, "give the name of a StorPool template (letters, digits, _ and -)"),
        None,
        None,
        "template of new volumes; without it the cluster's default placement",
    ),
    Option(
        "sp_multicluster",
        _boolean,
        None,
        "false",
        "true where several clusters form one name space",
    ),
    Option(
        "sp_cluster_id",
        _pattern(names.CLUSTER_ID, "give the id as SP_CLUSTER_ID has it, like bgu4.n"),
        None,
        None,
        "pins the cluster (recommended): every verb refuses another one, also after a change of"
        " address",
    ),
    Option(
        "sp_deadline",
        _number(1, DEADLINE_SECONDS),
        None,
        f"{DEADLINE_SECONDS:g}",
        "seconds until a verb gives up",
    ),
)


def root() -> str:
    """Return the folder that stands for this host's `/`, or an empty text on a real host."""
    return os.environ.get(ROOT_VARIABLE, "").rstrip("/")


def engine_log(program: str) -> str:
    """Return where a program of Engine's machine writes its log: Engine tells its folder in its
    environment."""
    return (
        f"{os.environ.get('ENGINE_LOG') or root() + ENGINE_LOG_FOLDER}/managedblock/{program}.log"
    )


def parse_driver_json(
    text: str, what: str = "the driver options argument", example: str = ""
) -> dict[str, object]:
    """Return the driver options that Engine passes as one JSON object; raise ConfigError when it is
    none.

    `what` has the text, `example` is shown to a person who wrote it.
    """
    advice = "it must be one JSON object with the domain's driver options" + (
        f", like {example}" if example else ""
    )
    options = documents.parse(text, what, advice, errors.ConfigError)
    if not isinstance(options, dict):
        raise errors.ConfigError(what, "is not a JSON object", advice)
    return options


def parse_database_url(url: str) -> Database:
    """Return where the database is that Engine names as
    `postgresql+psycopg2://USER:PASSWORD@HOST:PORT/DATABASE`.

    Engine fills its template without quoting anything (oVirt's ManagedBlockExecutor), so a password
    may hold `@`, `:` and `/`: the last `@` ends it, the first `:` ends the user. Raises InputError
    without the password in its text.
    """
    scheme, _, rest = url.partition("://")
    credentials, at, location = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    server, slash, name = location.partition("/")
    host, port_colon, port_text = server.rpartition(":")
    well_formed = (
        scheme.split("+")[0] in ("postgresql", "postgres") and at and colon and slash and port_colon
    )
    port = text.number(port_text, 1, PORT_MAX)
    readable = (user + host + name).isprintable() and "\0" not in password and _is_utf8(password)
    if not (well_formed and user and host and name and port and readable):
        raise errors.InputError(
            "the database URL argument",
            "is not valid",
            "give postgresql+psycopg2://USER:PASSWORD@HOST:PORT/DATABASE",
        )
    return Database(host.strip("[]"), port, user, Secret(password), name)


def database_option(url: str) -> Database:
    """Return where the database is that a person names with `--database`; raise InputError as
    `parse_database_url`."""
    try:
        return parse_database_url(url)
    except errors.InputError:
        credentials, at, _ = url.partition("://")[2].rpartition("@")
        lacks = "has no password" if at and ":" not in credentials else "is not valid"
        raise errors.InputError(
            "--database", lacks, "give postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None


def secrets_in(argument: str) -> Iterator[str]:
    """Yield what may be a secret in an argument of Engine's, well-formed or not, also one in a
    wrong place."""
    for found in _SECRET_OPTION.finditer(argument):
        raw = found.group(1).strip("\"'")
        yield raw
        with contextlib.suppress(errors.InputError):
            yield documents.parse(f'"{raw}"', "", "")
    scheme, separator, rest = argument.partition("://")
    if separator and scheme.isprintable() and " " not in scheme:
        credentials, at, _ = rest.rpartition("@")
        yield (credentials if at else rest).partition(":")[2]


def domain(options: Mapping[str, object], root: str = "", prefix: str = PREFIX) -> Domain:
    """Return the settings of a storage domain; what `options` lack comes from storpool.conf.

    A key of ours that is not known is refused, keys of others are ignored.

    `prefix` begins the names of the options where they are not oVirt's. Raises ConfigError naming
    the option and what to do; never with a secret in its text.
    """
    table = {
        option.name[len(PREFIX) :]: option._replace(name=prefix + option.name[len(PREFIX) :])
        for option in OPTIONS
    }
    _refuse_unknown(options, prefix, [option.name for option in table.values()])
    given = {key: _given(option, options) for key, option in table.items()}
    if given["auth_token"] is None and given["auth_token_file"] is not None:
        given["auth_token"] = _token_from(
            given["auth_token_file"], table["auth_token_file"].name, prefix
        )
    missing = {
        key: option for key, option in table.items() if option.conf_key and given[key] is None
    }
    optional = all(option.default is not None for option in missing.values())
    conf = _conf_of_domain(root, optional, prefix) if missing else {}
    for key, option in table.items():
        if given[key] is None:
            value = conf.get(option.conf_key, option.default) if option.conf_key else option.default
            if value is not None:
                given[key] = _parsed(option, value, f"{option.conf_key} in {storpool_conf.FILE}")
    for key, option in missing.items():
        if given[key] is None:
            raise errors.ConfigError(
                f"driver option {option.name}",
                "is missing",
                f"set it, or {option.conf_key} in {storpool_conf.FILE}",
            )
    api = Api(
        given["api_http_host"],
        given["api_http_port"],
        given["auth_token"],
        given["multicluster"],
        given["cluster_id"],
    )
    return Domain(api, given["template"], given["deadline"])


def _conf_of_domain(root: str, optional: bool, prefix: str) -> dict[str, str]:
    try:
        return storpool_conf.read(root, optional=optional)
    except errors.ConfigError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        raise errors.ConfigError(
            error.what, error.why, _whoever_may_read(prefix)
        ) from error.__cause__


def _whoever_may_read(prefix: str) -> str:
    """Return who is to run a program of Engine's, or of Cinder's, that cannot read where the token
    is."""
    user = storpool_conf.user()
    if os.geteuid() == 0:
        return "make it a file that root can read"
    if prefix == PREFIX and user != "user ovirt":
        return "run this as root or as the user ovirt"
    return f"give it the group of {user} and the mode 0640"


def _refuse_unknown(options: Mapping[str, object], prefix: str, known: list[str]) -> None:
    """Raise ConfigError for a key that can only be meant as one of our options, with the nearest
    name.

    Ignored, it would be found out when the domain has disks, and Engine never lets anybody correct
    it. Other keys are for others (`adapter`, what cinderlib reads).
    """
    for key in options:
        word = key.strip().lower().replace("-", "_")
        if key not in known and word.startswith(prefix):
            import difflib

            near = difflib.get_close_matches(word, known, 1, 0.5)
            advice = f"do you mean {near[0]}?" if near else f"the options are {', '.join(known)}"
            raise errors.ConfigError(f"driver option {names.shown(key)}", "is not known", advice)


def host(root: str = "", node: str | None = None, environment: bool = True) -> HostSettings:
    """Return the settings of the host that this process runs on; raise ConfigError when
    storpool.conf lacks one.

    `environment`: keys of storpool.conf may come from there too, as StorPool's own reader has it.
    """
    conf = storpool_conf.read(root, node=node, environment=environment)
    host_option, port_option, token_option = OPTIONS[:3]
    values = []
    for option in (host_option, port_option, token_option):
        value = conf.get(option.conf_key or "", option.default)
        if value is None:
            _check_there(root)
            raise errors.ConfigError(
                f"{option.conf_key}",
                f"is missing in {root}{storpool_conf.FILE}",
                "set it on this host",
            )
        values.append(_parsed(option, value, f"{option.conf_key} in {root}{storpool_conf.FILE}"))
    our_id = conf.get("SP_OURID")
    if our_id is None:
        _check_there(root)
        where = f"the section [{node or os.uname().nodename}] of {root}{storpool_conf.FILE}"
        raise errors.ConfigError(
            "SP_OURID", f"is missing in {where}", "every host needs its own client id there"
        )
    client_id = names.client_id(our_id)
    if client_id is None:
        raise errors.ConfigError(
            f"SP_OURID in {root}{storpool_conf.FILE}",
            "is not a client id",
            f"give 1 to {names.CLIENT_ID_MAX}",
        )
    return HostSettings(Api(*values), client_id, storpool_conf.openstack_prefix(conf))


def _check_there(root: str) -> None:
    if not storpool_conf.is_there(root):
        raise errors.ConfigError(
            f"{root}{storpool_conf.FILE}",
            "is missing",
            "install StorPool's client on this host, which writes it",
        )


def _given(option: Option, options: Mapping[str, object]) -> Any:
    value = options.get(option.name)
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise errors.ConfigError(
            f"driver option {option.name}", "is not a plain value", "give a text or a number"
        )
    return _parsed(option, text.stripped(str(value)), f"driver option {option.name}")


def _parsed(option: Option, text: str, where: str) -> Any:
    try:
        return option.parse(text)
    except ValueError as error:
        why, advice = error.args
        shown = "" if option.parse is _token else f" ({names.shown(text)})"
        raise errors.ConfigError(where, f"{why}{shown}", advice) from None


def _token_from(path: str, option_name: str, prefix: str) -> Secret:
    where = f"the file {path} (driver option {option_name})"
    try:
        content = text.decoded(rights.read(path), where, may_have_mark=True)
    except OSError as error:
        denied = isinstance(error, PermissionError)
        advice = (
            _whoever_may_read(prefix) if denied else "make it a file that holds the token alone"
        )
        raise errors.ConfigError(where, f"cannot be read ({error.strerror})", advice) from error
    try:
        return _token(text.stripped(content))
    except ValueError as error:
        raise errors.ConfigError(where, error.args[0], "it must hold the token alone") from None
