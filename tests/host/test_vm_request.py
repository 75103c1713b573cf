"""vm_request.py: what the door, which is root's, takes of what comes from user vdsm, who may be
anybody."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from rigs import refusals
from rigs.bad_requests import BAD_VALUES, DISK, damaged
from storpool_ovirt import errors
from storpool_ovirt.host import domain_xml, vm_points, vm_request

POINTS = list(vm_points.POINTS)
VM = "0b5f6a52-4d7c-4c57-8c1c-1a3d3d1f9a00"
RUN_LINK = f"/run/vdsm/managedvolumes/{VM}_{DISK}"
FUZZED = 10_000


def request(*paths: str) -> vm_request.Request:
    """Return a start of a VM with a disk for each path."""
    disks = [
        (f"bgu4.n.a{at}z", domain_xml.Disk(path, DISK, False))
        for at, path in enumerate(paths or (RUN_LINK,))
    ]
    return vm_request.Request("before_vm_start", VM, disks)


def fields() -> dict[str, Any]:
    """Return a good request as the JSON that it is."""
    found: dict[str, Any] = json.loads(vm_request.write(request()))
    return found


def line(value: object) -> bytes:
    """Return a value as the hook writes it."""
    return json.dumps(value).encode() + b"\n"


def said(data: bytes) -> str:
    """Check that this is refused and return the sentence."""
    with pytest.raises(errors.InputError) as caught:
        vm_request.read(data, POINTS)
    return refusals.check_sentence(str(caught.value))


def test_what_the_hook_writes_the_door_reads() -> None:
    """A request comes through whole: the point, the VM, and each disk as the VM's XML has it."""
    several = request(
        RUN_LINK,
        "/dev/storpool-byid/bgu4.n.a1z",
        "/dev/storpool/имя",
        "/var/run/vdsm/managedvolumes/a_b",
    )
    assert vm_request.read(vm_request.write(several), POINTS) == several
    shared = vm_request.Request(
        "before_disk_hotplug", "-", [("a.b.c", domain_xml.Disk("/dev/sp-1", None, True))]
    )
    assert vm_request.read(vm_request.write(shared), POINTS) == shared


def test_what_is_no_id_of_ovirts_is_not_sent() -> None:
    """A serial is compared with ids of oVirt's, and a VM's id is a word in the log: anything else
    stays outside."""
    odd = vm_request.Request(
        "before_vm_start", "x\ny", [("a.b.c", domain_xml.Disk("/dev/a", "WD-1234 <x>", False))]
    )
    read = vm_request.read(vm_request.write(odd), POINTS)
    assert (read.vm, read.disks[0][1].serial) == ("-", None)


def test_the_most_disks_with_the_longest_names_fit() -> None:
    """The limit of the whole is not less than those of its parts."""
    path = "/dev/" + "\U00010384" * (vm_request.PATH_MAX_CHARACTERS - len("/dev/"))
    many = request(*[path] * vm_request.DISKS_MAX)
    assert vm_request.read(vm_request.write(many), POINTS) == many
    more = request(*["/dev/a"] * (vm_request.DISKS_MAX + 1))
    assert "1 to 1024 disks" in said(vm_request.write(more))


@pytest.mark.parametrize("key", ["point", "vm", "disks"])
@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: ascii(value)[:20])
def test_each_part_of_a_request_is_checked(key: str, value: Any) -> None:
    """Whatever stands in the place of a point, a VM's id or the disks is refused."""
    sentence = said(line({**fields(), key: value}))
    assert f"{key} in the request to root" in sentence or "of the request to root" in sentence


@pytest.mark.parametrize("key", ["global_id", "path", "serial", "shareable"])
@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: ascii(value)[:20])
def test_each_part_of_a_disk_is_checked(key: str, value: Any) -> None:
    """Whatever stands in the place of a global id, a path, a serial or a yes or no is refused."""
    wrong = fields()
    wrong["disks"][0][key] = value
    if (key == "serial" and value is None) or (key == "shareable" and value is True):
        assert vm_request.read(line(wrong), POINTS)
        return
    said(line(wrong))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"\xff\xfe{}\n",
        b"\xef\xbb\xbf{}\n",
        b"{" * 100_000 + b"\n",
        b"[" * 100_000 + b"]" * 100_000 + b"\n",
        b"9" * 100_000 + b"\n",
        b"NaN\n",
        b'{"a":1e999}\n',
        b" " * (5 << 20) + b"\n",
        b"\0\n",
        b"{}\r\n{}\r\n",
    ],
    ids=lambda data: ascii(data[:12]),
)
def test_a_document_that_is_none(data: bytes) -> None:
    """No JSON, another JSON, nested for ever, endless numbers, too much of anything: one sentence
    each, and quickly."""
    said(data)


def test_a_document_is_one_whole_line() -> None:
    """What was cut off is not completed, and what comes after the line is not passed over."""
    good = vm_request.write(request())
    for data in (good[:-1], good + b"x", good + good, b"\n" + good, good.replace(b",", b",\n", 1)):
        assert "is not one whole line" in said(data)


def test_a_key_too_many_too_few_or_twice() -> None:
    """The keys are these, each once: where a key came twice, two readers could see two requests."""
    said(line({**fields(), "environment": {}}))
    said(line({key: value for key, value in fields().items() if key != "vm"}))
    disk = fields()["disks"][0]
    said(line({**fields(), "disks": [{**disk, "force": True}]}))
    said(
        line(
            {
                **fields(),
                "disks": [{key: value for key, value in disk.items() if key != "shareable"}],
            }
        )
    )
    good = vm_request.write(request())
    said(good.replace(b'"vm":', b'"vm":"-","vm":'))
    said(good.replace(b'"shareable":false', b'"shareable":true,"shareable":false'))


def test_ten_thousand_damaged_requests() -> None:
    """Of a request with seeded damage nothing comes but one plain sentence, or a request that keeps
    every rule."""
    dice = random.Random(9)
    good = vm_request.write(request(RUN_LINK, "/dev/storpool-byid/bgu4.n.a1z"))
    taken = 0
    for _ in range(FUZZED):
        data = damaged(dice, good)
        try:
            found = vm_request.read(data, POINTS)
        except errors.InputError as error:
            refusals.check_sentence(str(error))
            continue
        taken += 1
        assert vm_request.read(vm_request.write(found), POINTS) == found
        assert found.point in POINTS
        for _, disk in found.disks:
            assert disk.path.isprintable()
            assert disk.path.startswith(("/dev/", "/run/vdsm/", "/var/run/vdsm/", "//"))
    assert 0 < taken < FUZZED / 2, "some damage does no harm, most does"
