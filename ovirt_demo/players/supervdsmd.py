"""supervdsmd and vdsmd, as far as a storage helper meets them: its parent, as old as the last
start, with Vdsm's environment.

    supervdsmd NAME

It imports `os_brick` once, as vdsmd does (oVirt/vdsm v4.50.7, lib/vdsm/storage/managedvolume.py),
writes one line of JSON that says whether it could, and listens on the abstract Unix socket NAME.
Each connection brings one JSON object (`argv`, `stdin` or null, `seconds`) and gets one
(`returncode`, null when the child was killed after that time, `stdout`, `stderr`; text is Latin-1,
so that bytes come through). It ends when its own stdin does.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from typing import Any

CANNOT_START = 127  # a shell's


def main() -> None:
    """Serve until stdin ends."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("\0" + sys.argv[1])
        door.listen(64)
        said = {"os_brick": _can_import_os_brick()}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        threading.Thread(target=_serve, args=(door,), daemon=True).start()
        sys.stdin.read()
    os._exit(0)


def _can_import_os_brick() -> bool:
    try:
        import os_brick  # noqa: F401  whether it can be is the question
    except ImportError:
        return False
    return True


def _serve(door: socket.socket) -> None:
    while True:
        caller, _ = door.accept()
        threading.Thread(target=_answer, args=(caller,), daemon=True).start()


def _answer(caller: socket.socket) -> None:
    with caller, caller.makefile("rb") as asked:
        request = json.loads(asked.read())
        try:
            answer = _run(request)
        except OSError as error:  # nothing that can be started
            answer = {"returncode": CANNOT_START, "stdout": "", "stderr": str(error)}
        caller.sendall(json.dumps(answer).encode())


def _run(request: dict[str, Any]) -> dict[str, Any]:
    sent = request["stdin"]
    child = subprocess.Popen(
        request["argv"],
        cwd="/",
        umask=0o022,
        stdin=subprocess.DEVNULL if sent is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with child:
        returncode: int | None
        try:
            text = None if sent is None else sent.encode("latin-1")
            stdout, stderr = child.communicate(text, request["seconds"])
            returncode = child.returncode
        except subprocess.TimeoutExpired:
            child.kill()
            (stdout, stderr), returncode = child.communicate(), None
    texts = {"stdout": stdout.decode("latin-1"), "stderr": stderr.decode("latin-1")}
    return {"returncode": returncode, **texts}


if __name__ == "__main__":
    main()
