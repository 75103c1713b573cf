"""vdsm.py of the demo: how Vdsm runs a helper, and what it remembers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from demo_callers import SD, VOL, write_program

from ovirt_demo import vdsm

CONNECTION = {
    "adapter": "storpool",
    "driver_volume_type": "storpool",
    "data": {"volume": "d", "global_id": "a.b.c"},
}


MakeHost = Callable[..., vdsm.Host]


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
