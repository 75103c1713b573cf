"""What root does to files that another user can replace: done with that user's rights.

Logs, Vdsm's database and run links, and files that an administrator names lie in folders of other
users. Those may put a link, a FIFO or another file in the place of any of them at any moment. A
look before the work proves nothing then; the rights with which the work is done decide. So the user
who could replace a path is found first (`holder`), and all that root does there is done as that
user (`taken`): the kernel refuses the rest. Where those rights cannot be had it fails.

A process that is not root's has no other rights than its user's. What that user could do by a link,
they can do without us.
"""

from __future__ import annotations

import errno
import os
import stat

from storpool_ovirt.light import TYPE_CHECKING, contextmanager, dataclass

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
else:  # which makes no enumerations of what is in it
    import _signal as signal

# A user and a group that own nothing (the kernel's overflow ids, proc(5)), for what anybody can
# replace.
NOBODY = 65534
LINKS_MAX = 40  # as the kernel has it, path_resolution(7)
TEXT_MAX_BYTES = 1 << 20  # no file that a person writes is larger

_ROOT = 0
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
# By which a limit, or whoever wants a program to end, breaks in (`deadline.enforced`).
BREAKING_IN = {signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@dataclass(frozen=True)
class User:
    """The rights of a user and of one group, and of no other group."""

    uid: int
    gid: int


ANYBODY = User(NOBODY, NOBODY)


def of(path: str) -> User | None:
    """Return with whose rights to work at a path; None for one's own.

    One's own are right for a process that is not root's.
    """
    return holder(path) if os.geteuid() == _ROOT else None


def holder(path: str) -> User | None:
    """Return the user who can replace what is at a path, None where only root can.

    The first component on the way from / that is not root's decides: its owner has all below it in
    hand. A folder that a group or all can write in is anybody's, but for what is root's in a sticky
    one (/tmp). Links that only root can replace are followed. Raises OSError where the way cannot
    be looked at.
    """
    rest = _components(_absolute(path))
    here, links = "/", 0
    while True:
        folder = os.lstat(here)
        found = _folders_holder(here, folder)
        if found is not None or not rest:
            return found
        name = rest.pop(0)
        if name == "..":
            here = os.path.dirname(here)
            continue
        path = os.path.join(here, name)
        facts = _facts(path)
        if facts is None:
            return _makers(folder)
        found = _entrys_holder(facts, folder)
        if found is not None:
            return found
        if stat.S_ISDIR(facts.st_mode):
            here = path
        elif stat.S_ISLNK(facts.st_mode) and links < LINKS_MAX:
            links += 1
            target = os.readlink(path)
            here = _start_of(target, here)
            rest = _components(target) + rest
        else:
            return None  # its end, or the kernel says what is wrong with it


@contextmanager
def taken(user: User | None) -> Iterator[None]:
    """Do what is in the block with a user's rights (None: with one's own).

    One's own are back afterwards, whatever happens. Only root takes any. Raises OSError where they
    cannot be had: nothing of the block is done then. No limit breaks in meanwhile, so the block
    must not wait for anybody.
    """
    if user is None or os.geteuid() != _ROOT:
        yield
        return
    gid, groups = os.getegid(), os.getgroups()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        # Until root's rights are back nothing may break in: not even between this generator and its
        # caller. A signal that has come just before is handled here, with nothing taken.
        signal.pthread_sigmask(signal.SIG_BLOCK, BREAKING_IN)
        try:
            os.setgroups([])
            os.setegid(user.gid)
            os.seteuid(user.uid)
            yield
        finally:
            _give_back(gid, groups)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def opened(path: str, flags: int, mode: int = 0o600, *, folder: int | None = None) -> int:
    """Open a regular file and return its descriptor.

    Raises OSError for anything else, without waiting for it. A link is not followed. What is opened
    for writing has no second name: that could be one of a file elsewhere.
    """
    try:
        file = os.open(path, flags | os.O_NOFOLLOW | _FLAGS, mode, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a FIFO that nobody reads, a socket
            raise OSError(errno.EINVAL, "it is not a regular file") from None
        raise
    try:
        facts = os.fstat(file)
        _check_regular(facts)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            _check_alone(facts)
    except OSError:
        os.close(file)
        raise
    return file


def appended(path: str) -> int:
    """Open a log, made when missing, and return its descriptor.

    It is made by the user in whose folder it lies, and so belongs to that user. Raises OSError
    where that cannot be done safely.
    """
    with taken(of(path)):
        return opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)


def read(path: str, max_bytes: int = TEXT_MAX_BYTES) -> bytes:
    """Return the content of a regular file.

    A link is followed as far as the user who can replace it could follow it. Raises OSError, also
    for what is no regular file, without waiting for it, or has more than `max_bytes`.
    """
    with taken(of(path)):
        _check_regular(os.stat(path))
        file = os.open(path, os.O_RDONLY | _FLAGS)
    with open(file, "rb") as stream:
        _check_regular(os.fstat(file))
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"it has more than {max_bytes} bytes")
    return data


