"""device_paths.py: which StorPool object a VM gets under a path of its host."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rigs import faulty_files
from storpool_ovirt import errors
from storpool_ovirt.host import device_paths

SD, VOLUME = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
RUN_LINK = f"/run/vdsm/managedvolumes/{SD}_{VOLUME}"
GLOBAL_ID = "sim.a.b"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with one StorPool device, its two links, and a device of somebody else's."""
    for folder in ("dev/storpool", "dev/storpool-byid", "dev/other", "run/vdsm/managedvolumes"):
        (tmp_path / folder).mkdir(parents=True)
    for device in ("dev/sp-3", "dev/other/disk"):
        (tmp_path / device).touch()
    (tmp_path / f"dev/storpool-byid/{GLOBAL_ID}").symlink_to("../sp-3")
    (tmp_path / "dev/storpool/ovirt--name").symlink_to("../sp-3")
    return tmp_path


def link(host: Path, path: str, target: str | Path) -> None:
    """Make a link on the host."""
    (host / path.lstrip("/")).symlink_to(target)


@pytest.mark.parametrize(
    "path",
    [
        f"/dev/storpool-byid/{GLOBAL_ID}",
        "/dev/storpool/ovirt--name",
        "/dev/sp-3",
        f"//dev/./storpool-byid/{GLOBAL_ID}",
        "/dev/other/../sp-3",
    ],
)
def test_every_name_of_a_device(host: Path, path: str) -> None:
    """StorPool's own links, by id and by name, and the device itself mean the same object."""
    assert device_paths.global_ids(path, str(host)) == [GLOBAL_ID]


@pytest.mark.parametrize(
    "target", [f"dev/storpool-byid/{GLOBAL_ID}", "dev/storpool/ovirt--name", "dev/sp-3"]
)
def test_a_run_link(host: Path, target: str) -> None:
    """Vdsm's link leads to it, wherever Vdsm was told to point it; it may be spelled by its old
    folder too."""
    link(host, RUN_LINK, host / target)
    assert device_paths.global_ids(RUN_LINK, str(host)) == [GLOBAL_ID]
    assert device_paths.global_ids(f"/var{RUN_LINK}", str(host)) == [GLOBAL_ID]


def test_a_run_link_on_a_real_host(host: Path) -> None:
    """There the link has no folder of a host before it."""
    link(host, RUN_LINK, f"/dev/storpool-byid/{GLOBAL_ID}")
    assert device_paths.global_ids(RUN_LINK, str(host)) == [GLOBAL_ID]


def test_a_device_that_is_gone(host: Path) -> None:
    """A link by id tells whose device it was, also when that is not there: it will be attached
    anew."""
    link(host, RUN_LINK, host / "dev/storpool-byid/sim.a.gone")
    assert device_paths.global_ids(RUN_LINK, str(host)) == ["sim.a.gone"]
    assert device_paths.global_ids("/dev/storpool-byid/sim.a.gone", str(host)) == ["sim.a.gone"]


def test_others(host: Path) -> None:
    """What leads elsewhere is nobody's business here, dangling or not, and a ring of links ends."""
    link(host, RUN_LINK, host / "dev/other/disk")
    link(host, f"{RUN_LINK}0", host / "dev/other/none")
    link(host, "/dev/ring", host / "dev/ring")
    for path in (RUN_LINK, f"{RUN_LINK}0", "/dev/ring", "/dev/other/disk", "/dev/mapper/none"):
        assert device_paths.global_ids(path, str(host)) == [], path


@pytest.mark.parametrize("path", [RUN_LINK, "/dev/storpool/none"])
def test_a_path_that_should_be_there(host: Path, path: str) -> None:
    """A managed volume without its link, or a StorPool name without its device, is an error and no
    guess."""
    with pytest.raises(errors.NotFound, match="Engine attaches the disk first"):
        device_paths.global_ids(path, str(host))


def test_a_host_without_storpool(tmp_path: Path) -> None:
    """Other devices are others' also where StorPool's folders do not exist."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/sda").touch()
    assert device_paths.global_ids("/dev/sda", str(tmp_path)) == []


def test_a_device_that_leaves_while_it_is_looked_for(host: Path) -> None:
    """A link by id that dangles does not stop the search."""
    (host / "dev/storpool-byid/sim.a.a").symlink_to("../sp-gone")
    assert device_paths.global_ids("/dev/sp-3", str(host)) == [GLOBAL_ID]


def in_a_circle(host: Path, global_id: str = "sim.a.ring") -> Path:
    """Make a link by id that leads to itself."""
    ring = host / "dev/storpool-byid" / global_id
    ring.symlink_to(ring)
    return ring


def test_a_bad_link_that_nobody_uses(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link by id that leads in a circle, or that cannot be looked at, refuses no VM that does
    not use it: neither one whose disks are others', nor one whose device has a good link.
    """
    ring = in_a_circle(host)
    link(host, RUN_LINK, host / "dev/other/disk")
    for code in (0, *faulty_files.ERRORS):
        with monkeypatch.context() as patch:
            if code:
                faulty_files.inject(patch, ring, code)
            assert device_paths.global_ids("/dev/other/disk", str(host)) == []
            assert device_paths.global_ids(RUN_LINK, str(host)) == []
            assert device_paths.global_ids("/dev/sp-3", str(host)) == [GLOBAL_ID]


