"""A domain's texts: whatever was typed, REST's body, Ansible's task and WebAdmin's lines say that
and nothing else."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from rigs import rest_engine
from storpool_ovirt import errors
from storpool_ovirt.secret import Secret
from storpool_ovirt.setup import domain_options, domain_texts
from storpool_ovirt.setup.domain_options import Asked, Wanted
from storpool_ovirt.setup.domain_texts import Place

TOKEN = "1556560560218011653"
# All that can be seen: what cannot is refused before. Quotes, colons, templates are likelier.
ODD = [
    "'",
    '"',
    "{{ x }}",
    "{% if %}",
    "{#",
    "\\",
    ": ",
    " #",
    "- ",
    "&",
    "<",
    "]]>",
    "!",
    "%",
    "\u00a0",
]
SEEN = st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"))
TEXTS = st.lists(st.one_of(SEEN, st.sampled_from(ODD), st.just(" ")), max_size=12).map("".join)
PATHS = TEXTS.map(lambda each: f"/{each}".rstrip()).filter(str.isprintable)
NAMES = st.text("aЖ9._-", min_size=1, max_size=50)
HOSTS = st.one_of(st.none(), st.sampled_from(["10.1.2.3", "[2001:db8::1]", "api.example"]))
SENSITIVE = st.booleans()


class _Loader(yaml.SafeLoader):
    """YAML as Ansible reads it: `!unsafe` marks a text that is no template."""


_Loader.add_constructor("!unsafe", lambda loader, node: Unsafe(loader.construct_scalar(node)))


class Unsafe(str):
    """A text that Ansible takes as it is."""

    __slots__ = ()


def wanted(name: str, path: str, host: str | None, sensitive: bool) -> Wanted:
    """Return a domain with such options."""
    options = {"adapter": "storpool", "sp_auth_token_file": path}
    if host is not None:
        options["sp_api_http_host"] = domain_options._value("sp_api_http_host", host)
    secrets = {"sp_auth_token": Secret(TOKEN)} if sensitive else {}
    return Wanted(name, options, secrets, Secret(TOKEN))


@given(NAMES, PATHS, HOSTS, SENSITIVE)
@example("yes", "/{{ lookup('pipe', 'id') }}", None, True)
@example("1e3", "/a: b #c", "[2001:db8::1]", False)
@example("null", "/'\"\\", None, False)
def test_all_texts_say_what_was_typed(
    name: str, path: str, host: str | None, sensitive: bool
) -> None:
    """Read back by an XML parser, a YAML parser and a person's eye, each has the same options, and
    no secret."""
    domain, place = wanted(name, path, host, sensitive), Place("host1", "Default")
    body = domain_texts.rest(domain, place)["body"]
    assert of_rest(body) == (name, dict(domain.options))
    text = domain_texts.yaml(domain_texts.ansible(domain, place))
    (task,) = yaml.load(text, _Loader)  # noqa: S506  a SafeLoader, and our own text
    assert task == domain_texts.ansible(domain, place)
    module = task[domain_texts.MODULE]
    pairs = module[domain_texts.TYPE]["driver_options"]
    assert {each["name"]: each["value"] for each in pairs} == domain.options
    assert module["name"] == name
    for each in pairs:
        is_template = any(sign in each["value"] for sign in ("{{", "{%", "{#"))
        assert isinstance(each["value"], Unsafe) == is_template
    lines = domain_texts.webadmin(domain, place)
    typed = dict(line[2:].split(" = ", 1) for line in lines if line.startswith("  "))
    assert {key: each for key, each in typed.items() if key != "sp_auth_token"} == domain.options
    assert ("sp_auth_token" in typed) == sensitive
    assert TOKEN not in "\n".join([body, text, *lines])


def of_rest(body: str) -> tuple[str | None, dict[str, Any]]:
    """Return name and options as Engine's REST reads them."""
    found = ElementTree.fromstring(body)  # noqa: S314  our own
    pairs = rest_engine.properties(found, "driver_options")
    return found.findtext("name"), {key: rest_engine.value(each) for key, each in pairs}


@given(st.text(max_size=60))
@example("a\u2028b")
@example("x" * 51)
def test_a_name_is_taken_as_engine_takes_it(name: str) -> None:
    """Letters of any script, digits and three signs, 1 to 50: `^[\\p{L}0-9._-]*$`."""
    good = 0 < len(name) <= 50 and all(each.isalpha() or each in "0123456789._-" for each in name)
    if good:
        domain_options._check_name(name)
    else:
        with pytest.raises(errors.ConfigError) as raised:
            domain_options._check_name(name)
        assert str(raised.value).isprintable()


@given(st.lists(st.text(max_size=20), max_size=4))
def test_whatever_is_typed_as_options_is_taken_or_one_sentence(given_words: list[str]) -> None:
    """Never a trace, never more than a line."""
    try:
        domain_options.checked(Asked("sp", given_words), "/nowhere")
    except errors.ConfigError as error:
        assert str(error).isprintable()


@given(st.sampled_from(["sp_auth_token", "SP_AUTH_TOKEN", "sp-auth-token", " sp_auth_token"]))
def test_a_token_that_was_typed_is_in_no_sentence(key: str) -> None:
    """However its name was written."""
    with pytest.raises(errors.ConfigError) as raised:
        domain_options.checked(Asked("sp", [f"{key}={TOKEN}"]), "/nowhere")
    assert TOKEN not in str(raised.value)


def test_an_address_in_brackets_is_no_array() -> None:
    """Engine's REST would make a list of it, which the adapter refuses when it is too late."""
    assert rest_engine.value("[2001:db8::1]") == ["2001:db8::1"]
    domain = wanted("sp", "/token", "[2001:db8::1]", sensitive=False)
    assert domain.options["sp_api_http_host"] == "2001:db8::1"
