"""ovirt_demo/vdsm_rows.py: what Vdsm keeps for a managed volume, kept as Vdsm keeps it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ovirt_demo import vdsm_rows

INFO = {"driver_volume_type": "storpool", "data": {"volume": "v", "größe": 1}}
ROW = {"connection_info": INFO, "path": "/dev/x", "attachment": {"type": "block", "path": "/dev/x"}}


def test_rows_are_a_mapping_that_outlives_its_object(tmp_path: Path) -> None:
    """The face of a dictionary; what is read is a copy, and another object on the same file sees
    the same."""
    rows = vdsm_rows.Rows(tmp_path / "folder" / "file.db")
    assert ({**rows}, len(rows), rows.get("v"), rows.pop("v", None)) == ({}, 0, None, None)
    assert not rows.file.exists()
    rows["v"] = ROW
    rows["u"] = {"connection_info": INFO}
    again = vdsm_rows.Rows(rows.file)
    assert {**again} == {"u": {"vol_id": "u", "connection_info": INFO}, "v": {"vol_id": "v", **ROW}}
    again["v"]["path"] = "/dev/y"
    assert rows["v"]["path"] == "/dev/x"
    assert rows.pop("v")["path"] == "/dev/x"
    with pytest.raises(KeyError):
        del rows["v"]
    rows.clear()
    assert list(again) == []


def test_rows_are_stored_as_vdsm_stores_them(tmp_path: Path) -> None:
    """4.6: JSON in bytes, NULL for what there is not yet, one version."""
    rows = vdsm_rows.Rows(tmp_path / "file.db")
    rows["u"] = {"connection_info": INFO}
    rows["v"] = ROW
    with closing(sqlite3.connect(rows.file)) as connection:
        new, old = connection.execute("SELECT * FROM volumes ORDER BY vol_id").fetchall()
        assert new == ("u", None, json.dumps(INFO).encode(), None, None, None)
        assert old[:4] == (
            "v",
            "/dev/x",
            json.dumps(INFO).encode(),
            json.dumps(ROW["attachment"]).encode(),
        )
        assert old[5] is not None
        assert connection.execute("SELECT version FROM versions").fetchall() == [(1,)]


def test_the_names_of_link_and_rule() -> None:
    """4.5: both are named by storage domain and volume; the rule matches the link that udev
    makes."""
    assert vdsm_rows.link("sd", "v") == "/run/vdsm/managedvolumes/sd_v"
    assert vdsm_rows.rule("sd", "v") == "/etc/udev/rules.d/99-vdsm-managed_sd_v.rules"
    assert 'SYMLINK=="storpool-byid/a.b.c"' in vdsm_rows.rule_text("/dev/storpool-byid/a.b.c")
