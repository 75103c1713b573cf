"""vdsm_rows.py: Vdsm's rows, links and rules, read and removed one volume at a time."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ovirt_demo.vdsm import Host
from rigs import boot_stage, faulty_files
from storpool_ovirt import errors, names
from storpool_ovirt.host import run_links, vdsm_rows

VOL = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
OTHER = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a11"
GID = "dyo8.b.d"
PATH = f"/dev/storpool-byid/{GID}"
OURS: dict[str, Any] = {
    "adapter": "storpool",
    "driver_volume_type": "storpool",
    "data": {"volume": VOL, "global_id": GID, "access_mode": "rw"},
}
STOCK: dict[str, Any] = {
    "driver_volume_type": "storpool",
    "data": {"volume": VOL, "access_mode": "rw"},
}
LINK = f"{boot_stage.SD}_{VOL}"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Give a host with nothing on it."""
    yield Host(tmp_path, tmp_path / "no-helper")


def device(host: Host) -> Path:
    """Make the device."""
    node = host.local(PATH)
    node.parent.mkdir(parents=True, exist_ok=True)
    node.touch()
    return node


def link(host: Host, target: str | Path, name: str = LINK) -> Path:
    """Make a run link."""
    made = host.local(f"{names.RUN_FOLDER}/{name}")
    made.parent.mkdir(parents=True, exist_ok=True)
    made.symlink_to(target)
    return made


@pytest.mark.parametrize(
    ("info", "path", "ours", "global_id"),
    [
        (OURS, PATH, True, GID),
        (OURS, None, True, GID),
        ({**OURS, "data": {}}, PATH, True, GID),
        ({**OURS, "data": {}}, None, True, None),
        ({**OURS, "data": {**OURS["data"], "global_id": "a.b.c"}}, PATH, True, None),
        ({**OURS, "data": "none"}, "/dev/elsewhere", True, None),
        ({**OURS, "driver_volume_type": "local"}, PATH, True, GID),
        ({**OURS, "driver_volume_type": "local"}, None, True, GID),
        # LINSTOR's
        ({"driver_volume_type": "local", "data": {}}, "/dev/drbd1", False, None),
        ({"driver_volume_type": "local", "data": {}, "adapter": "linstor"}, PATH, False, GID),
        (STOCK, PATH, True, GID),
        (STOCK, "/dev/storpool/name", False, None),
        (STOCK, None, False, None),
        ({**OURS, "adapter": "other"}, "/dev/x", False, None),
        (boot_stage.RBD, "/dev/rbd/a/b", False, None),
        (boot_stage.RBD, PATH, False, GID),
    ],
)
def test_which_rows_are_ours(
    host: Host, info: Any, path: str | None, ours: bool, global_id: str | None
) -> None:
    """Ours is what our adapter attached, or StorPool's driver by a path of ours; two ids in one row
    are none."""
    boot_stage.put_row(host, VOL, info, path)
    [row] = vdsm_rows.read(str(host.root))
    assert (row.vol_id, row.ours, row.global_id, row.is_snapshot) == (VOL, ours, global_id, False)


def test_a_snapshot_is_told_by_its_mode(host: Host) -> None:
    """What is attached read-only is a snapshot, as for the helper."""
    boot_stage.put_row(host, VOL, {**OURS, "data": {**OURS["data"], "access_mode": "ro"}}, PATH)
    assert vdsm_rows.read(str(host.root))[0].is_snapshot


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"[]", b"not json", None, "text", b"[" * 100_000, 17])
def test_a_row_of_any_content_is_read(host: Host, raw: Any) -> None:
    """Other vendors' rows hold what they like: they are nobody's of ours, and the rows beside them
    are read."""
    boot_stage.put_row(host, VOL, OURS, PATH)
    with closing(sqlite3.connect(host.local(vdsm_rows.DATABASE))) as connection, connection:
        connection.execute(
            "INSERT INTO volumes (vol_id, connection_info) VALUES (?, ?)", (OTHER, raw)
        )
        connection.execute(
            "INSERT INTO volumes (vol_id, connection_info) VALUES (NULL, ?)", (b"{}",)
        )
        connection.execute("INSERT INTO volumes (vol_id, path) VALUES ('x', CAST(x'ff' AS TEXT))")
    assert [row.vol_id for row in vdsm_rows.read(str(host.root)) if row.ours] == [VOL]


