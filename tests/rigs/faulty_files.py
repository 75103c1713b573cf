"""Folders that cannot be looked at: what the kernel answers is put in place of what is there, also
for root.

`PROGRAM` does the same inside a program that is started.
"""

from __future__ import annotations

import builtins
import errno
import os
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    import pytest

# Not permitted; a failing disk; a file server that lost it; links in a circle.
ERRORS = (errno.EACCES, errno.EIO, errno.ESTALE, errno.ELOOP)
CALLS = ("stat", "lstat", "listdir", "open", "readlink")

PROGRAM = """
import builtins, faulty_files, os
for module, name in faulty_files.places():
    setattr(module, name, faulty_files.failing(getattr(module, name), {prefix!r}, {code}))
"""


def places() -> list[tuple[Any, str]]:
    """List the functions through which a program looks at files."""
    return [*((os, name) for name in CALLS), (builtins, "open")]


def failing(real: Callable[..., Any], prefix: str, code: int) -> Callable[..., Any]:
    """Return a function that fails for paths that begin so, and does else what it did."""

    def call(path: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(prefix):
            raise OSError(code, os.strerror(code), os.fspath(path))
        return real(path, *args, **kwargs)

    return call


def inject(patch: pytest.MonkeyPatch, prefix: object, code: int) -> None:
    """Let each look at what lies there fail, until the patch is undone."""
    for module, name in places():
        patch.setattr(module, name, failing(getattr(module, name), str(prefix), code))


def program(prefix: object, code: int) -> str:
    """Return the lines of Python that do so inside a program."""
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    return f"sys.path.insert(0, {folder!r})\n" + PROGRAM.format(prefix=str(prefix), code=code)
