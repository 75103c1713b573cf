"""A libvirtd of a test's own: real, and alone in namespaces of its own, as one host's.

It sees the machine's files but /run, /etc/libvirt and /var/lib/libvirt, which are private, as are
its network and its processes. So several run side by side, each for another host, none of them
finds what is the machine's, and nothing that they started outlives them. What a host has in its
/run is there by `links`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

TOOLS = ("libvirtd", "virsh", "qemu-system-x86_64", "unshare", "nsenter", "setpriv")
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS = 60.0  # 0.2 s, and 3 s where it looks at QEMU's abilities beside ten other tests
COMMAND_SECONDS = 120.0
NAP_SECONDS = 0.02
PRIVATE = ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")
PID_FILE = "/run/libvirtd.pid"
# As whom it would start VMs if qemu.conf named nobody: it asks for that user and group, which a
# package makes that is not installed.
ASKED_FOR = (
    ("passwd", "libvirt-qemu:x:64055:64055::/:/bin/false"),
    ("group", "libvirt-qemu:x:64055:"),
)
# The kernel ends everything in the namespaces with their first process, and that with the test's.
ALONE = (
    *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--mount-proc", "--net", "--pid"),
    *("--fork", "--kill-child", "bash", "-c"),
)
# No other user, no security driver, no groups of processes: nothing of the machine is changed.
QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""


class Missing(Exception):
    """There can be no libvirtd here: the reason."""


class CommandError(Exception):
    """virsh refused something."""

    def __init__(self, arguments: tuple[str, ...], said: str) -> None:
        super().__init__(f"virsh {' '.join(arguments)}: {said}")


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A running one; its sockets and what its VMs write are in `folder`, on short paths."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def uri(self) -> str:
        """Where clients reach it, as the agent's option has it."""
        return f"qemu+unix:///system?socket={self.folder}/libvirt-sock"

    def virsh(self, *arguments: str, limit_seconds: float = COMMAND_SECONDS) -> str:
        """Run a command and return what it says; raises CommandError."""
        result = subprocess.run(
            ["virsh", "-q", "-c", self.uri, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": PATHS, "LANG": "C", "HOME": str(self.folder)},
            timeout=limit_seconds,
        )
        if result.returncode:
            raise CommandError(arguments, result.stderr.decode(errors="replace").strip())
        return result.stdout.decode(errors="replace").strip()

    def restart(self) -> None:
        """Kill libvirtd, as a crash does: another one takes its place, and the VMs run on."""
        before = self._number()
        self._inside("sh", "-c", f"kill -KILL $(cat {PID_FILE})")
        deadline = time.monotonic() + START_SECONDS
        while self._number() == before or not self.answers():
            assert time.monotonic() < deadline, "libvirtd did not come back"
            time.sleep(NAP_SECONDS)

    def stop(self) -> None:
        """Stop libvirtd where it stands: it answers nobody, and refuses nobody."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def answers(self) -> bool:
        """Tell whether it can be talked to."""
        try:
            self.virsh("version")
        except CommandError:
            return False
        return True

    def log(self) -> str:
        """Return what it wrote to its log."""
        return (self.folder / "log").read_text(errors="replace")

    def _signal(self, number: int) -> None:
        self._inside("sh", "-c", f"kill -{number} $(cat {PID_FILE})")

    def _number(self) -> str:
        return self._inside("sh", "-c", f"cat {PID_FILE} 2>/dev/null || true")

    def _inside(self, *command: str) -> str:
        [first] = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        )
        enter = ["nsenter", "--target", first, "--mount", "--pid"]
        return subprocess.run(
            [*enter, *command],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        ).stdout.strip()


@contextlib.contextmanager
def running(links: Mapping[str, Path] | None = None) -> Iterator[Daemon]:
    """Give a libvirtd for which these paths lead to these folders; raises Missing."""
    if lacking := [tool for tool in TOOLS if shutil.which(tool, path=PATHS) is None]:
        raise Missing(f"not installed: {', '.join(lacking)} (.ci/vm-packages installs them)")
    if os.getuid():
        raise Missing("only root can give a libvirtd namespaces of its own")
    with tempfile.TemporaryDirectory(prefix="libvirt-") as name:  # a socket's path is short
        folder = Path(name)
        folder.chmod(0o755)
        with (folder / "log").open("wb") as log, _started(folder, log, links or {}) as process:
            daemon = Daemon(folder, process)
            deadline = time.monotonic() + START_SECONDS
            while not daemon.answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Missing(f"libvirtd does not start: {daemon.log().strip()[-500:]}")
                time.sleep(NAP_SECONDS)
            yield daemon


@contextlib.contextmanager
def _started(
    folder: Path, log: object, links: Mapping[str, Path]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*ALONE, _script(folder, links)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={"PATH": PATHS, "LANG": "C", "HOME": str(folder)},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _script(folder: Path, links: Mapping[str, Path]) -> str:
    """Return what the first process in the namespaces does; it takes in what QEMUs leave, and has
    libvirtd come back."""
    conf = folder / "libvirtd.conf"
    conf.write_text(
        f'unix_sock_dir = "{folder}"\n'
        'auth_unix_rw = "none"\n'
        f'host_uuid = "{uuid.uuid4()}"\n'  # two on one machine are two hosts
    )
    (folder / "qemu.conf").write_text(QEMU_CONF)
    lines = ["set -e", "mount -t tmpfs tmp /run", f"mkdir -p {' '.join(PRIVATE)}"]
    lines += [f"mount -t tmpfs tmp {path}" for path in PRIVATE]
    lines += [f"cp {folder}/qemu.conf /etc/libvirt/qemu.conf"]
    for file, name in ASKED_FOR:
        own = f"/run/{file}"
        lines += [
            f"cp /etc/{file} {own}",
            f"grep -q '^libvirt-qemu:' {own} || echo '{name}' >> {own}",
        ]
        lines += [f"mount --bind {own} /etc/{file}"]
    for path, target in links.items():
        lines += [f"mkdir -p '{Path(path).parent}'", f"ln -s '{target}' '{path}'"]
    lines += ["set +e", "trap '' HUP"]
    lines += [f"while :; do libvirtd --config {conf} --pid-file {PID_FILE}; sleep 0.2; done"]
    return "\n".join(lines)
