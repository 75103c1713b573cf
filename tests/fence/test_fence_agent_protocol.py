"""fence_storpool: options, arguments, streams, the proxy that it runs on; bad input is never taken
for off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fence_words import EVEN, NOW, OFF, ON, SECRET, UNKNOWN, ask, told, vdsm

from rigs.fence_stage import LIMIT_SECONDS, LOST, NAMES, NAMES_AT_OTHER, OTHER, FenceStage, finished
from rigs.shared_stage import state
from storpool_ovirt.fence import actions, agent, options, request

NOBODY = 65534


# What it understands


@pytest.mark.parametrize(
    "text",
    [
        "action=status\nport=1\n",
        "action=status\nport=1",
        "action=STATUS\nplug=host1.example\n",
        "option=status\nport=1\n",
        "action=status\r\nport=1\r\n",
        "  action=status\n\tport=1  \n\n\n",
        "# a comment\naction=status\n#port=2\nport=1\n",
        "action=off\naction=status\nport=2\nport=1\n",
        "nodename=host1.example\naction=status\nipaddr=10.0.0.1\n",
        "action=status\nport=1\nunknown=x\nnonsense\n=\nlanplus=\n",
        "action=status\nip=host1.example\n",
        "action=status\nipaddr=10.0.0.1\nport=host1.example\nsecure=yes",
        "ACTION=status\nPort=1\n",
        "action=status\nport=1\nplug=1\n",
        "action=status\nport=\nplug=1\n",
        "action=status\nport=1\npasswd=a=b\n",
        "action=status\noption=off\nport=1\n",
        "\ufeffaction=status\nport=1\n",
        "action=status\rport=1\r",
    ],
    ids=repr,
)
def test_all_ways_to_ask(scene: FenceStage, text: str) -> None:
    """T54: the options of FenceAgentAPI and of Vdsm, in any order, the last one wins, what is
    unknown is ignored."""
    scene.volume(LOST)
    scene.lose()
    line = told(scene.agent(text=text), ON)
    assert line == f"Status: ON, client 1 ({NAMES[LOST]}) is down and has 1 disk of oVirt's"


@pytest.mark.parametrize(
    "arguments",
    [
        ("-o", "status", "-n", "1"),
        ("--action=status", "--plug=host1.example"),
        ("--action", "status", "--plug", "1"),
        ("-o", "status", "-n", "1", "--power-timeout=0", "--even-if-it-runs=0"),
    ],
)
def test_arguments_do_as_well(scene: FenceStage, arguments: tuple[str, ...]) -> None:
    """T54: by hand; stdin is not read then."""
    scene.lose()
    with scene.asked(arguments) as process:
        assert process.wait(LIMIT_SECONDS) == OFF


def test_monitor_and_list(scene: FenceStage) -> None:
    """T54: whether StorPool answers, and which hosts there are: id and name; neither needs a
    host."""
    told(scene.agent("action=monitor"), 0)
    listed = scene.agent("action=list")
    assert (listed.returncode, listed.stdout.splitlines()) == (
        0,
        [f"{number},{name}" for number, name in NAMES_AT_OTHER.items()],
    )


def check_schema(root: ElementTree.Element) -> None:
    """Check what lib/metadata.rng of fence-agents asks for."""
    assert (root.tag, set(root.attrib)) == ("resource-agent", {"name", "shortdesc"})
    assert [each.tag for each in root] == ["longdesc", "vendor-url", "parameters", "actions"]
    for parameter in root.iter("parameter"):
        assert set(parameter.attrib) == {"name", "unique", "required"}
        assert [each.tag for each in parameter] == ["getopt", "content", "shortdesc"]
        getopt, content, shortdesc = parameter
        assert (set(getopt.attrib), set(shortdesc.attrib)) == ({"mixed"}, {"lang"})
        assert set(content.attrib) <= {"type", "default"}
        assert content.get("type") in ("boolean", "string", "second", "integer")
    assert all(set(each.attrib) <= {"name", "automatic"} for each in root.iter("action"))


@pytest.mark.parametrize(
    ("text", "arguments"), [("action=metadata\n", ()), ("", ("-o", "metadata"))]
)
def test_metadata(scene: FenceStage, text: str, arguments: tuple[str, ...]) -> None:
    """T54: an XML document, without a storpool.conf to read; it has each option, and no reboot to
    rely on."""
    (conf := scene.stage.hosts[OTHER].local("/etc/storpool.conf")).rename(
        aside := conf.with_suffix(".aside")
    )
    try:
        said = scene.agent(text=text, arguments=arguments)
    finally:
        aside.rename(conf)
    assert (said.returncode, said.stderr) == (0, "")
    root = ElementTree.fromstring(said.stdout)  # noqa: S314  our own program's
    check_schema(root)
    assert {each.get("name") for each in root.iter("parameter")} == {*options.NAMES} - {
        "option",
        "ip",
    }
    told_actions = {each.get("name") for each in root.iter("action")}
    assert told_actions == {*actions.ACTIONS} - {"reboot"}
    assert "reboot is carried out as off" in str(root.findtext("longdesc"))


BAD = {
    "nothing": ("", "the action"),
    "no action": ("port=1\n", 'the action "" is not known: give one of status'),
    "unknown action": ("action=kill\nport=1\n", 'the action "kill" is not known'),
    "no host": ("action={}\n", "the host is not given"),
    "an address": ("action={}\nipaddr=10.0.0.1\n", 'there is no host "10.0.0.1"'),
    "a number as address": ("action={}\nipaddr=1\n", "the host is not given"),
    "unknown host": ("action={}\nport=host9\n", "or one of host1.example (client 1), "),
    "unknown client": ("action={}\nport=77\n", "there is no client 77"),
    "zero": ("action={}\nport=0\n", "is not a client id"),
    "large": ("action={}\nport=99999\n", "is not a client id"),
    "two hosts": ("action={}\nport=1\nplug=2\n", "port and plug name two hosts"),
    "even": ("action={}\nport=1\neven_if_it_runs=maybe\n", "even_if_it_runs is neither 1 nor 0"),
    "a bare even": ("action={}\nport=1\neven_if_it_runs\n", "even_if_it_runs is neither 1 nor 0"),
    "time": (
        "action={}\nport=1\npower_timeout=31\n",
        "power_timeout is out of range: give 0 to 30",
    ),
    "no time": ("action={}\nport=1\npower_timeout=nan\n", "power_timeout is out of range"),
    "too much": ("action={}\nport=1\n" + "#\n" * 40000, "stdin has more than 65536 bytes"),
}


@pytest.mark.parametrize("action", ["status", "off", "on"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_exit_code_1(scene: FenceStage, case: str, action: str) -> None:
    """T54: one sentence, nothing changed, and never the exit code that means off."""
    text, expected = BAD[case]
    scene.volume(LOST)
    scene.lose()
    before = state(scene.stage.simulator)
    assert expected in told(scene.agent(text=text.format(action)), UNKNOWN)
    assert state(scene.stage.simulator) == before


@pytest.mark.parametrize(
    "arguments",
    [("-o",), ("status",), ("-p", SECRET), (f"--password={SECRET}",), ("-o", "x", "-n")],
)
def test_bad_arguments_are_exit_code_1(scene: FenceStage, arguments: tuple[str, ...]) -> None:
    """T54, T75: one sentence that does not repeat what may be a password."""
    assert SECRET not in told(scene.agent(arguments=arguments), UNKNOWN)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((f"--password={SECRET}",), "the argument --password is not known"),
        ((f"-p{SECRET}",), "the argument -p is not known"),
        ((SECRET,), "an argument is not known"),
        (("-o", "off", "-n"), "the argument -n has no value"),
    ],
)
def test_an_argument_is_named_without_its_value(
    scene: FenceStage, arguments: tuple[str, ...], words: str
) -> None:
    """T75: so that it can be corrected."""
    sentence = told(scene.agent(arguments=arguments), UNKNOWN)
    assert words in sentence
    assert SECRET not in sentence


def test_help(scene: FenceStage) -> None:
    """A person is told what there is; with anything beside it, something was to be done, and
    was not."""
    said = scene.agent(arguments=("-h",))
    assert (said.returncode, said.stderr) == (0, "")
    assert "actions: status, on, off" in said.stdout
    for arguments in (("-o", "off", "-n", "1", "-h"), ("-V", "-n", "1")):
        assert "is not known" in told(scene.agent(arguments=arguments), UNKNOWN)


@pytest.mark.parametrize("trap", "\v\f\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u3000\0")
def test_a_password_is_one_option(trap: str) -> None:
    """T54: whatever is in it, nothing of it is another option, and nothing is taken off a value
    that is meant."""
    given = request.of_lines(
        f"action=status\npasswd=x{trap}action=off{trap}port=2\nport={trap}1{trap}\n"
    )
    assert given == {"action": "status", "port": f"{trap}1{trap}"}
    assert request.of_lines(f"{trap}action=off\n{trap}#action=off\n") == {}


def test_a_password_with_a_form_feed_cuts_nobody_off(scene: FenceStage) -> None:
    """T54: as the program reads it: status is what was asked."""
    scene.volume(LOST)
    scene.lose()
    told(scene.agent(text="action=status\nport=1\npasswd=x\x0caction=off\x85action=on\n"), ON)
    assert len(scene.has(LOST)) == 1


def test_bytes_that_are_no_text(scene: FenceStage) -> None:
    """T54: whatever is on stdin, it ends with exit code 1."""
    with scene.asked() as process:
        assert process.stdin is not None
        process.stdin.buffer.write(b"\xff\xfe\x00action=off\nport=\xff\n")
        told(finished(process), UNKNOWN)


def test_stdin_that_never_ends(scene: FenceStage) -> None:
    """T54: whoever asks and says nothing gets exit code 1 in time."""
    with scene.asked(hasty=True) as process:
        assert process.wait(LIMIT_SECONDS) == UNKNOWN


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_streams_that_are_closed(scene: FenceStage, closed: int) -> None:
    """T54: an answer that nobody can read is no reason to say off."""
    from ovirt_demo import children

    scene.volume(LOST)
    scene.lose()
    root = scene.stage.hosts[OTHER].root
    ran = subprocess.run(
        [
            "/bin/sh",
            "-c",
            f'exec "$0" {closed}{"<" if closed == 0 else ">"}&-',
            str(children.find("fence_storpool")),
        ],
        input=vdsm("status"),
        text=True,
        capture_output=True,
        check=False,
        timeout=LIMIT_SECONDS,
        env={"STORPOOL_OVIRT_ROOT": str(root), "PATH": "/bin"},
    )
    assert ran.returncode in (ON, UNKNOWN)


# On the proxy


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        (None, "SP_API_HTTP_HOST is missing"),
        ("", "SP_API_HTTP_HOST is missing"),
        ("nonsense", "line 1 of"),
    ],
)
def test_a_proxy_without_storpool(scene: FenceStage, conf: str | None, expected: str) -> None:
    """T54: it cannot tell: exit code 1 with what is missing."""
    (file := scene.stage.hosts[OTHER].local("/etc/storpool.conf")).rename(
        aside := file.with_suffix(".aside")
    )
    try:
        if conf is not None:
            file.write_text(conf)
        assert expected in told(ask(scene, "status"), UNKNOWN)
    finally:
        aside.replace(file)


def as_nobody(root: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run the agent as an ordinary user, as Vdsm's is one."""
    places = [str(Path(agent.__file__).parent.parent), sysconfig.get_path("purelib")]
    code = "import sys; from storpool_ovirt.fence import agent; sys.exit(agent.main())"
    for python in filter(None, (sys.executable, shutil.which("python3", path="/usr/bin"))):
        environment = {"STORPOOL_OVIRT_ROOT": str(root), "PYTHONPATH": ":".join(places)}
        try:
            ran = subprocess.run(
                [python, "-c", code],
                input=text,
                text=True,
                capture_output=True,
                check=False,
                timeout=LIMIT_SECONDS,
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                env=environment,
                cwd="/",
            )
        except PermissionError:
            continue
        if "Error: No module named" not in ran.stderr:
            return ran
    pytest.skip("no Python here that another user can start has this project's requirements")


