"""flows.py of the demo: the calls of oVirt's flows, their order and their ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from demo_callers import SD, Log, MakeEngine, write_program

from ovirt_demo import engine, flows, vdsm

# Flows: the calls, their order and their ids

FLOW_ADAPTER = r"""
case $1 in
    create_snapshot|create_volume_from_snapshot) echo "$4:$(cat /proc/sys/kernel/random/uuid)" ;;
    connect_volume) echo "$4:"'{"adapter": "toy", "driver_volume_type": "storpool", "data": {}}' ;;
    storage_stats) echo "$4:{}" ;;
    *) echo "$4:" ;;
esac
"""


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
