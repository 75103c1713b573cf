"""boot_hook.py: the door, where it needs no cluster. What it clears is in test_boot_sweep.py."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovirt_demo import children
from ovirt_demo.vdsm import Host
from rigs import boot_stage
from rigs.host_files import NODE, conf
from storpool_ovirt.host import boot_hook, boot_sweep, vdsm_rows

VOL = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
INFO = {
    "adapter": "storpool",
    "driver_volume_type": "storpool",
    "data": {"volume": VOL, "global_id": "dyo8.b.d", "access_mode": "rw"},
}
PATH = "/dev/storpool-byid/dyo8.b.d"
TOKEN = "1556560560218011653"
SETTINGS = (
    f"SP_API_HTTP_HOST=127.0.0.1\nSP_API_HTTP_PORT=1\nSP_AUTH_TOKEN={TOKEN}\n[{NODE}]\nSP_OURID=1\n"
)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Give a host with nothing on it."""
    yield Host(tmp_path, tmp_path / "no-helper")


def test_the_limits_are_those_of_vdsms_start() -> None:
    """What waits for it is a host: all of its time is less than half a minute."""
    assert (
        boot_hook.LIMITS.deadline_seconds + boot_hook.LIMITS.last_seconds < boot_stage.LIMIT_SECONDS
    )


def test_a_wrong_use_is_refused(host: Host) -> None:
    """Any argument: one sentence that says what to do, exit code 1, nothing on the host is
    changed."""
    boot_stage.put_row(host, VOL, INFO)
    before = boot_stage.kept(host)
    for arguments in (["--help", ""], ["attach"], ["", ""]):
        done = subprocess.run(
            [children.find("storpool-boot-hook"), *arguments],
            capture_output=True,
            env=host.environment,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.count(b"\n") == 1
        assert b"takes no arguments" in done.stderr
    assert boot_stage.kept(host) == before
    assert not host.local("/run").exists()


def test_a_host_without_storpool_has_nothing_to_do(host: Host) -> None:
    """No storpool.conf and no rows of ours: silence, and nothing is made; other vendors' rows
    stay."""
    boot_stage.quiet(boot_stage.start_vdsmd(host))
    boot_stage.put_row(host, VOL, boot_stage.RBD, "/dev/rbd/x")
    before = boot_stage.kept(host)
    boot_stage.quiet(boot_stage.start_vdsmd(host))
    assert boot_stage.kept(host) == before
    assert not host.local("/run").exists()


def test_without_storpool_conf_rows_without_a_device_go(host: Host) -> None:
    """T86: nobody can be asked: what has no device here goes, as it could only block; it is told,
    and tried again."""
    boot_stage.put_row(host, VOL, INFO, PATH)
    assert "storpool.conf is missing: install" in boot_stage.told(boot_stage.start_vdsmd(host))
    assert boot_stage.kept(host) == {"rows": [], "rules": {}, "links": {}}
    assert not boot_sweep.is_done(str(host.root))


@pytest.mark.parametrize(
    "settings", [None, "no variable", "", SETTINGS.replace("SP_OURID=1", "SP_OURID=x")]
)
def test_with_bad_settings_rows_with_a_device_stay(host: Host, settings: str | None) -> None:
    """Nobody can tell whether the device is open: row, rule and device stay; the sentence says what
    to do."""
    if settings is not None:
        conf(host.root, settings)
    boot_stage.put_row(host, VOL, INFO, PATH)
    host.local(PATH).parent.mkdir(parents=True)
    host.local(PATH).touch()
    before = boot_stage.kept(host)
    assert "storpool.conf" in boot_stage.told(boot_stage.start_vdsmd(host))
    assert boot_stage.kept(host) == before
    assert not boot_sweep.is_done(str(host.root))


def test_an_api_that_is_away_is_told_without_the_token(host: Host, tmp_path: Path) -> None:
    """T75: rows with a device stay, the others go; neither stderr nor the log has the token."""
    conf(host.root, SETTINGS)
    host.local("/var/log/vdsm").mkdir(parents=True)
    other = VOL.replace("5b8e", "6b8e")
    boot_stage.put_row(host, VOL, INFO, PATH)
    boot_stage.put_row(host, other, {**INFO, "data": {**INFO["data"], "global_id": "dyo8.b.e"}})
    host.local(PATH).parent.mkdir(parents=True)
    host.local(PATH).touch()
    sentence = boot_stage.told(boot_stage.start_vdsmd(host, boot_stage.hasty(tmp_path)))
    assert "127.0.0.1:1" in sentence
    assert TOKEN not in sentence
    assert [*host.rows] == [VOL]
    assert (
        len(boot_stage.lines(host, "stale_row_stays"))
        == len(boot_stage.lines(host, "stale_row_removed"))
        == 1
    )
    assert TOKEN not in host.local("/var/log/vdsm/storpool-helper.log").read_text()


@pytest.mark.parametrize("content", [b"", b"this is no database" * 100])
def test_a_broken_database_is_told_and_stays(host: Host, content: bytes) -> None:
    """The sentence names the file and what to do; it is not touched."""
    conf(host.root, SETTINGS)
    file = host.local(vdsm_rows.DATABASE)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    sentence = boot_stage.told(boot_stage.start_vdsmd(host))
    assert "managedvolume.db" in sentence
    assert "vdsm-tool configure" in sentence
    assert file.read_bytes() == content


def test_a_row_that_names_no_volume_is_told_and_stays(host: Host) -> None:
    """Of a row of ours without a global id nobody can say what it is: it is not guessed."""
    conf(host.root, SETTINGS)
    boot_stage.put_row(host, VOL, {**INFO, "data": {}})
    before = boot_stage.kept(host)
    problem = boot_stage.told(boot_stage.start_vdsmd(host, boot_stage.hasty(host.root)))
    assert "does not tell one StorPool volume" in problem
    assert boot_stage.kept(host) == before
