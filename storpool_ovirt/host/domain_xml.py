"""Disks in libvirt's XML, as Vdsm hands it to a hook: a whole domain, or the one disk that is
plugged.

Read as a stream with the parser of the standard library alone, as a VM's start waits for it;
nothing here can write. The elements are those of libvirt's domain format (formatdomain: "Hard
drives, floppy disks, CDROMs").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

from storpool_ovirt import errors

DOMAIN, DISK = "domain", "disk"
_DISK_PLACES = (["domain", "devices", "disk"], ["disk"])
DEPTH_MAX = 256  # libvirt's own documents have less than twenty
_ADVICE = "it must be what Vdsm hands to a hook"


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
    reader = _Reader(expected)
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(document, True)
    except (LookupError, ValueError):
        # Python does not have the encoding, or it is no plain table of characters.
        raise errors.InputError(
            "the XML of the hook", "is in an encoding that cannot be read", _ADVICE
        ) from None
    except expat.ExpatError as error:
        raise errors.InputError(
            "the XML of the hook", f"cannot be read ({error})", _ADVICE
        ) from None
    return reader.found


class _Reader:
    """Follows the elements: a disk is one at its place, its source one directly below it (not that
    of a backing)."""

    def __init__(self, expected: str) -> None:
        self.found: list[Disk] = []
        self._expected = expected
        self._open: list[str] = []
        self._disk: dict[str, Any] | None = None
        self._is_cdrom = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open and name != self._expected:
            raise errors.InputError("the XML of the hook", f"is no <{self._expected}>", _ADVICE)
        if len(self._open) >= DEPTH_MAX:
            raise errors.InputError(
                "the XML of the hook", f"is nested deeper than {DEPTH_MAX} elements", _ADVICE
            )
        self._open.append(name)
        if self._open in _DISK_PLACES:
            self._disk = {}
            self._is_cdrom = attributes.get("device") == "cdrom"
        elif self._disk is not None and self._open[:-1] in _DISK_PLACES:
            if name == "source":
                self._disk["path"] = attributes.get("dev") or attributes.get("file") or ""
            elif name == "serial":
                self._disk["serial"] = ""
            elif name == "shareable":
                self._disk["shareable"] = True

    def text(self, data: str) -> None:
        if (
            self._disk is not None
            and self._open[:-1] in _DISK_PLACES
            and self._open[-1] == "serial"
        ):
            self._disk["serial"] += data

    def end(self, _name: str) -> None:
        if self._disk is not None and self._open in _DISK_PLACES:
            if self._disk.get("path") and not self._is_cdrom:  # which nobody can write
                self.found.append(Disk(**self._disk))
            self._disk = None
        self._open.pop()


def _refuse_doctype(*_arguments: object) -> None:
    raise errors.InputError("the XML of the hook", "has a document type", "libvirt's has none")
