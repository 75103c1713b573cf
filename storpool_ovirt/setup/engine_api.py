"""Engine's own API, through oVirt's library for it (ovirtsdk4): one question at a time.

Each question is asked by a child process that the kernel ends when its time is up: the library
waits for a log-in without any limit, in C code that no signal breaks off. So whoever asks knows
after each question what is done. The errors of the library become ours here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable
from urllib import parse

from storpool_ovirt import errors, names, presence, rights, text
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import conf
from storpool_ovirt.privilege import child
from storpool_ovirt.secret import Secret
from storpool_ovirt.setup import domain_texts
from storpool_ovirt.setup.domain_options import Wanted

PATH = "/ovirt-engine/api"
CA_FILE = "/etc/pki/ovirt-engine/ca.pem"  # Engine's own, which all may read
FQDN, HTTPS_PORT = "ENGINE_FQDN", "ENGINE_PROXY_HTTPS_PORT"  # 10-setup-protocols.conf has them
LOG = "/var/log/ovirt-engine/engine.log"
# A log-in and one call; Engine starts `storage_stats` in the one that adds a domain.
CALL_SECONDS = 60.0
ACTIVE = "active"
# What of libcurl's numbers (curl/curl.h) says what a person can do.
_NO_NAME, _NO_CONNECTION, _TIME_IS_UP = 6, 7, 28
_CERTIFICATES = (35, 51, 58, 60, 77, 83, 90)
_AUTHENTICATION = (401, 403)


@dataclass(frozen=True)
class Login:
    """Where Engine's API is, as whom, and who vouches for its certificate."""

    url: str
    user: str
    password: Secret
    ca_file: str


def login(
    url: str | None, user: str, password_file: str, ca_file: str | None, root: str = ""
) -> Login:
    """Return how to log in; what is not given is that of this machine's Engine.

    Raises ConfigError for a URL that is none, and for files that are not there; ModuleNotFoundError
    where oVirt's library is not there.
    """
    _library()  # whoever lacks it is told before anything is done
    return Login(
        _address(url, root),
        user,
        _password(password_file),
        _certificates(ca_file or root + CA_FILE),
    )


def check(where: Login, host_id: str, deadline: Deadline) -> None:
    """Log in, and see that this Engine has a certain host: that it is the one of this machine."""

    def work(_sdk: Any, system: Any) -> None:
        system.hosts_service().host_service(host_id).get()

    try:
        _asked(where, deadline, "to log in", work)
    except errors.NotFound:
        raise errors.ConfigError(
            f"--url {where.url}", "is another Engine than that of this machine", "give this one's"
        ) from None


def add(where: Login, wanted: Wanted, host: str, deadline: Deadline) -> str:
    """Add a domain, and return its id."""

    def work(sdk: Any, system: Any) -> str:
        kinds = sdk.types
        sensitive = {key: each.reveal() for key, each in wanted.sensitive.items()}
        storage = kinds.HostStorage(
            type=kinds.StorageType.MANAGED_BLOCK_STORAGE,
            driver_options=_properties(sdk, wanted.options),
            driver_sensitive_options=_properties(sdk, sensitive) if sensitive else None,
        )
        made = system.storage_domains_service().add(
            kinds.StorageDomain(
                name=wanted.name,
                type=kinds.StorageDomainType(domain_texts.TYPE),
                host=kinds.Host(name=host),
                storage=storage,
            )
        )
        return str(made.id)

    return str(_asked(where, deadline, f"to add the storage domain {wanted.name}", work))


def attach(where: Login, domain_id: str, data_center_id: str, deadline: Deadline) -> None:
    """Attach a domain to a data center, which activates it; raise NotFound where one of them is
    gone."""

    def work(sdk: Any, system: Any) -> None:
        attached = _attached(system, data_center_id)
        attached.add(sdk.types.StorageDomain(id=domain_id))

    _asked(where, deadline, "to attach the storage domain", work)


def activate(where: Login, domain_id: str, data_center_id: str, deadline: Deadline) -> None:
    """Activate a domain that is in maintenance."""

    def work(_sdk: Any, system: Any) -> None:
        _attached(system, data_center_id).storage_domain_service(domain_id).activate()

    _asked(where, deadline, "to activate the storage domain", work)


def status(where: Login, domain_id: str, data_center_id: str, deadline: Deadline) -> str:
    """Return the status of a domain in a data center in Engine's own words, like `active`."""

    def work(_sdk: Any, system: Any) -> str:
        found = _attached(system, data_center_id).storage_domain_service(domain_id).get()
        return str(found.status.value) if found.status is not None else "unknown"

    return str(_asked(where, deadline, "to tell how the storage domain is", work))


def _address(url: str | None, root: str) -> str:
    if url is None:
        values = conf.values(root)
        name, number = values.get(FQDN), values.get(HTTPS_PORT, "443")
        if not name:
            raise errors.ConfigError(
                "--url", "is missing", f"give https://ENGINE{PATH}: {FQDN} is not told here"
            )
        url = f"https://{name}" if number == "443" else f"https://{name}:{number}"
    shown = names.shown(url)
    advice = f"give one like https://ENGINE{PATH}"
    try:
        parts = parse.urlsplit(url)
        readable = bool(parts.hostname) and (parts.port or 1) > 0 and url.isprintable()
    except ValueError:
        raise errors.ConfigError(f"--url {shown}", "is no address of Engine's", advice) from None
    if not readable or parts.username or parts.password or parts.query or parts.fragment:
        raise errors.ConfigError(f"--url {shown}", "is no address of Engine's", advice)
    if parts.scheme != "https":
        raise errors.ConfigError(
            f"--url {shown}", "would send the password for all to read", advice
        )
    return f"https://{parts.netloc}{parts.path.rstrip('/') if parts.path.strip('/') else PATH}"


