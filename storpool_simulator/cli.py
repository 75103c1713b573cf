"""The command storpool-simulator: options in, one JSON line out when it is ready.

It runs until SIGTERM or SIGINT. Whoever tests or tries the integration runs it. Exit codes: 0 when
it was ended so, 1 when it cannot start, 2 for wrong options. It has no log: what goes wrong is said
on stderr.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable

import click

from storpool_simulator import embedded, errors
from storpool_simulator.devices.devices import DeviceError
from storpool_simulator.model import fields, objects

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT.

    Returns 0 then, 2 for wrong options, 1 when the simulator cannot start.
    """
    logging.basicConfig(level=logging.WARNING, format="storpool-simulator: %(message)s")
    try:
        _command.main(
            None if argv is None else list(argv),
            prog_name="storpool-simulator",
            standalone_mode=False,
        )
    except click.ClickException as problem:
        return _fail(problem.format_message(), 2)
    except errors.OptionError as problem:
        return _fail(str(problem), 2)
    except (errors.StartError, DeviceError) as problem:
        return _fail(str(problem), 1)
    except OSError as problem:
        where = problem.filename or "a folder"
        return _fail(
            f"{where} cannot be used ({problem.strerror}): give other folders with --state and"
            " --host",
            1,
        )
    except click.Abort:
        return 0
    return 0


def _fail(message: str, code: int) -> int:
    click.echo(f"storpool-simulator: {message}", err=True)
    return code


