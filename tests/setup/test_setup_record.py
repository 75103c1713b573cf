"""What setup has written down of itself is believed where only root can have written it."""

from __future__ import annotations

import json

import pytest
from setup_ground import Setup

FOLDER = "/var/lib/storpool-ovirt"
RECORD = f"{FOLDER}/setup-host.json"


@pytest.mark.parametrize(
    "spoil",
    [
        f"chown vdsm {FOLDER}",
        f"chmod 0777 {FOLDER}",
        f"chown vdsm {RECORD}",
        f"chmod 0666 {RECORD}",
    ],
)
def test_a_record_that_another_could_have_written_is_refused(host: Setup, spoil: str) -> None:
    """With one sentence, and nothing is taken back or made."""
    host.run()
    host.machine.do(spoil)
    before = host.tree()
    for words in ((), ("--undo",)):
        said = host.run(*words, code=1)["error"]
        assert f"{RECORD} is not trusted" in said
        assert "move it away" in said
    assert host.tree() == before


@pytest.mark.parametrize(
    "content",
    [
        '{"folders": [1, {"a": 2}]}',
        '{"folders": [null, "/x"]}',
        '{"folders": ["/x\\u0000y"]}',
        '{"links": {"/a": 1}}',
        '{"files": {"/a": null}}',
        '{"configured_at": true}',
        "null",
        "[]",
        "{",
    ],
)
def test_an_odd_record_is_one_sentence(host: Setup, content: str) -> None:
    """Which names it, and what to do."""
    host.machine.do(f"mkdir {FOLDER}")
    host.machine.write(RECORD, content, 0o600)
    said = host.run("--undo", code=1)["error"]
    assert RECORD in said
    assert "move it away" in said
    assert "internal" not in said


def test_no_folder_goes_that_no_step_would_have_made(host: Setup) -> None:
    """Whatever is in the record."""
    host.run()
    host.machine.do("mkdir -p /srv/empty /etc/sudoers.d/../empty")
    facts = json.loads(host.machine.read(RECORD))
    facts["folders"] += ["/srv/empty", "/etc/sudoers.d/../empty", "srv/empty"]
    host.machine.write(RECORD, json.dumps(facts), 0o600)
    host.run("--undo")
    assert host.machine.do("ls -d /srv/empty /etc/empty").split() == ["/etc/empty", "/srv/empty"]
