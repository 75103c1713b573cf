"""A fuzzer of the doors: argv of the adapter, driver options, XML of the hook, stdin of the agent
and of the helper.

    python tests/fuzz/fuzz_doors.py --seed 1 --inputs 10000

Nothing answers behind the doors (the API and the database refuse), so no input may end with a
success that needs one.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).parents[1]))

import fuzz_words
import fuzzing
from fuzz_words import UUID

from ovirt_demo import children
from rigs import verb_samples
from storpool_ovirt.engine import adapter
from storpool_ovirt.fence import agent
from storpool_ovirt.host import helper, vm_hook

OTHER = "c0ffee00-1c76-4d1e-9d53-6d2f7c9d1a10"
TOKEN, PASSWORD = "1556560560218011653", 'Zk3:s@cr"et/1%\\x'
PROGRAMS = {
    "adapter": "storpool-adapter",
    "helper": "managedvolume-helper-storpool",
    "agent": "fence_storpool",
    "hook": "storpool-vm-hook",
}
# What has asked somebody: a real process, whose limits are not short, would ask again for a minute.
ASKED = b"no usable answer"
ABOUT_ITSELF = (["--help"], ["--version"], ["-h"], ["-V"])
VERBS = {verb: verb_samples.arguments(verb, UUID, OTHER, OTHER) for verb in verb_samples.VERBS}
INFO = {
    "adapter": "storpool",
    "driver_volume_type": "storpool",
    "data": {"volume": UUID, "global_id": "sim.a.b", "access_mode": "rw"},
}
HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
DISK = (
    '<disk type="block" device="disk"><source dev="{path}"/>\n<target'
    ' dev="sda"/><serial>{uuid}</serial></disk>'
)
DOMAIN = f"""<domain type="kvm"><name>vm</name><uuid>{{uuid}}</uuid><devices>
{DISK}<disk type="file" device="cdrom"><source file="/x.iso"/></disk></devices></domain>"""
PATHS = (
    "/dev/storpool-byid/sim.a.b",
    f"/run/vdsm/managedvolumes/{OTHER}_{UUID}",
    "/dev/sda",
    "/dev/mapper/x",
    "",
)
POINTS = (
    "before_vm_start",
    "before_vm_migrate_source",
    "before_disk_hotplug",
    "after_disk_hotunplug",
)
ENCODINGS = (
    "utf-8",
    "utf-16",
    "utf-7",
    "latin-1",
    "idna",
    "rot13",
    "shift_jis",
    "ebcdic-cp-us",
    "x",
    "",
)


class DoorsWorld:
    """A folder that stands for a host's `/`, and ports at which nobody answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "etc").mkdir()
        (folder / "etc" / "storpool.conf").write_text(
            f"SP_API_HTTP_HOST=127.0.0.1\nSP_API_HTTP_PORT={self.port}\nSP_AUTH_TOKEN={TOKEN}\n"
            f"[{os.uname().nodename}]\nSP_OURID=1\n[h2]\nSP_OURID=2\n"
        )
        for each in (
            "var/log/vdsm",
            "run/storpool-ovirt",
            "log/managedblock",
            "run/vdsm/managedvolumes",
            "dev/storpool-byid",
        ):
            (folder / each).mkdir(parents=True)
        (folder / PATHS[0][1:]).write_bytes(b"")
        (folder / PATHS[1][1:]).symlink_to(folder / PATHS[0][1:])
        self.programs = {name: str(children.find(program)) for name, program in PROGRAMS.items()}
        for point in POINTS:
            link = Path(f"{folder}{vm_hook.HOOKS_FOLDER}/{point}/storpool-vm-hook")
            link.parent.mkdir(parents=True)
            link.symlink_to(self.programs["hook"])
        self.xml = folder / "hook.xml"
        self.environment = {
            "STORPOOL_OVIRT_ROOT": str(folder),
            "ENGINE_LOG": str(folder / "log"),
            "_hook_domxml": str(self.xml),
        }
        self.options = {
            "adapter": "storpool",
            "sp_api_http_host": "127.0.0.1",
            "sp_api_http_port": str(self.port),
            "sp_auth_token": TOKEN,
            "sp_deadline": "1",
        }
        self.url = f"postgresql+psycopg2://ovirt:{PASSWORD}@127.0.0.1:{self.port}/ovirt"


