"""Files of a host that is a folder, for tests that read storpool.conf, and an environment that
keeps out of it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from storpool_ovirt import storpool_conf

NODE = platform.node()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in storpool_conf.ENVIRONMENT_KEYS:
        monkeypatch.delenv(key, raising=False)


def conf(root: Path, text: str, **more: str) -> str:
    """Write storpool.conf and files of storpool.conf.d below `root`, and return it as config takes
    it."""
    folder = root / "etc" / "storpool.conf.d"
    folder.mkdir(parents=True, exist_ok=True)  # a run by one transport has told it so there
    (root / "etc" / "storpool.conf").write_text(text)
    for name, content in more.items():
        (folder / f"{name}.conf").write_text(content)
    return str(root)
