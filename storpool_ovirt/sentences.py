"""Sentences for people: without secrets, on one line, not too long.

Whatever a program says (but the payload of a success, which is for a program) comes through
`Secrets.masked` and `fit`, in this order: a cut or an escape in the middle of a secret must not
hide it from the mask.
"""

from __future__ import annotations

from storpool_ovirt.light import TYPE_CHECKING

if TYPE_CHECKING:
    import re

# What Engine keeps of an error in its log and shows in its events is a line; nobody reads more of
# one.
SENTENCE_MAX = 1000
# Where a longer text stands within a sentence it is cut, and ends with this.
CUT = "..."
MASK = "***"

# Shorter texts are words and numbers that occur by chance, and a mask over them would show more
# than it hides.
SHORTEST_SECRET = 3
# From here on a secret is looked for inside words too.
SHORTEST_INSIDE = 6
# Less of a secret that somebody has cut off is not worth a search.
SHORTEST_PREFIX = 4

# Each level of escaping doubles the backslashes; without a bound a text of nothing else would be
# searched for ever.
_ANY, _ESCAPED = r"\\{0,16}", r"\\{1,16}"
# The forms in which a character may stand that is neither a letter nor a digit: as it is, after any
# number of backslashes, doubled (SQL, format strings), percent-encoded, or escaped as Python, JSON
# and XML do.
_XML_NAMES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_SHORT_ESCAPES = {
    "\n": "n",
    "\r": "r",
    "\t": "t",
    "\b": "b",
    "\f": "f",
    "\v": "v",
    "\a": "a",
    "\0": "0",
}
# An escape may be cut too: some characters of one are left then.
_CUT_ESCAPE, _CUT_ESCAPE_MAX = "\\%&#xuU0123456789abcdefABCDEF'\"", 9
# Without one of these in a text, no other form of a secret is in it.
_SIGNS_OF_ESCAPES = "\\%&+'\""


class Secrets:
    """The texts that nobody must read, each in all the forms in which libraries print it."""

    def __init__(self) -> None:
        self._forms: list[_Forms] = []

    def hide(self, secret: str) -> None:
        """Mask this text from now on.

        One of a word's length is masked where it is a word of its own.
        """
        if len(secret) >= SHORTEST_SECRET and all(secret != each.secret for each in self._forms):
            self._forms.append(_Forms(secret))
            self._forms.sort(key=lambda each: -len(each.secret))  # one may be a part of another

    def masked(self, text: str) -> str:
        """Return the text without the secrets."""
        for each in self._forms:
            text = each.masked(text)
        return text


class _Forms:
    """The forms of one secret.

    They are made into patterns only when a text may have more than the plain form of it.
    """

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self._is_plain = secret.isascii() and secret.isalnum()
        self._escaped: re.Pattern[str] | None = None
        self._characters: list[re.Pattern[str]] = []

    def masked(self, text: str) -> str:
        if len(self.secret) < SHORTEST_INSIDE:
            text = _without_word(text, self.secret)
        else:
            text = text.replace(self.secret, MASK)
        may_be_escaped = not self._is_plain and not _has_one_form(text)
        if not may_be_escaped and CUT not in text:
            return text
        try:
            import re  # noqa: F401  2 ms, for texts that a run which goes well does not have
        except (ImportError, OSError):  # no more files can be opened
            return MASK
        if may_be_escaped:
            text = self._without_escaped(text)
        return self._without_cut(text) if CUT in text else text

    def _without_escaped(self, text: str) -> str:
        import re

        if self._escaped is None:
            pattern = "".join(map(_forms_of_character, self.secret))
            if len(self.secret) < SHORTEST_INSIDE:
                pattern = rf"(?<![\w-]){pattern}(?![\w-])"
            self._escaped = re.compile(pattern)
        return self._escaped.sub(MASK, text)

    def _without_cut(self, text: str) -> str:
        """Mask what was left of the secret where a text was cut in the middle of it.

        A library, or `names.shown`, cuts so.
        """
        import re

        if not self._characters:
            self._characters = [re.compile(_forms_of_character(each)) for each in self.secret]
        first, *rest = text.split(CUT)
        parts = [first]
        for part in rest:
            parts[-1] = self._without_prefix(parts[-1])
            parts.append(part)
        return CUT.join(parts)

    def _without_prefix(self, text: str) -> str:
        first = max(0, len(text) - 12 * len(self.secret))
        for start in range(first, len(text) - SHORTEST_PREFIX + 1):
            place, count = start, 0
            for character in self._characters:
                found = character.match(text, place)
                if found is None:
                    break
                place, count = found.end(), count + 1
            rest = text[place:]
            is_escape = len(rest) <= _CUT_ESCAPE_MAX and not rest.strip(_CUT_ESCAPE)
            if count >= SHORTEST_PREFIX and is_escape:
                return text[:start] + MASK
        return text