def hasty(program: Any) -> Callable[[list[str]], int]:
    """Return a program's `main` with limits that are short."""
    limits = program.LIMITS._replace(deadline_seconds=0.5, last_seconds=1.0, retry_seconds=0.2)
    return partial(program.main, limits=limits)


@contextmanager
def world() -> Iterator[DoorsWorld]:
    """Give a world in which nothing ever answers."""
    with tempfile.TemporaryDirectory() as folder:
        yield DoorsWorld(Path(folder))


def to_adapter(random: Random, there: DoorsWorld) -> tuple[fuzzing.Call, set[int]]:
    """Make a call of the adapter in which one thing is odd, or several."""
    verb = random.choice(list(VERBS))
    options = json.dumps(there.options)
    argv = ["storpool-adapter", verb, options, there.url, "corr-1", *VERBS[verb]]
    if random.random() < 0.4:
        argv[2] = fuzz_words.bent_document(random, there.options)
    for _ in range(random.choice((0, 1, 1, 2))):
        place = random.randrange(1, len(argv))
        argv[place] = random.choice((fuzz_words.text(random), fuzz_words.bent(random, argv[place])))
    if random.random() < 0.1:
        random.shuffle(argv)
    if random.random() < 0.1:
        argv = argv[: random.randrange(1, len(argv))]
    argv = [each.replace("\0", "")[:120_000] for each in argv]
    call = fuzzing.Call("adapter", adapter.main, argv, environment=there.environment)
    # What needs nobody may succeed; that it was meant so is checked with the answer.
    return call, {0, 1} if argv[1:2] and argv[1] in verb_samples.IDLE else {1}


def to_helper(random: Random, there: DoorsWorld) -> tuple[fuzzing.Call, set[int]]:
    """Make a call of the helper with an odd stdin."""
    action = random.choice(("attach", "detach"))
    sent = {
        "connection_info": INFO,
        "vol_id": UUID,
        "path": "/dev/x",
        "attachment": {"path": "/dev/x"},
    }
    stdin = fuzz_words.bent_document(random, sent).encode(
        random.choice(("utf-8", "utf-16")), "surrogatepass"
    )
    if random.random() < 0.2:
        stdin = bent_bytes(random, json.dumps(sent).encode())
    argv = ["helper", action if random.random() < 0.95 else fuzz_words.text(random)]
    return fuzzing.Call("helper", hasty(helper), argv, stdin, there.environment), {1}


def to_agent(random: Random, there: DoorsWorld) -> tuple[fuzzing.Call, set[int]]:
    """Make a call of the agent: options on stdin, or arguments."""
    action = random.choice(("status", "off", "on", "reboot", "monitor", "list", "metadata"))
    lines = [
        f"action={action}",
        f"port={random.choice(('2', 'h2', '1', '4095'))}",
        "login=x",
        f"passwd={PASSWORD}",
    ]
    for _ in range(random.choice((0, 1, 1, 3))):
        place = random.randrange(len(lines))
        lines[place] = random.choice(
            (fuzz_words.bent(random, lines[place]), fuzz_words.text(random))
        )
    argv = ["fence_storpool"]
    stdin = random.choice(("\n", "\r\n", "\r")).join(lines).encode("utf-8", "surrogatepass")
    if random.random() < 0.2:
        argv += [fuzz_words.text(random)[:1000] for _ in range(random.randrange(1, 4))]
    return fuzzing.Call("agent", hasty(agent), argv, stdin, there.environment), {0, 1}


