"""The driver and hosts: who a host is, what it is told, and what it lets go of."""

from __future__ import annotations

import platform
from typing import Any

import pytest
from cinder import exception, objects
from oslo_config import cfg

from cinder_driver import hosts
from rigs.core_fixtures import Core
from rigs.driver_rig import Backend, attachment, connector, volume


@pytest.fixture
def made(backend: Backend) -> Any:
    """Give a volume that exists."""
    made = volume()
    backend.driver.create_volume(made)
    backend.queries()
    return made


def test_connection_info_serves_both_connectors(backend: Backend, made: Any) -> None:
    """4.1 D7: os-brick's own connector goes by the name from `volume`, ours by `global_id`; nothing
    is changed."""
    info = backend.driver.initialize_connection(made, connector(2))
    global_id = backend.stored(made).global_id
    data = {"client_id": 2, "volume": made.id, "global_id": global_id, "access_mode": "rw"}
    assert info == {"driver_volume_type": "storpool", "data": data}
    assert backend.attached() == set()


def test_a_host_that_says_its_client_id_needs_no_section(backend: Backend, made: Any) -> None:
    """U15: with our os-brick connector on the host, no storpool.conf here need name it."""
    info = backend.driver.initialize_connection(
        made, {"host": "stranger.example.com", "storpool_client_id": 3}
    )
    assert info["data"]["client_id"] == 3


@pytest.mark.parametrize(
    "asked",
    [
        {"host": "stranger.example.com"},
        {},
        {"host": ""},
        {"host": "host1"},
        {"host": "host1.example.com", "storpool_client_id": 0},
        {"host": "host1.example.com", "storpool_client_id": "seven"},
        {"host": "host1.example.com", "storpool_client_id": 4096},
        {"host": "host1.example.com", "storpool_client_id": "1" * 5000},
        {"host": "host1.example.com", "storpool_client_id": 10**5000},
        {"host": "host1.example.com", "storpool_client_id": "²"},
        {"host": "host1.example.com", "storpool_client_id": -1},
        {"host": "host1.example.com", "storpool_client_id": True},
        {"host": "host1.example.com", "storpool_client_id": 1.0},
        {"host": "host1.example.com", "storpool_client_id": "\u0661"},
        {"host": "host1.example.com", "storpool_client_id": " 1"},
        {"host": ["host1.example.com"]},
        {"host": "evil\n[host1.example.com"},
        {"host": "x" * 5000},
    ],
)
def test_b2_b3_u14_an_unknown_host_is_an_error(
    backend: Backend, made: Any, asked: dict[str, Any]
) -> None:
    """4.1 B2, B3, U14, T14: no client id is guessed: InvalidConnectorException, which Cinder hands
    to the caller."""
    with pytest.raises(exception.InvalidConnectorException, match="storpool_client_id") as caught:
        backend.driver.validate_connector(asked)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    with pytest.raises(exception.InvalidConnectorException):
        backend.driver.initialize_connection(made, asked)


def test_b3_a_known_host_is_valid_and_nothing_is_returned(backend: Backend) -> None:
    """4.1 B3: [interface] validate_connector raises or is silent; the manager ignores what it
    returns."""
    assert backend.driver.validate_connector(connector(1)) is None


@pytest.mark.parametrize("name", ["h\u00f4te-7.example.com", "\u4e3b\u673a"])
def test_a_host_of_any_script_is_known(core: Core, backend: Backend, name: str) -> None:
    """A section of storpool.conf names it as it is, and the sentence about an unknown one has the
    name whole."""
    conf = core.folder / "engine" / "etc" / "storpool.conf"
    with pytest.raises(exception.InvalidConnectorException, match=name):
        backend.driver.validate_connector({"host": name})
    conf.write_text(conf.read_text() + f"[{name}]\nSP_OURID=9\n", encoding="utf-8")
    backend.driver.validate_connector({"host": name})


def test_a_client_id_of_two_sections_is_nobodys(core: Core, backend: Backend) -> None:
    """4.1 B2: nobody can tell which of the two hosts is meant: neither name is a client, and both
    are named."""
    conf = core.folder / "engine" / "etc" / "storpool.conf"
    conf.write_text(conf.read_text() + "[one]\nSP_OURID=9\n[other]\nSP_OURID=9\n")
    for name in ("one", "other"):
        with pytest.raises(
            exception.InvalidConnectorException, match=r"client 9 is 2 hosts in .*, one and other"
        ):
            backend.driver.validate_connector({"host": name})


