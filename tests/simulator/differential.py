"""Random calls through the official binding, to the simulator and to the tiny model: both must say
the same, and the lists must show what the model has.

    python tests/simulator/differential.py --seed 1 --calls 20000 [--switch NAME=VALUE ...]

A history is made of HISTORY calls on a fresh cluster. One that shows a disagreement is made as
short as it gets, and printed with its seed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional

from simulator_fixtures import TOKEN, Peer, opened_peer
from storpool import spapi
from storpool.spcatch import InvalidArgumentError
from tiny_calls import Call, Dice, resolved
from tiny_model import CLIENTS, Model, Thing, Unasked
from tiny_rules import CALLS

from storpool_simulator.switches import SWITCHES

HISTORY = 200
TRIES = 400  # of making a history shorter
START = 1_760_000_000.0
TICK = 0.001  # between two calls, so that no two things are due at one moment
KINDS = ("volumesList", "snapshotsList")
# Fields that the binding's own schema does not have go through its door, Api.__call__.
BEYOND: dict[str, Callable[[Any], bool]] = {
    "volumeCreate": lambda body: body.get("name") == "",
    "volumeUpdate": lambda body: body.get("rename") == "",
    "volumeDelete": lambda body: "onAttached" in body,
    "volumeRevert": lambda body: "revertSize" in body,
    "snapshotCreate": lambda body: body.get("name") == "",
    "snapshotCreateGroup": lambda body: any(one.get("name") == "" for one in body["volumes"]),
    "snapshotUpdate": lambda body: body.get("rename") == "",
    "volumesReassign": lambda items: any("snapshot" in one and "rw" in one for one in items),
    "volumesReassignWait": lambda body: BEYOND["volumesReassign"](body["reassign"]),
}
# Returns the next call of a history, None at its end.
Chooser = Callable[[Model], Optional[Call]]


class Disagreement(Exception):
    """Where the simulator and the model differ."""


class Both:
    """The simulator and the model, side by side."""

    def __init__(self, peer: Peer, clock: list[float], *, multi_cluster: bool) -> None:
        self.peer = peer
        self._clock = clock
        self.model = Model(peer.simulator.switches.items(), ("nvme", "hdd"))
        self.model.now = START
        self.calls = 0
        self._numbers: dict[str, int] = {}
        self._api = spapi.Api(
            peer.host, peer.port, auth=TOKEN, transientRetries=0, multiCluster=multi_cluster
        )

    def make(self, call: Call) -> None:
        """Make one call; raise Disagreement."""
        self._clock[0] += TICK
        self.model.now += TICK
        arguments = resolved(call.arguments, self.model)
        if call.method == "advance":
            self.peer.simulator.advance(arguments[0])
            self.model.advance(arguments[0])
        elif call.method == "open":
            self._open(*arguments)
        elif call.method in CALLS:
            self._change(call, arguments)
        else:
            self._look(call.method, arguments[0])
        for problem in self._differences(with_buckets=call.method.startswith("kvs")):
            raise Disagreement(problem)

    def _open(self, label: str, client: int) -> None:
        thing = self.model.labelled(label)
        if thing is not None and client in thing.clients:
            thing.open ^= {client}
        for each in CLIENTS:
            ids = [one.ids[-1] for one in self.model.things if each in one.open]
            self.peer.simulator.set_client(each, opened=ids)

    def _change(self, call: Call, arguments: Sequence[Any]) -> None:
        trial = self.model.trial()
        try:
            CALLS[call.method](trial, call.label, *arguments)
        except Unasked:
            return
        before = self.peer.simulator.cluster.generation
        refusal, reply = self._answer(call.method, arguments)
        if refusal not in (trial.faults or {None}):
            raise Disagreement(f"{arguments}: {refusal}, expected {trial.faults or 'success'}")
        grown = self.peer.simulator.cluster.generation > before
        if grown == bool(refusal):
            raise Disagreement(f"{arguments}: {refusal or 'success'}, generation grown: {grown}")
        if refusal is None:
            trial.learn(_made(call.method, reply))
            if trial.reverted is not None:
                trial.reverted.ids.append(reply["globalId"])
            trial.settle()
            self.model = trial

    def _look(self, method: str, key: str) -> None:
        found = self.model.find(key)
        if found is not None and found.deleted:
            return
        refusal, reply = self._answer(method, [key])
        if found is None or found.volume == (method == "snapshotList"):
            expected: Any = "objectDoesNotExist"
        elif method == "volumeListSnapshots":
            expected = [each.ids[-1] for each in self.model.chain(found)]
        else:
            expected = [found.ids[-1]]
        said = refusal or [each["globalId"] for each in reply]
        if said != expected:
            raise Disagreement(f"{method} {key}: {said}, expected {expected}")

    def _answer(self, method: str, arguments: Sequence[Any]) -> tuple[str | None, Any]:
        """Make a call; return the name of its error, or None and the reply."""
        self.calls += 1
        has_body = isinstance(arguments[-1], (dict, list))
        *path, body = arguments if has_body else (*arguments, None)
        try:
            if not (has_body and method in BEYOND and BEYOND[method](body)):
                with contextlib.suppress(InvalidArgumentError):  # a name that no schema has
                    return None, getattr(self._api, method)(*arguments, returnRawAPIData=True)
            document = getattr(spapi.Api, method).spDoc
            query = document.path[len("/ctrl/1.0/") :]
            has_form = query.startswith("MultiCluster/")
            query = query.replace("MultiCluster/", "").split("/{")[0]
            return None, self._api(document.method, has_form, "/".join([query, *path]), body)
        except spapi.ApiError as error:
            return error.name, None

    # what there is

    def _differences(self, *, with_buckets: bool) -> Iterator[str]:
        volumes, snapshots = (getattr(self._api, kind)(returnRawAPIData=True) for kind in KINDS)
        self._meet_transients(snapshots)
        for listed, is_volume in ((volumes, True), (snapshots, False)):
            there = {each["globalId"]: each for each in listed}
            expected = {one.ids[-1]: one for one in self.model.things if one.volume == is_volume}
            if there.keys() != expected.keys() or len(there) != len(listed):
                yield f"listed {sorted(there)}, expected {sorted(expected)}"
            for global_id in there.keys() & expected.keys():
                yield from self._thing(there[global_id], expected[global_id])
        yield from self._attachments()
        yield from self._templates()
        if with_buckets:
            yield from self._buckets()

    def _meet_transients(self, snapshots: Sequence[Mapping[str, Any]]) -> None:
        """Learn the ids of the transient snapshots of clones: no answer tells them."""
        known = {each.ids[-1] for each in self.model.things}
        new = [each for each in snapshots if each["transient"] and each["globalId"] not in known]
        unmet = [
            one for one in self.model.things if one.transient and one.ids[-1].startswith("new.")
        ]
        for thing, shown in zip(unmet, new):
            thing.ids = [shown["globalId"]]
            thing.name = None if shown["name"].startswith("~") else shown["name"]

    def _thing(self, shown: Mapping[str, Any], thing: Thing) -> Iterator[str]:
        number = self._numbers.setdefault(thing.label, shown["visibleVolumeId"])
        if thing.size is None:
            thing.size = shown["size"]
        parents = ("",) if thing.parent is None else thing.parent.listed
        expected: dict[str, Any] = {
            "size": thing.size,
            "tags": thing.tags,
            "templateName": "" if thing.template is None else thing.template.name,
            "visibleVolumeId": number,
        }
        if thing.volume:
            expected["preservedGlobalId"] = thing.ids[0]
        else:
            expected.update(
                autoName=thing.automatic,
                bound=thing.bound,
                deleted=thing.deleted,
                transient=thing.transient,
                targetDeleteDate=int(thing.delete_at),
                createdFromGlobalId=thing.source,
            )
        for key, value in expected.items():
            if shown.get(key) != value:
                yield f"{shown['name']}: {key} is {shown.get(key)!r}, expected {value!r}"
        named = {"name": thing.listed, "parentName": parents}
        if not thing.volume:
            named["onVolume"] = self.model.on_volume(thing)
        for key, values in named.items():
            if shown[key] not in values:
                yield f"{thing.label}: {key} is {shown[key]!r}, expected one of {values}"

    def _attachments(self) -> Iterator[str]:
        listed = self._api.attachmentsList(returnRawAPIData=True)
        there = {
            (one["globalId"], one["volume"], one["client"], one["rights"], one["snapshot"])
            for one in listed
        }
        expected = {
            (thing.ids[-1], thing.listed[0], client, rights, not thing.volume)
            for thing in self.model.things
            for client, rights in thing.clients.items()
        }
        if there != expected or len(there) != len(listed):
            yield f"attached {sorted(there)}, expected {sorted(expected)}"
        if len({(one["client"], one["pos"]) for one in listed}) != len(listed):
            yield "one position twice"

    def _templates(self) -> Iterator[str]:
        there = {
            each["name"]: each for each in self._api.volumeTemplatesList(returnRawAPIData=True)
        }
        expected = {each.name: each for each in self.model.templates}
        if there.keys() != expected.keys():
            yield f"templates {sorted(there)}, expected {sorted(expected)}"
        for name in there.keys() & expected.keys():
            template, shown = expected[name], there[name]
            parents = template.parent.listed if template.parent in self.model.things else ("",)
            if shown["size"] != (template.size or "-") or shown["parentName"] not in parents:
                yield f"template {shown}, expected {template.size} on {parents}"

    def _buckets(self) -> Iterator[str]:
        there = self._api.kvsBuckets(returnRawAPIData=True)["buckets"]
        pairs = {
            name: (version, self._api.kvsList(name, returnRawAPIData=True)["pairs"])
            for name, version in there.items()
        }
        if pairs != self.model.buckets:
            yield f"buckets {pairs}, expected {self.model.buckets}"


def _made(method: str, reply: Any) -> list[tuple[str, str | None]]:
    """Return ids and automatic names of what a call made, from its answer."""
    if method == "volumeCreate":
        return [(reply["globalId"], None)]
    if method == "snapshotCreate":
        return [(reply["snapshotGlobalId"], reply.get("autoName"))]
    if method == "snapshotCreateGroup":
        return [
            (one["snapshotGlobalId"], None if one["snapshot"][:1] == "~" else one["snapshot"])
            for one in reply["snapshots"]
        ]
    return []


def played(
    switches: Mapping[str, str], next_call: Chooser, *, multi_cluster: bool
) -> tuple[list[Call], int, str]:
    """Play a history on a fresh cluster; return its calls, how many were sent, and what was wrong
    with the last one or ""."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        clock = [START]
        with opened_peer(
            Path(name), clock=lambda: clock[0], cluster_id="abcd.e", switches=switches
        ) as peer:
            both = Both(peer, clock, multi_cluster=multi_cluster)
            made: list[Call] = []
            while (call := next_call(both.model)) is not None:
                made.append(call)
                try:
                    both.make(call)
                except (Disagreement, AssertionError) as problem:
                    return made, both.calls, f"{call.method}: {problem}"
            return made, both.calls, ""


