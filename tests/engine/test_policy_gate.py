"""policy_gate.py: what a domain's options and storpool.conf say of new disks that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigs.host_files import conf
from storpool_ovirt import errors, option_table
from storpool_ovirt.engine import gate
from storpool_ovirt.log import Log

PLAIN = {"sp_api_http_host": "10.1.2.3", "sp_auth_token_file": "/no/such"}
GOOD = {
    "sp_qos_class": "gold",
    "sp_qos_classes": "gold,silver",
    "sp_vc_policy": "daily",
    "sp_tags": "cost=4711",
}


def told(options: dict[str, object], root: str = "") -> list[tuple[str, str, bool]]:
    """Return what the gate says of policies: the option, the sentence, whether it refuses."""
    found = gate.faults({**PLAIN, **options}, root)
    return [(each.key, str(each.error), each.refuses) for each in found if each.name == "policy"]


FAULTS: list[tuple[dict[str, object], str, str]] = [
    (
        {"sp_qos_class": "glod", "sp_qos_classes": "gold silver"},
        "sp_qos_class",
        'option sp_qos_class ("glod") is none of gold, silver (do you mean gold?): correct it',
    ),
    ({"sp_qos_class": "gold", "sp_iops": 5}, "sp_iops", "does nothing beside driver option sp_qos"),
    ({"sp_qos_class": "gold", "sp_bw": "5"}, "sp_bw", "does nothing beside"),
    ({"sp_tags": "a=1", "sp_vm_tag": "a"}, "sp_tags", "has the tag a, which names"),
    ({"sp_qos_class": "g" * 26}, "sp_qos_class", "has no room on the volume of a preview"),
    ({"sp_vc_policy": "d" * 19}, "sp_vc_policy", "has no room on the volume of a preview"),
    ({"sp_qos_class": "g" * 8, "sp_vc_policy": "d" * 9}, "sp_vc_policy", "has no room"),
]


@pytest.mark.parametrize(("options", "key", "sentence"), FAULTS)
def test_what_cannot_be_refuses_a_domain_by_its_options_alone(
    tmp_path: Path, options: dict[str, object], key: str, sentence: str
) -> None:
    """T75: nobody can correct them later; storpool.conf, which may change any day, refuses none."""
    [(found, said, refuses)] = told(options, str(tmp_path))
    assert (found, refuses) == (key, True)
    assert sentence in said
    assert said.isprintable()
    with pytest.raises(errors.ConfigError):
        gate.check({**PLAIN, **options}, str(tmp_path), Log("test", str(tmp_path / "log")))
    keys = {option.name: option.conf_key for option in option_table.OPTIONS}
    lines = "".join(f"{keys[name]}={value}\n" for name, value in options.items())
    root = conf(tmp_path / "conf", lines)
    [(found, said, refuses)] = told({}, root)
    assert (found, refuses) == (key, False)
    assert "/etc/storpool.conf" in said
    gate.check(PLAIN, root, Log("test", str(tmp_path / "log")))
    assert "kind=policy" in (tmp_path / "log").read_text()


def test_what_is_right_is_told_nothing(tmp_path: Path) -> None:
    """Class and policy of sixteen bytes together; limits without a class; nothing at all."""
    for options in (
        {},
        GOOD,
        {"sp_qos_class": "g" * 8, "sp_vc_policy": "d" * 8},
        {"sp_iops": 5, "sp_bw": 7},
        {"sp_qos_class": "none", "sp_iops": 5},
        {"sp_vc_policy": "no", "sp_vm_tag": "vm"},
    ):
        assert told(options, str(tmp_path)) == []


def test_a_key_of_storpool_conf_that_is_none_is_told(tmp_path: Path) -> None:
    """It counts as not said: no verb fails for it."""
    root = conf(tmp_path, "SP_OVIRT_QOS_CLASS=go ld\nSP_OVIRT_IOPS=many\n")
    found = told({}, root)
    assert [(key, refuses) for key, _, refuses in found] == [
        ("SP_OVIRT_QOS_CLASS", False),
        ("SP_OVIRT_IOPS", False),
    ]
    assert "is no name of one" in found[0][1]


def test_a_domain_with_a_class_beside_the_limits_of_storpool_conf(tmp_path: Path) -> None:
    """The class counts; that the limits do nothing is told."""
    root = conf(tmp_path, "SP_OVIRT_IOPS=5\n")
    [(key, said, refuses)] = told({"sp_qos_class": "gold"}, root)
    assert (key, refuses) == ("sp_iops", False)
    assert "SP_OVIRT_IOPS" in said
