"""The two floors beside which programs are timed.

The old one is what no adapter that uses the usual libraries can do without: a Python that imports
`http.client` and `psycopg2`, opens one database connection and makes one HTTP request. The true one
is what no adapter in Python can do without: `least.py`, the bare interpreter with the same number
of calls and round trips as the verb.
"""

from __future__ import annotations

import sys
from pathlib import Path

import installed

from ovirt_demo import database, simulator

OLD = """
import http.client, sys
import psycopg2
host, port, user, password, name, api_host, api_port, token = sys.argv[1:]
base = psycopg2.connect(host=host, port=port, user=user, password=password, dbname=name)
api = http.client.HTTPConnection(api_host, int(api_port))
api.request("GET", "/ctrl/1.0/ServicesList", headers={"Authorization": "Storpool v1:" + token})
assert api.getresponse().read()
"""
# On a host, where no program needs a database.
OLD_HOST = """
import http.client, json, sys
host, port, token = sys.argv[1:]
api = http.client.HTTPConnection(host, int(port))
api.request("GET", "/ctrl/1.0/ServicesList", headers={"Authorization": "Storpool v1:" + token})
assert json.loads(api.getresponse().read())
"""
TRUE = "import sys; sys.path[:0] = [{folder!r}]; import least; least.main()"


def old(cluster: simulator.Simulator, base: database.Database) -> list[str]:
    """Return how the old floor is run."""
    return [sys.executable, "-c", OLD, *_database(base), *_api(cluster)]


def old_host(cluster: simulator.Simulator) -> list[str]:
    """Return how the old floor of a host is run."""
    return [sys.executable, "-c", OLD_HOST, *_api(cluster)]


def true(
    cluster: simulator.Simulator, calls: int, base: database.Database | None, trips: int
) -> list[str]:
    """Return how the true floor is run, for so many calls and round trips."""
    text = TRUE.format(folder=str(Path(__file__).parent))
    where = _database(base) if base else [""] * 5
    arguments = [*_api(cluster), str(calls), *where, str(trips if base else 0)]
    return [installed.bare(), "-IS", "-c", text, *arguments]


def _database(base: database.Database) -> list[str]:
    login = base.login
    return [login.host, str(login.port), login.user, login.password, base.name]


def _api(cluster: simulator.Simulator) -> list[str]:
    return [cluster.address, str(cluster.port), cluster.token]
