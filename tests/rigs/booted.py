"""A machine as `machine.Machine` has it, with systemd as its first process: units are started by
systemd itself, with all that keeps them from the rest of the machine.

None of the units of the machine below runs there but the journal; `/dev/log` leads to it. Cgroups
are those of version 2, in a hierarchy of the machine's own. systemd is needed (.ci/packages).
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from rigs import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INIT = "/usr/lib/systemd/systemd"
BOOT_SECONDS = 60.0
# What the distribution would start goes; the targets that units wait for are reached at once.
_BOOT = r"""
root=$own/root
umount --recursive --lazy "$root/sys" && mount -t sysfs sysfs "$root/sys" || exit 1
mount -t cgroup2 none "$root/sys/fs/cgroup" || exit 1
rm -rf "$root"/etc/systemd/system/* "$root"/usr/lib/systemd/system/*.target.wants
rm -f "$root/etc/machine-id"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
mkdir -p "$root/etc/systemd/system"
for each in sysinit basic; do
    printf '[Unit]\nDescription=%s\n' $each >"$root/etc/systemd/system/$each.target"
done
printf '[Unit]\nDescription=all\n%s\n%s\n' Requires=systemd-journald.service \
    After=systemd-journald.service >"$root/etc/systemd/system/multi-user.target"
mkdir "$root/below" && cd "$root" && pivot_root . below && umount --lazy /below || exit 1
rmdir /below
echo ready
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=multi-user.target \
    --log-target=journal --show-status=no
"""


class Booted(machine.Machine):
    """One such machine; it ends with `end`."""

    _BEGIN = machine.Machine._BEGIN.replace("echo ready\nread _\n", _BOOT)
    _APART = ("--mount", "--pid", "--cgroup", "--ipc")

    def __init__(self, folder: Path, *layers: Path) -> None:
        super().__init__(folder, *layers)
        try:
            self.until(self._has_booted, "systemd does not start here", BOOT_SECONDS)
        except AssertionError as error:
            self.end()
            pytest.skip(str(error))

    def until(self, check: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < end, what
            time.sleep(0.05)

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.do('systemctl show --value --property="$2" "$1"', unit, name).strip()

    def journal(self, unit: str) -> str:
        """Return what a unit has written, and systemd of it."""
        return self.do('journalctl --no-pager --output=short-monotonic --unit="$1"', unit)

    @property
    def _root(self) -> str:
        return ""  # it is that of its namespace: sandboxes of units are made from there

    def _has_booted(self) -> bool:
        done = self.run("systemctl", "is-system-running")
        return done.stdout.strip() in ("running", "degraded")


@pytest.fixture
def booted(machine_layers: tuple[Path, Path], tmp_path: Path) -> Iterator[Booted]:
    """A machine of its own for one test that systemd runs, with our programs as pip puts them."""
    if shutil.which("systemctl") is None:
        pytest.skip("systemd is not installed here (.ci/packages)")
    made = Booted(tmp_path / "machine", *machine_layers)
    yield made
    made.end()
