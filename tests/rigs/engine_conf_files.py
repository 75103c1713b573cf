"""Files of Engine's configuration, as engine-setup writes them."""

from __future__ import annotations

from pathlib import Path

SETUP = "10-setup-managedblock-database.conf"


CINDERLIB = "10-setup-cinderlib-database.conf"


def lines(prefix: str = "MANAGEDBLOCK_DB_", **facts: str) -> str:
    """Return the lines that engine-setup writes."""
    told = {
        "HOST": "localhost",
        "PORT": "5432",
        "USER": "block",
        "PASSWORD": "secret",
        "DATABASE": "mapping",
        **facts,
    }
    return "".join(f'{prefix}{key}="{value}"\n' for key, value in told.items())


def write(root: Path, **files: str) -> str:
    """Write files of Engine's configuration; return the folder that stands for `/`."""
    folder = root / "etc" / "ovirt-engine" / "engine.conf.d"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return str(root)
