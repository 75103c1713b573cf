"""A fuzzer of StorPool's replies: all programs, with some of the replies that they get damaged in
more than 27 ways.

    python tests/fuzz/fuzz_replies.py --seed 1 --inputs 1000

Each input runs one program once with damage, and once more with none. A success must be true, a
failure undone, the second run must put right what the first one left, and none takes longer than
its limit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).parents[1]))

import damaging_proxy
import fuzzing

from ovirt_demo import database as demo_database
from rigs import clusters, stage_fixtures

# Loaded once, here, and not in each of the processes that are forked.
from storpool_ovirt.cluster import api  # noqa: F401
from storpool_ovirt.engine import adapter, database, disks  # noqa: F401
from storpool_ovirt.fence import agent
from storpool_ovirt.host import boot_hook, helper, takeover, vm_hook  # noqa: F401

GIB = 1 << 30
SECONDS = 2.0  # what each program has in all, but for its undo
HASTY = {
    "deadline_seconds": SECONDS,
    "last_seconds": 1.0,
    "first_pause_seconds": 0.01,
    "device_seconds": 1.0,
    "close_seconds": 0.5,
    "undo_seconds": 1.0,
    "loser_seconds": 1.0,
}
LIMIT_SECONDS = SECONDS + 6.0  # with the last nets, and a machine that is busy


class RepliesWorld:
    """A cluster with two hosts behind the proxy, Engine's database, and a disk."""

    def __init__(self, stage: stage_fixtures.Stage, port: int) -> None:
        self.stage, self.simulator, self.port = stage, stage.simulator, port
        self.options = {
            **stage.engine.options,
            "sp_api_http_port": str(port),
            "sp_deadline": f"{SECONDS:g}",
        }
        self.secrets = (self.simulator.token, stage.database.login.password)
        for host in stage.hosts.values():
            folder = host.root / "etc" / "storpool.conf.d"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "proxy.conf").write_text(f"SP_API_HTTP_PORT={port}\n")
        self.disk = self.new_disk()
        self.info = self.require(self.adapter("connect_volume", self.disk, "{}")).out.partition(
            b":"
        )[2]

    def damage(self, random: Random, kind: str | None) -> str:
        """Tell the proxy what it does from now on; return it for a report."""
        lost = kind in damaging_proxy.MAY_BE_LOST and random.random() < 0.5
        order = {
            "kind": kind,
            "first": random.choice((0, 0, 0, 0, 1, 2)),
            "times": random.choice((1, 1, 2, 99)),
            "seed": random.random(),
            "lost": lost,
        }
        if kind is None:
            order["times"] = 0
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/damage", json.dumps(order))
        connection.getresponse().read()
        connection.close()
        return json.dumps(order)

    def adapter(self, verb: str, *arguments: str) -> fuzzing.Call:
        """Make a call of Engine's."""
        argv = [
            "storpool-adapter",
            verb,
            json.dumps(self.options),
            self.stage.database.url,
            "corr-1",
            *arguments,
        ]
        environment = {"ENGINE_LOG": str(self.stage.engine.log_folder)}
        return fuzzing.Call("adapter", adapter.main, argv, b"", environment, LIMIT_SECONDS)

    def helper(self, action: str, client_id: int) -> fuzzing.Call:
        """Make a call of Vdsm's for the disk."""
        sent = {"connection_info": json.loads(self.info)}
        return self._on_host(
            "helper", helper, ["helper", action], client_id, json.dumps(sent).encode()
        )

    def hook(self, client_id: int) -> fuzzing.Call:
        """Make the call of a VM's start with the disk."""
        path = f"/dev/storpool-byid/{self.global_id}"
        root = self.stage.hosts[client_id].root
        document = root / "vm.xml"
        document.write_text(
            f"<domain><devices><disk type='block'><source dev='{path}'/>"
            f"<serial>{self.disk}</serial></disk></devices></domain>"
        )
        argv = [f"{root}{vm_hook.HOOKS_FOLDER}/before_vm_start/storpool-vm-hook"]
        call = self._on_host("hook", vm_hook, argv, client_id)
        return dataclasses.replace(
            call, environment={**call.environment, "_hook_domxml": str(document), "vmId": "vm"}
        )

    def agent(self, action: str) -> fuzzing.Call:
        """Make the call of a fence of host 2, on host 1."""
        options = f"action={action}\nport=2\neven_if_it_runs=1\n".encode()
        return self._on_host("agent", agent, ["fence_storpool"], 1, options)

    def boot(self) -> fuzzing.Call:
        """Make the call of vdsmd's start on host 1."""
        return self._on_host("boot hook", boot_hook, ["storpool-boot-hook"], 1)

    def _on_host(
        self,
        name: str,
        program: Any,
        argv: list[str],
        client_id: int,
        stdin: bytes = b"",
    ) -> fuzzing.Call:
        environment = {"STORPOOL_OVIRT_ROOT": str(self.stage.hosts[client_id].root)}
        main = partial(program.main, limits=program.LIMITS._replace(**HASTY))
        return fuzzing.Call(name, main, argv, stdin, environment, LIMIT_SECONDS)

    @property
    def global_id(self) -> str:
        """The disk's global id."""
        return str(json.loads(self.info)["data"]["global_id"])

    def new_disk(self) -> str:
        """Make a disk."""
        disk = str(uuid.uuid4())
        self.require(self.adapter("create_volume", disk, "1"))
        return disk

    def require(self, call: fuzzing.Call) -> fuzzing.Done:
        """Run it, without damage; it must be a success."""
        self.damage(Random(0), None)
        done = fuzzing.run(call)
        assert done.code == 0, (call.argv, done)
        return done

    def names(self) -> dict[str, int]:
        """Return the sizes of all that is in the cluster."""
        listed = [
            each for query in ("VolumesList", "SnapshotsList") for each in self.simulator.api(query)
        ]
        return {each["name"]: each["size"] for each in listed if not each.get("deleted")}

    def clients(self) -> set[int]:
        """Return the clients that have the disk attached."""
        rows = self.simulator.api("AttachmentsList")
        return {each["client"] for each in rows if each["globalId"] == self.global_id}


