"""`storpool-ovirt fence-host` as an administrator runs it at 3 a.m.: what it takes, refuses, leaves
alone and tells."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from fence_words import done

from rigs import refusals
from rigs.fence_stage import LIMIT_SECONDS, LOST, NAMES, OTHER, SECTIONS, FenceStage
from rigs.shared_stage import queries, state, write, writes
from storpool_ovirt import names

TWICE = ("--even-if-it-runs", NAMES[LOST])


# A lost host


def test_a_lost_host_writes_no_more(scene: FenceStage) -> None:
    """T46, T55, T63: once it says so no write of the host lands, the disk starts elsewhere, and
    comes back here too."""
    disk, snapshot = (volume := scene.volume(LOST)), scene.snapshot(volume, LOST)
    with scene.writing(disk) as writer:
        writer.goes_on(succeeds=True)
        scene.lose()
        writer.goes_on(succeeds=True)
        *taken, last = done(scene.fence(NAMES[LOST]))
        assert scene.has(LOST) == set()
        before = scene.content(disk)
        if scene.device(OTHER, disk).is_block_device():
            writer.goes_on(succeeds=False)
        scene.attach(disk, OTHER)
        assert scene.content(disk) == before
        write(scene.device(OTHER, disk), b"new" * 1024)
        for _ in range(20):
            writer.told()
        assert scene.content(disk)[:3072] == b"new" * 1024
    assert sorted(line.split("(~")[1].split(")")[0] for line in taken) == sorted(
        (f"{disk}, rw", f"{snapshot}, ro")
    )
    assert all(line.startswith(("taken: volume ", "taken: snapshot ")) for line in taken)
    assert last.startswith(
        f"client 1 ({NAMES[LOST]}) has nothing of oVirt's now: no write of that host lands on"
        " these 2"
    )
    assert "it was not switched off" in last
    assert "disks of other storage are not covered" in last
    assert [line.split()[2:4] for line in scene.log().splitlines()] == [
        [line_of(scene), "taken"]
    ] * 2
    scene.lose(status="running")
    scene.attach(disk, LOST)
    write(scene.device(LOST, disk), b"back")
    assert scene.content(disk)[:4] == b"back"


def line_of(scene: FenceStage) -> str:
    """Return the correlation id in the log, which names the verb and its process."""
    correlation_id = scene.log().split()[2]
    assert correlation_id.startswith("fence-host-")
    assert correlation_id[len("fence-host-") :].isdigit()
    return correlation_id


def test_it_asks_the_cluster_once_for_all_disks(scene: FenceStage) -> None:
    """T63: one request takes everything, and a list is read after it."""
    disks = {scene.volume(LOST) for _ in range(3)}
    scene.lose()
    scene.stage.simulator.clear_calls()
    done(scene.fence("1"))
    look = ["ClientsConfigDump", "AttachmentsList", "Volume", "Volume", "Volume"]
    [request] = writes(scene.stage.simulator)
    items = request["body"]["reassign"]
    assert queries(scene.stage.simulator) == [
        "KV/Set",
        *look,
        "VolumesReassignWait",
        "KV/Set",
        *look[:2],
    ]
    assert {each["volume"] for each in items} == {f"~{disk}" for disk in disks}
    assert all((each["detach"], each["force"]) == ([LOST], True) for each in items)


def test_a_client_id_does_as_well_as_a_name(scene: FenceStage) -> None:
    """T63: where storpool.conf names no hosts, or is not there, the number of the client is
    enough."""
    scene.volume(LOST)
    scene.lose()
    (scene.folder / "etc" / "storpool.conf").unlink()
    assert done(scene.fence("1"))[-1].startswith("client 1 has nothing of oVirt's now: ")
    assert scene.has(LOST) == set()


def test_a_host_that_has_nothing_is_fenced(scene: FenceStage) -> None:
    """T63: twice is as good as once, and nothing is asked of the cluster that changes anything."""
    scene.lose()
    scene.stage.simulator.clear_calls()
    for _ in range(2):
        (line,) = done(scene.fence(NAMES[LOST]))
        assert "it had nothing" in line
    assert writes(scene.stage.simulator) == []


def test_a_host_comes_back_without_its_disks(scene: FenceStage) -> None:
    """T56: what the host still had when it was lost is not there when it is back."""
    disk = scene.volume(LOST)
    scene.lose()
    done(scene.fence("1"))
    scene.lose(status="running")
    assert scene.has(LOST) == set()
    assert not scene.device(LOST, disk).exists()


# A host that may run


@pytest.mark.parametrize("how", [{"status": "running"}, {"behind": True}], ids=["ok", "updating"])
def test_a_host_that_answers_is_not_fenced(scene: FenceStage, how: dict[str, object]) -> None:
    """T54: unknown is not dead: how many disks it has, what to do, exit code 1, nothing changed."""
    disks = {scene.volume(LOST) for _ in range(2)}
    scene.lose(**how)
    before = state(scene.stage.simulator)
    said = refusals.of_command(scene.fence(NAMES[LOST]))
    assert said.startswith(f"client 1 ({NAMES[LOST]}) answers StorPool (its configuration is ")
    assert "has 2 disks of oVirt's" in said
    assert f"--even-if-it-runs {NAMES[LOST]}" in said
    assert state(scene.stage.simulator) == before
    assert disks == scene.has(LOST)
    assert scene.log() == ""


def test_told_twice_it_takes_them_all_the_same(scene: FenceStage) -> None:
    """T46, T54: a human's statement; the VM's writes fail from then on, and the answer says that
    the host runs."""
    disk = scene.volume(LOST)
    with scene.writing(disk) as writer:
        writer.goes_on(succeeds=True)
        *_, last = done(scene.fence(NAMES[LOST], *TWICE))
        assert scene.has(LOST) == set()
        before = scene.content(disk)
        for _ in range(20):
            writer.told()
        assert scene.content(disk) == before
    assert "the host answers StorPool" in last


@pytest.mark.parametrize("twice", ["1", "host2.example", "HOST1.EXAMPLE"])
def test_what_is_told_twice_must_be_the_same(scene: FenceStage, twice: str) -> None:
    """T54: the second telling repeats the first, word for word, or nothing is done, even when the
    host is down."""
    scene.volume(LOST)
    scene.lose()
    before = state(scene.stage.simulator)
    said = refusals.of_command(scene.fence(NAMES[LOST], "--even-if-it-runs", twice))
    assert "does not repeat" in said
    assert state(scene.stage.simulator) == before


@pytest.mark.parametrize("given", ["1", NAMES[LOST], "spare"])
@pytest.mark.parametrize("ours", ["1", " 1 ", "01"])
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_client_that_is_two_hosts_is_nobody(
    scene: FenceStage, given: str, ours: str, options: tuple[str, ...]
) -> None:
    """T57: two sections with one SP_OURID: fencing that id, or either name, is refused and both are
    named."""
    (scene.folder / "etc" / "storpool.conf").write_text(f"{SECTIONS}[spare]\nSP_OURID={ours}\n")
    scene.volume(LOST)
    scene.lose()
    said = refusals.of_command(scene.fence(given, "--even-if-it-runs", given, *options))
    assert (
        f"client 1 is 2 hosts in /etc/storpool.conf, {NAMES[LOST]} and spare: nobody can tell"
        in said
    )
    assert len(scene.has(LOST)) == 1


def test_the_last_file_says_who_a_host_is(scene: FenceStage) -> None:
    """A section's SP_OURID that a later file changes is two hosts no more."""
    (scene.folder / "etc" / "storpool.conf").write_text(f"{SECTIONS}[spare]\nSP_OURID=1\n")
    folder = scene.folder / "etc" / "storpool.conf.d"
    folder.mkdir()
    (folder / "spare.conf").write_text("[spare]\nSP_OURID=9\n")
    scene.lose()
    done(scene.fence("1"))