def replayed(calls: Sequence[Call]) -> Chooser:
    """Give these calls again."""
    rest = iter(calls)
    return lambda _model: next(rest, None)


def rolled(seed: int) -> Chooser:
    """Give a new history."""
    dice, left = Dice(seed), iter(range(HISTORY))
    return lambda model: None if next(left, None) is None else dice.call(model)


def shortened(
    switches: Mapping[str, str], history: list[Call], *, multi_cluster: bool
) -> tuple[list[Call], str]:
    """Return the history without the calls that its disagreement does not need, and what it is."""
    tries, size, problem = 0, len(history) // 2, ""
    while size and tries < TRIES:
        at = 0
        while at < len(history) and tries < TRIES:
            tries += 1
            rest = replayed([*history[:at], *history[at + size :]])
            made, _, found = played(switches, rest, multi_cluster=multi_cluster)
            if found:
                history, problem = made, found
            else:
                at += size
        size //= 2
    return history, problem


def checked(seed: int, calls: int, switches: Mapping[str, str]) -> tuple[int, str]:
    """Make so many calls and more; return their number and the first disagreement or ""."""
    sent = number = 0
    while sent < calls:
        number += 1
        is_mc = number % 2 == 0
        history, count, problem = played(
            switches, rolled(seed * 100_000 + number), multi_cluster=is_mc
        )
        sent += count
        if problem:
            history, shorter = shortened(switches, history, multi_cluster=is_mc)
            lines = "\n".join(f"  {each.label}: {each.method}{each.arguments}" for each in history)
            return (
                sent,
                f"history {number}, switches {dict(switches)}:\n{lines}\n{shorter or problem}",
            )
    return sent, ""


def main(argv: Sequence[str]) -> int:
    """Run it; 1 when there is a disagreement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args(argv)
    switches = dict(each.split("=", 1) for each in given.switch)
    assert switches.keys() <= SWITCHES.keys(), switches
    sent, problem = checked(given.seed, given.calls, switches)
    sys.stdout.write(f"{problem}\n" if problem else "")
    sys.stdout.write(f"seed {given.seed}: {sent} calls, {int(bool(problem))} disagreements\n")
    return bool(problem)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
