"""helper.py: the door on the host's side, as far as it needs no cluster.

What attach and detach do is in test_helper_protocol.py.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ovirt_demo import children
from storpool_ovirt import errors
from storpool_ovirt.host import helper

ID = "5b8e4a0e-1c76-4d1e-9d53-6d2f7c9d1a10"
INFO: dict[str, Any] = {
    "adapter": "storpool",
    "driver_volume_type": "storpool",
    "data": {"volume": ID, "global_id": "dyo8.b.d", "access_mode": "rw"},
}
TOKEN = "1556560560218011653"
CONF = (
    f"SP_API_HTTP_HOST=127.0.0.1\nSP_API_HTTP_PORT=1\n"
    f"SP_AUTH_TOKEN={TOKEN}\n[{os.uname().nodename}]\nSP_OURID=1\n"
)


def run(
    root: Path, *argv: str, stdin: bytes, conf: str | None = CONF
) -> subprocess.CompletedProcess[bytes]:
    """Run the installed program as Vdsm does, on a host that is a folder."""
    if conf is not None:
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc" / "storpool.conf").write_text(conf)
    return subprocess.run(
        [children.find("managedvolume-helper-storpool"), *argv],
        input=stdin,
        capture_output=True,
        cwd="/",
        env={"PATH": os.defpath, "STORPOOL_OVIRT_ROOT": str(root)},
        timeout=90,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[bytes]) -> str:
    """Check that this is one clear refusal, and return its sentence."""
    assert done.returncode == 1
    assert done.stdout == b""
    sentence = done.stderr.decode()
    assert sentence.endswith("\n")
    assert sentence[:-1].isprintable()
    assert "Traceback" not in sentence
    assert "internal error" not in sentence
    assert TOKEN not in sentence
    return sentence


@pytest.mark.parametrize(
    "request_",
    [
        {"connection_info": INFO},
        {
            "vol_id": ID,
            "connection_info": INFO,
            "path": "/dev/x",
            "attachment": {"type": "block", "path": "/dev/x"},
        },
        {
            "vol_id": ID,
            "connection_info": INFO,
            "path": "/dev/x",
            "attachment": {},
            "multipath_id": "m",
        },
        {"connection_info": INFO, "attachment": {"type": "block", "path": "/dev/x"}},
        {"connection_info": {**INFO, "more": 1}},
        {"connection_info": {**INFO, "driver_volume_type": "local"}},
    ],
)
def test_the_shapes_in_which_vdsm_sends_a_connection(request_: dict[str, Any]) -> None:
    """Attach, detach of a row, and the roll-back that has neither vol_id nor path: the connection
    info alone counts."""
    expected = helper.Connection(ID, "dyo8.b.d", "rw")
    assert helper.parse_connection(json.dumps(request_).encode()) == expected


BAD: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b'"x"',
    b"{}",
    b'{"connection_info": 1}',
    b'{"connection_info": {}}',
    b"[" * 100_000,
    json.dumps(INFO).encode(),
    json.dumps({"connection_info": {**INFO, "driver_volume_type": "iscsi"}}).encode(),
    *(
        json.dumps({"connection_info": {**INFO, "driver_volume_type": "local", **more}}).encode()
        for more in ({"adapter": None}, {"adapter": "linstor"}, {"adapter": ["storpool"]})
    ),
    json.dumps({"connection_info": {**INFO, "driver_volume_type": ["local"]}}).encode(),
    *(
        json.dumps({"connection_info": {**INFO, "data": {**INFO["data"], key: value}}}).encode()
        for key in INFO["data"]
        for value in ("", None, 1, "../../etc", "a\nb", "x" * 10_000, [], "~a.b.c")
    ),
]


@pytest.mark.parametrize("stdin", BAD, ids=lambda text: text[-60:])
def test_what_vdsm_never_sends_is_refused(stdin: bytes) -> None:
    """Anything else on stdin is one sentence; an id never becomes a path before it was checked."""
    with pytest.raises(errors.InputError) as raised:
        helper.parse_connection(stdin)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("argv", [(), ("connect",), ("attach", "more"), ("",), ("--help", "x")])
def test_another_action_is_refused(tmp_path: Path, argv: tuple[str, ...]) -> None:
    """The program has two actions, named by one word."""
    assert "attach|detach" in refusal(run(tmp_path, *argv, stdin=b"{}"))


@pytest.mark.parametrize("action", ["attach", "detach"])
def test_bad_input_is_one_sentence_on_stderr(tmp_path: Path, action: str) -> None:
    """T75: exit code 1, nothing on stdout, one sentence on stderr, which becomes Vdsm's message."""
    refusal(run(tmp_path, action, stdin=b"{}"))
    assert "stdin" in refusal(run(tmp_path, action, stdin=b""))


def test_a_host_without_storpool_conf_says_so(tmp_path: Path) -> None:
    """The host's own storpool.conf is the only source of API, token and client id."""
    stdin = json.dumps({"connection_info": INFO}).encode()
    assert "storpool.conf is missing: install" in refusal(
        run(tmp_path, "attach", stdin=stdin, conf=None)
    )
    assert "SP_OURID" in refusal(
        run(tmp_path, "attach", stdin=stdin, conf=CONF.replace("SP_OURID", "SP_X"))
    )


def test_an_address_that_does_not_exist_is_told_at_once(tmp_path: Path) -> None:
    """T24: a wrong SP_API_HTTP_HOST fails the attach with the address in its sentence."""
    conf = CONF.replace("=127.0.0.1", "=name.invalid")
    assert "name.invalid:1" in refusal(
        run(tmp_path, "attach", stdin=json.dumps({"connection_info": INFO}).encode(), conf=conf)
    )