def test_an_id_before_all_sections_is_nobodys(core: Core, backend: Backend) -> None:
    """4.1 B2: SP_OURID of the machine that runs Cinder is not that of a host without a section."""
    conf = core.folder / "engine" / "etc" / "storpool.conf"
    conf.write_text("SP_OURID=1\n" + conf.read_text())
    with pytest.raises(exception.InvalidConnectorException):
        backend.driver.validate_connector({"host": "stranger.example.com"})


def test_cinders_own_host_goes_by_its_node_name(core: Core, backend: Backend) -> None:
    """[upstream] Cinder's option `host`, and the host of the service, stand for this machine."""
    conf = core.folder / "engine" / "etc" / "storpool.conf"
    conf.write_text(conf.read_text() + f"[{platform.node()}]\nSP_OURID=9\n")
    for name in (cfg.CONF.host, "engine.example.com"):
        backend.driver.validate_connector({"host": name})


def test_a_storpool_conf_that_cannot_be_read_is_told(core: Core, backend: Backend) -> None:
    """The sentence says which line is wrong, not only that a host is unknown."""
    (core.folder / "engine" / "etc" / "storpool.conf").write_text("what is this\n")
    with pytest.raises(exception.InvalidConnectorException, match="line 1 of"):
        backend.driver.validate_connector(connector(1))


def test_a_read_only_attach_is_possible(backend: Backend, made: Any) -> None:
    """Read-only when the caller asks for it or the volume is marked so (os-volume-readonly)."""
    assert (
        backend.driver.initialize_connection(made, connector(1, mode="ro"))["data"]["access_mode"]
        == "ro"
    )
    marked = volume(id=made.id, admin_metadata={"readonly": "True"})
    assert backend.driver.initialize_connection(marked, connector(1))["data"]["access_mode"] == "ro"


def test_a_missing_volume_is_not_described(backend: Backend) -> None:
    """T14: connection info of what does not exist would be an attach that fails on the host."""
    with pytest.raises(exception.VolumeNotFound):
        backend.driver.initialize_connection(volume(), connector(1))


def test_several_hosts_may_have_a_volume(backend: Backend, made: Any) -> None:
    """[upstream] multiattach, and both sides of a live migration: each host gets its own client
    id."""
    hosts = [
        backend.driver.initialize_connection(made, connector(each))["data"]["client_id"]
        for each in (1, 2)
    ]
    assert hosts == [1, 2]
    assert backend.driver.get_volume_stats()["multiattach"] is True


def test_u12_terminate_detaches_the_host_that_is_named(backend: Backend, made: Any) -> None:
    """U12, 4.1 D5, T16: a closed device of a host is let go of, others stay; again is a success."""
    global_id = backend.attach(made, 1)
    backend.attach(made, 2, is_open=True)
    for _ in range(2):
        assert backend.driver.terminate_connection(made, connector(1)) is False
        assert backend.attached() == {(global_id, 2, "rw")}


@pytest.mark.parametrize("force", [False, True])
def test_terminate_never_pulls_an_open_device(backend: Backend, made: Any, force: bool) -> None:
    """T31: Cinder is told, with force too: what it forgot would be written to by two hosts."""
    global_id = backend.attach(made, 1, is_open=True)
    with pytest.raises(exception.VolumeIsBusy, match="open at client 1"):
        backend.driver.terminate_connection(made, connector(1), force=force)
    assert backend.attached() == {(global_id, 1, "rw")}
    assert not any(
        "'force': True" in str(call.body) for call in backend.core.simulator.calls.list()
    )


def test_without_a_connector_all_closed_devices_are_let_go_of(backend: Backend, made: Any) -> None:
    """[interface] No connector means all connections: the closed ones go, also beside an open one,
    which is named."""
    global_id = backend.attach(made, 1, is_open=True)
    backend.attach(made, 2)
    backend.attach(made, 3)
    with pytest.raises(exception.VolumeIsBusy, match="open at client 1"):
        backend.driver.terminate_connection(made, None, force=True)
    assert backend.attached() == {(global_id, 1, "rw")}
    backend.core.set_client(1, open=[])
    backend.driver.terminate_connection(made, None)
    assert backend.attached() == set()


