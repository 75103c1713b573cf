"""`storpool-ovirt domain`: the domains that there are, and a new one, told to people and
programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from storpool_ovirt import config
from storpool_ovirt.admin import console, domain_list, limits
from storpool_ovirt.deadline import Deadline
from storpool_ovirt.engine import conf, connection, engine_tables
from storpool_ovirt.setup import domain, domain_creation, domain_options, domain_texts, engine_api
from storpool_ovirt.setup.domain_options import Wanted
from storpool_ovirt.setup.domain_texts import Place


class Request(NamedTuple):
    """What was typed; the fields are the command's options."""

    name: str
    options: tuple[str, ...]
    token_file: str | None
    token_as_option: bool
    data_center: str | None
    host: str | None
    create: bool
    url: str | None
    user: str | None
    password_file: str | None
    ca_file: str | None


def tell_all(out: console.Console, as_json: bool, limit: float) -> int:
    """Tell the domains that there are, and who can serve them; return the exit code."""
    connection.check_driver()
    root = config.root()
    with limits.limited(limit, "the end of domain") as deadline:
        tables = _tables(out, deadline, root)
        found = domain_list.look(tables, deadline, root)
    if as_json:
        out.document(found)
    else:
        out.say("\n".join(domain_list.text(found)))
    return 0


def tell(out: console.Console, request: Request, as_json: bool, limit: float) -> int:
    """Print, make or find a domain; return the exit code."""
    connection.check_driver()
    root = config.root()
    asked = domain_options.Asked(
        request.name, request.options, request.token_file, request.token_as_option
    )
    with limits.limited(limit, "the end of domain") as deadline:
        wanted = domain_options.checked(asked, root)
        out.hide(wanted.token.reveal())
        login = _login(out, request, root)
        tables = _tables(out, deadline, root)
        there = domain.standing(wanted, tables, deadline, root)
        place = domain.place(tables, request.data_center, request.host)
        if there is None:
            domain.prove(wanted, deadline, root)
        changed = False
        if login is not None:
            maker = domain_creation.Maker(login, tables, deadline, out.progress)
            changed = maker.make(wanted, place, there)
    state = _state(there, created=login is not None)
    for each in there.unsure if there is not None else ():
        out.progress(f"note: {each}")
    if as_json:
        out.document(_document(wanted, place, state, changed))
    else:
        out.say("\n".join(_text(wanted, place, state, there)))
    return 0


def _tables(out: console.Console, deadline: Deadline, root: str) -> engine_tables.Tables:
    for address in (conf.own_database(root), conf.database(root)):
        out.hide(address.password.reveal())
    return engine_tables.of_this_machine(deadline, root)


def _login(out: console.Console, request: Request, root: str) -> engine_api.Login | None:
    if not (request.create and request.user and request.password_file):
        return None
    login = engine_api.login(
        request.url, request.user, request.password_file, request.ca_file, root
    )
    out.hide(login.password.reveal())
    return login


def _state(there: domain.Standing | None, *, created: bool) -> str:
    if there is not None:
        return domain.THERE
    return domain.CREATED if created else domain.PRINTED


def _document(wanted: Wanted, place: Place, state: str, changed: bool) -> dict[str, Any]:
    return {
        "domain": wanted.name,
        "state": state,
        "changed": changed,
        "rest": domain_texts.rest(wanted, place),
        "ansible": domain_texts.ansible(wanted, place),
        "webadmin": domain_texts.webadmin(wanted, place),
    }


def _text(wanted: Wanted, place: Place, state: str, there: domain.Standing | None) -> list[str]:
    where = f" in data center {place.data_center}" if place.data_center else ""
    if state == domain.CREATED:
        rest = where or ": attach it to a data center before it can have disks"
        return [f"storage domain {wanted.name} is added{' and active' if where else ''}{rest}"]
    if there is not None:
        return [f"storage domain {wanted.name} is there with these options{_of(there, place)}"]
    request = domain_texts.rest(wanted, place)
    return [
        f"storage_stats works with these options. To add {wanted.name}:",
        "",
        "In WebAdmin",
        "",
        *(f"  {line}" for line in domain_texts.webadmin(wanted, place)),
        "",
        "By Ansible",
        "",
        *domain_texts.yaml(domain_texts.ansible(wanted, place)).split("\n"),
        "",
        f"By REST: {request['method']} https://ENGINE{request['path']}{_headers(request)}",
        "",
        *request["body"].split("\n"),
        "",
        "Or run this again with --create --user USER --password-file FILE.",
    ]


def _headers(request: Mapping[str, Any]) -> str:
    return "".join(f", {key}: {value}" for key, value in request["headers"].items())


def _of(there: domain.Standing, place: Place) -> str:
    if place.data_center:
        return f", active in data center {place.data_center}"
    attachments = there.domain.attachments
    told = ", ".join(f"{each.status} in data center {each.data_center}" for each in attachments)
    return f", {told}" if told else ", attached to no data center"
