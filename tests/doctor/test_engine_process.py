"""engine_process.py, engine_network.py: what stands for Engine's process, names, clocks."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from engine_ground import CONF_D, ServedMachine

from rigs.clock import wait_until

MARK = "-Djboss.server.default.config=ovirt-engine"
FAR = 3600


@pytest.fixture(autouse=True)
def _locale(served: ServedMachine) -> None:
    served.tool("locale", "printf 'C\\nC.utf8\\nPOSIX\\nde_DE\\nen_US.utf8\\n'")


def start(served: ServedMachine, user: str = "ovirt", **environment: str) -> None:
    """Start what looks like Engine's java."""
    given = environment or {"LC_ALL": "en_US.UTF-8"}
    script = "sleep 600; true"
    served.machine.start("/bin/sh", "-c", script, MARK, "x", user=user, env=given)
    wait_until(lambda: MARK in served.do("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"))


def test_all_is_well(served: ServedMachine) -> None:
    """Engine runs in a language that is here; its files are older than it is."""
    served.do(f"touch -d '1 hour ago' {CONF_D}/*")
    start(served)
    found = served.look("engine-running", "engine-locale")
    assert [each.result for each in found] == ["ok", "ok"], found


def test_engine_does_not_run(served: ServedMachine) -> None:
    """Its language is that of its launcher then."""
    running, language = served.look("engine-running", "engine-locale")
    assert (running.result, running.fix) == ("warning", "systemctl start ovirt-engine")
    assert (language.result, "en_US.UTF-8" in language.cause) == ("ok", True)


def test_a_process_of_somebody_else_is_not_engine(served: ServedMachine) -> None:
    """Anybody can have its words on a command line."""
    start(served, user="vdsm")
    assert served.one("engine-running").cause == "Engine does not run"


def test_engine_was_started_before_its_settings(served: ServedMachine) -> None:
    """It reads them at its start alone."""
    start(served)
    served.do(
        f"touch -d '1 hour ago' {CONF_D}/*; touch -d '1 minute' {CONF_D}/10-setup-cinderlib.conf"
    )
    found = served.one("engine-running")
    assert (found.result, found.fix) == ("warning", "systemctl restart ovirt-engine")
    assert f"{CONF_D}/10-setup-cinderlib.conf changed" in found.cause


def test_engine_was_started_before_setup_changed_its_keys(served: ServedMachine) -> None:
    """They are in its database, and it reads them at its start."""
    served.do(f"touch -d '1 hour ago' {CONF_D}/*")
    start(served)
    record = {"links": {}, "files": {}, "folders": [], "configured_at": time.time() + 60}
    file = "/var/lib/storpool-ovirt/setup-engine.json"
    served.machine.write(file, json.dumps(record), 0o600)
    found = served.one("engine-running")
    assert (found.result, found.fix) == ("warning", "systemctl restart ovirt-engine")
    assert "engine-config" in found.cause


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"LC_ALL": "fr_FR.UTF-8"}, "fr_FR.UTF-8, which is not here"),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, "C, which has no letters"),
        ({"LC_ALL": "", "LANG": "de_DE"}, "de_DE, which has no letters"),
    ],
)
def test_a_language_without_letters(
    served: ServedMachine, environment: dict[str, str], said: str
) -> None:
    """What Engine hands to a verb becomes question marks."""
    start(served, **environment)
    found = served.one("engine-locale")
    assert (found.result, said in found.cause) == ("warning", True), found


def test_without_locale_nobody_knows(served: ServedMachine) -> None:
    """The languages of this machine are its to tell."""
    served.machine.without("locale")
    assert served.one("engine-locale").result == "unknown"
    served.tool("locale", "exit 1")
    assert served.one("engine-locale").result == "unknown"