def _password(path: str) -> Secret:
    where = f"the file {path} (--password-file)"
    try:
        content = text.decoded(rights.read(path), where, may_have_mark=True)
    except OSError as error:
        raise errors.ConfigError(
            where, f"cannot be read ({error.strerror})", "make it a file with the password alone"
        ) from error
    lines = text.lines(content)
    if len(lines) != 1 or not lines[0]:
        raise errors.ConfigError(where, "is not one line", "it must hold the password alone")
    return Secret(lines[0])


def _certificates(path: str) -> str:
    if not presence.there(path):
        raise errors.ConfigError(
            f"the file {path} (--ca-file)", "is missing", "give Engine's CA certificate as PEM"
        )
    return path


def _attached(system: Any, data_center_id: str) -> Any:
    centers = system.data_centers_service()
    return centers.data_center_service(data_center_id).storage_domains_service()


def _properties(sdk: Any, options: Mapping[str, str]) -> list[Any]:
    return [sdk.types.Property(name=key, value=value) for key, value in options.items()]


def _asked(where: Login, deadline: Deadline, what: str, work: Callable[[Any, Any], Any]) -> Any:
    """Return what a piece of work with Engine's API returns; raise our errors.

    Raises ModuleNotFoundError where oVirt's library is not there.
    """
    ovirtsdk4 = _library()  # its import takes a second: the children have it
    limit = deadline.within(CALL_SECONDS)
    seconds = limit.left(f"Engine, {what}")

    def in_child() -> bytes:
        return json.dumps(_answer(ovirtsdk4, where, seconds, work)).encode()

    try:
        answer = json.loads(child.done(in_child, None, seconds))
    except child.Failure as error:
        raise errors.EngineUnavailable(where.url, f"asked {what}, {error}", _up(where)) from None
    if "failed" in answer:
        raise _error(where, what, answer["failed"])
    return answer["done"]


def _library() -> Any:
    try:
        import ovirtsdk4
    except ModuleNotFoundError:
        raise
    except ImportError as error:  # libcurl or libxml2 is another one than it was built with
        raise errors.ConfigError(
            "oVirt's library ovirtsdk4", f"cannot be loaded ({error})", "reinstall it and pycurl"
        ) from error
    return ovirtsdk4


def _answer(
    sdk: Any, where: Login, seconds: float, work: Callable[[Any, Any], Any]
) -> dict[str, Any]:
    import contextlib

    try:
        connection = sdk.Connection(
            url=where.url,
            username=where.user,
            password=where.password.reveal(),
            ca_file=where.ca_file,
            timeout=max(1, int(seconds)),
        )
        done = work(sdk, connection.system_service())
        with contextlib.suppress(Exception):  # the work is done; the session ends by itself
            connection.close()
    except (sdk.Error, ValueError) as error:  # ValueError: JSON of a log-in that is none
        fault = getattr(error, "fault", None)
        curl = (*getattr(error.__context__, "args", ()), None, None)[:2]
        return {
            "failed": {
                "class": type(error).__name__,
                "text": str(curl[1] if isinstance(curl[0], int) else error),
                "code": getattr(error, "code", None),
                "curl": curl[0] if isinstance(curl[0], int) else None,
                "reason": fault.reason if fault is not None else None,
                "detail": fault.detail if fault is not None else None,
            }
        }
    return {"done": done}


def _error(where: Login, what: str, failed: Mapping[str, Any]) -> errors.Error:
    said = failed["text"]
    if failed["class"] == "AuthError" and failed["code"] is None:  # of the log-in itself
        why = said.partition(" : ")[2] or said
        return errors.EngineRefused(
            f"to let {where.user} in",
            _one_line(why),
            "check --user, like admin@ovirt@internalsso, and the password",
        )
    if failed["reason"] or failed["detail"]:
        why = ": ".join(_one_line(each) for each in (failed["reason"], failed["detail"]) if each)
        if failed["code"] in _AUTHENTICATION:
            return errors.EngineRefused(what, why, f"give a --user who may, not {where.user}")
        if failed["code"] != 404:
            return errors.EngineRefused(what, why, f"{LOG} on Engine's machine has more")
    if failed["code"] == 404:
        return errors.NotFound("", "such host, data center or domain", f"in Engine at {where.url}")
    return _unreached(where, failed["curl"], said)


def _unreached(where: Login, number: int | None, said: str) -> errors.Error:
    why = _one_line(said)
    if number in _CERTIFICATES:
        return errors.EngineUnavailable(
            where.url,
            why,
            f"its certificate has to be vouched for by {where.ca_file}, and be for that name:"
            " give Engine's CA by --ca-file, and its own name by --url",
        )
    if number == _NO_NAME:
        return errors.EngineUnavailable(where.url, why, "correct --url, or the DNS")
    if number in (_NO_CONNECTION, _TIME_IS_UP):
        return errors.EngineUnavailable(where.url, why, _up(where))
    return errors.EngineUnavailable(
        where.url, why, f"is ovirt-engine up, and is this its API, like https://ENGINE{PATH}?"
    )


def _up(where: Login) -> str:
    host = parse.urlsplit(where.url).hostname
    return f"check that ovirt-engine and httpd run on {host}, and what is in between"


def _one_line(said: str) -> str:
    """Return a text of Engine's without the brackets that it puts around messages, and without
    line breaks."""
    line = " ".join(said.split())
    return line[1:-1] if line.startswith("[") and line.endswith("]") else line
