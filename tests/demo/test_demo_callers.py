"""The callers of the stage do what Engine and Vdsm do: tried with toy programs, as those were
measured."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovirt_demo import children, engine, flows, vdsm

CORRELATION_ID = "corr-1"
DATABASE_URL = (
    "postgresql+psycopg2://ovirt_managedblock:p@ss:w/rd@localhost:5432/ovirt_managedblock"
)
OPTIONS = {"adapter": "storpool", "sp_auth_token": "123", "note": 'a "quoted" é'}
CONNECTION = {
    "adapter": "storpool",
    "driver_volume_type": "storpool",
    "data": {"volume": "d", "global_id": "a.b.c"},
}
SD, VOL = "5d", "d"

MakeEngine = Callable[..., engine.Engine]
MakeHost = Callable[..., vdsm.Host]


def write_program(path: Path, body: str, interpreter: str = "/bin/sh") -> Path:
    """Write a toy program."""
    path.write_text(f"#!{interpreter}\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def make_engine(tmp_path: Path) -> MakeEngine:
    """Make an Engine whose adapter is a toy; in it $4 is the correlation id, $5 the verb's first
    argument."""

    def make(body: str, interpreter: str = "/bin/sh", **arguments: Any) -> engine.Engine:
        toy = write_program(tmp_path / "toy", body, interpreter)
        return engine.Engine(tmp_path / "engine", toy, OPTIONS, DATABASE_URL, **arguments)

    return make


@pytest.fixture
def make_host(tmp_path: Path) -> MakeHost:
    """Make a host whose helper is a toy that appends what it was asked to the file `asked` in the
    host's folder."""

    def make(
        body: str = '[ $1 = detach ] && echo {} || echo \'{"type": "block", "path": "/dev/x"}\'',
    ) -> vdsm.Host:
        root = tmp_path / "host"
        (root / "dev").mkdir(parents=True)
        (root / "dev/x").touch()
        toy = write_program(
            tmp_path / "helper", f'IN=$(cat); echo "$1 $IN" >>$STORPOOL_OVIRT_ROOT/asked\n{body}'
        )
        return vdsm.Host(root, toy)

    return make


def asked(host: vdsm.Host) -> list[tuple[str, Any]]:
    """List what the toy helper was asked: verb and stdin."""
    file = host.root / "asked"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [(verb, json.loads(sent)) for verb, _, sent in (line.partition(" ") for line in lines)]


# What Engine takes from the output (its ManagedBlockExecutor)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ('echo "$4:good"', "good"),
        ('printf "$4:no newline"', "no newline"),
        ('printf "$4:dos\\r\\nmore\\n"', "dos"),
        ('printf "$4:mac\\rmore\\n"', "mac"),
        ('printf "50%%\\r100%%\\r$4:progress before\\n"', "progress before"),
        ('echo "$4 blank is dropped too"', "blank is dropped too"),
        ('echo "$4:trailing blank "', "trailing blank "),
        ('echo "$4:"', ""),
        ('echo "${4}0:prefix only"', ":prefix only"),
        ('echo noise; echo warning >&2; echo "$4:after noise"', "after noise"),
        (
            'head -c 1048576 /dev/zero | tr "\\0" x; echo; echo "$4:after a long line"',
            "after a long line",
        ),
        ('printf "%s" "$4:"; head -c 1048576 /dev/zero | tr "\\0" x; echo', "x" * 1048576),
        ('echo "error: a warning" >&2; echo "$4:good"', " a warning"),
        ('echo "errors so far: 0"; echo "$4:good"', " so far: 0"),
        ('echo "$4:first"; echo "$4:second"', "first"),
        ('echo "Error: not ours"; echo " $4:leading blank"', ""),
        ('printf "text without newline $4:lost\\n"', ""),
        ('printf "$4:\\303\\251 \\377\\n"', "é \ufffd"),
        ("true", ""),
    ],
)
def test_answer_is_taken_as_engine_takes_it(
    make_engine: MakeEngine, body: str, answer: str
) -> None:
    """The first line that begins with `error` or with the correlation id wins, less its prefix and
    one character."""
    result = make_engine(body).run("verb", correlation_id=CORRELATION_ID)
    assert (result.answer, result.returncode) == (answer, 0)
    assert result.succeeded


