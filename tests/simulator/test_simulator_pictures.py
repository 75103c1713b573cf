"""The catalog as it was: pictures of it stay right whatever is changed or taken back after them,
and the changes that are kept lead back to it."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from storpool_simulator.model.catalog import Catalog, PastChange, Picture
from storpool_simulator.model.objects import Attachment, Client, Entry, Meta, Template

IDS = [f"sim.a.{number}" for number in range(8)]
NAMES = ["a", "b", "c", None]
REVERTED = ["sim.a.r1", "sim.a.r2", None]
KINDS = "metas templates clients entries attachments"


def entry(number: int, **facts: Any) -> Entry:
    """A volume with this number."""
    given: dict[str, Any] = {
        "name": None,
        "snapshot": False,
        "parent_id": None,
        "size_bytes": 4096,
        "template_id": 1,
        **facts,
    }
    return Entry(
        global_id=IDS[number],
        number=number,
        replication=3,
        place_all="default",
        place_tail="default",
        place_head="default",
        bw=-1,
        iops=-1,
        reuse_server=False,
        tags={},
        created_at=0,
        **given,
    )


def copied(catalog: Catalog) -> Catalog:
    """The same rows, read anew one by one."""
    fresh = Catalog()
    for name in KINDS.split():
        rows = sorted(getattr(catalog, name), key=lambda row: getattr(row, "number", 0))
        for row in rows:
            getattr(fresh, name).load(row)
    return fresh


def looked_at(catalog: Catalog) -> dict[str, Any]:
    """All that can be read from a catalog."""
    return {
        "rows": {name: set(map(repr, getattr(catalog, name))) for name in KINDS.split()},
        "keys": {name: set(getattr(catalog, name).rows) for name in KINDS.split()},
        "count": len(catalog.entries.rows),
        "found": {name: catalog.find(name) for name in NAMES if name},
        "ids": {global_id: catalog.find(f"~{global_id}") for global_id in (*IDS, *REVERTED)},
        "children": {one: {child.number for child in catalog.children(one)} for one in IDS},
        "counts": {one: catalog.children_count(one) for one in IDS},
        "attached": {one: catalog.attached(one) for one in IDS},
        "clients": {one: set(catalog.attached_to(one)) for one in (1, 2)},
        "free": {one: catalog.free_position(one) for one in (1, 2)},
        "templates": {name: catalog.has_template(name) for name in ("x", "y", "z")},
        "sums": {number: catalog.tally(number) for number in (1, 2)},
        "generation": catalog.meta.generation,
    }


class Changes(RuleBasedStateMachine):
    """Changes of few rows, written or taken back, among pictures that were taken before."""

    def __init__(self) -> None:
        super().__init__()
        self.catalog = Catalog()
        self.catalog.metas.load(Meta("sim.a", "simulated", 0))
        self.catalog.templates.load(Template(1, "x", 1))
        self.pictures: list[tuple[Picture, dict[str, Any]]] = []
        self.past: list[tuple[PastChange, dict[str, Any]]] = []

    def done(self, is_written: bool) -> None:
        """End a change as the cluster does."""
        if is_written:
            meta = self.catalog.meta
            self.catalog.metas.put(replace(meta, generation=meta.generation + 1))
            self.past.append((self.catalog.past_change(meta.generation, self.sums), self.before))
            self.catalog.journal.forget()
        else:
            self.catalog.journal.restore()

    def begin(self) -> None:
        """Begin a change as the cluster does."""
        self.sums, self.before = self.catalog.tallies(), looked_at(copied(self.catalog))

    @rule(
        number=st.integers(0, 7),
        name=st.sampled_from(NAMES),
        snapshot=st.booleans(),
        parent=st.sampled_from([None, *IDS]),
        template=st.sampled_from([1, 2]),
        size=st.integers(1, 3),
        reverted=st.sampled_from(REVERTED),
        is_written=st.booleans(),
    )
    def put(self, number: int, name: str | None, is_written: bool, **facts: Any) -> None:
        """A row comes or changes."""
        self.begin()
        holder = None if name is None else self.catalog.find(name)
        if holder is not None and holder.number != number:
            name = None
        if any(one.reverted_id == facts["reverted"] for one in self.catalog.entries):
            facts["reverted"] = None
        self.catalog.entries.put(
            entry(
                number,
                name=name,
                snapshot=facts["snapshot"],
                parent_id=facts["parent"] if facts["parent"] != IDS[number] else None,
                template_id=facts["template"],
                size_bytes=facts["size"],
                reverted_id=facts["reverted"],
            )
        )
        self.done(is_written)

    @rule(number=st.integers(0, 7), is_written=st.booleans())
    def drop(self, number: int, is_written: bool) -> None:
        """A row goes, with its attachments."""
        self.begin()
        if IDS[number] in self.catalog.entries.rows:
            for attachment in self.catalog.attached(IDS[number]).values():
                self.catalog.attachments.drop(attachment.key)
            self.catalog.entries.drop(IDS[number])
        self.done(is_written)

    @rule(number=st.integers(0, 7), client=st.sampled_from([1, 2]), is_written=st.booleans())
    def attach(self, number: int, client: int, is_written: bool) -> None:
        """An attachment comes, changes or goes; so do its client and a template."""
        self.begin()
        there = self.catalog.attachments.get((IDS[number], client))
        if there is not None and there.read_only:
            self.catalog.attachments.drop(there.key)
        elif IDS[number] in self.catalog.entries.rows:
            position = there.position if there else self.catalog.free_position(client)
            new = Attachment(IDS[number], client, there is not None, position)
            self.catalog.attachments.put(new)
        self.catalog.clients.put(Client(client, running=number % 2 == 0))
        self.catalog.templates.put(Template(2, "y" if number % 3 else "z", number))
        self.done(is_written)

    @rule()
    def picture(self) -> None:
        """A picture is taken."""
        self.pictures.append((Picture(self.catalog, ()), looked_at(copied(self.catalog))))

    @rule(number=st.integers(0, 7), changes=st.integers(1, 20))
    def look_back(self, number: int, changes: int) -> None:
        """A picture of some changes ago is taken, and another one is forgotten."""
        undone = self.past[-changes:]
        if undone:
            then = Picture(self.catalog, [change for change, _ in reversed(undone)])
            self.pictures.append((then, undone[0][1]))
        if self.pictures:
            del self.pictures[number % len(self.pictures)]

    @invariant()
    def pictures_stay(self) -> None:
        """Each picture shows what was there when it was taken, and the present what is there."""
        for picture, expected in self.pictures:
            assert looked_at(picture) == expected
        assert looked_at(self.catalog) == looked_at(copied(self.catalog))


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_nothing_is_changed_in_a_picture() -> None:
    """Who tries to change a picture has made a mistake, and hears so."""
    catalog = Catalog()
    catalog.entries.load(entry(1, name="a"))
    picture = Picture(catalog, ())
    with pytest.raises(TypeError, match="nothing can be changed in the past"):
        picture.entries.put(entry(2))
    with pytest.raises(TypeError, match="nothing can be changed in the past"):
        picture.entries.drop(IDS[1])
    assert picture.find("a") == entry(1, name="a")


def test_a_picture_is_forgotten_with_its_last_reader() -> None:
    """What nobody reads any more is told nothing: a picture costs nothing once it is over."""
    catalog = Catalog()
    picture = Picture(catalog, ())
    told: list[object] = []
    picture.remember = lambda *facts: told.append(facts)  # type: ignore[method-assign]
    catalog.entries.put(entry(1))
    catalog.journal.forget()
    del picture
    catalog.entries.put(entry(2))
    assert len(told) == 1


def test_what_has_gone_since_then_is_in_its_place() -> None:
    """Rows that were deleted after a picture was taken are listed in the order of their making."""
    catalog = Catalog()
    for number in range(8):
        catalog.entries.load(entry(number))
    picture = Picture(catalog, ())
    catalog.entries.drop(IDS[3])
    catalog.entries.put(entry(4, name="a"))
    assert [one.number for one in picture.entries] == list(range(8))
    assert all(one.name is None for one in picture.entries)
    assert [one.number for one in catalog.entries] == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["get", "having"])
def test_a_change_in_the_middle_of_a_look_is_not_seen(
    monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    """Whenever a row changes while another thread looks it up in a picture, just before the present
    is read or just after it, the picture shows the row as it was."""
    for look in (
        lambda picture: picture.find("a"),
        lambda picture: picture.find(f"~{IDS[1]}"),
        lambda picture: next(picture.children(IDS[2])),
    ):
        catalog = Catalog()
        row = catalog.entries.put(entry(1, name="a", parent_id=IDS[2]))
        catalog.journal.forget()
        picture, read = Picture(catalog, ()), getattr(catalog.entries, step)
        changes = [entry(1, name="b", parent_id=IDS[3])]

        def raced(
            *key: Any,
            read: Any = read,
            changes: list[Entry] = changes,
            catalog: Catalog = catalog,
        ) -> Any:
            if when == "before" and changes:
                catalog.entries.put(changes.pop())
            found = read(*key)
            if changes:
                catalog.entries.put(changes.pop())
            return found

        monkeypatch.setattr(catalog.entries, step, raced)
        assert look(picture) == row


class Crowd:
    """Threads that change rows, and threads that read pictures of them without the lock."""

    COUNT = 400
    IDS = tuple(f"sim.a.x{number}" for number in range(COUNT))

    def __init__(self, seconds: float) -> None:
        self.catalog, self.lock = Catalog(), threading.Lock()
        self.catalog.metas.load(Meta("sim.a", "simulated", 0))
        self.end = time.monotonic() + seconds
        self.failures: list[str] = []
        self.looks = 0
        for number in range(self.COUNT):
            self.catalog.entries.load(self.row(number, f"n{number}", number // 2))

    def row(self, number: int, name: str, parent: int) -> Entry:
        """The volume of this number."""
        row = replace(entry(0), global_id=self.IDS[number], number=number, name=name)
        return replace(row, parent_id=self.IDS[parent] if parent != number else None)

    def goes_on(self) -> bool:
        """Whether there is time left and nothing was wrong."""
        return time.monotonic() < self.end and not self.failures

    def change(self) -> None:
        """Change row after row, and take every fifth change back."""
        turn = 0
        while self.goes_on():
            turn += 1
            with self.lock:
                self.change_one(turn * 7 % self.COUNT)
                if turn % 5:
                    self.catalog.journal.forget()
                else:
                    self.catalog.journal.restore()

    def change_one(self, number: int) -> None:
        """Have a row come, go, or get another name and parent."""
        old = self.catalog.entries.get(self.IDS[number])
        if old is None:
            self.catalog.entries.put(self.row(number, f"n{number}", number // 3))
        elif number % 3:
            name = f"m{number}" if old.name == f"n{number}" else f"n{number}"
            self.catalog.entries.put(self.row(number, name, number * 5 % self.COUNT))
        else:
            self.catalog.entries.drop(self.IDS[number])

    def read(self) -> None:
        """Take picture after picture, and look twice at each."""
        while self.goes_on():
            with self.lock:
                picture, rows = Picture(self.catalog, ()), dict(self.catalog.entries.rows)
            for _ in range(2):
                self.compare(picture, rows)

    def compare(self, picture: Picture, rows: dict[str, Entry]) -> None:
        """Note what a picture shows that was not so."""
        names = {row.name: row for row in rows.values()}
        if {row.global_id: row for row in picture.entries} != rows:
            self.failures.append("rows")
        for number in range(self.COUNT):
            if picture.find(f"n{number}") != names.get(f"n{number}"):
                self.failures.append(f"name n{number}")
        for global_id in self.IDS[:50]:
            children = {one for one, row in rows.items() if row.parent_id == global_id}
            if {one.global_id for one in picture.children(global_id)} != children:
                self.failures.append(f"children of {global_id}")
        self.looks += 1


def test_a_picture_is_read_while_others_change_the_rows() -> None:
    """Readers without the lock see one moment, also while rows come, go and change under them."""
    crowd, patience = Crowd(seconds=1), sys.getswitchinterval()
    threads = [
        threading.Thread(target=what)
        for what in (crowd.change, crowd.change, crowd.read, crowd.read)
    ]
    sys.setswitchinterval(1e-6)  # threads change places between any two steps
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(patience)
    assert crowd.failures == []
    assert crowd.looks > 1
