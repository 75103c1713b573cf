"""The command: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from simulator_fixtures import GIB, LIMIT_SECONDS, TOKEN, Caller, opened_peer

import storpool_simulator

LIBC = ctypes.CDLL(None)
READY = {"address", "host", "port", "cluster_id", "devices"}


def start(tmp_path: Path, *more: str) -> subprocess.Popen[str]:
    """The command as a user starts it."""
    arguments = ["--token", TOKEN, "--state", str(tmp_path / "state"), "--devices", "file", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "storpool_simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command(tmp_path: Path, number: signal.Signals) -> None:
    """It prints one JSON line when it is ready, serves, and ends with 0 on SIGTERM and SIGINT."""
    host = tmp_path / "host"
    options = [
        "--template",
        "nvme:10T",
        "--template",
        "hdd",
        "--host",
        f"5={host}",
        "--cluster-id",
        "ab.c",
    ]
    options += ["--cluster-name", "one", "--switch", "linger=0", "--switch", "update_name=true"]
    process = start(tmp_path, *options)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert set(ready) == READY
        assert (ready["cluster_id"], ready["devices"]) == ("ab.c", "file")
        peer = Caller(ready["host"], ready["port"])
        capacities = {
            one["name"]: one["stored"]["capacity"] for one in peer.get("VolumeTemplatesStatus")
        }
        assert capacities == {"nvme": 10 << 40, "hdd": 100 << 40}
        assert set(peer.get("ServicesList")["clients"]) == {"5"}
        assert peer.control("GET", "switches")["linger"] == "0"
        config = (host / "etc" / "storpool.conf").read_text()
        assert f"SP_API_HTTP_PORT={ready['port']}" in config
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_SECONDS)
        assert (out, err, process.returncode) == ("", "", 0)
    finally:
        process.kill()
        process.wait()


def test_a_signal_that_another_thread_takes_ends_it_too(tmp_path: Path) -> None:
    """The kernel gives a signal to any thread, and it may come in the moment before the first one
    goes to sleep: that one is woken all the same."""
    process = start(tmp_path)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        tasks = Path(f"/proc/{process.pid}/task")
        other = max(int(each.name) for each in tasks.iterdir())
        assert other != process.pid
        assert LIBC.tgkill(process.pid, other, signal.SIGTERM) == 0
        assert process.wait(LIMIT_SECONDS) == 0
    finally:
        process.kill()
        process.communicate()


def test_further_clusters(tmp_path: Path) -> None:
    """--cluster adds a cluster with a port, a state and hosts of its own, which the first one
    reaches; the line tells where it is."""
    host = tmp_path / "host"
    process = start(tmp_path, "--cluster", "two=sim.b", "--host", f"two/3={host}")
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert set(ready) == {*READY, "clusters"}
        two = ready["clusters"]["two"]
        assert set(two) == READY - {"devices"}
        assert (two["cluster_id"], two["port"] != ready["port"]) == ("sim.b", True)
        Caller(ready["host"], ready["port"]).post(
            "RemoteCommand/two/VolumeCreate", {"name": "v", "size": GIB}
        )
        assert Caller(two["host"], two["port"]).names() == {"v"}
        assert (tmp_path / "state" / "clusters" / "two" / "cluster.sqlite").exists()
        assert f"SP_API_HTTP_PORT={two['port']}" in (host / "etc" / "storpool.conf").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_SECONDS) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "options",
    [
        ["--listen", "nonsense"],
        ["--listen", "127.0.0.1:99999"],
        ["--template", "a b"],
        ["--template", "t:big"],
        ["--template", "t:0G"],
        ["--host", "x=y"],
        ["--host", "0=y"],
        ["--host", "1="],
        ["--switch", "strict"],
        ["--switch", "strict=maybe"],
        ["--switch", "no=1"],
        ["--cluster-id", "x"],
        ["--cluster-name", "a b"],
        ["--devices", "tape"],
        ["--unknown"],
        ["extra"],
        ["--host", "1=a", "--host", "1=b"],
        ["--host", "two/1=a"],
        ["--cluster", "two"],
        ["--cluster", "two=x"],
        ["--cluster", "..=a.b"],
        ["--cluster", ".=a.b"],
        ["--cluster", "two=a.b", "--cluster", "two=a.c"],
        ["--cluster", "two=sim.a"],
        ["--cluster", "simulated=sim.b"],
        ["--cluster-id", "a.b", "--cluster", "two=a.c", "--cluster", "three=a.c"],
        ["--host", "1=a", "--host", "2=./a"],
        ["--host", "1=a", "--cluster", "two=a.b", "--host", "two/1=a"],
        ["--qos", "/nowhere"],
        ["--qos", "/dev/null"],
        ["--volumecare", "/nowhere"],
        ["--volumecare", "/dev/null"],
        ["--volumecare", sys.executable],
    ],
    ids=" ".join,
)
def test_a_bad_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """A wrong option is one clear sentence on stderr and exit code 2, and nothing is made."""
    arguments = ["--token", "T", "--state", str(tmp_path / "state"), *options]
    assert storpool_simulator.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("storpool-simulator: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("token", ["", " "])
def test_an_empty_token(tmp_path: Path, capsys: pytest.CaptureFixture[str], token: str) -> None:
    """It would be one that everybody has; nothing is made."""
    state = tmp_path / "state"
    assert storpool_simulator.main(["--token", token, "--state", str(state)]) == 2
    assert "it is empty" in capsys.readouterr().err
    assert not state.exists()


@pytest.mark.parametrize("missing", ["--token", "--state"])
def test_a_missing_option(tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    """Token and state must be given."""
    options = {"--token": "T", "--state": str(tmp_path)}
    del options[missing]
    assert storpool_simulator.main([word for option in options.items() for word in option]) == 2
    assert missing in capsys.readouterr().err


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A start that cannot be is one sentence and exit code 1: port taken, state in use, other
    cluster's state."""
    base = ["--token", "T", "--devices", "file"]
    with opened_peer(tmp_path) as peer:
        address = f"{peer.host}:{peer.port}"
        assert (
            storpool_simulator.main(
                [*base, "--state", str(tmp_path / "other"), "--listen", address]
            )
            == 1
        )
        assert "cannot listen on" in capsys.readouterr().err
        assert storpool_simulator.main([*base, "--state", str(tmp_path / "state")]) == 1
        assert "in use by another simulator" in capsys.readouterr().err


