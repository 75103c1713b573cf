"""A host whose disks are attached keeps what can detach them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from ovirt_demo import vdsm_rows
from storpool_ovirt import names

if TYPE_CHECKING:
    from pathlib import Path

    from setup_ground import Setup

GLOBAL_ID = "ab.c.1"


def test_an_undo_is_refused_while_a_volume_is_attached(host: Setup, tmp_path: Path) -> None:
    """Before a step is touched; once it is detached all goes."""
    host.run()
    rows = vdsm_rows.Rows(tmp_path / "rows")
    volume = str(uuid.uuid4())
    info = {"driver_volume_type": "local", "adapter": "storpool", "data": {"global_id": GLOBAL_ID}}
    path = names.device_path(GLOBAL_ID)
    rows[volume] = {"path": path, "connection_info": info, "attachment": {}}
    host.machine.path(vdsm_rows.DATABASE).write_bytes(rows.file.read_bytes())
    host.machine.do('chown -R vdsm:kvm /var/lib/vdsm; mkdir -p "${1%/*}"; touch "$1"', path)
    before = host.tree()
    for words in (("--undo",), ("--undo", "--dry-run")):
        said = host.run(*words, code=1)["error"]
        assert said.startswith("1 volume of StorPool's is attached to this host, the first is disk")
        assert volume in said
    assert host.tree() == before
    host.machine.do('rm "$1"', path)
    assert host.run("--undo")["changed"] > 10


def test_an_undo_is_refused_where_nobody_knows(host: Setup) -> None:
    """A database that cannot be read may have rows."""
    host.run()
    host.machine.write(vdsm_rows.DATABASE, "no database", owner="vdsm:kvm")
    before = host.tree()
    assert vdsm_rows.DATABASE in host.run("--undo", code=1)["error"]
    assert host.tree() == before
