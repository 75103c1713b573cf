"""A new storage domain in the words of those who can add one: REST, Ansible, WebAdmin.

No secret is in any of them: where one has to stand there is a placeholder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from xml.sax import saxutils

from storpool_ovirt.setup.domain_options import Wanted

PATH = "/ovirt-engine/api/storagedomains"
CENTER_PATH = "/ovirt-engine/api/datacenters/{}/storagedomains"
TYPE = "managed_block_storage"  # REST's name for the kind of domain, and of its storage
MODULE = "ovirt.ovirt.ovirt_storage_domain"
PLACEHOLDER = "PUT THE TOKEN HERE"
ANSIBLE_PLACEHOLDER = "{{ storpool_auth_token }}"
_AUTH = "{{ ovirt_auth }}"
# With one of these Ansible takes a text for a template.
_TEMPLATE_SIGNS = ("{{", "{%", "{#")


class Place(NamedTuple):
    """Where a domain is to be added: the host that Engine's API wants to be named, and the data
    center that it is attached to, empty where it is not to be attached yet."""

    host: str
    data_center: str
    data_center_id: str = ""


def rest(wanted: Wanted, place: Place) -> dict[str, Any]:
    """Return the request that adds the domain, with its body both as XML and as JSON, and the one
    that attaches it (None where there is no data center)."""
    document = {
        "name": wanted.name,
        "type": TYPE,
        "host": {"name": place.host},
        "storage": {
            "type": TYPE,
            "driver_options": {"property": _pairs(wanted.options)},
            **_if_any(wanted, "driver_sensitive_options", PLACEHOLDER, wrapped=True),
        },
    }
    body = "\n".join(_elements("storage_domain", document, 0))
    headers = {"Content-Type": "application/xml", "Accept": "application/xml"}
    request = {"method": "POST", "path": PATH, "headers": headers, "body": body, "json": document}
    by_name = {"name": wanted.name}
    attach = {
        "method": "POST",
        "path": CENTER_PATH.format(place.data_center_id),
        "headers": headers,
        "body": "\n".join(_elements("storage_domain", by_name, 0)),
        "json": by_name,
    }
    return {**request, "attach": attach if place.data_center else None}


def ansible(wanted: Wanted, place: Place) -> dict[str, Any]:
    """Return the task that adds the domain, and attaches it where there is a data center."""
    data_center = {"data_center": place.data_center} if place.data_center else {}
    return {
        "name": f"StorPool storage domain {wanted.name}",
        MODULE: {
            "auth": _AUTH,
            "name": wanted.name,
            "host": place.host,
            **data_center,
            TYPE: {
                "driver_options": _pairs(wanted.options),
                **_if_any(wanted, "driver_sensitive_options", ANSIBLE_PLACEHOLDER, wrapped=False),
            },
        },
    }


def webadmin(wanted: Wanted, place: Place) -> list[str]:
    """Return what is to be chosen and typed in WebAdmin, line by line."""
    return [
        "Storage > Domains > New Domain",
        f"Data Center: {place.data_center or 'the one that gets it'}",
        "Domain Function: Managed Block Storage",
        f"Name: {wanted.name}",
        f"Host: {place.host}",
        "Driver Options (overwrite the key volume_driver of the first line):",
        *(f"  {key} = {value}" for key, value in wanted.options.items()),
        *(["Driver Sensitive Options:"] if wanted.sensitive else []),
        *(f"  {key} = {PLACEHOLDER}" for key in wanted.sensitive),
    ]


def yaml(task: Mapping[str, Any]) -> str:
    """Return a task as a list of one in YAML.

    Each text is in double quotes, as JSON writes it, which is YAML too; one that Ansible would take
    for a template is marked as none.
    """
    return "\n".join(_yaml([task], 0))


def _pairs(options: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": key, "value": value} for key, value in options.items()]


def _if_any(wanted: Wanted, name: str, placeholder: str, *, wrapped: bool) -> dict[str, Any]:
    pairs = _pairs(dict.fromkeys(wanted.sensitive, placeholder))
    if not pairs:
        return {}
    return {name: {"property": pairs} if wrapped else pairs}


def _elements(tag: str, value: object, depth: int) -> Iterator[str]:
    indent = "  " * depth
    if isinstance(value, list):
        for each in value:
            yield from _elements(tag, each, depth)
    elif isinstance(value, dict):
        yield f"{indent}<{tag}>"
        for key, each in value.items():
            yield from _elements(key, each, depth + 1)
        yield f"{indent}</{tag}>"
    else:
        yield f"{indent}<{tag}>{saxutils.escape(str(value))}</{tag}>"


def _yaml(value: object, depth: int) -> Iterator[str]:
    indent = "  " * depth
    if isinstance(value, Mapping):
        for key, each in value.items():
            if isinstance(each, (Mapping, list)):
                yield f"{indent}{key}:"
                yield from _yaml(each, depth + 1)
            else:
                yield f"{indent}{key}: {_scalar(str(each))}"
    elif isinstance(value, Sequence):
        for each in value:
            first, *rest = _yaml(each, depth + 1)
            yield f"{indent}- {first.lstrip(' ')}"
            yield from rest


def _scalar(value: str) -> str:
    quoted = json.dumps(value, ensure_ascii=False)
    ours = (_AUTH, ANSIBLE_PLACEHOLDER)
    is_template = value not in ours and any(sign in value for sign in _TEMPLATE_SIGNS)
    return f"!unsafe {quoted}" if is_template else quoted