def test_no_database_is_no_rows(host: Host) -> None:
    """Where Vdsm has none, none is made."""
    assert vdsm_rows.read(str(host.root)) == []
    assert not host.local(vdsm_rows.DATABASE).exists()


@pytest.mark.parametrize(
    "content", [b"", b"this is no database" * 100, b"SQLite format 3\0" + b"\7" * 5000]
)
def test_a_broken_database_is_one_sentence_and_stays(host: Host, content: bytes) -> None:
    """What sqlite cannot read is told, and not touched."""
    file = host.local(vdsm_rows.DATABASE)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(errors.InputError, match="cannot be used"):
        vdsm_rows.read(str(host.root))
    assert file.read_bytes() == content


def test_forget_takes_link_rule_and_row_of_one_volume(host: Host) -> None:
    """T76: other volumes' rows, rules and links, files with like names and what is no link stay
    byte for byte."""
    boot_stage.put_row(host, OTHER, boot_stage.RBD, PATH)
    link(host, "/dev/rbd/x", f"{boot_stage.SD}_{OTHER}")
    link(host, "/dev/rbd/x", f"{boot_stage.SD}_{VOL}x")
    link(host, "/dev/rbd/x", VOL)
    host.local(f"{names.RUN_FOLDER}/file_{VOL}").touch()
    for name in (
        f"{boot_stage.SD}_{VOL}.rules",
        f"99-vdsm-managed_{boot_stage.SD}_{VOL}.rules.bak",
        "50-udev.rules",
    ):
        host.local(f"{vdsm_rows.RULES_FOLDER}/{name}").write_text("stays")
    before = boot_stage.kept(host)
    boot_stage.put_row(host, VOL, OURS, PATH)
    link(host, host.local(PATH))
    link(host, PATH, f"another-domain_{VOL}")
    [row] = [row for row in vdsm_rows.read(str(host.root)) if row.vol_id == VOL]
    vdsm_rows.forget(str(host.root), row)
    assert boot_stage.kept(host) == before
    vdsm_rows.forget(str(host.root), row)
    assert boot_stage.kept(host) == before


def test_a_row_that_has_changed_meanwhile_stays(host: Host) -> None:
    """T88: what was decided of an older row does not end a newer one."""
    boot_stage.put_row(host, VOL, OURS)
    [row] = vdsm_rows.read(str(host.root))
    boot_stage.put_row(host, VOL, OURS, PATH)
    vdsm_rows.forget(str(host.root), row)
    assert [*host.rows] == [VOL]


def test_a_row_gets_another_type_and_nothing_else(host: Host) -> None:
    """The other rows, the path, and what is in the description beside it stay as they are; a row
    that has changed since it was read stays whole."""
    more = {**OURS, "unknown": {"key": [1.5, None, "\u00e9"]}}
    boot_stage.put_row(host, VOL, more, PATH)
    boot_stage.put_row(host, boot_stage.SD, OURS)
    [other, row] = sorted(vdsm_rows.read(str(host.root)), key=lambda each: each.vol_id == VOL)
    before = {key: dict(each) for key, each in host.rows.items()}
    assert vdsm_rows.convert(str(host.root), [row], "local") == [row]
    local = {**more, "driver_volume_type": "local"}
    assert dict(host.rows) == {**before, VOL: {**before[VOL], "connection_info": local}}
    assert vdsm_rows.convert(str(host.root), [row], "storpool") == []
    assert host.rows[VOL]["connection_info"] == local, "it is not the row that was read"
    boot_stage.put_row(host, other.vol_id, OURS, PATH)
    assert vdsm_rows.convert(str(host.root), [other], "local") == []
    assert host.rows[other.vol_id]["connection_info"] == OURS