@pytest.mark.parametrize("code", faulty_files.ERRORS)
def test_a_device_of_storpools_whose_link_may_be_the_bad_one(
    host: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A device that is StorPool's by its name and has no good link: the sentence names the bad
    one and the reason; a circle is no device's, so that there is none.
    """
    (host / "dev/sp-4").touch()
    ring = in_a_circle(host)
    with pytest.raises(errors.NotFound, match=r"there is no device /dev/sp-4 on this host"):
        device_paths.global_ids("/dev/sp-4", str(host))
    faulty_files.inject(monkeypatch, ring, code)
    expected = errors.NotFound if code == errno.ELOOP else errors.Unseen
    with pytest.raises(expected) as raised:
        device_paths.global_ids("/dev/sp-4", str(host))
    assert code == errno.ELOOP or f"{ring} cannot be looked at ({os.strerror(code)})" in str(
        raised.value
    )


@pytest.mark.parametrize("code", faulty_files.ERRORS)
@pytest.mark.parametrize(
    ("place", "path", "named"),
    [
        ("dev/storpool-byid", "/dev/sp-3", "dev/storpool-byid"),
        ("dev/storpool-byid", "/dev/other/disk", "dev/storpool-byid"),
        ("dev/storpool/", "/dev/storpool/ovirt--name", "dev/storpool/ovirt--name"),
        ("run/vdsm", RUN_LINK, RUN_LINK[1:]),
        ("dev/other", "/dev/other/disk", "dev/other/disk"),
    ],
)
def test_a_folder_that_cannot_be_looked_at(
    host: Path, monkeypatch: pytest.MonkeyPatch, place: str, path: str, named: str, code: int
) -> None:
    """Nobody can tell whether the disk is StorPool's: the start is refused, and the sentence
    names what cannot be looked at, and why.
    """
    link(host, RUN_LINK, "/dev/storpool-byid/sim.a.b")
    faulty_files.inject(monkeypatch, host / place if place[-1] != "/" else f"{host}/{place}", code)
    with pytest.raises(errors.Unseen) as raised:
        device_paths.global_ids(path, str(host))
    assert f"{host}/{named} cannot be looked at ({os.strerror(code)})" in str(raised.value)


def test_a_managed_volume_whose_link_leads_in_a_circle(host: Path) -> None:
    """Such a run link is refused with the true cause, and not taken for another vendor's."""
    link(host, RUN_LINK, host / RUN_LINK[1:])
    with pytest.raises(
        errors.Unseen, match=r"cannot be looked at \(Too many levels of symbolic links\)"
    ):
        device_paths.global_ids(RUN_LINK, str(host))


def test_a_device_with_two_ids(host: Path) -> None:
    """A device has the id of now and the one of before a revert; or a link by id was left from
    another volume. StorPool knows."""
    (host / "dev/storpool-byid/sim.a.a").symlink_to("../sp-3")
    assert device_paths.global_ids("/dev/sp-3", str(host)) == ["sim.a.a", GLOBAL_ID]
    assert device_paths.global_ids("/dev/storpool-byid/sim.a.a", str(host)) == ["sim.a.a"]


def test_volume_of_a_run_link() -> None:
    """The link's name tells which volume oVirt means; no other path does."""
    assert device_paths.volume_of_run_link(RUN_LINK) == VOLUME
    assert device_paths.volume_of_run_link(f"/var{RUN_LINK}") == VOLUME
    for path in (
        f"{RUN_LINK}x",
        f"/dev/{SD}_{VOLUME}",
        "/run/vdsm/managedvolumes/x",
        f"/run/vdsm/managedvolumes/{SD}_",
    ):
        assert device_paths.volume_of_run_link(path) is None


@pytest.mark.parametrize(
    ("path", "worth"),
    [
        ("/dev/sda", True),
        ("//dev/sda", True),
        (RUN_LINK, True),
        (f"/var{RUN_LINK}", True),
        ("/rhev/data-center/x", False),
        ("dev/sda", False),
    ],
)
def test_where_to_look_at_all(path: str, worth: bool) -> None:
    """Files of other storage are not even looked at: theirs may be a server that does not
    answer."""
    assert device_paths.may_be_ours(path) == worth