def test_who_can_read_command_lines(served: ServedMachine) -> None:
    """Nobody; somebody with a login, who is no administrator; a token that is there now."""
    served.do("sed -i -E '/:[0-9]{4,}:/d' /etc/passwd")
    assert served.one("engine-arguments").result == "ok"
    served.do("echo 'ann:x:1000:1000::/home/ann:/bin/bash' >>/etc/passwd")
    found = served.one("engine-arguments")
    assert (found.result, "(ann)" in found.cause) == ("warning", True)
    served.do("sed -i /^wheel:/d /etc/group; echo 'wheel:x:10:bob,ann' >>/etc/group")
    assert served.one("engine-arguments").result == "ok"
    script = 'sleep 600; true "sp_auth_token": "x"'
    options = f'{{"sp_auth_token": "{served.simulator.token}"}}'
    served.machine.start("/bin/sh", "-c", script, "x", options, user="ovirt")
    wait_until(lambda: "sp_auth_token" in served.do("cat /proc/[0-9]*/cmdline 2>/dev/null"))
    found = served.one("engine-arguments")
    assert (found.result, "StorPool's token on its command line" in found.cause) == (
        "warning",
        True,
    )


@contextmanager
def api(date: float | None) -> Iterator[int]:
    """Serve any request with a date, or none; give the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(404)
            if date is not None:
                self.send_header("Date", self.date_time_string(date))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_clocks_that_agree(served: ServedMachine) -> None:
    """Databases, and StorPool's API by any answer of it: no token is sent."""
    served.domain()
    found = served.look("engine-clocks", "engine-api-clock", "engine-api-addresses")
    assert [each.result for each in found] == ["ok"] * 4, found


@pytest.mark.parametrize(("seconds", "how"), [(FAR, "ahead of"), (-FAR, "behind")])
def test_a_clock_of_storpools_that_differs(served: ServedMachine, seconds: int, how: str) -> None:
    """By an hour; and an answer without a date tells nothing."""
    with api(time.time() + seconds) as port:
        served.domain(sp_api_http_port=str(port))
        found = served.one("engine-api-clock")
        assert (found.result, how in found.cause) == ("warning", True), found
        assert any(str(FAR + each) in found.cause for each in range(-3, 4))


def test_an_answer_without_a_date(served: ServedMachine) -> None:
    """Neither good nor bad; nor is no answer at all."""
    with api(None) as port:
        served.domain(sp_api_http_port=str(port))
        assert "has no Date" in served.one("engine-api-clock").cause
    found = served.one("engine-api-clock")
    assert (found.result, "has no address that answers" in found.cause) == ("unknown", True)


def test_a_clock_of_the_database_that_differs(served: ServedMachine) -> None:
    """The function that tells its time is another one here, in Engine's own database."""
    database = f"ALTER DATABASE {served.tables.database.name}"
    served.tables.execute(
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
        " $$ SELECT pg_catalog.clock_timestamp() - interval '1 day' $$"
    )
    served.tables.execute(f"{database} SET search_path = public, pg_catalog")
    try:
        own, mapping = served.look("engine-clocks")
    finally:
        served.tables.execute("DROP FUNCTION public.clock_timestamp()")
        served.tables.execute(f"{database} RESET search_path")
    assert (own.result, mapping.result) == ("warning", "ok"), own
    assert "its clock is 86400 s behind this machine's" in own.cause
    served.tables.write_conf(served.machine.path(""), DATABASE="nosuch")
    own, mapping = served.look("engine-clocks")
    assert (own.result, mapping.result) == ("unknown", "ok")


def test_an_address_of_the_name_that_is_dead(served: ServedMachine) -> None:
    """Each is tried: one that answers does not hide another."""
    served.do("echo '127.0.0.1 storpool.test' >>/etc/hosts")
    served.domain(sp_api_http_host="storpool.test")
    assert served.one("engine-api-addresses").result == "ok"
    served.do("echo '127.255.255.254 storpool.test' >>/etc/hosts")
    found = served.one("engine-api-addresses")
    assert found.result == "warning", found
    assert "1 of 2 addresses do not answer: 127.255.255.254" in found.cause
    served.do("sed -i 's/^127.0.0.1 storpool.test//' /etc/hosts")
    found = served.one("engine-api-addresses")
    assert (found.result, "no address answers" in found.cause) == ("critical", True)


def test_a_name_that_is_none(served: ServedMachine) -> None:
    """It cannot be resolved; and without Engine's database nobody knows which it is."""
    served.domain(sp_api_http_host="no-such-host.invalid")
    found = served.one("engine-api-addresses")
    assert (found.result, "cannot be resolved" in found.cause) == ("critical", True)
    served.tables.write_conf(served.machine.path(""), DATABASE="nosuch")
    assert served.one("engine-api-addresses").result == "unknown"
