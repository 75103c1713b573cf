"""Whether something is there on this host: what could not be looked at is not absent.

`os.path.exists` and its like take every error for "not there": a folder that this user may not
search, a link that leads in a circle, a disk that does not answer. Whoever removes, detaches or
starts because something is not there asks here.
"""

from __future__ import annotations

import errno
import os

from storpool_ovirt import errors


def there(path: str) -> bool:
    """Return whether a path leads to something; raise Unseen when nobody knows.

    A link whose target is missing leads to nothing.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unseen(path, error) from error
    return True


def named(path: str) -> bool:
    """Return whether there is something of this name, also a link that leads nowhere.

    Raises Unseen as `there` does.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unseen(path, error) from error
    return True


def target(path: str, folder: int | None = None) -> str | None:
    """Return where a link points to, None for what is no link or not there.

    `folder` is an open folder in which `path` is a name. Raises Unseen when nobody knows.
    """
    try:
        return os.readlink(path, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise unseen(path, error) from error


def listed(folder: str | int) -> list[str]:
    """Return the names in a folder in order, none where there is no such folder.

    `folder` is a path, or an open folder. Raises Unseen as `there` does, also for what is no
    folder: that is not an empty one.
    """
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unseen(folder if isinstance(folder, str) else "an open folder", error) from error


def unseen(path: str, error: OSError) -> errors.Unseen:
    """Return the error for a path of which nobody knows whether it is there."""
    return errors.Unseen(
        path, f"cannot be looked at ({error.strerror})", "correct that, then try again"
    )
