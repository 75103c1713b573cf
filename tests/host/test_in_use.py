"""storpool-host-in-use: asked before the programs of a host are erased."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

import pytest

from ovirt_demo import children, vdsm_rows
from storpool_ovirt import names
from storpool_ovirt.host import in_use

GLOBAL_ID = "ab.c.1"
LIMIT_SECONDS = 60


def row(root: Path, kind: str = "local", adapter: str | None = "storpool") -> str:
    """Have a row of Vdsm's; return its volume."""
    volume = str(uuid.uuid4())
    info = {"driver_volume_type": kind, "data": {"global_id": GLOBAL_ID}}
    rows = vdsm_rows.Rows(Path(f"{root}{vdsm_rows.DATABASE}"))
    rows.file.parent.mkdir(parents=True, exist_ok=True)
    rows[volume] = {
        "path": names.device_path(GLOBAL_ID),
        "connection_info": {**info, **({"adapter": adapter} if adapter else {})},
        "attachment": {},
    }
    return volume


def device(root: Path) -> Path:
    """Have the device; return its path."""
    path = Path(f"{root}{names.device_path(GLOBAL_ID)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def asked(root: Path, *arguments: str) -> tuple[int, str]:
    """Run the program; return its code and its sentence, the only thing that it says."""
    done = subprocess.run(
        [children.find("storpool-host-in-use"), *arguments],
        env={"PATH": os.environ["PATH"], "STORPOOL_OVIRT_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert done.stdout == ""
    assert done.stderr.count("\n") <= 1
    return done.returncode, done.stderr.strip()


def test_a_host_without_vdsms_database_is_free(tmp_path: Path) -> None:
    """Nothing was ever attached there."""
    assert asked(tmp_path) == (0, "")


@pytest.mark.parametrize("kind", ["local", "storpool"])
def test_a_device_that_is_here_keeps_the_host(tmp_path: Path, kind: str) -> None:
    """T92: of a row of ours, whichever type its Vdsm took; the sentence names disk and way."""
    volume, path = row(tmp_path, kind), device(tmp_path)
    code, said = asked(tmp_path)
    assert code == 1
    assert f"1 volume of StorPool's is attached to this host, the first is disk {volume}" in said
    assert said.endswith(f"({in_use.ALL_THE_SAME})")
    row(tmp_path, kind)
    assert "2 volumes of StorPool's are attached" in asked(tmp_path)[1]
    path.unlink()
    assert asked(tmp_path) == (0, "")


@pytest.mark.parametrize("adapter", ["linstor", None])
def test_others_are_not_asked_about(tmp_path: Path, adapter: str | None) -> None:
    """Rows of another vendor's adapter, or of none, are theirs."""
    row(tmp_path, adapter=adapter)
    device(tmp_path)
    assert asked(tmp_path) == (0, "")


def test_what_cannot_be_seen_keeps_the_host(tmp_path: Path) -> None:
    """A database that is none, a folder of devices that is none."""
    row(tmp_path)
    Path(f"{tmp_path}/dev").write_text("")
    assert asked(tmp_path) == (0, ""), "nothing can be below a file"
    Path(f"{tmp_path}{vdsm_rows.DATABASE}").write_text("no database")
    code, said = asked(tmp_path)
    assert (code, said.endswith(f"({in_use.ALL_THE_SAME})")) == (1, True)
    assert "cannot be seen" in said


def test_a_wrong_use_is_never_a_yes(tmp_path: Path) -> None:
    """Whoever gives arguments wants something else."""
    code, said = asked(tmp_path, "--force")
    assert code == 1
    assert "takes no arguments" in said
