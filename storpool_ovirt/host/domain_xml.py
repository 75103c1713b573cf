"""Disks in libvirt's XML, as Vdsm hands it to a hook: a whole domain, or the one disk that is
plugged.

The elements are those of libvirt's domain format (formatdomain: "Hard drives, floppy disks,
CDROMs"). A VM's start waits for the hook, so they are read by expat itself: what `xml.etree` loads
beside it takes longer than all that is done here.
"""

from __future__ import annotations

from storpool_ovirt import errors
from storpool_ovirt.light import TYPE_CHECKING, dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DOMAIN, DISK = "domain", "disk"
DEPTH_MAX = 256  # libvirt's own documents have less than twenty
# What is deeper is only looked at for whether it is XML; libvirt's own notes of a VM that runs have
# the domain below their root.
KEPT_DEPTH = 8
_NO_ATTRIBUTES: dict[str, str] = {}
_WHAT = "the XML of the hook"
_ADVICE = "it must be what Vdsm hands to a hook"


class Element:
    """An element of a document, with those in it that are near enough to the root; `text` is what
    stands before the first of them. A name of a name space is "<its address>}<name>"."""

    __slots__ = ("attributes", "children", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        # A document may have millions of elements that have nothing
        self.attributes = attributes or _NO_ATTRIBUTES
        self.children: Sequence[Element] = ()
        self.text = ""

    def add(self, child: Element) -> None:
        """Put an element into this one, behind the others."""
        if isinstance(self.children, list):
            self.children.append(child)
        else:
            self.children = [child]

    def get(self, name: str, default: str = "") -> str:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def all(self, path: str) -> list[Element]:
        """Return all elements at a path below this one, in their order."""
        found = [self]
        for tag in path.split("/"):
            found = [each for outer in found for each in outer.children if each.tag == tag]
        return found

    def below(self, tag: str) -> Iterator[Element]:
        """Yield all elements of this name in this one, however deep, in their order."""
        for each in self.children:
            if each.tag == tag:
                yield each
            yield from each.below(tag)

    def first(self, tag: str) -> Element | None:
        """Return the first element of this name in this one; None where there is none."""
        return next((each for each in self.children if each.tag == tag), None)


@dataclass(frozen=True)
class Disk:
    """A disk of a VM that has a path on its host.

    `serial` is the id of oVirt's disk (oVirt's LibvirtVmXmlBuilder).
    """

    path: str
    serial: str | None = None
    shareable: bool = False


def disks(document: bytes, expected: str) -> list[Disk]:
    """Return the disks of a document whose root is `expected` (DOMAIN or DISK), but what has no
    path, and no cdroms.

    Raises InputError when it is not XML or something else.
    """
    root = parsed(document)
    if root.tag != expected:
        raise errors.InputError(_WHAT, f"is no <{expected}>", _ADVICE)
    found = [root] if expected == DISK else root.all("devices/disk")
    # Nobody can write a cdrom.
    read = (_disk(each) for each in found if each.get("device") != "cdrom")
    return [each for each in read if each.path]


def parsed(document: bytes) -> Element:
    """Return the root of a document; raise InputError where it is none of libvirt's."""
    import pyexpat  # root's door, which knows the disks from the hook, does without

    parser = pyexpat.ParserCreate(None, "}")
    parser.buffer_text = True
    reader = _Reader()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(document, True)
    except (LookupError, ValueError):
        # Python does not have the encoding, or it is no plain table of characters.
        raise errors.InputError(_WHAT, "is in an encoding that cannot be read", _ADVICE) from None
    except pyexpat.ExpatError as error:
        raise errors.InputError(_WHAT, f"cannot be read ({error})", _ADVICE) from None
    return reader.root


def path_of(disk: Element) -> str:
    """Return the path that a disk has on its host, "" where it has none."""
    source = disk.first("source")
    return "" if source is None else source.get("dev") or source.get("file")


def _disk(element: Element) -> Disk:
    serial = element.first("serial")
    is_shareable = element.first("shareable") is not None
    return Disk(path_of(element), None if serial is None else serial.text, is_shareable)


class _Reader:
    """What expat reads; nothing of a document that is nested without end."""

    root: Element

    def __init__(self) -> None:
        self._depth = 0
        self._open: list[Element] = []
        self._with_text: Element | None = None
        self._pieces: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._end_text()
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise errors.InputError(_WHAT, f"is nested deeper than {DEPTH_MAX} elements", _ADVICE)
        if self._depth > KEPT_DEPTH:
            return
        self._with_text = element = Element(tag, attributes)
        if self._open:
            self._open[-1].add(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _tag: str) -> None:
        self._end_text()
        if self._depth <= KEPT_DEPTH:
            self._open.pop()
        self._depth -= 1

    def text(self, piece: str) -> None:
        if self._with_text is not None:
            self._pieces.append(piece)

    def _end_text(self) -> None:
        if self._with_text is not None:
            self._with_text.text = "".join(self._pieces)
            self._with_text = None
            self._pieces.clear()


def _refuse_doctype(*_what: object) -> None:
    """Expat calls this for a document type, which is before any element."""
    raise errors.InputError(_WHAT, "has a document type", "libvirt's has none")
