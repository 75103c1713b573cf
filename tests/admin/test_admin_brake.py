"""`storpool-ovirt brake`: how it is, and how it is lifted for a while, with Engine's verbs beside
it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rigs import admin_site, refusals, shared_stage
from rigs.admin_site import told

if TYPE_CHECKING:
    from rigs.admin_site import AdminSite

ALLOWED = "within the last 10 min, 10 may be (sp_max_deletes, 1 a minute)"
LIMIT = {"sp_max_deletes": "1"}  # 10 in ten minutes


@pytest.fixture
def braked(site: AdminSite) -> AdminSite:
    """Give a domain that lets ten disks go within ten minutes, and an administrator who says so."""
    options = {**site.stage.engine.options, **LIMIT}
    (site.folder / "options.json").write_text(json.dumps(options))
    return site


def test_a_brake_is_shown_and_lifted(braked: AdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """T84: Engine reads the command in the refusal, an administrator runs it, and the delete
    goes."""
    engine = braked.stage.engine
    monkeypatch.setattr(engine, "options", {**engine.options, **LIMIT})
    disks = [shared_stage.make_disk(engine) for _ in range(11)]
    shared_stage.sql(
        braked.stage.database,
        "UPDATE storpool_ovirt.node SET created_at = created_at - interval '1 h'",
    )
    assert told(braked.run("brake"), 0) == [
        f"0 disks were to be deleted {ALLOWED}",
        "it holds nothing back",
    ]
    for disk in disks[:10]:
        engine.run("delete_volume", disk).require()
    sentence = refusals.of_verb(engine.run("delete_volume", disks[10]))
    assert "storpool-ovirt brake lift --for 15m on Engine's machine lets them go" in sentence
    assert told(braked.run("brake", "show"), 0)[1] == "it holds: further deletes are refused"
    assert told(braked.run("brake", "lift", "--dry-run"), 0) == [
        "  would write to the mapping database",
        f"11 disks were to be deleted {ALLOWED}",
        "it holds: further deletes are refused",
    ]
    assert "the brake is lifted for another " in told(braked.run("brake", "lift"), 0)[1]
    engine.run("delete_volume", disks[10]).require()
    assert told(braked.run("brake", "lift", "--for", "0"), 0)[1].startswith("it holds: ")


def test_a_domain_without_a_brake_says_so(site: AdminSite) -> None:
    """sp_max_deletes=0."""
    assert told(site.run("brake"), 0) == [
        "0 disks were to be deleted within the last 10 min; there is no brake (sp_max_deletes is 0)"
    ]


@pytest.mark.parametrize("given", ["15", "2d", "soon", "-1m"])
def test_a_time_that_is_none_is_refused(site: AdminSite, given: str) -> None:
    """One sentence, and nothing is lifted."""
    assert "--for is " in refusals.of_command(site.run("brake", "lift", "--for", given), 1)


def test_without_options_all_domains_are_meant(
    braked: AdminSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T84: the command of the refusal, typed as it is, on a machine whose storpool.conf knows
    neither the domain's template nor its cluster."""
    engine = braked.stage.engine
    monkeypatch.setattr(engine, "options", {**engine.options, **LIMIT})
    conf = braked.folder / "etc" / "storpool.conf"
    conf.parent.mkdir(exist_ok=True)
    simulator = braked.stage.simulator
    conf.write_text(
        f"SP_API_HTTP_HOST={simulator.address}\nSP_API_HTTP_PORT={simulator.port}\n"
        f"SP_AUTH_TOKEN={simulator.token}\n"
    )
    disks = [shared_stage.make_disk(engine) for _ in range(11)]
    shared_stage.sql(
        braked.stage.database,
        "UPDATE storpool_ovirt.node SET created_at = created_at - interval '1 h'",
    )
    for disk in disks[:10]:
        engine.run("delete_volume", disk).require()
    refusals.of_verb(engine.run("delete_volume", disks[10]))
    where = ("--database", braked.stage.database.url)
    lines = told(braked.run("brake", *where, "lift", "--for", "15m", told=False), 0)
    assert lines[0].startswith("11 disks to be deleted within the last 10 min: domain on ")
    assert lines[1].startswith("the brake of every domain is lifted for ")
    engine.run("delete_volume", disks[10]).require()
    told(braked.run("brake", *where, "lift", "--for", "0", told=False), 0)
    with admin_site.on_engine(braked, {"gold": LIMIT}):
        lines = told(braked.run("brake", *where, told=False), 0)
    assert lines[0].startswith("gold (")
    assert lines[0].endswith(f": 11 disks were to be deleted {ALLOWED}")
    assert lines[1:] == ["  it holds: further deletes are refused"]