ODD = {
    "not UTF-8": (
        '{"adapter": "storpool", "driver_volume_type": "storpool", "x": "\xff"}',
        "latin-1",
    ),
    "half a pair": (
        '{"adapter": "storpool", "driver_volume_type": "storpool", "x": "\ud800"}',
        "utf-8",
    ),
    "deep": (
        '{"adapter": "storpool", "driver_volume_type": "storpool", "x": %s}'
        % ("[" * 100_000 + "]" * 100_000),
        "utf-8",
    ),
    "a list": ('["adapter", "storpool"]', "utf-8"),
    "a type that is none": ('{"adapter": "storpool", "driver_volume_type": ["storpool"]}', "utf-8"),
    "nothing": ("", "utf-8"),
}


def test_a_row_that_cannot_be_rewritten_keeps_nobody_else_from_it(host: Host) -> None:
    """What is not of Vdsm's making stays byte for byte, whatever it is; the others get the type."""
    boot_stage.put_row(host, VOL, OURS)
    with closing(sqlite3.connect(host.local(vdsm_rows.DATABASE))) as connection, connection:
        for name, (text, encoding) in ODD.items():
            info = text.encode(encoding, "surrogatepass")
            connection.execute(
                "INSERT INTO volumes (vol_id, connection_info) VALUES (?, ?)", (name, info)
            )
    root = str(host.root)
    before = {row.vol_id: row for row in vdsm_rows.read(root)}
    assert {*before} == {*ODD, VOL}
    assert before["not UTF-8"].volume_type == "storpool"
    assert vdsm_rows.convert(root, [*before.values()], "local") == [before[VOL]]
    after = {row.vol_id: row for row in vdsm_rows.read(root)}
    assert after.pop(VOL).volume_type == "local"
    assert after == {name: before[name] for name in ODD}


def test_many_rows_are_one_change(host: Host) -> None:
    """A thousand take a moment, and all have the type or, where the database is another's for too
    long, none."""
    boot_stage.put_row(host, VOL, OURS)
    with closing(sqlite3.connect(host.local(vdsm_rows.DATABASE))) as connection, connection:
        more = [(f"{number:08}", json.dumps(OURS).encode()) for number in range(1000)]
        connection.executemany("INSERT INTO volumes (vol_id, connection_info) VALUES (?, ?)", more)
    root = str(host.root)
    rows = vdsm_rows.read(root)
    with closing(sqlite3.connect(host.local(vdsm_rows.DATABASE))) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(errors.InputError, match=r"locked|did not end"):
            vdsm_rows.convert(root, rows, "local", busy_seconds=0.1)
    assert vdsm_rows.read(root) == rows
    began = time.monotonic()
    assert vdsm_rows.convert(root, rows, "local") == rows
    assert time.monotonic() - began < 2.0
    assert {row.volume_type for row in vdsm_rows.read(root)} == {"local"}


def test_a_locked_database_is_told(host: Host) -> None:
    """Somebody else writes to the database: one sentence after a while, and the row is there."""
    boot_stage.put_row(host, VOL, OURS)
    [row] = vdsm_rows.read(str(host.root))
    with closing(sqlite3.connect(host.local(vdsm_rows.DATABASE))) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(errors.InputError, match="locked"):
            vdsm_rows.forget(str(host.root), row, busy_seconds=0.1)
    assert [*host.rows] == [VOL]


def test_a_link_is_live_while_its_device_is_there(host: Host) -> None:
    """A link to the device, by its path on the host or on this machine, tells of this boot; a
    dangling one does not."""
    root = str(host.root)
    assert not run_links.is_live(root, VOL)
    for target in (PATH, host.local(PATH)):
        made = link(host, target)
        assert (run_links.is_live(root, VOL), run_links.linked(root)) == (False, set())
        node = device(host)
        assert (run_links.is_live(root, VOL), run_links.linked(root)) == (True, {GID})
        assert not run_links.is_live(root, OTHER)
        node.unlink()
        made.unlink()


