"""sudo's rules: what sudo would not take, and what of a changed file takes nothing of ours back."""

from __future__ import annotations

import re

from storpool_ovirt import errors, tool
from storpool_ovirt.setup.things import told_lines

# More doors for vdsm, as the file itself says where.
_MORE_DOORS = re.compile(r"(\s*,\s*STORPOOL_[A-Z_]+)*\Z")
# What a further line may say against ours: sudo goes by the last that fits.
_AGAINST = re.compile(r"!|storpool|vdsm|\\\Z|^(?:ALL|[%+#@]|Defaults|User_Alias)", re.IGNORECASE)


class Sudoers:
    """Whether sudo takes our file: with a bad one, or one that says twice what another says, it
    refuses everybody."""

    def __init__(self, root: str) -> None:
        self._root = root

    def check(self, path: str) -> None:
        """Raise ConfigError for a file that sudo would not take."""
        ended = tool.run("visudo", "-cf", path)
        if ended.code != 0:
            raise errors.ConfigError(
                "the file for sudo", f"is refused by visudo ({ended.said})", "nothing was changed"
            )

    def whole(self) -> str:
        """Return what visudo has against all rules together, or nothing."""
        if self._root:
            return ""
        ended = tool.run("visudo", "-c")
        return "" if ended.code == 0 else ended.said

    def takes(self, path: str, content: bytes, shipped: bytes) -> bool:
        """Return whether a changed file still says all that ours says, and sudo takes it."""
        left = told_lines(content)
        for each in told_lines(shipped):
            fits = [
                line
                for line in left
                if line.startswith(each) and _MORE_DOORS.match(line[len(each) :])
            ]
            if not fits:
                return False
            left.remove(fits[0])
        if any(_AGAINST.search(line) for line in left):
            return False
        try:
            self.check(path)
        except errors.ConfigError:
            return False
        return True
