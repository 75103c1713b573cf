"""storpool-adapter: as which type a volume is described to a host, by what the host said of its
Vdsm."""

from __future__ import annotations

import json

import pytest

from rigs import refusals, shared_stage
from rigs.shared_stage import Tree
from rigs.stage_fixtures import Stage
from storpool_ovirt import names

KEY = names.VOLUME_TYPE_KEY


def described(stage: Stage, volume: str, connector: object) -> str:
    """Return the answer of connect_volume for a host that reported this, as it came."""
    return shared_stage.answered(stage.engine.run("connect_volume", volume, json.dumps(connector)))


def test_a_host_gets_the_type_that_its_vdsm_takes(shared: Stage, tree: Tree) -> None:
    """`local` where the host says so, `storpool` where it says nothing, null or that; nothing else
    of the answer differs, for a volume and for a snapshot."""
    for node in (tree.disk, tree.snapshot):
        plain = shared_stage.answered(shared.engine.run("get_connection_info", node))
        assert '"driver_volume_type": "storpool"' in plain
        for silent in (None, {}, {"host": "h"}, {KEY: None}, {KEY: "storpool", "host": "h"}):
            assert described(shared, node, silent) == plain
        told = described(shared, node, {KEY: "local", "host": "h", "multipath": True})
        assert told == plain.replace(
            '"driver_volume_type": "storpool"', '"driver_volume_type": "local"'
        )
        assert json.loads(told)["adapter"] == "storpool"
        assert "device_path" not in told, "os-brick's own LocalConnector must not take it"


def test_hosts_of_both_kinds_take_turns(shared: Stage, tree: Tree) -> None:
    """Each gets its own, whoever asked before it, as in a migration there and back."""
    new, old = {"host": "h1"}, {"host": "h2", KEY: "local"}
    answers = [described(shared, tree.disk, each) for each in (new, old, new, old)]
    assert answers[0] == answers[2]
    assert answers[1] == answers[3]
    assert [json.loads(each)["driver_volume_type"] for each in answers[:2]] == ["storpool", "local"]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("none", "host h1 has a Vdsm that takes no volume of StorPool's: update it to 4.50.5.1"),
        ("nvme2", 'host h1 asks for volumes of the unknown type "nvme2": update storpool-ovirt'),
        ("Local", 'the unknown type "Local"'),
        ("", 'the unknown type ""'),
        (7, 'the unknown type "7"'),
        (["local"], "the unknown type"),
        ("a\nb" * 100, "the unknown type"),
    ],
)
def test_a_host_that_takes_none_is_refused(
    shared: Stage, tree: Tree, said: object, sentence: str
) -> None:
    """One sentence that names the host, before anything is asked or noted."""
    before = shared_stage.rows(shared.database)
    shared.simulator.clear_calls()
    connector = json.dumps({"host": "h1", KEY: said})
    refused = refusals.of_verb(shared.engine.run("connect_volume", tree.disk, connector))
    assert sentence in refused
    assert shared.simulator.calls() == []
    assert shared_stage.rows(shared.database) == before


def test_a_host_without_a_name_is_refused_as_well(shared: Stage, tree: Tree) -> None:
    """The sentence has no name then."""
    refused = refusals.of_verb(
        shared.engine.run("connect_volume", tree.disk, json.dumps({KEY: "none"}))
    )
    assert "the host has a Vdsm that takes no volume of StorPool's" in refused
