"""domain_xml.py: which disks of a domain have a path on the host, and which of them are
shareable."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storpool_ovirt import errors
from storpool_ovirt.host import domain_xml
from storpool_ovirt.host.domain_xml import DISK, DOMAIN, Disk

DEVICE = "<disk type='block'><source dev='/dev/a'/><target dev='vda'/></disk>"


def domain(*devices: str) -> bytes:
    """Return a domain with these devices."""
    return (
        f"<domain type='kvm'><name>vm</name><devices>{''.join(devices)}</devices></domain>".encode()
    )


def test_disks_of_a_domain() -> None:
    """Block devices and files are named by their path, whatever else the domain has; shareable ones
    are marked."""
    document = domain(
        "<disk type='block' device='disk'><driver/><source dev='/dev/a'><seclabel"
        " model='dac'/></source></disk>",
        "<interface type='bridge'><source bridge='ovirtmgmt'/></interface>",
        "<disk type='file' device='disk'><source file='/rhev/x'/><shareable/></disk>",
    )
    assert domain_xml.disks(document, DOMAIN) == [Disk("/dev/a"), Disk("/rhev/x", shareable=True)]


def test_the_serial_tells_ovirts_disk() -> None:
    """Engine writes the id of its disk there, whichever volume of it the VM gets; a serial
    elsewhere is another's."""
    disk = "<disk><source dev='/dev/a'/><serial>5b8e-<![CDATA[4a0e]]></serial></disk>"
    assert domain_xml.disks(domain("<sysinfo><serial>x</serial></sysinfo>", disk), DOMAIN) == [
        Disk("/dev/a", serial="5b8e-4a0e")
    ]


def test_what_has_no_path_is_left_out() -> None:
    """A network disk, a cdrom, and the sources of a chain below a disk are no disks that could be
    taken."""
    document = domain(
        "<disk type='network'><source protocol='rbd' name='pool/image'><host"
        " name='a'/></source></disk>",
        "<disk type='file' device='cdrom'><target dev='sdc'/><readonly/></disk>",
        "<disk type='file' device='cdrom'><source file=''/></disk>",
        "<disk type='block' device='cdrom'><source dev='/dev/storpool/iso'/><readonly/></disk>",
        "<disk type='file'><source file='/top'/><backingStore type='block'><source"
        " dev='/dev/below'/><shareable/></backingStore></disk>",
        "<hostdev><source><disk><source dev='/dev/none'/></disk></source></hostdev>",
    )
    assert domain_xml.disks(document, DOMAIN) == [Disk("/top")]


def test_the_words_of_others_have_their_own_names() -> None:
    """oVirt's metadata are in a name space of their own, so what is called a disk there is none."""
    document = domain(DEVICE).replace(
        b"<devices>",
        b"<metadata><o:vm xmlns:o='http://ovirt.org/vm/1.0'><o:disk><o:source dev='/dev/b'/>"
        b"</o:disk><disk><source dev='/dev/c'/></disk></o:vm></metadata><devices>",
        1,
    )
    assert domain_xml.disks(document, DOMAIN) == [Disk("/dev/a")]


@pytest.mark.parametrize("guid", ["<o:GUID/>", "<o:GUID></o:GUID>", "<o:GUID>20x</o:GUID>", ""])
def test_what_engines_note_of_a_managed_disk(guid: str) -> None:
    """Engine 4.5.1.1 to 4.5.7 has an empty GUID for each disk of ours (its LibvirtVmXmlBuilder at
    these tags), later ones none: the disk is found all the same, by its path."""
    document = (
        "<domain><metadata><o:vm xmlns:o='http://ovirt.org/vm/1.0'>"
        f"<o:device devtype='disk' name='vda'><o:managed>true</o:managed>{guid}</o:device></o:vm>"
        "</metadata><devices><disk><source dev='/dev/a'/></disk></devices></domain>"
    )
    assert domain_xml.disks(document.encode(), domain_xml.DOMAIN) == [domain_xml.Disk("/dev/a")]


def test_one_disk() -> None:
    """What Vdsm hands over before a disk is plugged is the element alone."""
    assert domain_xml.disks(DEVICE.encode(), DISK) == [Disk("/dev/a")]


def test_escapes_and_encodings() -> None:
    """A path is what libvirt means by it."""
    document = "<disk><source dev='/dev/a&amp;b&#x63;é'/></disk>"
    assert domain_xml.disks(document.encode(), DISK) == [Disk("/dev/a&bcé")]
    latin = f"<?xml version='1.0' encoding='ISO-8859-1'?>{document}".encode("latin-1")
    assert domain_xml.disks(latin, DISK) == [Disk("/dev/a&bcé")]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "cannot be read"),
        (b"<domain>", "cannot be read"),
        (b"not XML", "cannot be read"),
        (domain(DEVICE)[:-3], "cannot be read"),
        (domain(DEVICE) + b"<domain/>", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (DEVICE.encode(), "is no <domain>"),
        (b"<!DOCTYPE domain [<!ENTITY a 'b'>]><domain/>", "has a document type"),
        (b"<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>", "has a document type"),
        (b"<domain>&a;</domain>", "undefined entity"),
    ],
)
def test_what_is_no_domain_is_refused(document: bytes, why: str) -> None:
    """Nobody guesses at half a document: a disk that is not seen is a disk that is not taken."""
    with pytest.raises(errors.InputError, match=why):
        domain_xml.disks(document, DOMAIN)


