"""names.py: ids, names, tags and device paths."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import errors, names

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"


@given(st.uuids())
def test_ids_round_trip_through_names_and_tags(value: uuid.UUID) -> None:
    """T33: whatever id oVirt chooses, its name and tags lead back to it and to no other."""
    text = str(value)
    if text == names.NIL_UUID:
        return
    assert names.uuid(text.upper(), "volume id") == text
    assert names.object_name(text) == f"ovirt--{text}"
    tags = names.tags(text, "0123abcd", text)
    assert names.is_ours(tags, text, "0123abcd")
    assert not names.is_ours(tags, text, "0123abce")
    nobodys = {key: value for key, value in tags.items() if key != "ovirt-uuid"}
    assert not names.is_ours(nobodys, "", "0123abcd")
    assert not names.is_ours({**tags, "ovirt-uuid": ID}, text, "0123abcd") or text == ID


@given(st.binary(min_size=16, max_size=16), st.sampled_from((4, 5)))
def test_an_id_that_is_made_is_that_of_pythons_module(data: bytes, version: int) -> None:
    """Version and variant are where RFC 9562 has them."""
    assert names.made_uuid(data, version) == str(uuid.UUID(bytes=data, version=version))


@given(st.text(max_size=60))
def test_whatever_is_no_uuid_is_refused_in_one_printable_line(text: str) -> None:
    """Text that is not an id becomes one sentence, whatever characters it has."""
    try:
        names.uuid(text, "volume id")
    except errors.InputError as error:
        assert str(error).isprintable()
    else:
        assert uuid.UUID(text)


def test_the_empty_uuid_is_refused() -> None:
    """Engine stores the empty UUID where a verb gave no answer; acting on it would hit nothing, or
    the wrong thing."""
    with pytest.raises(errors.InputError, match="empty UUID"):
        names.uuid(names.NIL_UUID, "volume id")


def test_name_and_tags_of_every_object_fit() -> None:
    """T5: name and tags of the longest object that we make stay under StorPool's 200 bytes, and
    more is refused."""
    tags = names.tags(ID, "0123abcd", "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10")
    assert set(tags) == {"virt", "ovirt-uuid", "ovirt-loc", "ovirt-root"}
    names.check_length(names.object_name(ID), tags)
    with pytest.raises(errors.InputError, match="StorPool takes 199"):
        names.check_length("x" * 200, {})
    with pytest.raises(errors.InputError, match="StorPool takes 199"):
        names.check_length(names.object_name(ID), {**tags, "x": "y" * 60})


@pytest.mark.parametrize(
    ("given_id", "client_id"),
    [
        (1, 1),
        ("7", 7),
        ("4095", 4095),
        *((odd, None) for odd in (0, "0", 4096, "4096", -1, True, "", " 7", "7a", "\u0667", None)),
    ],
)
def test_a_client_id_is_a_number_from_1_to_4095(given_id: object, client_id: int | None) -> None:
    """What StorPool takes for one, as a number or as digits; nothing else is guessed at."""
    assert names.client_id(given_id) == client_id


def test_clients_are_named_in_order() -> None:
    """A sentence has them sorted, and says so where there is none."""
    assert names.clients({12, 3}) == "client 3, client 12"
    assert names.clients([]) == "no client"


def test_the_device_path_depends_on_identity_alone() -> None:
    """T34: the same global id has the same path on every host and in every state."""
    assert names.device_path("dyo8.b.d") == "/dev/storpool-byid/dyo8.b.d"
    assert names.address("dyo8.b.d") == "~dyo8.b.d"
    assert names.cluster_of("dyo8.b.d") == "dyo8.b"


def test_a_device_path_leads_back_to_its_identity() -> None:
    """Only the link by global id does, with a host's root before it or without; any other path says
    nothing."""
    for root in ("", "/hosts/h1"):
        assert names.global_id_of(names.device_path("dyo8.b.d"), root) == "dyo8.b.d"
        assert names.global_id_of(root + names.device_path("dyo8.b.d"), root) == "dyo8.b.d"
    for path in (
        "",
        "/dev/sp-3",
        "/dev/storpool/os--volume-1",
        "/dev/storpool-byid/",
        "/dev/storpool-byid/.x",
        "/hosts/h2/dev/storpool-byid/dyo8.b.d",
        "dyo8.b.d",
    ):
        assert names.global_id_of(path, "/hosts/h1") is None


@pytest.mark.parametrize(
    ("connector", "host"),
    [
        ({"host": "host1.example", "ip": "127.0.0.1"}, "host1.example"),
        ({"host": "HOST_1-a"}, "HOST_1-a"),
        ({"host": "хост-1.пример"}, "хост-1.пример"),
        ({"host": "नोड"}, "नोड"),
        *(
            (each, None)
            for each in (
                None,
                {},
                [],
                "host1",
                {"host": None},
                {"host": 7},
                {"host": ""},
                {"host": "a\0b"},
                {"host": "\ud800"},
                {"host": "a b"},
                {"host": "a\n"},
                {"host": "-a"},
                {"host": "a\u202eb"},
                {"host": "a" * 254},
            )
        ),
    ],
)
def test_a_connector_may_tell_its_host(connector: object, host: str | None) -> None:
    """What Engine passes may be null or lack the name; what is no host's name is none."""
    assert names.host_of(connector) == host


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", '"plain"'),
        ("Zażółć gęślą", '"Zażółć gęślą"'),
        ("虚拟机 नमस्ते", '"虚拟机 नमस्ते"'),
        ("a\nb\t\0\x7f\x85", r'"a\nb\t\x00\x7f\x85"'),
        ("\u202eevil\u2066\u200b", r'"\u202eevil\u2066\u200b"'),
        ("\udcff\ud800", r'"\udcff\ud800"'),
        ("\u2028\u2029", r'"\u2028\u2029"'),
        ("C:\\x", r'"C:\\x"'),
        ("x" * 60, f'"{"x" * 60}"'),
        ("x" * 61, f'"{"x" * 60}..."'),
        ("\n" * 10_000_000, '"' + r"\n" * 30 + '..."'),
    ],
)
def test_foreign_text_is_shown_whole_and_what_is_not_seen_is_escaped(text: str, shown: str) -> None:
    """Letters of all scripts stay; control characters, changes of direction and half characters are
    made visible."""
    assert names.shown(text) == shown