@contextlib.contextmanager
def world() -> Iterator[RepliesWorld]:
    """Start all of it."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        engine = stack.enter_context(demo_database.running(folder))
        hosts = {number: folder / f"host{number}" for number in (1, 2)}
        cluster = stack.enter_context(clusters.process(folder / "simulator", hosts, devices="file"))
        argv = [sys.executable, str(Path(damaging_proxy.__file__)), str(cluster.port)]
        proxy = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE))
        stack.callback(proxy.kill)
        assert proxy.stdout
        yield RepliesWorld(
            stage_fixtures.make_stage(folder, engine, cluster), int(proxy.stdout.readline())
        )


Story = Iterator[tuple[fuzzing.Call, "set[int]", "Callable[[fuzzing.Done], list[str]]"]]
"""A run with damage, a second without: each with its exit codes and what must be true."""


def create(there: RepliesWorld, _: Random) -> Story:
    """A disk is made once, whatever was said."""
    disk = str(uuid.uuid4())
    call = there.adapter("create_volume", disk, "1")

    def check(done: fuzzing.Done) -> list[str]:
        there_is = there.names().get(f"ovirt--{disk}")
        return [] if done.code or there_is == GIB else [f"says that it made what is {there_is}"]

    yield call, {0, 1}, check
    yield call, {0}, check
    there.require(there.adapter("delete_volume", disk))


def delete(there: RepliesWorld, _: Random) -> Story:
    """A disk is gone where that is said."""
    disk = there.new_disk()
    call = there.adapter("delete_volume", disk)

    def check(done: fuzzing.Done) -> list[str]:
        return (
            ["says that it deleted what is there"]
            if not done.code and f"ovirt--{disk}" in there.names()
            else []
        )

    yield call, {0, 1}, check
    yield call, {0}, check


def snapshot(there: RepliesWorld, _: Random) -> Story:
    """A snapshot's id is told only where there is one."""

    def check(done: fuzzing.Done) -> list[str]:
        made = done.out.decode().partition(":")[2].strip()
        return (
            []
            if done.code or f"ovirt--{made}" in there.names()
            else ["tells a snapshot that is not there"]
        )

    call = there.adapter("create_snapshot", there.disk)
    for codes in ({0, 1}, {0}):
        before = set(there.names())
        yield call, codes, check
        for name in set(there.names()) - before:
            fuzzing.run(there.adapter("remove_snapshot", name.partition("--")[2], there.disk))


def connect(there: RepliesWorld, _: Random) -> Story:
    """The connection info is always the same."""

    def check(done: fuzzing.Done) -> list[str]:
        same = done.out.partition(b":")[2] == there.info
        return [] if done.code or same else ["tells another connection info"]

    call = there.adapter("connect_volume", there.disk, "{}")
    yield call, {0, 1}, check
    yield call, {0}, check