def to_hook(random: Random, there: DoorsWorld) -> tuple[fuzzing.Call, set[int]]:
    """Make a call of the hook with odd XML."""
    point = random.choice(POINTS)
    plugged = point.endswith(("hotplug", "hotunplug")) != (random.random() < 0.1)
    good = HEAD + (DISK if plugged else DOMAIN).format(path=random.choice(PATHS), uuid=UUID)
    document = good.encode()
    kind = random.randrange(5)
    if kind == 0:
        document = fuzz_words.bent(random, good).encode("utf-8", "surrogatepass")
    elif kind == 1:
        document = good.replace("UTF-8", random.choice(ENCODINGS)).encode(
            random.choice(("utf-8", "utf-16"))
        )
    elif kind == 2:
        document = bent_bytes(random, document)
    elif kind == 3:
        odd = random.choice(
            (
                "&x;",
                "<!DOCTYPE a [<!ENTITY x 'y'>]>",
                "<a>" * 50_000,
                "<![CDATA[",
                "<?x?>",
                "]]>",
                "<b c='" + "d" * 100_000 + "'/>",
                "<!--",
                "&#0;",
                "&#xD800;",
                "\x01",
            )
        )
        place = random.randrange(len(good))
        document = (good[:place] + odd + good[place:]).encode()
    there.xml.write_bytes(document)
    needs, codes = must_refuse(document, point), {vm_hook.failure_code(point)}
    argv = [f"{there.folder}{vm_hook.HOOKS_FOLDER}/{point}/storpool-vm-hook"]
    environment = {**there.environment, "vmId": fuzz_words.text(random).replace("\0", "")[:1000]}
    environment["vmId"] = environment["vmId"].encode("utf-8", "replace").decode()
    return fuzzing.Call("hook", hasty(vm_hook), argv, b"", environment), codes if needs else {
        0,
        *codes,
    }


def must_refuse(document: bytes, point: str) -> bool:
    """Tell, with another parser, whether a document has a disk of StorPool's, which nobody can make
    sure of here."""
    try:
        root = ElementTree.fromstring(document)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
        return True
    expected = "disk" if point.endswith(("hotplug", "hotunplug")) else "domain"
    if root.tag != expected:
        return True
    disks = root.findall("devices/disk") if expected == "domain" else [root]
    used = [
        source.get("dev")
        for disk in disks
        if disk.get("device") != "cdrom"
        for source in disk.findall("source")
    ]
    return any(path in PATHS[:2] for path in used)


def bent_bytes(random: Random, data: bytes) -> bytes:
    """Return bytes of which some are others, gone or added."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 5))):
        place = random.randrange(len(changed))
        changed[place : place + random.choice((0, 1, 9))] = bytes(
            random.randrange(256) for _ in range(random.choice((0, 1, 3)))
        )
    return bytes(changed)


def answer_faults(call: fuzzing.Call, done: fuzzing.Done) -> list[str]:
    """Return what is wrong with what a program answered, by the rules of who reads it."""
    if done.code == 0 and call.argv[1:] in ABOUT_ITSELF:
        right = done.out.startswith(PROGRAMS[call.program].encode()) and not done.err
        return [] if right else ["does not say who it is"]
    if call.program == "adapter":
        if done.code == 0:
            expected = (
                b"error:\n" if call.argv[4].startswith("error") else call.argv[4].encode() + b":\n"
            )
            good = re.fullmatch("[0-9a-zA-Z_-]{1,50}", call.argv[4]) and (done.out, done.err) == (
                expected,
                b"",
            )
            return [] if good else ["answers a success that is none"]
        right = done.out.startswith(b"error:") and not done.err
        return (
            fuzzing.sentence_faults(done.out, "stdout")
            if right
            else ["has no line that begins with error:"]
        )
    if done.code == 0 and call.program == "agent":
        right = done.out.startswith(b"<?xml")
        return [] if right else ["answers a success without having asked anybody"]
    if done.code == 0:
        return [] if (done.out, done.err) == (b"", b"") else ["says something beside a success"]
    return (["writes to stdout"] if done.out else []) + fuzzing.sentence_faults(done.err, "stderr")


def fuzz(report: fuzzing.Report, numbers: range) -> None:
    """Run these inputs of the report's seed."""
    with world() as there:
        for number in numbers:
            random = Random(f"{report.seed}/{number}")
            call, codes = (to_adapter, to_adapter, to_helper, to_hook, to_agent)[number % 5](
                random, there
            )
            if call.argv[1:] in ABOUT_ITSELF:
                codes |= {0}
            done = fuzzing.run(call)
            problems = fuzzing.faults(call, done, codes, (TOKEN, PASSWORD))
            if (
                report.every
                and number % report.every == 0
                and ASKED not in done.out + done.err
                and not problems
            ):
                problems = fuzzing.differs(
                    call,
                    done,
                    call.argv[0] if call.program == "hook" else there.programs[call.program],
                )
            report.add(number, call, done, problems or answer_faults(call, done))


if __name__ == "__main__":
    sys.exit(fuzzing.main(str(__doc__).partition("\n")[0], fuzz))
