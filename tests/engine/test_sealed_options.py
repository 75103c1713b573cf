"""Sensitive options: encrypted as Engine does it, by openssl, and read again."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from storpool_ovirt import errors
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import engine_tables, sealed_options
from storpool_ovirt.secret import Secret

TOKEN = "1556560560218011653"
PLAIN = f'{{"sp_auth_token": "{TOKEN}"}}'
OAEP = ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"]
WORD = "my pass"
KEYS = "etc/pki/ovirt-engine/keys"


def openssl(*arguments: str | Path, given: bytes = b"") -> bytes:
    """Run it, and return what it says."""
    return subprocess.run(
        ["openssl", *map(str, arguments)], input=given, capture_output=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that stands for the `/` of an Engine with its key."""
    folder = tmp_path_factory.mktemp("engine")
    keys = folder / KEYS
    keys.mkdir(parents=True)
    key, certificate = keys / "key.pem", keys / "engine.cer"
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    openssl("req", *made, "-subj", "/CN=engine.example", "-days", "30")
    store = ["-inkey", key, "-in", certificate, "-name", "1", "-passout", f"pass:{WORD}"]
    openssl("pkcs12", "-export", *store, "-out", keys / "engine.p12")
    openssl("pkcs12", "-export", "-legacy", *store, "-out", keys / "legacy.p12")
    settings = folder / "etc/ovirt-engine/engine.conf.d"
    settings.mkdir(parents=True)
    conf(folder)
    return folder


def conf(root: Path, password: str = WORD, store: str = "engine.p12") -> None:
    """Write what engine-setup says of the key."""
    (root / "etc/ovirt-engine/engine.conf.d/10-setup-pki.conf").write_text(
        f'ENGINE_PKI="/etc/pki/ovirt-engine"\nENGINE_PKI_ENGINE_STORE="/{KEYS}/{store}"\n'
        f'ENGINE_PKI_ENGINE_STORE_PASSWORD="{password}"\n'
    )


def sealed(root: Path, plain: str = PLAIN, *, old: bool = False) -> str:
    """Encrypt as Engine's EngineEncryptionUtils does, or did before 4.5."""
    padding = [word for each in OAEP for word in ("-pkeyopt", each)]
    key = ["-certin", "-inkey", root / KEYS / "engine.cer"]
    data = openssl("pkeyutl", "-encrypt", *key, *([] if old else padding), given=plain.encode())
    return ("" if old else "$") + base64.b64encode(data).decode()


def opened(root: Path, text: str | None) -> dict[str, Secret]:
    """Read the sensitive options of a domain that has these."""
    domain = engine_tables.Domain("id", "sp", {}, Secret(text) if text else None, [])
    return sealed_options.opened(domain, Deadline(20), str(root))


@pytest.mark.parametrize("old", [False, True])
def test_what_engine_encrypted_is_read(root: Path, old: bool) -> None:
    """With the key and the password of Engine's own files, also what an old Engine wrote."""
    conf(root)
    assert opened(root, sealed(root, old=old)) == {"sp_auth_token": Secret(TOKEN)}


def test_a_store_of_an_older_release_is_read(root: Path) -> None:
    """Its encryption is one that OpenSSL 3 does only when asked."""
    conf(root, store="legacy.p12")
    assert opened(root, sealed(root)) == {"sp_auth_token": Secret(TOKEN)}


def test_a_domain_without_any_has_none(root: Path) -> None:
    """Nothing is run for it."""
    assert opened(root, None) == {}


def test_what_is_not_encrypted_is_taken_as_it_is(root: Path) -> None:
    """As Engine itself does."""
    assert opened(root, PLAIN) == {"sp_auth_token": Secret(TOKEN)}


BROKEN = {
    "a wrong password": (lambda root: conf(root, password="wrong-one"), "could not decrypt"),
    "no store": (lambda root: conf(root, store="gone.p12"), "not readable"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_is_one_sentence(root: Path, case: str) -> None:
    """Never with a part of the secret, or of the password, in it."""
    spoil, why = BROKEN[case]
    spoil(root)
    with pytest.raises(errors.ConfigError, match=why) as raised:
        opened(root, sealed(root))
    assert "wrong-one" not in str(raised.value)


@pytest.mark.parametrize("text", ["$", "$!!!", "$AAAA", "é", "{", "$" + "A" * 344])
def test_odd_text_is_one_sentence(root: Path, text: str) -> None:
    """Whatever stands in the database."""
    conf(root)
    with pytest.raises(errors.ConfigError, match="sensitive options of the domain cannot be read"):
        opened(root, text)


def test_what_is_no_object_is_one_sentence(root: Path) -> None:
    """JSON of another shape, which holds a secret, is not in it."""
    conf(root)
    with pytest.raises(errors.ConfigError) as raised:
        opened(root, sealed(root, f'"{TOKEN}"'))
    assert TOKEN not in str(raised.value)