def private(folder: str, name: str) -> int:
    """Open a file of this user's alone (a lock, a marker) and return its descriptor.

    It and its folder are made when missing. Raises OSError, also for a folder that is neither this
    user's nor root's, or that others can write in.
    """
    with taken(of(folder)):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | _FLAGS)
        try:
            facts = os.fstat(descriptor)
            is_others = facts.st_uid not in (os.geteuid(), _ROOT)
            if is_others or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise OSError(errno.EPERM, "it is another user's, or others can write in it")
            return opened(name, os.O_RDWR | os.O_CREAT, folder=descriptor)
        finally:
            os.close(descriptor)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"{_working_folder()}/{path}"


def _working_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        # What is asked for need not be missing: no caller may take this for that.
        why = "the folder that this was started in is gone: give a full path"
        raise OSError(errno.ESTALE, why) from None


def _components(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _start_of(target: str, folder: str) -> str:
    """Return the folder from which the target of a link in `folder` is followed."""
    return "/" if target.startswith("/") else folder


def _facts(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _makers(folder: os.stat_result) -> User | None:
    """Return the user who can make what is missing in a folder that only root can replace."""
    return ANYBODY if folder.st_mode & stat.S_ISVTX else None


def _folders_holder(path: str, folder: os.stat_result) -> User | None:
    if not _is_roots(folder.st_uid):
        return _user(folder.st_uid)
    return ANYBODY if _others_write(path, folder) else None


def _entrys_holder(facts: os.stat_result, folder: os.stat_result) -> User | None:
    if not _is_roots(facts.st_uid):
        return _user(facts.st_uid)
    # Anybody may have given a file of root's another name in a sticky folder.
    linked = folder.st_mode & stat.S_ISVTX and stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1
    return ANYBODY if linked else None


def _others_write(path: str, folder: os.stat_result) -> bool:
    """Return whether others than root can replace what is in a folder of root's."""
    if folder.st_mode & stat.S_ISVTX or not folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    if folder.st_mode & stat.S_IWOTH or folder.st_gid != _ROOT:
        return True
    try:  # the bits of the group are then the most that its list of further users gives (acl(5))
        os.getxattr(path, "system.posix_acl_access", follow_symlinks=False)
    except OSError:
        return False
    return True


def _is_roots(uid: int) -> bool:
    """Return whether an owner is root, or nobody of this user namespace.

    Over the files of the latter not even the namespace's root has power.
    """
    if uid == _ROOT:
        return True
    try:
        with open("/proc/self/uid_map", "rb") as file:
            ranges = [[int(field) for field in line.split()] for line in file]
    except OSError:
        return False
    return not any(first <= uid < first + count for first, _, count in ranges)


def _user(uid: int) -> User:
    """Return a user with the primary group in /etc/passwd, without one where it has none.

    No name service is asked: it may not answer, and this happens before a program has set its
    limit.
    """
    try:
        with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
            entries = [line.split(":") for line in file]
    except OSError:
        entries = []
    own = [fields[3] for fields in entries if len(fields) > 3 and fields[2] == str(uid)]
    groups = [int(group) for group in own if group.isdigit()]
    return User(uid, groups[0] if groups and groups[0] != _ROOT else NOBODY)


def _give_back(gid: int, groups: list[int]) -> None:
    os.seteuid(_ROOT)
    os.setegid(gid)
    if os.getgroups() != groups:  # to set any is refused in some user namespaces
        os.setgroups(groups)


def _check_regular(facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")


def _check_alone(facts: os.stat_result) -> None:
    if facts.st_nlink != 1:
        raise OSError(errno.EINVAL, "it has more than one name")