def _has_one_form(text: str) -> bool:
    return text.isascii() and not any(each in text for each in _SIGNS_OF_ESCAPES)


def _without_word(text: str, word: str) -> str:
    """Return the text with a mask for this word, where it is no part of a longer one."""
    pieces, start, place = [], 0, text.find(word)
    while place >= 0:
        end = place + len(word)
        if _is_of_word(text[place - 1 : place]) or _is_of_word(text[end : end + 1]):
            place = text.find(word, place + 1)
        else:
            pieces += [text[start:place], MASK]
            start, place = end, text.find(word, end)
    return "".join((*pieces, text[start:]))


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character in ("_", "-")


def _forms_of_character(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    forms = [*_doubled(character), *_numbered(character), *_named(character)]
    return f"(?:{'|'.join(forms)})"


def _doubled(character: str) -> list[str]:
    if character == "\\":
        return [_ESCAPED]
    return [rf"{character}{{2}}"] if character in "'\"%&" else []


def _numbered(character: str) -> list[str]:
    """Return the character itself, and the forms that have its number or those of its bytes."""
    import re

    number = ord(character)
    encoded = [f"{byte:02x}" for byte in character.encode("utf-8", "surrogatepass")]
    utf16 = character.encode("utf-16-be", "surrogatepass").hex()
    units = [utf16[at : at + 4] for at in range(0, len(utf16), 4)]
    forms = [
        rf"{_ANY}{re.escape(character)}",
        "".join(f"%{_hexadecimal(byte)}" for byte in encoded),
        "".join(rf"{_ESCAPED}x{_hexadecimal(byte)}" for byte in encoded),
        "".join(rf"{_ESCAPED}u{_hexadecimal(unit)}" for unit in units),
        rf"{_ESCAPED}U{_hexadecimal(f'{number:08x}')}",
        rf"&#(?:{number}|[xX]0*{_hexadecimal(f'{number:x}')});",
    ]
    if number < 1 << 8:
        forms += [rf"{_ESCAPED}x{_hexadecimal(f'{number:02x}')}", rf"{_ESCAPED}{number:03o}"]
    return forms


def _hexadecimal(digits: str) -> str:
    """Return the pattern of these digits in small letters or in capitals."""
    return f"(?:{digits}|{digits.upper()})"


def _named(character: str) -> list[str]:
    forms = []
    if character in _XML_NAMES:
        forms.append(f"&{_XML_NAMES[character]};")
    if character in _SHORT_ESCAPES:
        forms.append(rf"{_ESCAPED}{_SHORT_ESCAPES[character]}")
    if character == " ":
        forms.append(r"\+")
    return forms


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts: `1 disk`, `2 disks`; `many` where an s is not enough."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def visible(text: str) -> str:
    """Return the text on one line: control characters and changes of direction are escaped.

    Letters of all scripts stay as they are, so a name is whole; no character is lost.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def fit(text: str, limit: int = SENTENCE_MAX) -> str:
    """Return a text without secrets as one sentence: visible, and of `limit` characters at most."""
    return shortened(visible(text.strip()) or "no reason was given", limit)


def shortened(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters.

    A longer one is cut in the middle, and says so.
    """
    if len(text) <= limit:
        return text
    note = f" {CUT} {len(text) - limit} characters and more are left out {CUT} "
    kept = limit - len(note)
    return f"{text[: kept - kept // 3]}{note}{text[-(kept // 3) :]}"