def test_a_storpool_conf_that_vdsm_cannot_read(scene: FenceStage) -> None:
    """T54: the sentence names the file and the user, and with the right group it works."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a program as another user, and give a file to him")
    scene.lose()
    # Not below pytest's folder, which is root's alone.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(scene.stage.hosts[OTHER].local("/etc"), Path(folder, "etc"))
        conf = Path(folder, "etc", "storpool.conf")
        conf.chmod(0o640)
        line = told(as_nobody(Path(folder), vdsm("status")), UNKNOWN)
        assert f"{conf} cannot be read (Permission denied) and root cannot be asked" in line
        assert "make it readable for user nobody" in line
        os.chown(conf, 0, NOBODY)
        told(as_nobody(Path(folder), vdsm("status")), OFF)


def test_nothing_secret_is_told(scene: FenceStage) -> None:
    """T75: neither the API's token nor the password that Vdsm hands over is in output or log,
    whatever happens."""
    scene.volume(LOST)
    asked = [
        vdsm("status"),
        vdsm("off", NOW),
        vdsm("off", "even_if_it_runs=x"),
        vdsm("kill"),
        vdsm("off", EVEN),
    ]
    for text in asked:
        said = scene.agent(text=text)
        assert not [secret for secret in scene.secrets() if secret in said.stdout + said.stderr]
    assert not [secret for secret in scene.secrets() if secret in scene.agent_log()]


def test_a_port_that_is_not_the_address(scene: FenceStage) -> None:
    """T57: a typing mistake in the power management would cut another host off: both are named,
    nothing is done."""
    scene.lose()
    said = told(ask(scene, "off", port="3"), 1)
    assert "is client 3" in said
    assert "host1.example (client 1) by its address" in said