@pytest.mark.parametrize("name", ["ovirt--{}", "os--volume-{}"])
def test_an_empty_tag_is_none(name: str) -> None:
    """A StorPool that keeps empty tags lists those that were taken away by hand: the name tells
    then, as without."""
    uuid = "6f1c2b9e-0000-4000-8000-000000000000"
    empty = dict.fromkeys((names.TAG_PLATFORM, names.TAG_UUID, names.TAG_LOCATION), "")
    given = name.format(uuid)
    assert not names.is_foreign(empty)
    assert names.ovirt_id(given, empty, "os") == names.ovirt_id(given, {}, "os") == uuid
    assert names.is_own_mark(given, empty) == names.is_own_mark(given, {}) == (name[:5] == "ovirt")
    assert names.owner_marks(given, empty) == names.owner_marks(given, {})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("os--volume-{}", True),
        ("a--volume-b--volume-{}", True),
        ("ovirt--{}", True),
        ("volume-{}", False),
        ("--volume-x{}", False),
        ("{}", False),
        ("", False),
    ],
)
def test_a_name_tells_an_id_whatever_the_prefix_of_cinder(name: str, told: bool) -> None:
    """A name of another deployment's Cinder is one too."""
    uuid = "6f1c2b9e-0000-4000-8000-000000000000"
    assert names.named_id(name.format(uuid)) == (uuid if told else None)


# The tag that names a volume's VM, and the room for it

DISK = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"
VM = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


def length(name: str, tags: dict[str, str]) -> int:
    """Count the bytes as StorPool does."""
    return len(name) + sum(len(key) + len(value) for key, value in tags.items())


def test_the_vm_fits_beside_every_volume_of_ours() -> None:
    """T5, T78: a disk's own volume has room for its VM as it is, a preview's with the short form of
    its disk, and neither reaches StorPool's 200 bytes."""
    name = names.object_name(ID)
    own = {**names.tags(ID, "0123abcd", ID), names.TAG_VM: VM}
    assert names.fitted(name, own) == own
    assert length(name, own) == 154
    preview = {**names.tags(ID, "0123abcd", DISK), names.TAG_VM: VM}
    assert length(name, preview) == 200
    fitted = names.fitted(name, preview)
    assert fitted.items() - preview.items() == {(names.TAG_ROOT, fitted[names.TAG_ROOT])}
    assert length(name, fitted) == 186
    assert names.root_of(fitted) == DISK
    both = {**preview, names.TAG_SHARED: names.SHARED}
    assert length(name, names.fitted(name, both)) == 198


