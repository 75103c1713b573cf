"""What is said to fence-host and to fence_storpool, and how their answers are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rigs import refusals
from rigs.fence_stage import LOST, NAMES

if TYPE_CHECKING:
    import subprocess

    from rigs.fence_stage import FenceStage

ON, UNKNOWN, OFF = 0, 1, 2
NOW = "power_timeout=0"
EVEN = "even_if_it_runs=1"
SECRET = "hunter2-of-the-agent"


def done(said: subprocess.CompletedProcess[str]) -> list[str]:
    """Check that it succeeded, and return what it told."""
    assert (said.returncode, said.stderr) == (0, ""), said
    return said.stdout.splitlines()


def vdsm(action: str, *options: str, address: str = NAMES[LOST], port: str = "") -> str:
    """Return what Vdsm writes to an agent's stdin: the options of the agent come last, without a
    line break."""
    head = (
        f"agent=fence_storpool\nipaddr={address}\nlogin=admin\naction={action}\npasswd={SECRET}\n"
    )
    return head + (f"port={port}\n" if port else "") + "\n".join(options)


def told(said: subprocess.CompletedProcess[str], code: int) -> str:
    """Check that it ended with this code and told one line, on stderr exactly if the code is 1, and
    return that."""
    assert said.returncode == code, said
    line, other = (said.stderr, said.stdout) if code == UNKNOWN else (said.stdout, said.stderr)
    assert other == ""
    assert line.endswith("\n")
    assert line.count("\n") == 1
    return refusals.check_sentence(line[:-1])


def say(process: subprocess.Popen[str], text: str) -> None:
    """Give an agent that was started all of its options."""
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.close()
    process.stdin = None


def ask(
    scene: FenceStage, action: str, *options: str, **head: str
) -> subprocess.CompletedProcess[str]:
    """Run an action as Vdsm does."""
    return scene.agent(text=vdsm(action, *options, **head))
