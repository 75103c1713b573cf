"""config.py: what a domain's options, and storpool.conf, say of new disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigs.host_files import conf
from storpool_ovirt import config, errors, option_table, storpool_conf

PLAIN = {"sp_api_http_host": "10.1.2.3", "sp_auth_token": "1556560560218011653"}
POLICY = {
    "sp_qos_class": "gold",
    "sp_qos_classes": "gold, silver gold",
    "sp_vc_policy": "no",
    "sp_tags": "cost=4711 owner=it-2",
    "sp_iops": "1000",
    "sp_bw": 200,
}


def test_what_new_disks_get() -> None:
    """Nothing is said where nothing is given; `none` says that there is none."""
    found = config.domain(PLAIN)
    assert (found.qos_class, found.vc_policy, found.qos_classes) == (None, None, ())
    assert (found.tags, found.iops, found.bandwidth_mib) == ((), 0, 0)
    found = config.domain({**PLAIN, **POLICY})
    assert (found.qos_class, found.vc_policy) == ("gold", "no")
    assert found.qos_classes == ("gold", "silver")
    assert found.tags == (("cost", "4711"), ("owner", "it-2"))
    assert (found.iops, found.bandwidth_mib) == (1000, 200)
    assert config.domain({**PLAIN, "sp_qos_class": "None"}).qos_class == ""


@pytest.mark.parametrize(
    ("option", "given", "sentence"),
    [
        ("qos_class", "go ld", 'is no name of one ("go ld"): give letters'),
        ("vc_policy", "g\u00f6ld", "is no name of one"),
        ("qos_classes", "gold,si/ver", 'has "si/ver", which is no name of a class'),
        ("tags", "cost", 'has a tag "cost" that is none like cost=4711'),
        ("tags", "a=1 a=2", 'has a tag "a" that is there twice'),
        ("tags", "qc=gold", 'has a tag "qc" that has another meaning'),
        ("tags", "ovirt-uuid=1", "has another meaning"),
        ("tags", "virtp=1", "has another meaning"),
        ("tags", "cs=1", "is one of CloudStack's"),
        ("tags", "nloc=1", "is one of OpenNebula's"),
        ("iops", "many", "is no whole number"),
        ("bw", "-1", "is no whole number"),
    ],
)
def test_a_wrong_policy_is_one_sentence_as_an_option_and_no_failed_verb_in_storpool_conf(
    tmp_path: Path, option: str, given: str, sentence: str
) -> None:
    """T75: a domain is not made with it; a key of storpool.conf, which may change, fails no verb,
    and is told."""
    with pytest.raises(errors.ConfigError) as raised:
        config.domain({**PLAIN, f"sp_{option}": given})
    assert sentence in str(raised.value)
    assert f"sp_{option}" in str(raised.value)
    root = conf(tmp_path, f"SP_OVIRT_{option.upper()}={given}\n")
    assert config.domain(PLAIN, root) == config.domain(PLAIN)
    [(key, fault)] = option_table.conf_faults(storpool_conf.read(root))
    assert key == f"SP_OVIRT_{option.upper()}"
    assert sentence in str(fault)


def test_policies_of_domains_that_do_not_say_them(tmp_path: Path) -> None:
    """storpool.conf of Engine's machine has the word; an option of the domain counts more."""
    root = conf(
        tmp_path,
        "SP_OVIRT_QOS_CLASS=silver\nSP_OVIRT_QOS_CLASSES=gold silver\nSP_OVIRT_VC_POLICY=daily\n"
        "SP_OVIRT_TAGS=cost=1\nSP_OVIRT_IOPS=5\nSP_OVIRT_BW=7\n",
    )
    found = config.domain(PLAIN, root)
    assert (found.qos_class, found.vc_policy) == ("silver", "daily")
    assert (found.tags, found.iops, found.bandwidth_mib) == ((("cost", "1"),), 5, 7)
    own = config.domain({**PLAIN, "sp_qos_class": "none", "sp_vc_policy": "hourly"}, root)
    assert (own.qos_class, own.vc_policy) == ("", "hourly")
    assert list(option_table.conf_faults(storpool_conf.read(root))) == []