@given(root=st.uuids().map(str), uuid=st.uuids().map(str), extra=st.integers(0, 150))
def test_the_disk_is_read_from_either_form(root: str, uuid: str, extra: int) -> None:
    """T78: what fits is as it was, what does not is shorter, and both name the same disk and owner;
    what is too long either way is refused."""
    name = names.object_name(uuid)
    tags = {**names.tags(uuid, "0123abcd", root), "x": "y" * extra}
    try:
        fitted = names.fitted(name, tags)
    except errors.InputError:
        assert length(name, tags) - (28 if root != uuid else 14) > 199
        return
    assert length(name, fitted) <= 199
    assert (fitted == tags) == (length(name, tags) <= 199)
    assert names.root_of(fitted) == names.root_of(tags) == (root if root != uuid else "")
    assert names.owner_marks(name, fitted) == names.owner_marks(name, tags)
    assert names.differing(tags, fitted) == []


def test_an_objects_own_id_is_short_where_nothing_else_helps() -> None:
    """A preview with its VM and a policy; the disk's id is shortened first, and all that reads
    tags gets the long form (`cluster/replies.py`)."""
    name = names.object_name(ID)
    tags = {**names.tags(ID, "0123abcd", DISK), names.TAG_VM: VM, "qc": "gold"}
    assert names.fitted(name, tags)[names.TAG_UUID] == ID
    assert names.fitted(name, tags)[names.TAG_ROOT] != DISK
    more = {**tags, "vc-policy": "daily"}
    fitted = names.fitted(name, more)
    assert len(fitted[names.TAG_UUID]) == 22
    assert length(name, fitted) == 192
    assert names.is_ours(fitted, ID, "0123abcd")
    assert {**names.with_long_uuid(fitted), names.TAG_ROOT: DISK} == more
    assert names.with_long_uuid(more) is more
    assert names.has_room(name, more)
    assert not names.has_room(name, {**more, "x": "y" * 8})


@given(text=st.text("abcXYZ019_-+/=", min_size=22, max_size=22) | st.text(max_size=40))
def test_what_is_no_id_names_no_disk(text: str) -> None:
    """Of all texts only the one that we write for a disk is read as that disk."""
    root = names.root_of({names.TAG_ROOT: text})
    if root != text:
        assert names.UUID.fits(root)
        wide = {**names.tags(ID, "0123abcd", root), "x": "y" * 50}
        if root != ID:
            assert names.fitted(names.object_name(ID), wide)[names.TAG_ROOT] == text


@pytest.mark.parametrize(
    ("key", "why"),
    [
        *((key, None) for key in ("cvm", "vm", "nvm", "a" * 16, "X.y:z_1-2")),
        ("a" * 17, "no room"),
        ("a" * 300, "no key"),
        *((key, "another meaning") for key in ("virt", "qc", "vc-policy", "virtp", "ovirt-uuid")),
        *((key, "another meaning") for key in ("ovirt-root", "ovirt-anything", "cinder-source")),
        *((key, "no key") for key in ("", " ", "c vm", "cvm\n", "c/m", "\u0441vm")),
    ],
)
def test_which_tag_may_name_a_vm(key: str, why: str | None) -> None:
    """T78: one that StorPool takes, that means nothing else, and that leaves room on a preview."""
    fault = names.vm_tag_fault(key)
    assert (fault is None) == (why is None)
    if fault is not None:
        assert why is not None and why in fault[0]
    else:
        tags = {**names.tags(ID, "0123abcd", DISK), key: VM}
        names.fitted(names.object_name(ID), tags)


def test_which_vm_a_volume_names() -> None:
    """A UUID, and none on a disk that several VMs may have."""
    assert names.vm_of({"cvm": VM}, "cvm") == VM
    for tags in ({}, {"cvm": ""}, {"cvm": "web1"}, {"cvm": VM, "ovirt-share": "1"}, {"vm": VM}):
        assert names.vm_of(tags, "cvm") == ""
