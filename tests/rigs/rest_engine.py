"""Engine's REST API over HTTPS, as far as adding a storage domain or a disk needs it, on Engine's
own tables.

    with rest_engine.running(tables, folder) as api:    # tables: rigs/engine_database.py
        api.forget()                                     # what was asked and ordered
        api.url, api.user, api.password, api.ca_file     # its certificate is signed by this CA
        api.fault_next("POST", "storagedomains", 409, "[Cannot add Storage.]")
        api.hang("POST", "/sso/oauth/token")             # until `api.let_go()`
        api.statuses = ["locked", "active"]              # what is told after an attach, in turn
        api.works = lambda options: False                # Engine's storage_stats
        api.creates = lambda disk_id, gib: True          # Engine's create_volume
        api.disks                                        # the sizes in bytes that Engine has, by id
        api.asked                                        # "POST storagedomains", ... in order

What it writes it writes into Engine's tables, as Engine does: a domain that was added is found
there. It answers in XML, log-ins in JSON, as ovirt-engine 4.5.7 does
(BackendStorageDomainsResource, BackendAttachedStorageDomainsResource, BackendDisksResource with
AddManagedBlockStorageDiskCommand, Fault; the SSO module's token). Not simulated: permissions, JSON
bodies, all else of the API, asynchronous commands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import ssl
import subprocess
import threading
import uuid
from typing import TYPE_CHECKING, Callable
from urllib import error, parse, request
from xml.etree import ElementTree

from rigs import http_peers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rigs.engine_database import EngineDatabase

API, SSO, LOGOUT = "/ovirt-engine/api", "/sso/oauth/token", "/services/sso-logout"
USER, PASSWORD = "admin@ovirt@internalsso", "Pa ss&wörd%41"
_NAME = re.compile(r"[\w.-]{1,50}\Z")
_STATUS = {3: "active", 4: "inactive", 5: "locked", 6: "maintenance"}
HANG_SECONDS = 60
_GIB = 1 << 30


class Fault(Exception):
    """What Engine answers when it does not do it."""

    def __init__(self, code: int, detail: str, reason: str = "Operation Failed") -> None:
        super().__init__(detail)
        self.code, self.detail, self.reason = code, detail, reason


@dataclasses.dataclass
class RestEngine:
    """See the module."""

    tables: EngineDatabase
    ca_file: Path
    port: int = 0
    user: str = USER
    password: str = PASSWORD
    works: Callable[[Mapping[str, object]], bool] = lambda _options: True
    creates: Callable[[str, int], bool] = lambda _disk_id, _gib: True
    disks: dict[str, int] = dataclasses.field(default_factory=dict)
    statuses: list[str] = dataclasses.field(default_factory=list)
    asked: list[str] = dataclasses.field(default_factory=list)
    sessions: set[str] = dataclasses.field(default_factory=set)
    _faults: dict[tuple[str, str], Fault | None] = dataclasses.field(default_factory=dict)
    _go: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The API's address."""
        return f"https://localhost:{self.port}{API}"

    def forget(self) -> None:
        """Be as in the beginning, but for the tables."""
        self.let_go()
        self._go = threading.Event()
        self.password, self.works = PASSWORD, lambda _options: True
        self.creates = lambda _disk_id, _gib: True
        for each in (self.statuses, self.asked, self.sessions, self.disks, self._faults):
            each.clear()

    def fault_next(self, method: str, end: str, code: int, detail: str) -> None:
        """Have the next such request fail; `end` is that of its path."""
        self._faults[method, end] = Fault(code, detail)

    def hang(self, method: str, end: str) -> None:
        """Never answer the next such request: the server keeps it until `let_go`."""
        self._faults[method, end] = None

    def let_go(self) -> None:
        """Let what hangs end, without an answer."""
        self._go.set()

    def misfortune(self, method: str, path: str) -> None:
        """Do what was ordered for such a request."""
        for (wanted, end), fault in list(self._faults.items()):
            if method == wanted and path.endswith(end):
                del self._faults[wanted, end]
                if fault is None:
                    self._go.wait(HANG_SECONDS)
                    raise ConnectionError
                raise fault

    def token(self, form: Mapping[str, list[str]]) -> tuple[int, dict[str, object]]:
        """Answer a log-in."""
        given = form.get("username", [""])[0], form.get("password", [""])[0]
        if given != (self.user, self.password):
            said = f"Cannot authenticate user {given[0]}: The user name or password is incorrect.."
            return 401, {"error_code": "access_denied", "error": said}
        session = uuid.uuid4().hex
        self.sessions.add(session)
        return 200, {"access_token": session, "scope": "ovirt-app-api", "token_type": "bearer"}

    def answer(self, method: str, path: str, body: str) -> tuple[int, str]:
        """Answer a request below the API; raise Fault."""
        words = [word for word in path[len(API) :].split("/") if word]
        if words[:1] == ["hosts"] and len(words) == 2 and method == "GET":
            return 200, self._host(words[1])
        if words == ["storagedomains"]:
            return self._add(body) if method == "POST" else (200, self._list())
        if words == ["disks"] and method == "POST":
            return self._add_disk(body)
        if words[:1] == ["datacenters"] and words[2:3] == ["storagedomains"]:
            return self._in_data_center(method, words[1], words[3:], body)
        raise Fault(404, "", "Not Found")

    def _host(self, host_id: str) -> str:
        rows = self._rows("SELECT vds_name FROM vds_static WHERE vds_id::text = %s", host_id)
        if not rows:
            raise Fault(404, f"Entity not found: {host_id}")
        return f'<host id="{host_id}" href="{API}/hosts/{host_id}"><name>{rows[0][0]}</name></host>'

    def _list(self) -> str:
        rows = self._rows("SELECT id::text, storage_name FROM storage_domain_static")
        inner = "".join(_domain(*map(str, row), "unattached") for row in rows)
        return f"<storage_domains>{inner}</storage_domains>"

    def _add(self, body: str) -> tuple[int, str]:
        given = ElementTree.fromstring(body)  # noqa: S314  our own client sent it
        name, kind = given.findtext("name") or "", given.findtext("storage/type")
        host = given.findtext("host/name") or (given.find("host") or ElementTree.Element("x")).get(
            "id"
        )
        if not host or not given.findtext("type") or kind is None:
            raise Fault(
                400,
                "StorageDomain [host.id|name, type, storage] required for add",
                "Incomplete parameters",
            )
        if not self._rows("SELECT 1 FROM vds_static WHERE %s IN (vds_name, vds_id::text)", host):
            raise Fault(404, f"Entity not found: {host}")
        if kind != "managed_block_storage" or not _NAME.match(name):
            raise Fault(400, "[Cannot add Storage. The given name contains special characters.]")
        if self._rows("SELECT 1 FROM storage_domain_static WHERE storage_name = %s", name):
            raise Fault(409, "[Cannot add Storage. The Storage Domain name is already in use.]")
        options = {key: value(each) for key, each in properties(given, "driver_options")}
        sensitive = dict(properties(given, "driver_sensitive_options"))
        if not self.works({**options, **sensitive}):
            raise Fault(409, "[Cannot add Storage. Failed to connect to Managed Block Storage.]")
        domain_id = self.tables.add_domain(
            name, {**options, "volume_backend_name": name}, sealed=json.dumps(sensitive)
        )
        return 201, _domain(domain_id, name, "unattached")

    def _add_disk(self, body: str) -> tuple[int, str]:
        """Engine rounds the size up to GiB, and has it so when the verb has succeeded."""
        given = ElementTree.fromstring(body)  # noqa: S314
        size = given.findtext("provisioned_size")
        if not size or not given.findtext("format"):
            raise Fault(
                400,
                "Disk [provisionedSize|size, format] required for add",
                "Incomplete parameters",
            )
        domain = given.find("storage_domains/storage_domain")
        name = "" if domain is None else domain.get("id") or domain.findtext("name")
        if not self._rows(
            "SELECT 1 FROM storage_domain_static WHERE %s IN (id::text, storage_name)", name
        ):
            raise Fault(404, f"Entity not found: {name}")
        disk_id, gib = given.get("id") or str(uuid.uuid4()), -(-int(size) // _GIB)
        if not self.creates(disk_id, gib):
            raise Fault(400, "[Internal Engine Error]")
        self.disks[disk_id] = gib * _GIB
        return 201, (
            f'<disk href="{API}/disks/{disk_id}" id="{disk_id}">'
            f"<provisioned_size>{gib * _GIB}</provisioned_size><status>ok</status></disk>"
        )

    def _in_data_center(
        self, method: str, center: str, words: list[str], body: str
    ) -> tuple[int, str]:
        if not self._rows("SELECT 1 FROM storage_pool WHERE id::text = %s", center):
            raise Fault(404, f"Entity not found: DataCenter: id={center}")
        if not words and method == "POST":
            given = ElementTree.fromstring(body)  # noqa: S314
            rows = self._rows(
                "SELECT id::text FROM storage_domain_static WHERE storage_name = %s",
                given.findtext("name"),
            )
            domain_id = given.get("id") or (str(rows[0][0]) if rows else "")
            return 201, self._attach(center, domain_id)
        if len(words) == 1 and method == "GET":
            return 200, self._attached(center, words[0])
        if words[1:] == ["activate"] and method == "POST":
            self.tables.execute(
                "UPDATE storage_pool_iso_map SET status = 3 WHERE storage_id::text = %s", words[0]
            )
            return 200, "<action><status>complete</status></action>"
        raise Fault(404, "", "Not Found")

    def _attach(self, center: str, domain_id: str) -> str:
        if not self._rows("SELECT 1 FROM storage_domain_static WHERE id::text = %s", domain_id):
            raise Fault(404, f"Entity not found: {domain_id}")
        if self._rows("SELECT 1 FROM storage_pool_iso_map WHERE storage_id::text = %s", domain_id):
            raise Fault(409, "[Cannot attach Storage. Storage Domain is already attached.]")
        self.tables.execute(
            "INSERT INTO storage_pool_iso_map VALUES (%s, %s, 3)", domain_id, center
        )
        return self._attached(center, domain_id)

    def _attached(self, center: str, domain_id: str) -> str:
        rows = self._rows(
            "SELECT d.storage_name, m.status FROM storage_pool_iso_map m"
            " JOIN storage_domain_static d ON d.id = m.storage_id"
            " WHERE m.storage_pool_id::text = %s AND d.id::text = %s",
            *(center, domain_id),
        )
        if not rows:
            raise Fault(404, f"Entity not found: {domain_id}")
        name, status = rows[0]
        told = self.statuses.pop(0) if self.statuses else _STATUS.get(int(str(status)), "unknown")
        return _domain(domain_id, str(name), told)

    def _rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        return self.tables.execute(sql, *values)


class _Handler(http_peers.Handler):
    def serve(self) -> None:
        """Answer as Engine does."""
        engine: RestEngine = self.server.facts
        path = parse.urlsplit(self.path).path
        body = self.read_body().decode()
        engine.asked.append(
            f"{self.command} {path.removeprefix('/ovirt-engine').removeprefix('/api/')}"
        )
        try:
            engine.misfortune(self.command, path)
            self._reply(*self._answer(engine, path, body))
        except Fault as fault:
            detail = f"<detail>{fault.detail}</detail>" if fault.detail else ""
            self._reply(fault.code, f"<fault>{detail}<reason>{fault.reason}</reason></fault>")
        except ConnectionError:
            self.close_connection = True

    def _answer(
        self, engine: RestEngine, path: str, body: str
    ) -> tuple[int, str | dict[str, object]]:
        if path.endswith(SSO):
            return engine.token(parse.parse_qs(body))
        if path.endswith(LOGOUT):
            engine.sessions.discard(parse.parse_qs(body).get("token", [""])[0])
            return 200, {}
        if not path.startswith(API):
            return 200, "<!DOCTYPE html><html>Welcome to oVirt</html>"
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in engine.sessions:
            raise Fault(401, "", "Unauthorized")
        return engine.answer(self.command, path, body)

    def _reply(self, code: int, said: str | dict[str, object]) -> None:
        kind = "json" if isinstance(said, dict) else "xml"
        if str(said).startswith("<!DOCTYPE"):
            kind = "html"
        data = (json.dumps(said) if isinstance(said, dict) else said).encode()
        self.send_response(code)
        self.send_header("Content-Type", f"application/{kind};charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def running(tables: EngineDatabase, folder: Path) -> Iterator[RestEngine]:
    """Give Engine's API on these tables; its CA and certificate are made in a folder."""
    ca_file, pair = certificates(folder)
    engine = RestEngine(tables, ca_file)
    server = http_peers.Server(_Handler, engine)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    engine.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield engine
    finally:
        engine.let_go()
        server.shutdown()
        thread.join()
        server.server_close()


def ask(api: RestEngine, path: str, body: str | None = None, token: str = "") -> tuple[int, str]:
    """Send one request by HTTPS; return the code and what was said."""
    asked = request.Request(
        f"https://localhost:{api.port}/ovirt-engine{path}",
        None if body is None else body.encode(),
        {"Authorization": f"Bearer {token}"} if token else {},
    )
    context = ssl.create_default_context(cafile=str(api.ca_file))
    try:
        with request.urlopen(asked, context=context, timeout=HANG_SECONDS) as reply:  # noqa: S310
            return reply.status, reply.read().decode()
    except error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def log_in(api: RestEngine) -> str:
    """Return the token of a session."""
    form = parse.urlencode({"username": api.user, "password": api.password})
    code, said = ask(api, SSO, form)
    assert code == 200
    token: str = json.loads(said)["access_token"]
    return token


def certificates(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Make a CA, and a key with a certificate of it for a name; return the files of both."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, key, request, pair = (folder / each for each in ("ca.pem", "key.pem", "x.csr", "pair.pem"))
    short = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl("req", "-x509", *short, "-keyout", folder / "ca.key", "-out", ca, "-subj", "/CN=CA")
    _openssl("req", *short, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
    (folder / "names").write_text(f"subjectAltName=DNS:{name}\n")
    signer = ["-CA", ca, "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "30"]
    signed = folder / "signed.pem"
    _openssl("x509", "-req", "-in", request, *signer, "-extfile", folder / "names", "-out", signed)
    pair.write_text(key.read_text() + signed.read_text())
    return ca, pair


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def _domain(domain_id: str, name: str, status: str) -> str:
    """Return a domain as REST shows it: without any driver option."""
    return (
        f'<storage_domain href="{API}/storagedomains/{domain_id}" id="{domain_id}">'
        f"<name>{name}</name><type>managed_block_storage</type>"
        f"<storage><type>managed_block_storage</type></storage><status>{status}</status>"
        "</storage_domain>"
    )


def properties(given: ElementTree.Element, name: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values of one kind of options of a body."""
    for each in given.iterfind(f"storage/{name}/property"):
        yield each.findtext("name") or "", each.findtext("value") or ""


def value(given: str) -> object:
    """Return what Engine makes of a value: an array of what is in brackets."""
    if given.startswith("[") and given.endswith("]"):
        return [each.strip() for each in given[1:-1].split(",")]
    return given