@pytest.mark.parametrize("down", [False, True])
def test_a_machine_does_not_fence_itself(scene: FenceStage, down: bool) -> None:
    """T57: by its id and by its name, whatever StorPool says of it, unless it is told twice; a dry
    run says so."""
    here = platform.node()
    (scene.folder / "etc" / "storpool.conf").write_text(
        f"[{NAMES[OTHER]}]\nSP_OURID=2\n[{here}]\nSP_OURID=1\n"
    )
    scene.volume(LOST)
    if down:
        scene.lose()
    for given in ("1", here):
        said = refusals.of_command(scene.fence(given))
        assert (
            f"client 1 ({here}) is this very machine, and its own VMs would lose their disks"
            in said
        )
        assert f"--even-if-it-runs {given}" in said
        assert (
            scene.fence(given, "--dry-run")
            .stdout.rstrip()
            .endswith("would be refused: it is this very machine")
        )
    assert len(scene.has(LOST)) == 1
    done(scene.fence(here, "--even-if-it-runs", here))
    assert scene.has(LOST) == set()


@pytest.mark.parametrize("given", ["1", NAMES[LOST]])
@pytest.mark.parametrize("how", ["circle", "dangling", "folder"])
def test_a_storpool_conf_that_cannot_be_read_names_nobody(
    scene: FenceStage, given: str, how: str
) -> None:
    """T57: whether an id is two hosts', or this machine's own, nobody can tell: refused, with file
    and reason."""
    folder, conf = scene.folder / "etc" / "storpool.conf.d", scene.folder / "etc" / "storpool.conf"
    if how == "folder":
        folder.symlink_to(folder)
    else:
        conf.unlink()
        conf.symlink_to(conf if how == "circle" else "nowhere")
    scene.volume(LOST)
    scene.lose()
    said = refusals.of_command(scene.fence(given))
    assert (
        "leads nowhere" in said
        if how == "dangling"
        else "Too many levels of symbolic links" in said
    )
    assert str(folder if how == "folder" else conf) in said
    assert len(scene.has(LOST)) == 1


