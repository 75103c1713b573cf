"""The managed block domains of an Engine, and which hosts can serve those of StorPool's."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from storpool_ovirt import errors
from storpool_ovirt.admin import columns
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import sealed_options
from storpool_ovirt.engine.engine_tables import Domain, Host, Tables
from storpool_ovirt.sentences import MASK
from storpool_ovirt.setup import domain, serving


def look(tables: Tables, deadline: Deadline, root: str) -> dict[str, Any]:
    """Return what there is as a document; secrets are masked."""
    engine = serving.engine(tables, root)
    return {
        "engine": {"release": tables.release, "serves": engine.serves, "why": engine.why},
        "domains": [_domain(each, deadline, root) for each in tables.domains],
        "hosts": [_host(each) for each in tables.hosts],
    }


def text(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell a document of `look` to people."""
    engine = found["engine"]
    release = engine["release"] or "of unknown release"
    yield from _wrapped(f"Engine {release} {_serves(engine)}: {engine['why']}", 0)
    yield ""
    if not found["domains"]:
        yield "There is no managed block storage domain."
    for each in found["domains"]:
        yield from _domains_lines(each)
    yield ""
    if not found["hosts"]:
        yield "There is no host."
        return
    rows = [("HOST", "DATA CENTER", "STATUS", "VDSM", "SERVES")]
    for each in found["hosts"]:
        serves = "yes" if each["serves"] else "no"
        vdsm = each["vdsm"] or "not told"
        rows.append((each["name"], each["data_center"], each["status"], vdsm, serves))
    head, *lines = columns.lines(rows)
    yield head
    for line, each in zip(lines, found["hosts"]):
        yield line
        yield from _wrapped(each["why"], 4)


def _wrapped(told: str, indent: int) -> list[str]:
    """Return a sentence on lines of 80 columns; a word stays whole."""
    blank = " " * indent
    return textwrap.wrap(
        told,
        80,
        initial_indent=blank,
        subsequent_indent=blank,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _domains_lines(found: Mapping[str, Any]) -> Iterator[str]:
    where = [f"{each['status']} in {each['name']}" for each in found["data_centers"]]
    state = ", ".join(where) or "attached to no data center"
    kind = "StorPool" if found["ours"] else "not StorPool's"
    yield f"{found['name']}  ({kind})  {state}"
    if found["mistake"]:
        yield f"    not served: {found['mistake']}"
    for key, value in found["options"].items():
        yield f"    {key} = {value}"
    for key, value in found["sensitive_options"].items():
        yield f"    {key} = {value} (sensitive)"
    if found["sensitive_options_unread"]:
        yield f"    {found['sensitive_options_unread']}"


def _serves(verdict: Mapping[str, Any]) -> str:
    return "serves StorPool domains" if verdict["serves"] else "serves no StorPool domain"


def _domain(found: Domain, deadline: Deadline, root: str) -> dict[str, Any]:
    try:
        sensitive, unread = [*sealed_options.opened(found, deadline, root)], ""
    except errors.ConfigError as error:
        sensitive, unread = [], str(error)
    return {
        "id": found.id,
        "name": found.name,
        "adapter": found.adapter,
        "ours": found.is_ours,
        "mistake": found.mistake,
        "options": {
            key: MASK if domain.is_secret(key) else _plain(value)
            for key, value in sorted(found.options.items())
        },
        "sensitive_options": dict.fromkeys(sensitive, MASK),
        "sensitive_options_unread": unread,
        "data_centers": [
            {"id": each.data_center_id, "name": each.data_center, "status": each.status}
            for each in found.attachments
        ],
    }


def _host(found: Host) -> dict[str, Any]:
    verdict = serving.host(found)
    return {
        "id": found.id,
        "name": found.name,
        "address": found.address,
        "cluster": found.cluster,
        "data_center": found.data_center,
        "status": found.status,
        "vdsm": found.vdsm,
        "connector_info": found.connector is not None,
        "volume_type": found.volume_type,
        "serves": verdict.serves,
        "why": verdict.why,
    }


def _plain(value: object) -> object:
    """Return a value of an option without what may be a secret in a nested one."""
    return value if isinstance(value, (str, int, float, bool)) or value is None else MASK