def test_terminate_of_what_is_gone_is_a_success(backend: Backend, made: Any) -> None:
    """T16: a volume that does not exist, or that nobody has, is detached, whoever asks."""
    assert backend.driver.terminate_connection(volume(), connector(1)) is False
    assert backend.driver.terminate_connection(made, {"host": "stranger.example.com"}) is False


def test_terminate_for_an_unknown_host_is_an_error_while_somebody_has_it(
    backend: Backend, made: Any
) -> None:
    """Which attachment is meant is not guessed."""
    global_id = backend.attach(made, 1)
    with pytest.raises(exception.InvalidConnectorException):
        backend.driver.terminate_connection(made, {"host": "stranger.example.com"})
    assert backend.attached() == {(global_id, 1, "rw")}


def test_two_guests_of_one_host_share_a_device(backend: Backend) -> None:
    """[interface] True: another attachment of the same host needs the device, so it stays."""
    shared = volume(multiattach=True)
    backend.driver.create_volume(shared)
    shared.volume_attachment = objects.VolumeAttachmentList(
        objects=[attachment(shared, "host1.example.com") for _ in range(2)]
    )
    global_id = backend.attach(shared, 1)
    assert backend.driver.terminate_connection(shared, connector(1)) is True
    assert backend.attached() == {(global_id, 1, "rw")}
    shared.volume_attachment.objects.pop()
    assert backend.driver.terminate_connection(shared, connector(1)) is False
    assert backend.attached() == set()


def test_a_guest_that_begins_needs_the_device_too(backend: Backend) -> None:
    """Its device is not open yet: to take that as free would pull the disk from under a start."""
    shared = volume(multiattach=True)
    backend.driver.create_volume(shared)
    two = [attachment(shared, "host1.example.com") for _ in range(2)]
    two[1].attach_status = "attaching"
    shared.volume_attachment = objects.VolumeAttachmentList(objects=two)
    global_id = backend.attach(shared, 1)
    assert backend.driver.terminate_connection(shared, connector(1)) is True
    assert backend.attached() == {(global_id, 1, "rw")}


def test_who_shares_is_told_by_client_id_or_a_name_never_by_none(backend: Backend) -> None:
    """Attachments without a host are not this host's; one client under two names is one host."""
    shared = volume(multiattach=True)
    backend.driver.create_volume(shared)
    two = [attachment(shared, "host2.example.com") for _ in range(2)]
    for each in two:
        each.attached_host, each.connector = None, {"storpool_client_id": 2}
    shared.volume_attachment = objects.VolumeAttachmentList(objects=two)
    global_id = backend.attach(shared, 1)
    backend.attach(shared, 2)
    assert backend.driver.terminate_connection(shared, {"storpool_client_id": 1}) is False
    assert backend.attached() == {(global_id, 2, "rw")}
    assert (
        backend.driver.terminate_connection(shared, {"storpool_client_id": 2, "host": "alias"})
        is True
    )
    assert backend.attached() == {(global_id, 2, "rw")}


@pytest.mark.parametrize("detach_absent", ["ok", "error"])
def test_a_host_that_lets_go_at_the_same_moment_is_detached(
    backend: Backend, made: Any, monkeypatch: pytest.MonkeyPatch, detach_absent: str
) -> None:
    """Between the look and the request the host's own detach was done: whatever StorPool says to
    ours, it is done."""
    backend.core.simulator.switches.set({"detach_absent": detach_absent})
    backend.attach(made, 1)
    looked = hosts.clients_of

    def then_it_lets_go(client: Any, target: Any) -> list[int]:
        found = looked(client, target)
        if found:
            backend.core.client().reassign(
                [{"volume": f"~{target.global_id}", "detach": [1]}], 5, "volume"
            )
        return found

    monkeypatch.setattr(hosts, "clients_of", then_it_lets_go)
    assert backend.driver.terminate_connection(made, connector(1)) is False
    assert backend.attached() == set()


def test_a_refusal_is_no_detach(backend: Backend, made: Any) -> None:
    """T31: StorPool says no and the host has it still: Cinder is told, whichever words the refusal
    has."""
    global_id = backend.attach(made, 1)
    backend.core.simulator.faults.add(
        "error_200", query="VolumesReassignWait", name="invalidParam", descr="no"
    )
    with pytest.raises(exception.VolumeBackendAPIException, match="refused"):
        backend.driver.terminate_connection(made, connector(1))
    assert backend.attached() == {(global_id, 1, "rw")}
