"""The scene of the story: a simulator with two hosts, a PostgreSQL, an Engine.

Each call becomes a row on the screen. With a release, Engine and hosts have its software, and ours
beside it (engine_software.py, host_software.py); else only our programs, as master starts them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ovirt_demo import (
    children,
    database,
    engine,
    flows,
    guest,
    hooks,
    interruption,
    releases,
    simulator,
    vdsm,
)
from ovirt_demo.engine_software import EngineSoftware
from ovirt_demo.host_software import HostSoftware
from ovirt_demo.screen import Screen

CORRELATION_ID = "demo"
CLIENT_IDS = (1, 2)
ADAPTER = "storpool-adapter"
ADMIN = "storpool-ovirt"
HELPER = "managedvolume-helper-storpool"
HOOK = "storpool-vm-hook"
# What a host adds to its connector_info, and what it means that it adds nothing (docs/releases.md)
TYPE_KEY, PLAIN_TYPE = "storpool_volume_type", "storpool"
WAIT_SECONDS = 0.2  # between two looks for a signal
Pair = tuple[releases.Engine, releases.Vdsm]


class Scene:
    """The means of the story.

    What is started for it is stopped by `closing` when it ends, whatever happens.
    """

    def __init__(  # noqa: PLR0913  all that a scene is made of
        self,
        folder: Path,
        screen: Screen,
        watch: interruption.Watch,
        *,
        cluster: simulator.Simulator,
        mapping: database.Database,
        closing: contextlib.ExitStack,
        release: Pair | None,
    ) -> None:
        self.folder = folder
        self.release = release
        self.screen = screen
        self.cluster = cluster
        self._watch = watch
        self.mapping = mapping
        self._closing = closing
        self._numbers = itertools.count(1)
        self._labels = Labels()
        self.calls = {"oVirt": 0, "StorPool": 0}
        caller = engine.Engine(
            folder / "engine",
            children.find(ADAPTER),
            cluster.driver_options(),
            mapping.url,
            observe=self._show_verb,
            release=self._releases[0],
        )
        self.domain = flows.Domain(caller, correlation_id=CORRELATION_ID)
        self.hosts = {client_id: self._host(client_id) for client_id in CLIENT_IDS}
        hosts = self.hosts.items()
        self._hooks = {client_id: self._hooks_of(client_id, host) for client_id, host in hosts}
        self.engine_software = EngineSoftware(caller)
        self.host_software = {client_id: self._software(client_id) for client_id in CLIENT_IDS}

    def step(self, title: str) -> None:
        """Begin a step of the story; raises interruption.Interrupted."""
        self._watch.check()
        self.screen.step(title)

    @property
    def machine(self) -> Path:
        """The folder that stands for `/` of Engine's machine, for whoever stays (`stay.py`)."""
        return self.folder / "machine"

    def wait(self) -> None:
        """Wait for a signal; raises interruption.Interrupted."""
        while True:
            self._watch.check()
            time.sleep(WAIT_SECONDS)

    def install_engine(self) -> str:
        """Put Engine's release on its machine, and ours beside it; return what our step said, with
        paths as they are on a real one."""
        self.engine_software.install()
        said = self.engine_software.integrate()
        return said.replace(str(self.domain.engine.folder), "")

    def engine_starts(self) -> tuple[str, str]:
        """Return which program Engine starts, and in which folder."""
        caller = self.domain.engine
        program = caller.argv("storage_stats", correlation_id=CORRELATION_ID)[0]
        shown = (each.replace(str(caller.folder), "") for each in (program, str(caller.programs)))
        return next(shown), next(shown)

    def install_host(self, client_id: int) -> str:
        """Put Vdsm's release on a host, and ours beside it; return as what it wants volumes."""
        software = self.host_software[client_id]
        self._closing.callback(software.stop)
        software.install()
        software.integrate()
        software.restart()
        software.host.refresh_capabilities()
        self._watch.check()
        return str(software.host.connector_info.get(TYPE_KEY, PLAIN_TYPE))

    def boot_host(self, client_id: int) -> None:
        """Boot a host: its hook sees to what Vdsm remembers of the time before."""
        self.host_software[client_id].reboot()
        self._watch.check()

    def take_off(self) -> list[str]:
        """Take ours off everywhere, and return what is left of it."""
        for software in self.host_software.values():
            software.separate()
            software.restart()
        self.engine_software.separate()
        self._watch.check()
        left = [each for software in self.host_software.values() for each in software.left()]
        return [*left, *self.engine_software.left()]

    def device(self, host: vdsm.Host, device: dict[str, Any]) -> Path:
        """Return the path that a VM on this host opens.

        It is Vdsm's link, as Engine writes it into the domain.
        """
        return host.local(device["managed_path"])

    def run_vm(self, client_id: int, disk: flows.Disk) -> dict[str, Any]:
        """Do what comes before a VM with this disk runs on a host; return the device.

        That is Engine's calls, then Vdsm's hooks.
        """
        [device] = flows.run_vm(self.domain, self.hosts[client_id], disk)
        self._hooks[client_id].before_vm_start(hooks.domain_xml(hooks.disk_xml(device)))
        return device

    def start_guest(self, device: Path, *, new_disk: bool = False) -> guest.Guest:
        """Start a virtual machine on a device, and return it; its disk is prepared first if new."""
        machine = guest.suited_to(device, self.folder / f"guest{next(self._numbers)}")
        self._closing.callback(machine.stop)
        if new_disk:
            machine.prepare(device)
        machine.start(device)
        return machine

    def administer(self, verb: str, *arguments: str) -> list[str]:
        """Run the administrator's command, such as `audit` or `trash list`; return its output line
        by line.

        The output is "nothing" when it is empty.
        """
        options = self.folder / "options.json"
        options.write_text(json.dumps(self.cluster.driver_options()), encoding="utf-8")
        where = ["--database", self.mapping.url, "--options", str(options)]
        said = subprocess.run(
            [children.find(ADMIN), *verb.split(), *where, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=self.domain.engine.environment,
        )
        self.calls["StorPool"] += len(self.cluster.calls())
        self.cluster.clear_calls()
        self._watch.check()
        return [line for line in (said.stdout + said.stderr).splitlines() if line] or ["nothing"]

    def device_links(self) -> int:
        """Return how many devices the hosts still have."""
        folders = [host.root / "dev" / "storpool-byid" for host in self.hosts.values()]
        return sum(len(list(folder.glob("*"))) for folder in folders)

    @property
    def _releases(self) -> Pair:
        return self.release or releases.PAIRS["master"]

    def _host(self, client_id: int) -> vdsm.Host:
        def show(run: vdsm.HelperRun) -> None:
            self._show(f"Vdsm {client_id}", run.verb, run.seconds)

        name = f"host{client_id}.example"
        return vdsm.Host(
            self.cluster.hosts[client_id],
            children.find(HELPER),
            name=name,
            observe=show,
            release=self._releases[1],
        )

    def _software(self, client_id: int) -> HostSoftware:
        host, release = self.hosts[client_id], self._releases[1]
        return HostSoftware(host, release, observe=lambda run: self._show_hook(client_id, run))

    def _hooks_of(self, client_id: int, host: vdsm.Host) -> hooks.Hooks:
        made = hooks.Hooks(host, observe=lambda run: self._show_hook(client_id, run))
        if self.release is None:
            made.install(hooks.BEFORE_VM_START, children.find(HOOK))
        return made

    def _show_hook(self, client_id: int, run: hooks.HookRun) -> None:
        self._show(f"Vdsm {client_id}", f"hook {run.script.parent.name}", run.seconds)

    def _show_verb(self, result: engine.Result) -> None:
        self._show("Engine", self._labels.shown(result), result.seconds)

    def _show(self, who: str, asked: str, seconds: float) -> None:
        records = self.cluster.calls()
        self.cluster.clear_calls()
        self.calls["oVirt"] += 1
        self.calls["StorPool"] += len(records)
        self.screen.call(who, asked, [_described(record) for record in records], seconds)
        self._watch.check()


class Labels:
    """Short names for ids, given as the objects are made.

    The disk is D, the clone C, snapshots are S1.., previews V1.. .
    """

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._counters = {letter: itertools.count(1) for letter in "SV"}

    def shown(self, result: engine.Result) -> str:
        """Return a verb with its arguments, JSON left out, and with the id that it answered."""
        if result.verb == "create_volume":
            self._labels[result.arguments[0]] = "D"
        elif result.verb == "clone_volume":
            self._labels[result.arguments[1]] = "C"
        short = [word for word in result.arguments if word[:1] != "{" and word != "true"]
        words = [self._labels.get(word, word) for word in short]
        return " ".join([result.verb, *words]) + self._answered(result)

    def _answered(self, result: engine.Result) -> str:
        letter = {"create_snapshot": "S", "create_volume_from_snapshot": "V"}.get(result.verb)
        if letter is None or not result.succeeded:
            return ""
        label = self._labels[result.answer or ""] = f"{letter}{next(self._counters[letter])}"
        return f": {label}"


@contextlib.contextmanager
def built(
    screen: Screen, watch: interruption.Watch, devices: str, release: Pair | None
) -> Iterator[Scene]:
    """Give the scene with everything started; stop and remove everything in the end."""
    with contextlib.ExitStack() as closing:
        temporary = tempfile.TemporaryDirectory(prefix="storpool-ovirt-demo-")
        folder = Path(closing.enter_context(temporary))
        given = closing.enter_context(database.running(folder))
        watch.check()
        hosts = {client_id: folder / f"host{client_id}" for client_id in CLIENT_IDS}
        started = simulator.running(folder / "storpool", hosts, devices=devices)
        cluster = closing.enter_context(started)
        watch.check()
        yield Scene(
            folder,
            screen,
            watch,
            cluster=cluster,
            mapping=given,
            closing=closing,
            release=release,
        )


def _described(record: dict[str, Any]) -> str:
    """Return one call of StorPool's API: what was called, and who got or lost a volume."""
    words = [record["query"]]
    for item in _reassigned(record["body"]):
        for key in ("rw", "ro", "detach", "force"):
            if item.get(key):
                words.append(f"{key}:{_listed(item[key])}")
    return " ".join(words)


def _reassigned(body: Any) -> list[dict[str, Any]]:
    if isinstance(body, dict):
        items: list[dict[str, Any]] = body.get("reassign", [])
        return items
    return body if isinstance(body, list) else []


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
