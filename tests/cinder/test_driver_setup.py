"""The driver's start: options, the first question to the cluster, statistics."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from cinder import exception
from oslo_config import cfg

from cinder_driver import driver, options
from rigs import clusters, driver_rig
from rigs.core_fixtures import GIB, TOKEN, Core
from rigs.driver_rig import Backend, configured, volume
from storpool_ovirt import option_table

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
SAMPLE = Path(__file__).parents[2] / "etc" / "cinder-backend.conf.sample"


def start(core: Core, **given: object) -> driver.StorPoolDriver:
    """Start a driver as Cinder does."""
    with configured(core, **given) as made:
        made.do_setup(driver_rig.CONTEXT)
        made.check_for_setup_error()
    return made


def test_all_options_are_listed() -> None:
    """T26: get_driver_options names every option, each with its help, and the token is marked as a
    secret."""
    listed = driver.StorPoolDriver.get_driver_options()
    assert [each.name for each in listed if not each.name.startswith("storpool_")] == []
    assert all(each.help and each.help.endswith(".") for each in listed)
    assert [each.name for each in listed if each.secret] == ["storpool_auth_token"]
    assert {"storpool_template", "storpool_replication"} <= {each.name for each in listed}, (
        "upstream's"
    )


def test_an_option_of_ovirts_alone_is_none_of_the_drivers(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever adds one to oVirt's table need not give it to Cinder: the driver starts without
    it."""
    added = option_table.Option("sp_ovirts_own", str, None, None, "for oVirt alone")
    monkeypatch.setattr(option_table, "OPTIONS", (*option_table.OPTIONS, added))
    monkeypatch.setitem(options._SHARED, "storpool_ovirts_own", added)
    start(core)


def test_the_sample_is_what_oslo_config_generator_writes() -> None:
    """The sample under etc/ is generated from the options."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        "from oslo_config.generator import main; main()",
    ]
    done = subprocess.run(
        [*command, "--namespace", "cinder_driver", "--wrap-width", "110"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.rstrip() == SAMPLE.read_text().rstrip()


def test_u15_options_alone_are_enough(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """U15: without any storpool.conf the driver starts, and works, from its options."""
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(tmp_path / "nothing"))
    with driver_rig.backend(core) as backend:
        made = volume()
        backend.driver.create_volume(made)
        assert list(backend.there()) == [f"os--volume-{made.id}"]


def test_u15_what_the_options_lack_comes_from_storpool_conf(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[upstream] A backend without options of its own works as before, from storpool.conf."""
    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", core.root(1))
    start(core, storpool_api_http_host=None, storpool_api_http_port=None, storpool_auth_token=None)


def test_a_token_may_be_in_a_file(core: Core, backend: Backend, tmp_path: Path) -> None:
    """No token in cinder.conf, nor in what oVirt passes along."""
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    start(core, storpool_auth_token=None, storpool_auth_token_file=str(path))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"storpool_api_http_host": None}, "storpool_api_http_host is missing"),
        ({"storpool_auth_token": "two words"}, "storpool_auth_token is not a token"),
        ({"storpool_template": "a b"}, "storpool_template is not valid"),
        ({"storpool_volume_prefix": "a b"}, "storpool_volume_prefix is not valid"),
        ({"storpool_qos_class": "a,b"}, "storpool_qos_class is no name of one"),
        ({"storpool_cluster_id": "?"}, "storpool_cluster_id is not valid"),
        (
            {"storpool_auth_token_file": "/no/such", "storpool_auth_token": None},
            "storpool_auth_token_file",
        ),
        ({"storpool_template": "missing"}, "no template missing"),
        ({"storpool_auth_token": "wrong"}, "StorPool refused"),
        ({"storpool_cluster_id": "other.a"}, "does not reach cluster other.a"),
    ],
)
def test_what_is_wrong_is_told_at_the_start(
    core: Core, backend: Backend, given: dict[str, object], told: str
) -> None:
    """T24: one sentence names the option, and has no token in it."""
    with pytest.raises(exception.VolumeBackendAPIException, match=told) as caught:
        start(core, **given)
    assert TOKEN not in str(caught.value)
    assert "two words" not in str(caught.value)


@pytest.mark.parametrize("where", ["file", "folder", "backend_defaults", "cinderlib"])
def test_an_option_that_is_not_known_is_refused_with_the_nearest(
    core: Core, backend: Backend, tmp_path: Path, where: str
) -> None:
    """oslo.config ignores it: volumes would be made without the template that was meant.

    Other keys are others'.
    """
    options = {"storpool_tempalte": "nvme", "volume_driver": "x", "san_ip": "192.0.2.1"}
    with configured(core) as made:
        if where == "cinderlib":
            for key, value in options.items():
                setattr(getattr(cfg.CONF, driver_rig.GROUP), key, value)
            loaded: list[str] = []
        else:
            section = where if where == "backend_defaults" else driver_rig.GROUP
            text = f"[{section}]\n" + "".join(
                f"{key} = {value}\n" for key, value in options.items()
            )
            folder = tmp_path / "conf.d"
            folder.mkdir()
            (folder / "cinder.conf").write_text(text)
            loaded = (
                ["--config-dir", str(folder)]
                if where == "folder"
                else ["--config-file", f"{folder}/cinder.conf"]
            )
        try:
            if loaded:
                cfg.CONF(loaded, project="cinder", default_config_files=[], default_config_dirs=[])
            with pytest.raises(
                exception.VolumeBackendAPIException,
                match=r"storpool_tempalte.* do you mean storpool_template",
            ):
                made.do_setup(driver_rig.CONTEXT)
            if loaded:
                (folder / "cinder.conf").write_text(text.replace("tempalte", "template"))
                made.do_setup(driver_rig.CONTEXT)
        finally:
            cfg.CONF(
                [], project="cinder", default_config_files=[], default_config_dirs=[]
            )  # forgets all of it