class _Parsed(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.2 only
    """An option whose text a function turns into a value.

    The function's ValueError is the sentence for the user.
    """

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the parsed value, or fail with the function's sentence."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


def _token(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty: a variable of a script that was never set?")
    return text


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"'{text}' is not HOST:PORT")
    return host.strip("[]"), int(port)


def _template(text: str) -> tuple[str, int | None]:
    name, _, capacity = text.partition(":")
    if not fields.TEMPLATE_NAME.fits(name):
        raise ValueError(f"'{name}' is not a template name")
    return name, _bytes(capacity) if capacity else None


def _bytes(text: str) -> int:
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    if not number.isdigit() or unit not in _UNITS or int(number) == 0:
        raise ValueError(f"'{text}' is not a capacity such as 500G or 10T")
    return int(number) * _UNITS[unit] // objects.SECTOR_SIZE * objects.SECTOR_SIZE


def _host(text: str) -> tuple[str | None, int, Path]:
    """Return the cluster (None: the first one), the client's id and the folder."""
    where, _, folder = text.partition("=")
    cluster, slash, number = where.rpartition("/")
    if not number.isdigit() or not 1 <= int(number) <= objects.MAX_CLIENT_ID or not folder:
        raise ValueError(
            f"'{text}' is not [CLUSTER/]ID=HOSTDIR with an id from 1 to {objects.MAX_CLIENT_ID}"
        )
    return cluster if slash else None, int(number), Path(folder)


def _cluster(text: str) -> tuple[str, str]:
    name, equals, cluster_id = text.partition("=")
    if not equals:
        raise ValueError(f"'{text}' is not NAME=ID")
    return _cluster_name(name), _cluster_id(cluster_id)


def _switch(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"'{text}' is not NAME=VALUE")
    return name, value


def _cluster_id(text: str) -> str:
    if not fields.GLOBAL_ID.fullmatch(f"~{text}.x"):
        raise ValueError(f"'{text}' is not a cluster id such as abcd.e")
    return text


def _cluster_name(text: str) -> str:
    if not fields.CLUSTER_NAME.fits(text):
        raise ValueError(f"'{text}' is not a cluster name")
    return text


@click.command(help=__doc__)
@click.version_option(package_name="storpool-ovirt", message="%(prog)s %(version)s")
@click.option(
    "--listen",
    type=_Parsed("HOST:PORT", _address),
    default="127.0.0.1:0",
    help="Port 0: any free one.",
)
@click.option(
    "--token",
    type=_Parsed("TOKEN", _token),
    required=True,
    help="What clients send as SP_AUTH_TOKEN.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the state.",
)
@click.option(
    "--template", type=_Parsed("NAME[:CAPACITY]", _template), multiple=True, help="Repeatable."
)
@click.option(
    "--host",
    type=_Parsed("[CLUSTER/]ID=HOSTDIR", _host),
    multiple=True,
    help="A client and its folder; repeatable.",
)
@click.option(
    "--devices", type=click.Choice(["auto", "loop", "file"]), default="auto", help="What hosts see."
)
@click.option("--cluster-id", type=_Parsed("ID", _cluster_id), help="Such as abcd.e.")
@click.option("--cluster-name", type=_Parsed("NAME", _cluster_name), help="For RemoteCommand.")
@click.option(
    "--cluster",
    type=_Parsed("NAME=ID", _cluster),
    multiple=True,
    help="A further cluster that knows the others; repeatable.",
)
@click.option(
    "--qos",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Tiers: storpool_qos runs beside it.",
)
@click.option(
    "--volumecare",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration: VolumeCare runs beside it.",
)
@click.option(
    "--switch",
    type=_Parsed("NAME=VALUE", _switch),
    multiple=True,
    help="Repeatable; see docs/simulator.md.",
)
def _command(  # noqa: PLR0913, PLR0917  one parameter for each option
    listen: tuple[str, int],
    token: str,
    state: Path,
    template: tuple[tuple[str, int | None], ...],
    host: tuple[tuple[str | None, int, Path], ...],
    devices: str,
    cluster_id: str | None,
    cluster_name: str | None,
    cluster: tuple[tuple[str, str], ...],
    switch: tuple[tuple[str, str], ...],
    qos: Path | None,
    volumecare: Path | None,
) -> None:
    if len(dict(cluster)) != len(cluster):
        raise click.UsageError("a cluster is given twice")
    hosts = _hosts_by_cluster(host, dict(cluster))
    try:
        simulator = embedded.running(
            state,
            token=token,
            templates=dict(template),
            hosts=hosts.pop(None),
            devices=devices,
            listen=listen,
            cluster_id=cluster_id,
            cluster_name=cluster_name,
            switches=dict(switch),
            clusters=dict(cluster),
            cluster_hosts={name: given for name, given in hosts.items() if name is not None},
            qos=qos,
            volumecare=volumecare,
        )
        with _signalled() as ended, simulator as ready:
            gc.freeze()  # the collector need not look again at the rows that are there
            _announce(ready)
            os.read(ended, 1)
    except errors.ApiError as problem:
        raise click.UsageError(problem.descr) from None


@contextlib.contextmanager
def _signalled() -> Iterator[int]:
    """Give a descriptor that has something to read when a signal has asked this program to end.

    Whichever thread takes the signal, and when: one that comes as the main thread goes to sleep on
    a lock would not wake it.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(-1)
        os.close(readable)
        os.close(writable)


def _hosts_by_cluster(
    hosts: tuple[tuple[str | None, int, Path], ...], clusters: dict[str, str]
) -> dict[str | None, dict[int, Path]]:
    """Return the hosts of each cluster; those of the first one are at None."""
    by_cluster: dict[str | None, dict[int, Path]] = {None: {}, **{name: {} for name in clusters}}
    for cluster, client_id, folder in hosts:
        if cluster not in by_cluster:
            raise click.UsageError(f"--host names the cluster '{cluster}', and no --cluster does")
        if client_id in by_cluster[cluster]:
            raise click.UsageError("a host id is given twice")
        by_cluster[cluster][client_id] = folder
    return by_cluster


def _announce(ready: embedded.Simulator) -> None:
    facts: dict[str, Any] = {**_facts(ready), "devices": ready.devices}
    if ready.others:
        facts["clusters"] = {name: _facts(other) for name, other in ready.others.items()}
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def _facts(one: embedded.Simulator) -> dict[str, Any]:
    return {
        "address": one.address,
        "host": one.host,
        "port": one.port,
        "cluster_id": one.cluster_id,
    }
