"""`storpool-ovirt fence-host`: bad input changes nothing, and nothing secret is told."""

from __future__ import annotations

import pytest

from rigs import refusals
from rigs.fence_stage import LOST, SECTIONS, FenceStage
from rigs.shared_stage import state

# Bad input

BAD = {
    "no host": ([], 2, "Missing argument"),
    "empty": ([""], 2, "it is empty"),
    "unknown host": (
        ["host9"],
        1,
        "give a client id, or one of host1.example (client 1), host2.example (client 2)",
    ),
    "part of a name": (["host1"], 1, 'there is no host "host1"'),
    "unknown client": (["77"], 1, "there is no client 77 in the StorPool cluster"),
    "zero": (["0"], 1, "is not a client id: give 1 to 4095"),
    "too large": (["4096"], 1, "is not a client id: give 1 to 4095"),
    "very large": (["9" * 5000], 1, "is not a client id: give 1 to 4095"),
    "other digits": (["²"], 1, "there is no host"),
    "control characters": (["a\nb\x1b[31m"], 1, "there is no host"),
    "an option": (["--force", "1"], 2, "No such option"),
    "two hosts": (["1", "2"], 2, "unexpected extra argument"),
    "no second telling": (["1", "--even-if-it-runs"], 2, "requires an argument"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence(scene: FenceStage, case: str) -> None:
    """T54: what is wrong and what to do, and nothing is changed."""
    arguments, code, expected = BAD[case]
    scene.volume(LOST)
    before = state(scene.stage.simulator)
    said = scene.fence(*arguments)
    assert (said.returncode, said.stdout) == (code, ""), said
    assert said.stderr.count("\n") == 1
    assert said.stderr.rstrip("\n").isprintable()
    assert expected in said.stderr
    assert state(scene.stage.simulator) == before


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ("[host1.example]\nSP_OURID=x\n", "is not a client id"),
        ("[host1.example]\nSP_OURID=5000\n", "is not a client id"),
        ("SP_OURID=1\n", "there is no host"),
        ("[host1.example]\nnonsense\n", "line 2 of"),
        ("[host1.example]\n", "there is no host"),
    ],
)
def test_a_bad_storpool_conf_names_nobody(scene: FenceStage, conf: str, expected: str) -> None:
    """T54: a host is found by its own section or not at all: no default, no guess."""
    scene.volume(LOST)
    scene.lose()
    (scene.folder / "etc" / "storpool.conf").write_text(conf)
    assert expected in refusals.of_command(scene.fence("host1.example"))
    assert len(scene.has(LOST)) == 1


def test_many_hosts_are_not_all_named(scene: FenceStage) -> None:
    """T54: a sentence stays a sentence in a cluster with a hundred hosts."""
    many = "".join(f"[node{number}.example]\nSP_OURID={number}\n" for number in range(3, 101))
    (scene.folder / "etc" / "storpool.conf").write_text(SECTIONS + many)
    assert "and 88 more" in refusals.of_command(scene.fence("nobody"))


@pytest.mark.parametrize("options", ["[]", "nonsense", '{"sp_api_http_host": "http://x"}', "{}"])
def test_bad_options_change_nothing(scene: FenceStage, options: str) -> None:
    """T54: where the API is must be told: one sentence."""
    scene.volume(LOST)
    file = scene.folder / "bad.json"
    file.write_text(options)
    refusals.of_command(scene.fence("1", "--options", str(file)))
    refusals.of_command(scene.fence("1", "--options", str(scene.folder / "absent.json")))
    assert len(scene.has(LOST)) == 1


def test_nothing_secret_is_told(scene: FenceStage) -> None:
    """T75: neither output nor log has the token, whether it works or not."""
    scene.volume(LOST)
    told = [scene.fence("1"), scene.fence("1", *("--even-if-it-runs", "1")), scene.fence("nobody")]
    wrong = scene.fence("1", options={"sp_auth_token": "hunter2-of-the-agent"})
    assert wrong.returncode == 1
    for text in [each.stdout + each.stderr for each in (*told, wrong)] + [scene.log()]:
        assert not [secret for secret in scene.secrets() if secret in text]