def test_without_storpool_conf_a_name_says_nothing(scene: FenceStage) -> None:
    """The sentence names the file that is missing; a client id does without it."""
    (scene.folder / "etc" / "storpool.conf").unlink()
    scene.lose()
    said = refusals.of_command(scene.fence(NAMES[LOST]))
    assert "/etc/storpool.conf, which tells who host" in said
    assert said.endswith("is missing: give a client id")
    done(scene.fence("1"))


def test_a_dry_run_tells_and_changes_nothing(scene: FenceStage) -> None:
    """T54: what would be taken, what stays, and whether it would be refused."""
    disk, foreign = scene.volume(LOST), scene.volume(LOST, ovirt=False)
    name = next(
        each["name"]
        for each in scene.stage.simulator.api("VolumesList")
        if each["globalId"] == foreign
    )
    scene.stage.simulator.clear_calls()
    said = scene.fence("1", "--dry-run")
    assert (said.returncode, said.stderr) == (1, "")
    told = said.stdout.splitlines()
    assert f"(~{disk}, rw)" in told[0]
    assert told[0].startswith("would take: volume ")
    assert told[1] == f'left alone: "{name}", which is not oVirt\'s'
    assert told[2].endswith(
        "has 1 disk of oVirt's; nothing was changed; would be refused: it answers StorPool"
    )
    scene.lose()
    *_, plan, sends = done(scene.fence("1", "--dry-run"))
    assert plan.endswith("nothing was changed; would be done")
    assert sends.startswith("  would send: POST VolumesReassignWait {")
    assert f"~{disk}" in sends
    assert writes(scene.stage.simulator) == []
    assert scene.log() == ""


# What it leaves alone