PATHS = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="<&'\""),
    min_size=1,
)


@given(st.lists(st.tuples(PATHS, st.booleans())))
def test_every_disk_is_found(disks: list[tuple[str, bool]]) -> None:
    """None is lost and none is invented, in whatever order they come."""
    elements = [
        f"<disk><source dev='{path}'/>{'<shareable/>' if shared else ''}</disk><controller/>"
        for path, shared in disks
    ]
    assert domain_xml.disks(domain(*elements), DOMAIN) == [
        Disk(path, shareable=shared) for path, shared in disks
    ]


@pytest.mark.parametrize(
    "head",
    [
        b"utf-7",
        b"nonsense",
        b"utf-16",
        b"shift_jis",
        b"idna",
        b"zip",
        b"rot13",
        b"",
        b"\xff",
        b"x" * 100_000,
    ],
)
def test_an_odd_encoding_is_one_sentence(head: bytes) -> None:
    """What expat raises for an encoding that it or Python does not have is told as what is wrong
    with the document."""
    with pytest.raises(errors.InputError, match="the XML of the hook"):
        domain_xml.disks(b'<?xml version="1.0" encoding="' + head + b'"?><disk/>', domain_xml.DISK)


def test_a_document_that_is_nested_without_end_is_refused_at_once() -> None:
    """Elements within elements cost time that grows with their depth."""
    with pytest.raises(errors.InputError, match="is nested deeper"):
        domain_xml.disks(b"<disk>" + b"<a>" * 1_000_000, domain_xml.DISK)


def test_a_disk_far_below_is_none() -> None:
    """What has the name of a disk within something else is not the VM's, at whatever depth."""
    deep = "<a>" * 100 + "<disk><source dev='/dev/b'/></disk>" + "</a>" * 100
    inside = f"<disk><serial>1<a>2</a>3</serial><source dev='/dev/a'>{deep}</source></disk>"
    assert domain_xml.disks(domain(deep, inside), DOMAIN) == [Disk("/dev/a", serial="1")]


# What ElementTree, the usual reader, makes of the same document

PIECES = st.sampled_from(
    [
        "<domain>",
        "</domain>",
        "<devices>",
        "</devices>",
        "<disk>",
        "<disk device='cdrom'>",
        "</disk>",
        "<source dev='/dev/a'/>",
        "<source file='' dev='/dev/&#98;'>",
        "<source file='/f'/>",
        "</source>",
        "<serial>",
        "</serial>",
        "<shareable/>",
        "<x:disk xmlns:x='u'>",
        "<disk xmlns='u'/>",
        "</x:disk>",
        "text",
        "<![CDATA[ & ]]>",
        "&amp;",
        "&none;",
        "<!-- -->",
        "<?pi?>",
        "<",
        "]]>",
        "\x00",
        "\u00e9",
    ]
)


def usual(document: bytes, expected: str) -> list[Disk] | str:
    """Return the disks that are in a document by ElementTree, or why it is none."""
    try:
        root = ElementTree.fromstring(document)  # noqa: S314
    except ElementTree.ParseError as error:
        return f"cannot be read ({error})"
    if root.tag != expected:
        return f"is no <{expected}>"
    found = []
    for each in [root] if expected == DISK else root.findall("devices/disk"):
        source = each.find("source")
        path = None if source is None else source.get("dev") or source.get("file")
        if path and each.get("device") != "cdrom":
            shareable = each.find("shareable") is not None
            found.append(Disk(path, each.findtext("serial"), shareable))
    return found


def read(document: bytes, expected: str) -> list[Disk] | str:
    """Return the disks that are in a document, or why it is none."""
    try:
        return domain_xml.disks(document, expected)
    except errors.InputError as error:
        return error.why


@given(
    st.lists(PIECES, max_size=12),
    st.sampled_from(["", "<domain><devices>", "<domain><devices><disk>", "<disk>"]),
    st.sampled_from([DISK, DOMAIN]),
    st.booleans(),
)
def test_it_reads_as_usual(pieces: list[str], head: str, expected: str, ends: bool) -> None:
    """The same disks, and the same words for what is no document, also where it is damaged."""
    tails = {"": "", "<disk>": "</disk>", "<domain><devices>": "</devices></domain>"}
    tail = tails.get(head, "</disk></devices></domain>") if ends else ""
    document = (head + "".join(pieces) + tail).encode()
    assert read(document, expected) == usual(document, expected)


@given(
    st.lists(st.sampled_from(["<source dev='/a'>", "</source>", "<b>", "</b>", "x"]), max_size=9)
)
def test_a_disk_reads_as_usual(pieces: list[str]) -> None:
    """The first source of a disk counts, wherever its end is."""
    document = f"<disk><serial>{''.join(pieces)}</serial><source dev='/z'/></disk>".encode()
    assert read(document, DISK) == usual(document, DISK)
