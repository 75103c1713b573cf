"""How the API speaks to the data path: the files of both in the state folder, and the requests.

A unix socket, a connection for each request, one JSON line for the request and one for the answer:

    {"do": "stay", "links": [DIR...]}      -> pid, nodes; the API is there until the connection ends
    {"do": "show", "client": 1, "global_id": ..., "path": ..., "size_bytes": ...,
     "read_only": ...}  -> device
    {"do": "hide", "client": 1, "global_id": ..., "cut": false}
    {"do": "resize", "global_id": ..., "size_bytes": ...}
    {"do": "hold", "global_ids": [...]}    -> their writes wait until the connection ends
    {"do": "delay", "client": 1, "seconds": 0.1}
    {"do": "end"}

An answer with "error" says why it was not done.
"""

from __future__ import annotations

import fcntl
import os
import time

LOCK, SOCKET, LOG = "block.lock", "block.sock", "block.log"
# Our choice: longer than any restart of an API, shorter than anyone wonders about devices.
LINGER_SECONDS = 30.0
POLL_SECONDS = 0.01


def socket_path(state: int) -> str:
    """Return the address of the socket by a descriptor of the state folder.

    Unlike the folder's own path it always fits the 108 bytes of a socket address.
    """
    return f"/proc/self/fd/{state}/{SOCKET}"


def lock(state: int, limit_seconds: float) -> int:
    """Lock the folder of this descriptor for one data path; return the lock's own descriptor.

    It is held until that descriptor is closed. Raises TimeoutError when another data path has not
    ended within these seconds.
    """
    fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=state)
    limit = time.monotonic() + limit_seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > limit:
                os.close(fd)
                raise TimeoutError(
                    f"another data path of this state folder has not ended in {limit_seconds} s"
                ) from None
            time.sleep(POLL_SECONDS)
        else:
            return fd