@pytest.mark.parametrize("line", ["error", CORRELATION_ID])
def test_line_that_is_only_the_prefix_breaks_engines_code(
    make_engine: MakeEngine, line: str
) -> None:
    """StringIndexOutOfBoundsException: a failure, in spite of exit code 0."""
    result = make_engine(f"echo {line}").run("verb", correlation_id=CORRELATION_ID)
    assert (result.answer, result.returncode, result.succeeded) == (None, 0, False)


def test_correlation_id_that_begins_with_error_loses_one_character_more(
    make_engine: MakeEngine,
) -> None:
    """The rule for `error` comes first; only `error:` brings an answer through unharmed."""
    assert make_engine('echo "$4:x"').run("verb", correlation_id="error-77").answer == "77:x"
    assert make_engine('echo "error:x"').run("verb", correlation_id="error-77").answer == "x"


@pytest.mark.parametrize(
    ("body", "returncode"), [("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)]
)
def test_exit_code_alone_decides(make_engine: MakeEngine, body: str, returncode: int) -> None:
    """An answer does not make a success; the reason is kept for the log."""
    result = make_engine(f'echo "$4:the reason"; {body}').run("verb", correlation_id=CORRELATION_ID)
    assert (result.returncode, result.answer, result.succeeded) == (returncode, "the reason", False)
    with pytest.raises(engine.VerbFailed, match=r"verb failed \(exit code .*\): the reason"):
        result.require()


def test_output_is_all_bytes_as_they_came(make_engine: MakeEngine) -> None:
    """Tests see what Engine does not read, too."""
    result = make_engine('echo one; echo two >&2; echo "$4:x"; echo four').run(
        "verb", correlation_id=CORRELATION_ID
    )
    assert result.output == b"one\ntwo\ncorr-1:x\nfour\n"


@pytest.mark.parametrize("answer", ["", "null", "[1]", "{'a': 1}", '{"a":'])
def test_answer_that_is_no_object_fails_a_verb_that_owes_one(
    make_engine: MakeEngine, answer: str
) -> None:
    """connect_volume and storage_stats owe a JSON object on one line."""
    result = make_engine(f"cat <<END\n$4:{answer}\nEND").run("storage_stats", "true")
    with pytest.raises(engine.VerbFailed):
        result.map()


def test_object_is_read_with_what_engines_reader_tolerates(make_engine: MakeEngine) -> None:
    """Text behind the closing brace is ignored, of two equal keys the last one counts."""
    result = make_engine("""echo "$4:"'{"a": 1, "a": 2} and more'""").run("storage_stats", "true")
    assert result.map() == {"a": 2}


@pytest.mark.parametrize(
    "answer", ["", "x", "77777777-7777-7777-7777-777777777777 ", "7777777777777777777777777777777A"]
)
def test_answer_that_is_no_guid_fails_a_verb_that_owes_one(
    make_engine: MakeEngine, answer: str
) -> None:
    """An empty id is what Engine would store as the id 0: here it is a failure."""
    with pytest.raises(engine.VerbFailed):
        make_engine(f'echo "$4:{answer}"').run("create_snapshot", "d").guid()


# How Engine runs and waits (its ManagedBlockExecutor)


def test_arguments_folder_environment_and_pipes_are_engines(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    """Arguments by position and unquoted, the link's own path first, a stdin that stays open, both
    outputs one pipe."""
    body = """
import json, os, select, sys
os.write(1, (sys.argv[4] + ":" + json.dumps({
    "argv": sys.argv, "cwd": os.getcwd(), "environ": dict(os.environ), "umask": os.umask(0),
    "stdin_says_nothing": not select.select([0], [], [], 0.2)[0],
    "one_pipe": os.fstat(1).st_ino == os.fstat(2).st_ino, "session": os.getsid(0) == os.getpid(),
}) + "\\n").encode())
"""
    caller = make_engine(body, interpreter=children.find("python3"))
    seen = caller.run("create_volume", "d", "20", correlation_id="-a_b").map()
    programs = tmp_path / "engine/usr/managedblock"
    adapter = str(programs / "storpool-adapter")
    assert seen["argv"][:2] == [adapter, "create_volume"]
    assert json.loads(seen["argv"][2]) == OPTIONS
    assert '"adapter":"storpool"' in seen["argv"][2]
    assert seen["argv"][3:] == [DATABASE_URL, "-a_b", "d", "20"]
    assert seen["cwd"] == str(programs)
    assert seen["umask"] == 0o022
    assert seen["stdin_says_nothing"]
    assert seen["one_pipe"]
    assert seen["environ"]["ENGINE_LOG"] == str(tmp_path / "engine/log")
    assert seen["environ"]["LC_ALL"] == "en_US.UTF-8"
    assert not {"HOME", "VIRTUAL_ENV", "STORPOOL_OVIRT_ROOT"} & set(seen["environ"])


def test_file_is_chosen_by_the_adapter_option_and_must_exist(make_engine: MakeEngine) -> None:
    """Another name, or none, is another file; Engine says which one it did not find."""
    caller = make_engine("true")
    caller.options["adapter"] = "storpol"
    with pytest.raises(
        engine.AdapterMissing, match=r"Storage adapter not found at .*/storpol-adapter"
    ):
        caller.run("storage_stats", "true")
    del caller.options["adapter"]
    assert caller.program.name == "cinderlib-client.py"


def test_silent_adapter_is_waited_for_without_end_but_for_our_limit(
    make_engine: MakeEngine,
) -> None:
    """Engine's own time-out does not run before the answer: here the call is given up, and the
    process is gone."""
    caller = make_engine("echo noise; exec sleep 60")
    result = caller.run("verb", answer_limit_seconds=0.5)
    assert (result.hung, result.returncode, result.succeeded) == (True, None, False)
    assert result.output == b"noise\n"
    assert 0.5 <= result.seconds < 5


def test_adapter_that_reads_stdin_hangs(make_engine: MakeEngine) -> None:
    """Nothing is ever written to its stdin, and it is never closed."""
    assert make_engine("cat").run("verb", answer_limit_seconds=0.5).hung


@pytest.mark.parametrize("body", ['echo "$4:x"; exec sleep 60', "exec sleep 60 >&- 2>&-"])
def test_exit_is_waited_for_with_a_limit_after_the_answer(
    make_engine: MakeEngine, body: str
) -> None:
    """This is Engine's time-out: the answer was there, or both outputs were closed."""
    result = make_engine(body).run("verb", correlation_id=CORRELATION_ID, exit_limit_seconds=0.5)
    assert (result.hung, result.returncode, result.succeeded) == (False, None, False)
    assert result.outcome == "managed block call timed out"


def test_nobody_reads_after_the_answer(make_engine: MakeEngine) -> None:
    """What does not fit into the pipe blocks the adapter until the time-out; 40 kB do no harm."""
    body = 'echo "$4:x"; head -c {} /dev/zero'
    assert (
        make_engine(body.format(40_000))
        .run("verb", correlation_id=CORRELATION_ID, exit_limit_seconds=5)
        .succeeded
    )
    result = make_engine(body.format(300_000)).run(
        "verb", correlation_id=CORRELATION_ID, exit_limit_seconds=0.5
    )
    assert result.returncode is None


def test_background_child_that_holds_the_output_delays_only_a_call_without_answer(
    make_engine: MakeEngine,
) -> None:
    """The end of the output is the end of its last holder."""
    assert (
        make_engine('sleep 5 & echo "$4:x"').run("verb", correlation_id=CORRELATION_ID).seconds < 3
    )
    result = make_engine("sleep 1 & exit 0").run("verb", correlation_id=CORRELATION_ID)
    assert 1 <= result.seconds < 4
    assert result.succeeded


def test_started_verb_can_be_killed_half_way(make_engine: MakeEngine) -> None:
    """A test kills the adapter where it wants, and no process is left."""
    with make_engine("echo here; exec sleep 60").started(
        "verb", correlation_id=CORRELATION_ID
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
    assert process.returncode == -9


# How Vdsm runs a helper, and what it remembers (its managedvolume.py)


def test_helper_gets_one_word_and_json_and_owes_one_document(make_host: MakeHost) -> None:
    """Attach sends the connection information alone; blanks around the answer do no harm."""
    host = make_host('echo "noise" >&2; echo; echo " {\\"path\\": \\"/dev/x\\"} "')
    assert host.attach(CONNECTION) == {"path": "/dev/x"}
    assert asked(host) == [("attach", {"connection_info": CONNECTION})]


@pytest.mark.parametrize("body", ["true", "echo warning; echo {}", "echo {} {}", "echo {}; exit 1"])
def test_bad_answer_or_exit_code_is_helper_failed(make_host: MakeHost, body: str) -> None:
    """Nothing, more than one document, or another exit code: 926, for detach too."""
    host = make_host(f"echo the reason >&2; {body}")
    for call in (host.attach, host.detach):
        with pytest.raises(vdsm.VdsmError) as caught:
            call(CONNECTION)
        assert caught.value.code == vdsm.HELPER_FAILED


def test_hanging_helper_is_killed_after_our_limit(make_host: MakeHost) -> None:
    """Vdsm would wait without end."""
    run = make_host("exec sleep 60").helper("attach", {}, limit_seconds=0.5)
    assert run.returncode is None
    assert run.seconds < 5
    with pytest.raises(vdsm.VdsmError, match="gave no answer"):
        run.document()


def test_attach_makes_a_row_and_a_link_and_detach_takes_them_away(make_host: MakeHost) -> None:
    """The device description names the link; the helper's detach gets the whole row."""
    host = make_host()
    device = host.attach_volume(SD, VOL, CONNECTION)
    attachment = {"type": "block", "path": "/dev/x"}
    managed_path = "/run/vdsm/managedvolumes/5d_d"
    assert device == {
        "vol_id": VOL,
        "path": "/dev/x",
        "managed_path": managed_path,
        "attachment": attachment,
    }
    assert host.local(managed_path).resolve() == host.local("/dev/x")
    host.detach_volume(SD, VOL)
    assert not host.local(managed_path).is_symlink()
    assert host.rows == {}
    row = {"vol_id": VOL, "connection_info": CONNECTION, "path": "/dev/x", "attachment": attachment}
    assert asked(host)[1:] == [("detach", row)]


def test_second_attach_is_refused_and_undoes_nothing(make_host: MakeHost) -> None:
    """The same connection information is 927, another one is 929, and key order does not matter."""
    host = make_host()
    host.attach_volume(SD, VOL, CONNECTION)
    for info, code in (
        (dict(reversed(CONNECTION.items())), 927),
        ({**CONNECTION, "data": {}}, 929),
    ):
        with pytest.raises(vdsm.VdsmError) as caught:
            host.attach_volume(SD, VOL, info)
        assert caught.value.code == code
    assert list(host.rows) == [VOL]
    assert len(asked(host)) == 1


def test_attach_is_repeated_when_the_device_is_gone(make_host: MakeHost) -> None:
    """After a reboot the row is there, device and link are not: the helper is called again."""
    host = make_host()
    host.attach_volume(SD, VOL, CONNECTION)
    host.reboot()
    host.local("/dev/x").unlink()
    with pytest.raises(vdsm.VdsmError) as caught:  # the device is still not there
        host.attach_volume(SD, VOL, CONNECTION)
    assert caught.value.code == vdsm.GENERAL_EXCEPTION
    host.local("/dev/x").touch()
    host.attach_volume(SD, VOL, CONNECTION)
    assert [verb for verb, _ in asked(host)] == ["attach", "attach", "detach", "attach"]


def test_link_in_the_way_undoes_the_attach_and_the_next_one_works(make_host: MakeHost) -> None:
    """The device was lost without a reboot: the helper is asked to detach again, and all is
    forgotten."""
    host = make_host()
    host.attach_volume(SD, VOL, CONNECTION)
    host.rows.clear()
    with pytest.raises(vdsm.VdsmError) as caught:
        host.attach_volume(SD, VOL, CONNECTION)
    assert caught.value.code == vdsm.GENERAL_EXCEPTION
    attachment = {"type": "block", "path": "/dev/x"}
    assert asked(host)[-1] == ("detach", {"connection_info": CONNECTION, "attachment": attachment})
    host.attach_volume(SD, VOL, CONNECTION)


@pytest.mark.parametrize(
    ("answer", "info", "code"),
    [
        ('{"path": "/dev/none"}', CONNECTION, 100),
        ('{"type": "block"}', CONNECTION, 100),
        ("[]", CONNECTION, 100),
        ('{"path": "/dev/x"}', {**CONNECTION, "driver_volume_type": "StorPool"}, 2009),
        ('{"path": "/dev/x"}', {"adapter": "storpool"}, 100),
    ],
)
def test_failure_after_the_helper_is_rolled_back(
    make_host: MakeHost, answer: str, info: Any, code: int
) -> None:
    """The roll-back detach sends no id and no path, and its own failure is not seen."""
    host = make_host(f"echo '{answer}'; [ $1 = attach ]")
    with pytest.raises(vdsm.VdsmError) as caught:
        host.attach_volume(SD, VOL, info)
    assert caught.value.code == code
    assert [verb for verb, _ in asked(host)] == ["attach", "detach"]
    assert set(asked(host)[1][1]) == {"connection_info", "attachment"}
    assert host.rows == {}


def test_failed_attach_is_not_detached(make_host: MakeHost) -> None:
    """What the helper did not attach it is not asked to detach."""
    host = make_host("exit 1")
    with pytest.raises(vdsm.VdsmError):
        host.attach_volume(SD, VOL, CONNECTION)
    assert [verb for verb, _ in asked(host)] == ["attach"]
    assert host.rows == {}


def test_detach_skips_the_helper_when_the_path_is_gone(make_host: MakeHost) -> None:
    """The volume is forgotten; one that Vdsm does not know is a success, too."""
    host = make_host()
    host.attach_volume(SD, VOL, CONNECTION)
    host.local("/dev/x").unlink()
    host.detach_volume(SD, VOL)
    host.detach_volume(SD, VOL)
    assert [verb for verb, _ in asked(host)] == ["attach"]
    assert host.rows == {}


def test_failed_detach_keeps_everything(make_host: MakeHost) -> None:
    """It can be tried again."""
    host = make_host('[ $1 = attach ] && echo \'{"path": "/dev/x"}\'')
    host.attach_volume(SD, VOL, CONNECTION)
    with pytest.raises(vdsm.VdsmError):
        host.detach_volume(SD, VOL)
    assert list(host.rows) == [VOL]
    assert host.local("/run/vdsm/managedvolumes/5d_d").is_symlink()


# Flows: the calls, their order and their ids

FLOW_ADAPTER = r"""
case $1 in
    create_snapshot|create_volume_from_snapshot) echo "$4:$(cat /proc/sys/kernel/random/uuid)" ;;
    connect_volume) echo "$4:"'{"adapter": "toy", "driver_volume_type": "storpool", "data": {}}' ;;
    storage_stats) echo "$4:{}" ;;
    *) echo "$4:" ;;
esac
"""


class Log:
    """What Engine and Vdsm asked, in one list."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def verb(self, result: engine.Result) -> None:
        """Note a verb with its arguments, JSON left out."""
        self.lines.append(
            " ".join(
                [result.verb, *(word for word in result.arguments if not word.startswith("{"))]
            )
        )

    def take(self) -> list[str]:
        """Give what came since the last time."""
        taken, self.lines = self.lines, []
        return taken


@pytest.fixture
def log() -> Log:
    """Give an empty log."""
    return Log()


@pytest.fixture
def domain(make_engine: MakeEngine, log: Log) -> flows.Domain:
    """Give a domain whose adapter says yes to everything."""
    return flows.Domain(make_engine(FLOW_ADAPTER, observe=log.verb), id=SD)


@pytest.fixture
def hosts(tmp_path: Path, log: Log) -> list[vdsm.Host]:
    """Give two hosts whose helper says yes to everything."""

    def make(number: int) -> vdsm.Host:
        root = tmp_path / f"host{number}"
        (root / "dev").mkdir(parents=True)
        (root / "dev/x").touch()
        body = 'cat >/dev/null; echo \'{"path": "/dev/x"}\''
        host = vdsm.Host(root, write_program(tmp_path / f"helper{number}", body), name=f"h{number}")
        host.observe = lambda run: log.lines.append(f"{run.verb}@{host.name}")
        return host

    return [make(1), make(2)]


def test_run_stop_and_migrations_ask_in_engines_order(
    domain: flows.Domain, hosts: list[vdsm.Host], log: Log
) -> None:
    """Connect, attach, save; detach, disconnect; a migration disconnects without a host while the
    other side runs."""
    source, destination = hosts
    disk = flows.create_disk(domain, 20)
    d = disk.id
    flows.run_vm(domain, source, disk)
    attach_step = [f"connect_volume {d}", "attach@{}", f"save_device {d}"]
    assert log.take() == [f"create_volume {d} 20", *(line.format("h1") for line in attach_step)]
    flows.migrate(domain, destination, disk)
    assert log.take() == [
        *(line.format("h2") for line in attach_step),
        "detach@h1",
        f"disconnect_volume {d}",
    ]
    with pytest.raises(ZeroDivisionError):
        flows.migrate(domain, source, disk, move=lambda: 1 / 0)
    assert log.take() == [
        *(line.format("h1") for line in attach_step),
        "detach@h1",
        f"disconnect_volume {d}",
    ]
    assert disk.attached_to is destination
    flows.stop_vm(domain, disk)
    flows.extend_disk(domain, disk, 30)
    flows.delete_disk(domain, disk)
    assert log.take() == [
        "detach@h2",
        f"disconnect_volume {d}",
        f"extend_volume {d} 30",
        f"delete_volume {d}",
    ]


def test_snapshots_previews_and_commits_name_what_engine_names(
    domain: flows.Domain, log: Log
) -> None:
    """The worked sequence of previews and commits: at its end remove_snapshot comes with the id of
    a volume."""
    disk = flows.create_disk(domain, 1)
    d = disk.id
    s1, s2 = flows.create_snapshot(domain, disk), flows.create_snapshot(domain, disk)
    assert disk.images == {d: None, s1: d, s2: s1}
    v1 = flows.preview(domain, disk, s1)
    flows.undo_preview(domain, disk)
    assert (disk.active, log.take()[-2:]) == (
        d,
        [f"create_volume_from_snapshot {d} {s1}", f"delete_volume {v1}"],
    )
    v2 = flows.preview(domain, disk, s1)
    assert flows.commit_preview(domain, disk) == [s2]
    s3 = flows.create_snapshot(domain, disk)
    assert log.take()[1:] == [f"remove_snapshot {s2} {d}", f"create_snapshot {v2}"]
    v3 = flows.preview(domain, disk, s3)
    assert flows.commit_preview(domain, disk) == []
    assert disk.images == {d: None, s1: d, v2: s1, s3: v2, v3: s3}
    v4 = flows.preview(domain, disk, s1)
    assert flows.commit_preview(domain, disk) == [v2]
    assert log.take()[-1] == f"remove_snapshot {v2} {d}"
    assert disk.images == {d: None, s1: d, s3: s1, v3: s3, v4: s1}
    flows.remove_snapshot(domain, disk, s1)
    assert disk.images == {d: None, s3: d, v3: s3, v4: s1}
    clone = flows.clone_disk(domain, disk)
    assert log.take()[-1] == f"clone_volume {v4} {clone.id}"


def test_copies_attach_the_image_and_detach_the_disk(
    domain: flows.Domain, hosts: list[vdsm.Host], log: Log
) -> None:
    """No save_device; after a committed preview the image stays attached, as it would."""
    paths: list[str] = []
    disk = flows.copy_in(domain, hosts[0], 5, lambda device: paths.append(device["path"]))
    d = disk.id
    copy_steps = ["connect_volume {}", "attach@h1", "detach@h1", f"disconnect_volume {d}"]
    assert log.take() == [f"create_volume {d} 5", *(line.format(d) for line in copy_steps)]
    active = flows.preview(domain, disk, flows.create_snapshot(domain, disk))
    flows.commit_preview(domain, disk)
    log.take()
    flows.copy_out(domain, hosts[0], disk, lambda device: paths.append(device["path"]))
    assert log.take() == [f"connect_volume {active}", "attach@h1", f"disconnect_volume {d}"]
    assert list(hosts[0].rows) == [active]
    with pytest.raises(ZeroDivisionError):
        flows.copy_in(domain, hosts[1], 5, lambda _: 1 / 0)
    assert log.take()[-1].startswith("delete_volume")
    assert paths == ["/dev/x"] * 2


def test_failed_verb_stops_a_flow(make_engine: MakeEngine, hosts: list[vdsm.Host]) -> None:
    """Nothing is attached that was not connected, and a disk that was not made is none."""
    domain = flows.Domain(make_engine('[ $1 = create_volume ] || { echo "$4:no"; exit 1; }'), id=SD)
    disk = flows.create_disk(domain, 1)
    with pytest.raises(engine.VerbFailed, match="connect_volume"):
        flows.run_vm(domain, hosts[0], disk)
    assert hosts[0].rows == {}
    assert disk.attached_to is None


# Where programs are


def test_program_is_found_on_path_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing program is one clear sentence."""
    write_program(tmp_path / "some-toy", "true")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert children.find("some-toy") == tmp_path / "some-toy"
    with pytest.raises(children.ProgramMissing, match=r"no-such-toy is neither in .* nor on PATH"):
        children.find("no-such-toy")


def test_end_kills_what_does_not_listen(tmp_path: Path) -> None:
    """A child that ignores the request is gone after the limit all the same."""
    import signal
    import subprocess

    toy = write_program(tmp_path / "toy", 'trap "" TERM; echo ready; while :; do sleep 0.1; done')
    with subprocess.Popen([toy], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        assert children.end(process, signal.SIGTERM, limit_seconds=0.3) == -signal.SIGKILL
    assert time.monotonic() - began < 5