def stats(there: RepliesWorld, _: Random) -> Story:
    """Capacity is two whole numbers, or unknown."""

    def check(done: fuzzing.Done) -> list[str]:
        if done.code:
            return []
        told = json.loads(done.out.partition(b":")[2])
        sizes = [told["total_capacity_gb"], told["free_capacity_gb"]]
        good = (
            all(type(each) is int and 0 <= each < 1 << 33 for each in sizes)
            or sizes == ["unknown"] * 2
        )
        return [] if good else [f"tells a capacity of {sizes}"]

    call = there.adapter("storage_stats", "true")
    yield call, {0, 1}, check
    yield call, {0}, check


def attach(there: RepliesWorld, _: Random) -> Story:
    """A device is there where that is said; after a failure nothing is attached."""

    def check(done: fuzzing.Done) -> list[str]:
        if done.code:
            return []
        path = json.loads(done.out)["path"]
        good = (
            there.clients() == {1}
            and path.endswith(there.global_id)
            and there.stage.host1.local(path).exists()
        )
        return [] if good else ["says that it attached what is not"]

    def undone(done: fuzzing.Done) -> list[str]:
        return check(done) or (
            ["left it attached after a failure"] if done.code and there.clients() else []
        )

    call = there.helper("attach", 1)
    yield call, {0, 1}, undone
    yield call, {0}, check
    there.require(there.helper("detach", 1))


def detach(there: RepliesWorld, _: Random) -> Story:
    """It is detached where that is said."""
    there.require(there.helper("attach", 1))

    def check(done: fuzzing.Done) -> list[str]:
        return (
            ["says that it detached what is attached"] if not done.code and there.clients() else []
        )

    call = there.helper("detach", 1)
    yield call, {0, 1}, check
    yield call, {0}, check


def start(there: RepliesWorld, _: Random) -> Story:
    """A VM may start only where its disk is its host's alone."""
    for client_id in (1, 2):
        there.require(there.helper("attach", client_id))

    def check(done: fuzzing.Done) -> list[str]:
        return (
            []
            if done.code or there.clients() == {1}
            else [f"lets a VM start with {there.clients()}"]
        )

    call = there.hook(1)
    yield call, {0, 2}, check
    yield call, {0}, check
    for client_id in (1, 2):
        there.require(there.helper("detach", client_id))


def fence(there: RepliesWorld, random: Random) -> Story:
    """A host is off only where it has nothing."""
    action = random.choice(("off", "off", "status"))
    there.require(there.helper("attach", 2))

    def check(done: fuzzing.Done) -> list[str]:
        off = done.code == (0 if action == "off" else 2)
        return ["says off of a host that has a disk"] if off and there.clients() else []

    call = there.agent(action)
    yield call, {0, 1} if action == "off" else {0, 1, 2}, check
    yield call, {0}, check
    there.require(there.helper("detach", 2))


def boot(there: RepliesWorld, _: Random) -> Story:
    """The start of vdsmd is never held up, and nobody's disk is taken."""
    there.require(there.helper("attach", 2))

    def check(_: fuzzing.Done) -> list[str]:
        return [] if there.clients() == {2} else ["changed what another host has"]

    yield there.boot(), {0}, check
    yield there.boot(), {0}, check
    there.require(there.helper("detach", 2))


STORIES = (create, delete, snapshot, connect, stats, attach, detach, start, fence, boot)


def answer_faults(call: fuzzing.Call, done: fuzzing.Done) -> list[str]:
    """Return what is wrong with the form of an answer."""
    if call.program == "adapter":
        prefix = b"error:" if done.code else b"corr-1:"
        line = done.out.startswith(prefix) and done.out.count(b"\n") == 1 and not done.err
        return (
            (fuzzing.sentence_faults(done.out, "stdout") if done.code else [])
            if line
            else ["is not one line"]
        )
    if done.err or (done.code and call.program != "agent"):
        return (["writes to stdout"] if done.out else []) + fuzzing.sentence_faults(
            done.err, "stderr"
        )
    if call.program == "helper":
        return [] if isinstance(json.loads(done.out), dict) else ["is not one object"]
    return []


def fuzz(report: fuzzing.Report, numbers: range) -> None:
    """Run these inputs of the report's seed."""
    kinds = list(damaging_proxy.DAMAGES)
    with world() as there:
        for number in numbers:
            random = Random(f"{report.seed}/{number}")
            kind, story = random.choice(kinds), STORIES[number % len(STORIES)]
            for turn, (call, codes, check) in enumerate(story(there, random)):
                order = there.damage(random, None if turn else kind)
                done = fuzzing.run(call)
                problems = (
                    fuzzing.faults(call, done, codes, there.secrets)
                    or answer_faults(call, done)
                    or check(done)
                )
                there.damage(random, None)
                report.add(number, call, done, problems, f"({story.__name__}, {order})")


if __name__ == "__main__":
    sys.exit(fuzzing.main(str(__doc__).partition("\n")[0], fuzz))