def test_the_state_of_another_cluster(tmp_path: Path) -> None:
    """A state folder belongs to one cluster id."""
    with opened_peer(tmp_path, cluster_id="ab.c"):
        pass
    with (
        pytest.raises(storpool_simulator.StartError, match=r"ab\.c"),
        opened_peer(tmp_path, cluster_id="ab.d"),
    ):
        pass
    with opened_peer(tmp_path) as peer:
        assert peer.simulator.cluster_id == "ab.c"


def test_a_lost_data_file_is_told(tmp_path: Path) -> None:
    """A volume whose data file is gone stops the start: data is never replaced silently."""
    with opened_peer(tmp_path) as peer:
        path = peer.simulator.cluster.files.path(peer.create("v", size=GIB))
        peer.reassign({"volume": "v", "rw": [1]})
    path.unlink()
    with (
        pytest.raises(storpool_simulator.StartError, match="data file of v is missing"),
        opened_peer(tmp_path),
    ):
        pass


def test_a_state_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that no simulator has written is told by its name, and stays as it is."""
    file = tmp_path / "cluster.sqlite"
    file.write_text("somebody's")
    assert storpool_simulator.main(["--token", "T", "--state", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"storpool-simulator: {file} is no state of a simulator (file is not a database)\n"
    )
    assert file.read_text() == "somebody's"


@pytest.mark.parametrize("option", ["state", "host"])
def test_a_folder_that_cannot_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """One sentence that names it, and exit code 1."""
    (tmp_path / "file").touch()
    wrong = tmp_path / "file" / "below"
    folders = {"state": tmp_path / "state", "host": tmp_path / "host", option: wrong}
    arguments = [
        "--token",
        "T",
        "--devices",
        "file",
        "--state",
        str(folders["state"]),
        "--host",
        f"1={folders['host']}",
    ]
    assert storpool_simulator.main(arguments) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"storpool-simulator: {wrong}")


@pytest.mark.parametrize("library", ["click", "werkzeug"])
def test_a_library_that_is_missing(library: str) -> None:
    """One sentence that says which, and what to run."""
    start = "import storpool_simulator\nsys.exit(storpool_simulator.main([]))"
    code = f"import sys; sys.modules[{library!r}] = None\n{start}"
    said = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert (said.returncode, said.stdout, said.stderr.count("\n")) == (1, "", 1)
    assert f"{library} is not installed" in said.stderr or f"{library}." in said.stderr
    assert "requirements/constraints.txt" in said.stderr
