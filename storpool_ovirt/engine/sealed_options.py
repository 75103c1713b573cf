"""The sensitive options of a domain, which Engine keeps encrypted for its own key.

Engine's EngineEncryptionUtils encrypts with the key of its store (ENGINE_PKI_ENGINE_STORE, RSA):
after a `$` base64 of OAEP with SHA-256, before 4.5 base64 of PKCS #1. What it cannot decrypt it
takes as it is (DbFacadeUtils). root and the user ovirt may read the store.
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess

from storpool_ovirt import documents, errors, text
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import conf, engine_tables
from storpool_ovirt.secret import Secret

STORE, PASSWORD = "ENGINE_PKI_ENGINE_STORE", "ENGINE_PKI_ENGINE_STORE_PASSWORD"
DEFAULT_STORE = "/etc/pki/ovirt-engine/keys/engine.p12"
OPENSSL = "openssl"
# Of one start of openssl: it takes hundredths of a second.
OPENSSL_SECONDS = 5.0
UNREAD = "cannot be read"  # what each error of ours has as its `why`
_VARIABLE = "STORE_PASSWORD"
_NEW = "$"
_OAEP = (
    *("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"),
    *("-pkeyopt", "rsa_mgf1_md:sha256"),
)
# A store that a release before EL 9 made is encrypted in a way that OpenSSL 3 has aside.
_PROVIDERS: tuple[tuple[str, ...], ...] = ((), ("-provider", "legacy", "-provider", "default"))


def opened(domain: engine_tables.Domain, deadline: Deadline, root: str = "") -> dict[str, Secret]:
    """Return the sensitive options of a domain.

    Raises ConfigError, without any part of them in its text, where they cannot be read.
    """
    if domain.sealed is None:
        return {}
    sealed = domain.sealed.reveal()
    plain = sealed if sealed.lstrip().startswith("{") else _decrypted(sealed, deadline, root)
    return _parsed(plain)


def _parsed(plain: str) -> dict[str, Secret]:
    try:
        found = documents.parse(plain, "", "", errors.ConfigError)
    except errors.ConfigError:
        found = None
    if not isinstance(found, dict):
        raise _unread("they are no JSON object")
    return {key: Secret(value if isinstance(value, str) else "") for key, value in found.items()}


def _decrypted(sealed: str, deadline: Deadline, root: str) -> str:
    keys = conf.values(root)
    store = root + keys.get(STORE, DEFAULT_STORE)
    if not os.access(store, os.R_OK):
        raise _unread(f"{store} is not readable: run this as root")
    padding = _OAEP if sealed.startswith(_NEW) else ()
    try:
        data = base64.b64decode(sealed[len(_NEW) :] if padding else sealed)
    except (binascii.Error, ValueError):
        raise _unread("they are not as Engine writes them") from None
    command = [OPENSSL, "pkeyutl", "-decrypt", "-inkey", store, "-passin", f"env:{_VARIABLE}"]
    password = keys.get(PASSWORD, "")
    why = ""
    for providers in _PROVIDERS:
        done = _run([*command, *padding, *providers], password, data, deadline)
        if done.returncode == 0:
            return text.decoded(done.stdout, "the sensitive options of the domain")
        why = done.stderr.decode(errors="replace")
    first = next((line for line in text.lines(why) if line.strip()), "it said nothing")
    raise _unread(f"openssl could not decrypt them with {store} ({first})")


def _run(
    command: list[str], password: str, data: bytes, deadline: Deadline
) -> subprocess.CompletedProcess[bytes]:
    limit = deadline.within(OPENSSL_SECONDS)
    try:
        return subprocess.run(
            command,
            input=data,
            capture_output=True,
            env={"PATH": os.defpath, _VARIABLE: password},
            timeout=limit.left("openssl"),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = getattr(error, "strerror", None) or f"it did not end within {limit.seconds:g} s"
        raise _unread(f"{OPENSSL} could not be run ({why})") from None


def _unread(why: str) -> errors.ConfigError:
    return errors.ConfigError("the sensitive options of the domain", UNREAD, why)
