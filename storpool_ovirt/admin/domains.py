"""`storpool-ovirt domain`: the domains that there are, and a new one, told to people and
programs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from storpool_ovirt import config, errors
from storpool_ovirt.admin import console, domain_list, limits
from storpool_ovirt.engine import conf, connection, engine_tables
from storpool_ovirt.setup import domain, domain_creation, domain_options, domain_texts, engine_api
from storpool_ovirt.setup.domain_options import Wanted
from storpool_ovirt.setup.domain_texts import Place

ADD, HAVE_ACTIVE = "add", "have active"


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


class Outcome(NamedTuple):
    """What came of a request; `made`: Engine's API was asked to have the domain at this place."""

    wanted: Wanted
    place: Place
    there: domain.Standing | None
    made: bool
    changed: bool

    @property
    def state(self) -> str:
        """Its word for programs."""
        if self.there is not None:
            return domain.THERE
        return domain.CREATED if self.made else domain.PRINTED

    @property
    def left(self) -> str:
        """What --create would do still: ADD, HAVE_ACTIVE or nothing."""
        if self.made:
            return ""
        if self.there is None:
            return ADD
        center = self.place.data_center
        return HAVE_ACTIVE if center and not domain.is_active(self.there.domain, center) else ""


def tell_all(out: console.Console, as_json: bool, limit: float) -> int:
    """Tell the domains that there are, and who can serve them; return the exit code."""
    root = _begin(out)
    with limits.limited(limit, "the end of domain") as deadline:
        tables = engine_tables.of_this_machine(deadline, root)
        found = domain_list.look(tables, deadline, root)
    if as_json:
        out.document(found)
    else:
        out.say("\n".join(domain_list.text(found)))
    return 0


def tell(out: console.Console, request: Request, as_json: bool, limit: float) -> int:
    """Print, make or find a domain; return the exit code."""
    root = _begin(out)
    asked = domain_options.Asked(
        request.name, request.options, request.token_file, request.token_as_option
    )
    with limits.limited(limit, "the end of domain") as deadline:
        wanted = domain_options.checked(asked, root)
        out.hide(wanted.token.reveal())
        login = _login(out, request, root)
        tables = engine_tables.of_this_machine(deadline, root)
        there = domain.standing(wanted, tables, deadline, root)
        is_there = there is not None
        place = domain.place(tables, request.data_center, request.host, is_there=is_there)
        if there is None:
            domain.prove(wanted, deadline, root)
        changed = False
        if login is not None:
            out.log.correlation_id = f"domain-{os.getpid()}"
            maker = domain_creation.Maker(login, tables, deadline, out.progress, out.log)
            changed = maker.make(wanted, place, there)
    for each in there.unsure if there is not None else ():
        out.progress(f"note: {each}")
    came = Outcome(wanted, place, there, login is not None, changed)
    if as_json:
        out.document(_document(came))
    else:
        out.say("\n".join(_text(came)))
    return 0


def _begin(out: console.Console) -> str:
    """Return the root of Engine's machine; raise ConfigError where this is none, or nothing for
    this user."""
    connection.check_driver()
    root = config.root()
    out.hide(conf.own_database(root).password.reveal())
    with contextlib.suppress(errors.ConfigError):  # an Engine that has no such database yet
        out.hide(conf.database(root).password.reveal())
    return root


def _login(out: console.Console, request: Request, root: str) -> engine_api.Login | None:
    if not (request.create and request.user and request.password_file):
        return None
    login = engine_api.login(
        request.url, request.user, request.password_file, request.ca_file, root
    )
    out.hide(login.password.reveal())
    return login


def _document(came: Outcome) -> dict[str, Any]:
    return {
        "domain": came.wanted.name,
        "state": came.state,
        "changed": came.changed,
        "left": came.left,
        "rest": domain_texts.rest(came.wanted, came.place),
        "ansible": domain_texts.ansible(came.wanted, came.place),
        "webadmin": domain_texts.webadmin(came.wanted, came.place),
    }


def _text(came: Outcome) -> list[str]:
    wanted, center = came.wanted, came.place.data_center
    if came.there is not None:
        told = f"storage domain {wanted.name} is there with these options, {_where(came)}"
        missing = came.left == HAVE_ACTIVE
        return [
            told,
            *([f"Run this again with --create to have it in {center}."] if missing else []),
        ]
    if came.made and center:
        return [f"storage domain {wanted.name} is added and active in data center {center}"]
    if came.made:
        return [
            f"storage domain {wanted.name} is added: attach it to a data center before it can have"
            " disks"
        ]
    return _printed(came)


def _printed(came: Outcome) -> list[str]:
    request = domain_texts.rest(came.wanted, came.place)
    attach = request["attach"]
    return [
        f"storage_stats works with these options. To add {came.wanted.name}:",
        "",
        "In WebAdmin",
        "",
        *(f"  {line}" for line in domain_texts.webadmin(came.wanted, came.place)),
        "",
        "By Ansible",
        "",
        *domain_texts.yaml(domain_texts.ansible(came.wanted, came.place)).split("\n"),
        "",
        f"By REST: {_line(request)}",
        "",
        *request["body"].split("\n"),
        *(["", f"and then {_line(attach)}", "", *attach["body"].split("\n")] if attach else []),
        "",
        "Or run this again with --create --user USER --password-file FILE.",
    ]


def _line(request: Mapping[str, Any]) -> str:
    headers = "".join(f", {key}: {value}" for key, value in request["headers"].items())
    return f"{request['method']} https://ENGINE{request['path']}{headers}"


def _where(came: Outcome) -> str:
    """Return where a domain is that was there."""
    if came.made and came.place.data_center:
        return f"active in data center {came.place.data_center}"
    attachments = came.there.domain.attachments if came.there is not None else []
    told = ", ".join(f"{each.status} in data center {each.data_center}" for each in attachments)
    return told or "attached to no data center"
