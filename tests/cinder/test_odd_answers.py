"""The driver and answers of StorPool's that are not StorPool's: one exception of Cinder's, one
sentence, no token."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import fuzz_driver
import pytest
from cinder import exception

from rigs import driver_rig, transports
from rigs.core_fixtures import TOKEN, Core
from rigs.driver_rig import Backend, configured, connector, volume

NOISE = "\x1b[31m\u2028\r\n2026-01-01 ERROR forged line\x00\u202e"


@pytest.mark.parametrize("way", transports.WAYS)
def test_the_fuzz_program_finds_nothing(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hundred cases with fixed seeds; `python tests/cinder/fuzz_driver.py 10000` runs more."""
    monkeypatch.setenv(transports.VARIABLE, way)
    assert fuzz_driver.run(60, 7) == []


@pytest.fixture
def made(backend: Backend) -> Any:
    """Give a volume that exists."""
    made = volume()
    backend.driver.create_volume(made)
    return made


def refuse(
    backend: Backend, query: str, descr: str, name: str = "invalidParam", times: int = 1
) -> None:
    """Let StorPool refuse the next calls of a query in these words."""
    backend.core.simulator.faults.add("error_200", query=query, name=name, descr=descr, times=times)


def test_what_a_refusal_says_is_one_line(
    backend: Backend, made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No control character forges a line of Cinder's log, no refusal fills it: they are shown, it
    is cut."""
    caplog.set_level(logging.INFO, "cinder_driver")
    refuse(backend, "VolumeUpdate", NOISE + "x" * 100_000)
    with pytest.raises(exception.VolumeBackendAPIException, match="forged line") as caught:
        backend.driver.extend_volume(made, 2)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1200
    copy = volume()
    backend.driver.create_volume(copy)
    refuse(backend, "VolumeUpdate", NOISE)
    backend.driver.update_migrated_volume(None, volume(), copy, "available")
    told = [each.getMessage() for each in caplog.records if each.name.startswith("cinder_driver")]
    assert any("forged line" in each for each in told)
    assert all(each.isprintable() for each in told)


@pytest.mark.parametrize(
    "form", ["{token}", "Authorization: Storpool v1:{token}", "x" * 2000 + "{token}"]
)
def test_a_token_that_comes_back_is_not_told(
    backend: Backend, made: Any, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy sends back what it was sent: neither the sentence, nor the chain that Cinder logs,
    nor our log has it."""
    caplog.set_level(logging.DEBUG)
    for call, query in (
        (lambda: backend.driver.extend_volume(made, 2), "VolumeUpdate"),
        (lambda: backend.driver.terminate_connection(made, connector(1)), "Volume"),
        (lambda: backend.driver.manage_existing_get_size(made, {"source-name": "old"}), "Volume"),
        (lambda: backend.driver.get_volume_stats(refresh=True), "VolumeTemplatesStatus"),
        (lambda: backend.driver.create_snapshot(driver_rig.snapshot(made)), "VolumeSnapshot"),
    ):
        refuse(backend, query, form.format(token=TOKEN), times=10)
        backend.driver._stats_are_fresh = False
        with pytest.raises(exception.CinderException, match=r"\*\*\*") as caught:
            call()
        try:
            raise caught.value
        except exception.CinderException:
            logging.getLogger("cinder.volume.manager").exception("it failed")
        backend.core.simulator.faults.clear()
        chain = traceback.format_exception(
            type(caught.value), caught.value, caught.value.__traceback__
        )
        assert TOKEN not in "".join(chain)
    assert TOKEN not in caplog.text


def test_a_token_is_in_nothing_that_cinder_shows(core: Core, backend: Backend, made: Any) -> None:
    """Not in the connection info, the statistics, the settings' text nor in what oslo logs of the
    options."""
    shown = [
        str(backend.driver.initialize_connection(made, connector(1))),
        str(backend.driver.get_volume_stats()),
        repr(backend.driver._settings),
        repr(vars(backend.driver)),
    ]
    assert not any(TOKEN in each for each in shown)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"storpool_template": "vorlage-ü"}, "storpool_template is not valid"),
        ({"storpool_template": "x" * 5000}, "storpool_template is not valid"),
        ({"storpool_template": "a\nb"}, "storpool_template is not valid"),
        ({"storpool_qos_class": "günstig"}, "storpool_qos_class is no name of one"),
        ({"storpool_volume_prefix": "präfix"}, "storpool_volume_prefix is not valid"),
        ({"storpool_volume_prefix": "os\n"}, "storpool_volume_prefix is not valid"),
        ({"storpool_auth_token": TOKEN + "\n"}, None),
        ({"storpool_auth_token": "tök" + TOKEN}, "storpool_auth_token is not a token"),
        ({"storpool_cluster_id": "x" * 5000}, "storpool_cluster_id is not valid"),
    ],
)
def test_odd_options_are_told_in_one_line(
    core: Core, backend: Backend, given: dict[str, Any], told: str | None
) -> None:
    """A letter of another script, thousands of characters, a line end: the option is named, the
    token never told."""
    with configured(core, **given) as made:
        if told is None:
            made.do_setup(driver_rig.CONTEXT)
            return
        with pytest.raises(exception.VolumeBackendAPIException, match=told) as caught:
            made.do_setup(driver_rig.CONTEXT)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1200
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("template", ["vorlage-ü", "x" * 5000, "a\nb", "", " ", "9" * 5000])
@pytest.mark.parametrize("spec", ["storpool_template", "storpool:qos_class"])
def test_odd_extra_specs_are_one_sentence(backend: Backend, spec: str, template: str) -> None:
    """What a type's administrator wrote is refused with one line, and nothing is made; nothing
    means not set."""
    made = volume(volume_type=driver_rig.volume_type(**{spec: template}))
    if not template:
        backend.driver.create_volume(made)
        return
    with pytest.raises(exception.CinderException) as caught:
        backend.driver.create_volume(made)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1200
    assert backend.there() == {}


@pytest.mark.parametrize(
    "size", [0, -1, 1 << 40, 10**30, 10**5000], ids=["0", "-1", "2^40", "30 digits", "5000 digits"]
)
def test_odd_sizes_are_one_sentence(backend: Backend, made: Any, size: int) -> None:
    """No size that StorPool cannot have is sent; the volume stays as large as it is."""
    before = backend.there()
    for call in (
        lambda: backend.driver.extend_volume(made, size),
        lambda: backend.driver.create_volume(
            {
                **dict.fromkeys(("volume_type", "volume_type_id")),
                "size": size,
                "id": "x",
                "name_id": "x",
            }
        ),
    ):
        with pytest.raises(exception.InvalidInput) as caught:
            call()
        assert len(str(caught.value)) < 1200
    assert backend.there() == before