def test_u16_a_start_is_one_question_and_ends_soon(core: Core, backend: Backend) -> None:
    """U16: cinderlib starts the driver for every verb: one call; with the API away it ends in 10 s,
    not in 32."""
    made = start(core)
    made.init_capabilities()
    assert made.capabilities["properties"]["storpool:qos_class"]["type"] == "string"
    assert core.queries() == ("VolumeTemplatesStatus",)
    made.get_volume_stats(refresh=True)
    assert core.queries() == ("VolumeTemplatesStatus",)
    core.simulator.faults.add("refuse", seconds=30)
    before = time.monotonic()
    with pytest.raises(exception.VolumeBackendAPIException, match="no usable answer"):
        start(core)
    assert time.monotonic() - before < driver.SETUP_SECONDS + 2
    core.simulator.faults.clear()


def test_a_driver_that_was_not_started_says_so(core: Core) -> None:
    """[interface] do_setup comes first."""
    with configured(core) as made, pytest.raises(exception.DriverNotInitialized):
        made.create_volume(volume())


def test_b4_u21_each_pool_has_the_space_of_its_template(backend: Backend) -> None:
    """4.1 B4, U21, T28: numbers of VolumeTemplatesStatus.stored, which are those of client data,
    per template."""
    stats = backend.driver.get_volume_stats(refresh=True)
    pools = {each["pool_name"]: each for each in stats["pools"]}
    assert list(pools) == ["template_nvme", "template_hdd"], (
        "the backend's own first: cinderlib takes the first"
    )
    nvme, hdd = pools["template_nvme"], pools["template_hdd"]
    assert (nvme["total_capacity_gb"], nvme["free_capacity_gb"]) == (100, 100)
    assert hdd["total_capacity_gb"] > 1000
    assert nvme["storpool_template"] == "nvme"
    backend.driver.create_volume(volume(size=10))
    again = backend.driver.get_volume_stats(refresh=True)["pools"][0]
    assert (again["total_capacity_gb"], again["provisioned_capacity_gb"]) == (100, 10)


def test_u22_the_top_level_has_the_capacity_too(backend: Backend, core: Core) -> None:
    """U22: oVirt reads total_capacity_gb and free_capacity_gb at top level, and cinderlib does not
    put them there."""
    stats = backend.driver.get_volume_stats()
    assert (stats["total_capacity_gb"], stats["free_capacity_gb"]) == (100, 100)
    with driver_rig.backend(core, storpool_template=None) as bare:
        stats = bare.driver.get_volume_stats()
        assert stats["pools"][0]["pool_name"] == "default"
        assert stats["total_capacity_gb"] == stats["pools"][0]["total_capacity_gb"] > 1000


def test_a_cluster_without_templates_says_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T28: numbers, or the word that Cinder has for it."""

    monkeypatch.setenv("STORPOOL_OVIRT_ROOT", str(tmp_path))
    with clusters.running(tmp_path / "state", token=TOKEN) as running:
        core = Core(running, tmp_path)
        with driver_rig.backend(core, storpool_template=None) as bare:
            stats = bare.driver.get_volume_stats()
    assert (stats["total_capacity_gb"], stats["free_capacity_gb"]) == ("unknown", "unknown")
    assert [each["pool_name"] for each in stats["pools"]] == ["default"]


def test_a_pinned_cluster_is_the_only_one_that_is_used(core: Core, backend: Backend) -> None:
    """Every request is addressed to the cluster of the options."""
    with driver_rig.backend(
        core, storpool_cluster_id=core.simulator.cluster_id, storpool_multicluster=True
    ) as pinned:
        pinned.driver.create_volume(volume())
        path = core.simulator.calls.list()[-1].path
    assert f"RemoteCommand/~{core.simulator.cluster_id}/MultiCluster/VolumeCreate" in path


def test_u23_cinders_own_attaches_use_our_connector(backend: Backend) -> None:
    """U23: for images and backups Cinder's host needs no openstack-attach.json, which os-brick
    6.4's connector does."""
    from os_brick.initiator import connector

    assert (
        connector._connector_mapping_linux["STORPOOL"]
        == "cinder_driver.connector.StorPoolConnector"
    )


def test_u2_nothing_that_cinderlib_replaces_is_needed(core: Core) -> None:
    """U2: cinderlib puts a false pyparsing in place, on which confget dies: the driver works
    without both."""
    code = f"""
import sys, types, warnings
warnings.simplefilter("ignore")
sys.modules["pyparsing"] = types.ModuleType("pyparsing")
import cinder_driver.driver
from storpool_ovirt.cluster import api
from storpool_ovirt import config, deadline
from storpool_ovirt.secret import Secret
settings = config.Api({core.simulator.host!r}, {core.simulator.port}, Secret({TOKEN!r}))
assert api.Client(settings, deadline.Deadline(10)).templates()
assert "confget" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["cinder-yoga", "cinder-2023.2", "cinder-2026.1"])
def test_u1_the_sets_pin_what_breaks_cinderlib(name: str) -> None:
    """U1: a loose `pip install cinderlib` mixes releases; our sets pin each library that was seen
    to break it."""
    pinned = {
        line.split("==")[0].lower()
        for line in (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    }
    assert {"cinder", "os-brick", "sqlalchemy", "oslo.db", "eventlet"} <= pinned


def test_the_options_have_one_home() -> None:
    """What the adapter has too is described there; the defaults are its defaults."""
    assert options.list_opts() == [("backend_defaults", options.OPTIONS)]
    assert {each.name for each in options.OPTIONS if each.default is not None} == {
        "storpool_replication"
    }
    assert GIB == 1 << 30
