"""What this host says about itself to Engine, and Engine to `connect_volume`.

Vdsm asks its helper for it whenever Engine asks for the host's capabilities, and waits without a
limit. The keys are those of os-brick's `get_connector_properties` (initiator/connector.py), and one
of ours: names.VOLUME_TYPE_KEY.
"""

from __future__ import annotations

import os
import stat
import sys

from storpool_ovirt import errors, names, presence, rights, text
from storpool_ovirt.host import volume_type
from storpool_ovirt.light import TYPE_CHECKING
from storpool_ovirt.log import Log

if TYPE_CHECKING:
    from typing import Any

INITIATOR = "/etc/iscsi/initiatorname.iscsi"
# Where Vdsm looks for its settings; of files in the folders the last name counts (oVirt's vdsm,
# common/config.py).
CONF = "/etc/vdsm/vdsm.conf"
CONF_FOLDERS = ("/usr/lib/vdsm/vdsm.conf.d", "/run/vdsm/vdsm.conf.d", "/etc/vdsm/vdsm.conf.d")


def of(root: str, vdsms_file: str, log: Log, busy_seconds: float) -> dict[str, Any]:
    """Return all of it. `vdsms_file` is Vdsm's storage/managedvolume.py, "" where that is not
    known."""
    info: dict[str, Any] = {
        "initiator": _initiator(root),
        # Nobody asks for it; Vdsm's schema has it as a text, and os-brick gives what Vdsm says.
        "ip": "",
        "platform": os.uname().machine,
        "host": os.uname().nodename,
        "do_local_attach": False,
        "os_type": sys.platform,
        "multipath": True,  # Vdsm does not run without multipathd (its vdsmd.service)
    }
    found = volume_type.decide(root, vdsms_file, lambda: _is_strict(root, log), log, busy_seconds)
    return info if found == names.VOLUME_TYPE else {**info, names.VOLUME_TYPE_KEY: found}


def _initiator(root: str) -> str:
    try:
        content = text.decoded(rights.read(root + INITIATOR), INITIATOR)
    except (OSError, errors.ConfigError):
        return ""
    for line in text.lines(content):
        key, _, name = line.partition("=")
        if text.stripped(key) == "InitiatorName":
            return text.stripped(name)
    return ""


def _is_strict(root: str, log: Log) -> bool:
    """Return whether Vdsm refuses each answer of its own that its schema does not describe; when
    nobody knows it does.

    A file that is not there, or is a folder, Vdsm passes over. With any other that it cannot read
    it does not start, or reads it with more rights than we take.
    """
    import configparser
    import io

    parser = configparser.ConfigParser(strict=False)
    # Vdsm's own default is in the section, so none of a file's [DEFAULT] counts.
    parser.read_dict({"devel": {"api_strict_mode": "false"}})
    try:
        for path in (root + CONF, *_dropped(root)):
            try:
                if _is_folder(path):
                    continue
                content = rights.read(path)
            except FileNotFoundError:
                continue
            parser.read_file(io.TextIOWrapper(io.BytesIO(content), "utf-8"), path)
        return parser.getboolean("devel", "api_strict_mode")
    except (OSError, ValueError, AttributeError, configparser.Error, errors.Error) as error:
        log.line("vdsm_conf_not_read", reason=error)
        return True


def _dropped(root: str) -> list[str]:
    found = [
        f"{root}{folder}/{name}"
        for folder in CONF_FOLDERS
        if _is_folder(root + folder)
        for name in presence.listed(root + folder)
        if name.endswith(".conf") and not name.startswith(".")
    ]
    return sorted(found, key=os.path.basename)


def _is_folder(path: str) -> bool:
    """Return whether there is a folder; raise OSError where nobody can look."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
