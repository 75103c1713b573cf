"""engine_programs.py: what Engine starts, broken in each way, whole, and where nobody can look."""

from __future__ import annotations

import pytest
from engine_ground import CLIENT, DEFAULTS, LINK, PREFIX, EnginesMachine

DROP_IN = "systemd/system/ovirt-engine.service.d/50-storpool-ovirt.conf"
DIVERT = f"{PREFIX}/bin/storpool-engine-divert"
DISPATCHER = f"{PREFIX}/bin/storpool-engine-dispatcher"
COPIED = f"cp --remove-destination {DISPATCHER} {CLIENT}"
ELSEWHERE = f"mkdir /o && cp {DISPATCHER} /o/ && ln -sfn /o/storpool-engine-dispatcher {CLIENT}"
# A second installation, of which a file is gone
OTHER = (
    f"cp -a {PREFIX} /opt/other; sed -i 's#{PREFIX}#/opt/other#' /opt/other/bin/storpool-adapter;"
    f"ln -sfn /opt/other/bin/storpool-adapter {LINK};"
    "find /opt/other -name 'adapter.*' -path '*engine*' -delete"
)


def says(words: str) -> str:
    """Return how an adapter is put there that says this of itself."""
    return f"printf '#!/bin/sh\\necho {words}\\n' >/x; chmod 755 /x; ln -sfn /x {LINK}"


@pytest.mark.parametrize(
    ("told", "result"),
    [("4.5.4", "ok"), ("4.5.8-0.master", "ok"), ("4.4.10.7", "warning"), ("", "unknown")],
)
def test_engines_release(engines: EnginesMachine, told: str, result: str) -> None:
    """An older one than this was made for; and nobody knows where its files do not say it."""
    engines.write(DEFAULTS, f'PACKAGE_VERSION="{told}"\n')
    assert engines.one("engine-release").result == result


def test_all_is_well(engines: EnginesMachine) -> None:
    """As docs/install.md leaves it."""
    engines.write(f"/etc/{DROP_IN}", "[Service]\n")
    found = engines.look("engine-dispatcher", "engine-adapter", "engine-packages", "engine-service")
    assert [each.result for each in found] == ["ok"] * 4, found


@pytest.mark.parametrize(
    ("broken", "result", "begins", "is_mended"),
    [
        (f"{DIVERT} off", "critical", "off: ", True),
        (f"rm {CLIENT}.ovirt", "warning", "half: ", False),
        (COPIED, "warning", "copied: ", True),
        (f"ln -sfn /gone/storpool-engine-dispatcher {CLIENT}", "critical", "broken: ", False),
        (f"ln -sfn /bin/true {CLIENT}", "critical", "foreign: ", False),
        (ELSEWHERE, "warning", "on: ", True),
    ],
)
def test_a_diversion_that_is_not_on(
    engines: EnginesMachine, broken: str, result: str, begins: str, is_mended: bool
) -> None:
    """The program's own word decides; what is safe is done, and it is on then."""
    engines.do(broken)
    found = engines.one("engine-dispatcher", fix=True)
    assert (found.result, bool(found.action)) == (result, is_mended), found
    assert found.cause.startswith(begins)
    assert f"{DIVERT} on" in found.fix
    assert engines.one("engine-dispatcher").result == ("ok" if is_mended else result)


def test_a_later_engine_needs_no_diversion(engines: EnginesMachine) -> None:
    """It has no such client, and its service nothing to divert."""
    engines.do(f"{DIVERT} off; rm -r {CLIENT} {CLIENT.rpartition('/')[0]}")
    found = engines.look("engine-dispatcher", "engine-service")
    assert [each.result for each in found] == ["ok", "ok"], found


@pytest.mark.parametrize(
    ("broken", "result", "said"),
    [
        (f"rm {LINK}", "critical", "is missing"),
        (f"ln -sfn /gone {LINK}", "critical", "leads to /gone, which is not there"),
        (f"chmod 0700 {PREFIX}/bin", "critical", "user ovirt cannot start"),
        (OTHER, "critical", "user ovirt cannot start"),
        (says("sp-adapter 1.0"), "critical", "to --version it says sp-adapter 1.0"),
        (says("storpool-adapter 0.0.1"), "warning", "of version 0.0.1"),
        (f"cp -a {PREFIX}/bin/storpool-adapter /x; ln -sfn /x {LINK}", "warning", "another"),
    ],
)
def test_an_adapter_that_does_not_start(
    engines: EnginesMachine, broken: str, result: str, said: str
) -> None:
    """As user ovirt, in Engine's folder: missing, unreachable, without its code, somebody's."""
    engines.do(broken)
    found = engines.one("engine-adapter", fix=True)
    assert found.result == result, found
    assert said in found.cause, found
    is_mended = bool(found.action)
    assert is_mended == ("is missing" in said)
    assert (engines.one("engine-adapter").result == "ok") is is_mended


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (f"chmod -R go-rwx {PREFIX}/lib", "engine-adapter"),
        (f"chmod -R go-rwx {PREFIX}", "engine-adapter"),
        (f"chmod a-x {PREFIX}/bin/storpool-engine-dispatcher", "engine-dispatcher"),
    ],
)
def test_code_that_engines_user_cannot_read_is_opened(
    engines: EnginesMachine, broken: str, check: str
) -> None:
    """As umask 077 leaves it: the command that is printed opens it."""
    engines.do(broken)
    found = engines.one(check)
    assert (found.result, found.fix.startswith("chmod -R a+rX")) == ("critical", True), found
    engines.do(found.fix)
    assert engines.one(check).result == "ok"


def test_without_a_user_nobody_knows(engines: EnginesMachine) -> None:
    """Where there is no user ovirt nothing can be started as Engine does."""
    engines.do("sed -i /^ovirt/d /etc/passwd")
    found = engines.one("engine-adapter")
    assert (found.result, found.cause) == ("unknown", "user ovirt is not known here")


def test_a_program_that_is_gone_is_unknown(engines: EnginesMachine) -> None:
    """Who tells the state of the diversion is not here."""
    engines.do(f"rm {DIVERT}")
    found = engines.one("engine-dispatcher")
    assert (found.result, found.cause) == ("unknown", f"{DIVERT} is not here")


def test_the_services_drop_in(engines: EnginesMachine) -> None:
    """It is missing; or two are there, of which pip's hides the package's."""
    engines.tool("systemctl", "exit 0")
    found = engines.one("engine-service", fix=True)
    assert (found.result, found.risk.startswith("after an update")) == ("warning", True)
    assert engines.one("engine-service").result == "ok"
    for folder in ("/etc", "/usr/lib"):
        engines.write(f"{folder}/{DROP_IN}", "[Service]\n")
    found = engines.one("engine-service")
    assert found.result == "warning"
    assert found.fix.startswith(f"rm -f /etc/{DROP_IN}")
    engines.do(found.fix.partition(" &&")[0])
    assert engines.one("engine-service").result == "ok"


def test_pip_beside_packages(engines: EnginesMachine) -> None:
    """An upgrade from pip that somebody has not ended."""
    engines.write("/usr/libexec/storpool-ovirt/storpool-adapter", "#!/usr/bin/python3\n", 0o755)
    found = engines.one("engine-packages")
    assert (found.result, PREFIX in found.cause) == ("warning", True)
