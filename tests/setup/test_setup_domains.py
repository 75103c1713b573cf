"""Engine's machine keeps what serves its domains as long as it has any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from setup_ground import Setup

from rigs import engine_database

if TYPE_CHECKING:
    from ovirt_demo.database import Database
    from rigs.engine_config_tool import Keys

FOLDER = "/etc/ovirt-engine/engine.conf.d"


def test_an_undo_is_refused_while_engine_has_domains_of_ours(
    engine: Setup, keys: Keys, database: Database
) -> None:
    """Before a step is touched; another vendor's domain is none of ours."""
    tables = engine_database.made(database, "4.5.7")
    tables.write_conf(engine.machine.path("/"))
    center = tables.add_data_center("Default")
    tables.add_domain("theirs", {"adapter": "other"}, center)
    ours = tables.add_domain("fast", {"adapter": "storpool", "sp_template": "nvme"}, center)
    engine.run()
    before = engine.tree()
    for words in (("--undo",), ("--undo", "--dry-run")):
        said = engine.run(*words, code=1)["error"]
        assert said.startswith('1 domain of Engine\'s is served by us, the first is "fast"')
    assert engine.tree() == before
    tables.execute("DELETE FROM cinder_storage WHERE storage_domain_id = %s", ours)
    assert engine.run("--undo")["changed"] > 5


def test_an_undo_is_refused_where_nobody_knows(engine: Setup, keys: Keys) -> None:
    """And it says how to go on where Engine is gone for good."""
    engine.run()
    lines = (
        ("HOST", "127.0.0.1"),
        ("PORT", "1"),
        ("USER", "e"),
        ("PASSWORD", "p"),
        ("DATABASE", "e"),
    )
    conf = "".join(f'ENGINE_DB_{key}="{value}"\n' for key, value in lines)
    engine.machine.write(f"{FOLDER}/{engine_database.CONF}", conf)
    before = engine.tree()
    said = engine.run("--undo", code=1)["error"]
    assert said.startswith("whether Engine has domains of StorPool's cannot be seen (")
    assert f"move {FOLDER}/{engine_database.CONF} away first" in said
    assert engine.tree() == before
    engine.machine.do(f"rm {FOLDER}/{engine_database.CONF}")
    assert engine.run("--undo")["changed"] > 5
