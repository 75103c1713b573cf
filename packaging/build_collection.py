"""The archive of the Ansible collection, of what git has in ansible/.

It is what `ansible-galaxy collection build ansible` makes, but that two archives of one commit are
the same, and that Ansible need not be here. tests/ansible holds the two against each other.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

import build_rpm

FOLDER = "ansible"
DESCRIPTION = "galaxy.yml"
FORMAT = 1
# All that an archive says of a collection, in Ansible's order; what is not said is null.
_FACTS = [
    *("namespace", "name", "version", "authors", "readme", "tags", "description", "license"),
    *("license_file", "dependencies", "repository", "documentation", "homepage", "issues"),
]
# In galaxy.yml for the build alone.
_IGNORED = "build_ignore"
_A_FACT = re.compile(r"(\w+):(?: +(.+))?")
_AN_ITEM = re.compile(r" +- (.+)")


def build(packed: build_rpm.Source, output: Path, tree: Path) -> Path:
    """Build the archive of a commit, and return it."""
    text = build_rpm.git("archive", "--format=tar", packed.commit, FOLDER, tree=tree)
    with tarfile.open(fileobj=io.BytesIO(text)) as given:
        members = {each.name[len(FOLDER) + 1 :]: each for each in given.getmembers()}
        contents = {
            name: b"" if member.isdir() else _content(given, member)
            for name, member in members.items()
        }
    facts = described(contents[DESCRIPTION].decode())
    ignored = [DESCRIPTION, *facts.get(_IGNORED, [])]
    taken = [name for name in sorted(members) if name and not _is_one(name, ignored)]
    files = _files({name: None if members[name].isdir() else contents[name] for name in taken})
    whole = {"MANIFEST.json": _manifest(facts, files), "FILES.json": files}
    made = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=made, mode="wb", mtime=packed.epoch) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as out,
    ):
        for name, content in {**whole, **{each: contents[each] for each in taken}}.items():
            member = members.get(name, tarfile.TarInfo())
            member.name, member.size = name, len(content)
            out.addfile(build_rpm.plain(member, packed.epoch), io.BytesIO(content))
    # Under Ansible's own name it could not be told from the source archive.
    archive = output / f"ansible-{facts['namespace']}-{facts['name']}-{packed.version}.tar.gz"
    archive.write_bytes(made.getvalue())
    if facts["version"] != packed.version:
        raise SystemExit(
            f"{FOLDER}/{DESCRIPTION} says version {facts['version']}, and the product is"
            f" {packed.version}: make them one"
        )
    return archive


def described(text: str) -> dict[str, str | list[str] | dict[str, str]]:
    """Return what galaxy.yml says: plain words, lists of these, and {}; end where it has more."""
    facts: dict[str, str | list[str] | dict[str, str]] = {}
    items: list[str] = []
    for line in text.splitlines():
        fact, item = _A_FACT.fullmatch(line), _AN_ITEM.fullmatch(line)
        if fact is not None and fact[2] is None:
            items = facts[fact[1]] = []
        elif fact is not None:
            facts[fact[1]] = {} if fact[2] == "{}" else _word(fact[2])
        elif item is not None:
            items.append(_word(item[1]))
        elif line and line != "---" and not line.startswith("#"):
            raise SystemExit(f"{FOLDER}/{DESCRIPTION} has a line that is not read here: {line}")
    return facts


def _word(text: str) -> str:
    return text[1:-1] if text[0] == text[-1] == '"' else text


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member)
    if opened is None:
        raise SystemExit(f"{member.name} is neither a file nor a folder")
    return opened.read()


def _is_one(name: str, patterns: list[str]) -> bool:
    """Return whether a file, or a folder that it is in, has one of these names."""
    parts = name.split("/")
    within = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    return any(fnmatch.fnmatch(each, pattern) for each in (*within, *parts) for pattern in patterns)


def _files(contents: Mapping[str, bytes | None]) -> bytes:
    """Return FILES.json: each file with its sum, each folder (None) without."""
    rows = [_row(".", None), *(_row(name, content) for name, content in contents.items())]
    return _document({"files": rows, "format": FORMAT})


def _row(name: str, content: bytes | None) -> dict[str, str | int | None]:
    is_folder = content is None
    return {
        "name": name,
        "ftype": "dir" if is_folder else "file",
        "chksum_type": None if is_folder else "sha256",
        "chksum_sha256": None if content is None else hashlib.sha256(content).hexdigest(),
        "format": FORMAT,
    }


def _manifest(facts: Mapping[str, object], files: bytes) -> bytes:
    """Return MANIFEST.json."""
    return _document(
        {
            "collection_info": {name: facts.get(name) for name in _FACTS},
            "file_manifest_file": _row("FILES.json", files),
            "format": FORMAT,
        }
    )


def _document(facts: Mapping[str, object]) -> bytes:
    return json.dumps(facts, indent=True).encode()