def test_others_on_the_same_host_keep_theirs(scene: FenceStage) -> None:
    """T57, T76: what is not oVirt's is named and stays, its writer goes on; other hosts, servers
    and disks do too."""
    mine, foreign, beside = (
        scene.volume(LOST, OTHER),
        scene.volume(LOST, ovirt=False),
        scene.volume(OTHER),
    )
    servers = scene.stage.simulator.api("ServersList")
    with scene.writing(foreign) as writer, scene.writing(mine, OTHER) as survivor:
        scene.lose()
        told = done(scene.fence(NAMES[LOST]))
        writer.goes_on(succeeds=True)
        survivor.goes_on(succeeds=True)
    name = next(
        each["name"]
        for each in scene.stage.simulator.api("VolumesList")
        if each["globalId"] == foreign
    )
    assert f'left alone: "{name}", which is not oVirt\'s' in told
    assert scene.has(LOST) == {foreign}
    assert scene.has(OTHER) == {mine, beside}
    assert scene.stage.simulator.api("ServersList") == servers


def test_the_cinder_drivers_volumes_are_ovirts(scene: FenceStage) -> None:
    """T63: volumes of oVirt's cinderlib path have no tags of ours; their name tells, by the prefix
    of this cluster."""
    uuid = "11111111-2222-3333-4444-555555555555"
    ours = scene.volume(LOST, ovirt=False, name=f"os--volume-{uuid}")
    other = scene.volume(LOST, ovirt=False, name=f"prod--volume-{uuid}")
    scene.lose()
    assert f"taken: volume {uuid} (~{ours}, rw)" in done(scene.fence("1"))
    assert scene.has(LOST) == {other}
    (scene.folder / "etc" / "storpool.conf").write_text("SP_OPENSTACK_VOLUME_PREFIX=prod\n")
    assert f"taken: volume {uuid} (~{other}, rw)" in done(scene.fence("1"))


def test_a_shareable_disk_goes_too(scene: FenceStage) -> None:
    """T57: from the lost host only: whoever shares it with a VM there goes on writing."""
    shared = scene.volume(LOST, OTHER)
    with scene.writing(shared, OTHER) as survivor:
        survivor.goes_on(succeeds=True)
        scene.lose()
        done(scene.fence(NAMES[LOST]))
        survivor.goes_on(succeeds=True)
    assert (scene.has(LOST), scene.has(OTHER)) == (set(), {shared})


# Settings


@pytest.mark.parametrize("multicluster", ["true", "false"])
def test_a_client_is_one_clusters(scene: FenceStage, multicluster: str) -> None:
    """T57: with several clusters in one name space the same number is another host elsewhere: only
    one is asked."""
    cluster = names.cluster_of(scene.volume(LOST))
    scene.lose()
    scene.stage.simulator.clear_calls()
    done(scene.fence("1", options={"sp_multicluster": multicluster, "sp_cluster_id": cluster}))
    asked = [each["path"] for each in scene.stage.simulator.calls()]
    assert not [path for path in asked if "MultiCluster" in path]
    assert all(path.startswith(f"/ctrl/1.0/RemoteCommand/~{cluster}/") for path in asked)
    assert scene.has(LOST) == set()


def test_it_needs_no_database(scene: FenceStage) -> None:
    """T63: Engine's database is away when it is needed most, and its library may not even be
    installed."""
    disk = scene.volume(LOST)
    scene.lose()
    options = scene.folder / "options.json"
    done(scene.fence("1", "--dry-run"))
    code = (
        "import sys; sys.modules['psycopg2'] = None; from storpool_ovirt.admin import command;"
        " sys.exit(command.main())"
    )
    command = [sys.executable, "-c", code, "fence-host", "1", "--options", str(options)]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
        env={"STORPOOL_OVIRT_ROOT": str(scene.folder), "PATH": "/bin"},
    )
    assert disk in done(ran)[0]
