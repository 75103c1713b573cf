"""Who gave a volume its values, and what it has of its own: the tag `virtp`.

A disk has values of its own, of its domain or of what it was made from. Where an administrator or a
VM's property has put another one in their place, the tag tells who has, and what the disk's own one
is, so that whoever takes that back, a host too, needs to ask nobody. No such value is written where
the tag has no room (`budget.py`). A disk that has its own values alone has no such tag.

The tag has a letter for each of the two fields, `-` for its own value, then the disk's own values
of those that have another letter: `a-silver`, `-p`, `ap6.silverdaily`. A capital says that its own
value is not known; that is read and kept, and no mark becomes one. Where the disk has nothing of
its own beneath, one hexadecimal digit says the same: four times the class's letter in `-avp`, and
the policy's. It is for volumes without room for more.
"""

from __future__ import annotations

from storpool_ovirt import names, text
from storpool_ovirt.light import TYPE_CHECKING, NamedTuple
from storpool_ovirt.policy import values

if TYPE_CHECKING:
    from collections.abc import Mapping

# Who has put it there: an administrator on the disk, or on its VM, or a property of the VM.
ADMIN, VM, PROPERTY = BY = ("a", "v", "p")
_OWN = "-"
_LETTERS = (_OWN, *BY)
_DIGITS = "0123456789abcdef"


class Origin(NamedTuple):
    """Who gave a disk its value, "" where it is the disk's own, and else what that is; None where
    nobody knows."""

    by: str = ""
    base: str | None = ""


class Mark(NamedTuple):
    """Where both values of a volume come from."""

    qos: Origin = Origin()
    vc: Origin = Origin()

    def of(self, field: str) -> Origin:
        """Return where the value of a field comes from."""
        return self.qos if field == values.QOS else self.vc


NONE = Mark()


def written(mark: Mark) -> str:
    """Return the value of the tag; "" where there is to be none."""
    if not mark.qos.by and not mark.vc.by:
        return ""
    letters = "".join(map(_letter, mark))
    bases = [each.base for each in mark if each.by and each.base is not None]
    if len(bases) < len(mark):
        return letters + "".join(bases)
    return f"{letters}{len(bases[0])}.{''.join(bases)}"


def forms(mark: Mark) -> tuple[str, ...]:
    """Return the values that the tag may have, the one for people first, then the shortest."""
    has_base = any(each.by and each.base != "" for each in mark)
    if has_base or not written(mark):
        return (written(mark),)
    first, second = (_LETTERS.index(each.by or _OWN) for each in mark)
    return written(mark), _DIGITS[first * len(_LETTERS) + second]


def parsed(tags: Mapping[str, str]) -> Mark:
    """Return where a volume's values come from; they are its own where the tag makes no sense."""
    said = names.mark(tags)
    digit = _DIGITS.find(said) if len(said) == 1 else -1
    if digit >= 0:
        return Mark(*(_origin(_LETTERS[each], "") for each in divmod(digit, len(_LETTERS))))
    letters, bases = said[:2], said[2:]
    if len(letters) < 2 or any(each.lower() not in (*BY, _OWN) for each in letters):
        return NONE
    told = [each in BY for each in letters]
    if all(told):
        length, mark, both = bases.partition(".")
        count = text.number(length, 0, len(both))
        if not mark or count is None:
            return NONE
        first, second = both[:count], both[count:]
    elif any(told):
        first, second = (bases if each else "" for each in told)
    elif bases:
        return NONE
    else:
        first = second = ""
    return Mark(_origin(letters[0], first), _origin(letters[1], second))


def _letter(origin: Origin) -> str:
    if not origin.by:
        return _OWN
    return origin.by.upper() if origin.base is None else origin.by


def _origin(letter: str, base: str) -> Origin:
    if letter == _OWN:
        return Origin()
    return Origin(letter.lower(), base if letter in BY else None)