def test_only_a_dangling_link_of_this_volume_and_device_is_removed(host: Host) -> None:
    """Links of other volumes, to other devices, to a device that is there, and what is no link: all
    stay."""
    root = str(host.root)
    node = device(host)
    link(host, PATH)
    assert run_links.remove_dangling(root, VOL, GID) == []
    node.unlink()
    link(host, PATH, f"{boot_stage.SD}_{OTHER}")
    link(host, "/dev/storpool-byid/dyo8.b.e", f"a_{VOL}")
    link(host, f"/dev/mapper/{GID}", f"b_{VOL}")
    host.local(f"{names.RUN_FOLDER}/c_{VOL}").write_text("a file")
    host.local(f"{names.RUN_FOLDER}/d_{VOL}").mkdir()
    assert run_links.remove_dangling(root, VOL, GID) == [LINK]
    left = {entry.name for entry in boot_stage.files(host, names.RUN_FOLDER)}
    assert left == {f"{boot_stage.SD}_{OTHER}", *(f"{letter}_{VOL}" for letter in "abcd")}


def test_a_folder_that_is_a_link_is_not_followed(host: Host, tmp_path: Path) -> None:
    """The folder belongs to an ordinary user: who puts a link in its place leads root nowhere,
    and it is not taken for an empty one: the row stays.
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LINK).symlink_to(PATH)
    folder = host.local(names.RUN_FOLDER)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(elsewhere)
    root = str(host.root)
    with pytest.raises(errors.InputError, match="managedvolumes cannot be looked at"):
        run_links.remove_dangling(root, VOL, GID)
    boot_stage.put_row(host, VOL, OURS, PATH)
    with pytest.raises(errors.InputError, match="managedvolumes cannot be looked at"):
        vdsm_rows.forget(root, vdsm_rows.read(root)[0])
    assert (elsewhere / LINK).is_symlink()
    assert [*host.rows] == [VOL]


@pytest.mark.parametrize("code", faulty_files.ERRORS)
@pytest.mark.parametrize(
    "place", [vdsm_rows.DATABASE, names.RUN_FOLDER, names.DEVICE_FOLDER, vdsm_rows.RULES_FOLDER]
)
def test_what_cannot_be_looked_at_is_not_absent(
    host: Host, monkeypatch: pytest.MonkeyPatch, place: str, code: int
) -> None:
    """A database, a folder of links, of devices or of rules that cannot be read: no row, no link
    and no device is taken for missing, and nothing is removed.
    """
    root = str(host.root)
    device(host)
    link(host, PATH)
    boot_stage.put_row(host, VOL, OURS, PATH)
    [row], before = vdsm_rows.read(root), boot_stage.kept(host)
    with monkeypatch.context() as patch:
        faulty_files.inject(patch, host.local(place), code)
        asked = {
            vdsm_rows.DATABASE: [lambda: vdsm_rows.read(root)],
            names.RUN_FOLDER: [
                lambda: run_links.is_live(root, VOL),
                lambda: run_links.linked(root),
                lambda: run_links.remove_dangling(root, VOL, GID),
                lambda: vdsm_rows.forget(root, row),
            ],
            names.DEVICE_FOLDER: [
                lambda: run_links.is_live(root, VOL),
                lambda: run_links.linked(root),
                lambda: run_links.remove_dangling(root, VOL, GID),
            ],
            vdsm_rows.RULES_FOLDER: [lambda: vdsm_rows.forget(root, row)],
        }[place]
        for ask in asked:
            with pytest.raises(
                errors.InputError, match=f"cannot be (looked at|used) .{os.strerror(code)}"
            ):
                ask()
    after = boot_stage.kept(host)
    assert after["rows"] == before["rows"]
    assert after["rules"] == before["rules"]
    assert after["links"] == ({} if place == vdsm_rows.RULES_FOLDER else before["links"])
