"""A start of vdsmd on a host that is a folder: its hooks are run as Vdsm runs them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovirt_demo import children, vdsm_rows
from rigs import hasty as hasty_program

if TYPE_CHECKING:
    from ovirt_demo.vdsm import Host

HOOKS = "/usr/libexec/vdsm/hooks/before_vdsm_start"
LIMIT_SECONDS = 30.0  # what the hook promises
PATIENCE_SECONDS = (
    90.0  # ours: what vdsmd's own start may take under systemd, for machines that are busy
)
SD = "2f9ad2a8-3d0b-4a57-9c3c-6b1f64f4b0de"
CALL = "from storpool_ovirt.host import boot_hook; sys.exit(boot_hook.main())"
HASTY = {"deadline_seconds": 2.0, "last_seconds": 4.0, "lock_seconds": 0.3, "busy_seconds": 0.3}
RBD = {"driver_volume_type": "rbd", "data": {"name": "rbd/volume", "keyring": None}}


def install(host: Host, program: Path | None = None) -> Path:
    """Make the link that the README tells to make, and return it."""
    hook = host.local(f"{HOOKS}/50_storpool")
    hook.parent.mkdir(parents=True, exist_ok=True)
    hook.unlink(missing_ok=True)
    hook.symlink_to(program or children.find("storpool-boot-hook"))
    return hook


def wrapped(folder: Path, body: str) -> Path:
    """Make a program that runs the hook's `main` after these lines of Python."""
    program = folder / "wrapped-boot-hook"
    lines = [
        f"#!{sys.executable}",
        "import sys",
        body,
        "from storpool_ovirt.host import boot_hook",
        "sys.exit(boot_hook.main())",
    ]
    program.write_text("\n".join(lines))
    program.chmod(0o755)
    return program


def hasty(folder: Path) -> Path:
    """Make the hook with its limits cut, for what would else be a minute of waiting."""
    return hasty_program.written(folder / "hasty-boot-hook", "host.boot_hook", **HASTY)


def start_vdsmd(
    host: Host, program: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the hook by its full path, without arguments, its stdout dropped."""
    return subprocess.run(
        [install(host, program)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        env={**host.environment, **environment},
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def quiet(done: subprocess.CompletedProcess[bytes]) -> None:
    """Check that the hook did all that there was to do."""
    assert (done.returncode, done.stderr) == (0, b""), done


def told(done: subprocess.CompletedProcess[bytes]) -> str:
    """Check that the hook lets vdsmd start and says in one sentence what it could not do; return
    the sentence."""
    assert done.returncode == 0, done
    sentence = done.stderr.decode()
    assert sentence.endswith("\n")
    assert sentence[:-1].isprintable(), "one line"
    for never in ("Traceback", "internal error"):
        assert never not in sentence, sentence
    return sentence[:-1]


def kept(host: Host) -> dict[str, Any]:
    """Return all that Vdsm keeps on a host, to be compared byte for byte: rows, rules, links."""
    return {
        "rows": stored(host),
        "rules": {file.name: file.read_bytes() for file in files(host, vdsm_rows.RULES_FOLDER)},
        "links": {
            each.name: str(each.readlink()) if each.is_symlink() else each.read_text()
            for each in files(host, vdsm_rows.RUN_FOLDER)
        },
    }


def stored(host: Host) -> list[sqlite3.Row]:
    """Return the rows as they are stored, with their columns by name."""
    file = host.local(vdsm_rows.DATABASE)
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT rowid, * FROM volumes ORDER BY vol_id").fetchall()


def files(host: Host, folder: str) -> list[Path]:
    """List a folder of a host."""
    path = host.local(folder)
    return sorted(path.iterdir()) if path.exists() else []


def put_row(host: Host, vol_id: str, info: dict[str, Any], path: str | None = None) -> None:
    """Put a row, and the rule that goes with it, as an earlier boot left them."""
    more = {} if path is None else {"path": path, "attachment": {"type": "block", "path": path}}
    host.rows[vol_id] = {"connection_info": info, **more}
    rule = host.local(vdsm_rows.rule(SD, vol_id))
    rule.parent.mkdir(parents=True, exist_ok=True)
    rule.write_text(vdsm_rows.rule_text(path or "/dev/nothing"))


def lines(host: Host, event: str) -> list[str]:
    """Return the lines of the helper's log that tell of this."""
    log = host.local("/var/log/vdsm/storpool-helper.log")
    return (
        [line for line in log.read_text().splitlines() if f" {event} " in line]
        if log.exists()
        else []
    )
