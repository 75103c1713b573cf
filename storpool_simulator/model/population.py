"""Many objects at once, written straight into the state of a simulator that does not run.

Benchmarks and tests need hundreds of thousands of volumes, which the API would take an hour to
make. They hold no data, so they have no data files, and are like any others otherwise.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from storpool_simulator.model import objects, policy, startup, state
from storpool_simulator.model.objects import Attachment, Client, Entry, Meta, Template

_AT_ONCE = 20_000  # rows in memory: our choice, more make it no faster


@contextlib.contextmanager
def planted(
    folder: Path, *, cluster_id: str | None = None, templates: Mapping[str, int | None]
) -> Iterator[Population]:
    """Give the population of a state folder; what is added is written until the end of the block.

    A folder without a state becomes that of a new cluster. `templates` are as those of a start: at
    least the ones that are used. Raises StartError when a simulator runs on the folder.
    """
    store = state.Store(folder)
    try:
        population = Population(store, cluster_id, templates)
        yield population
        population.write()
    finally:
        store.close()


class Population:
    """What is added to a cluster's state."""

    def __init__(
        self, store: state.Store, cluster_id: str | None, templates: Mapping[str, int | None]
    ) -> None:
        self._store = store
        self._rows: list[tuple[str, str, object]] = []
        self._positions: dict[int, int] = {}
        now = int(time.time())
        new = Meta(
            cluster_id or startup.DEFAULT_CLUSTER_ID, startup.DEFAULT_CLUSTER_NAME, created_at=now
        )
        self._meta = next(store.read("meta", Meta), new)
        self._number = self._meta.last_number
        self._now = now + int(self._meta.clock_offset)
        self._templates = {one.name: one for one in store.read("template", Template)}
        for name, capacity in templates.items():
            if name not in self._templates:
                self._template(name, capacity)
        for attachment in store.read("attachment", Attachment):
            taken = self._positions.get(attachment.client_id, 0)
            self._positions[attachment.client_id] = max(taken, attachment.position + 1)

    def disk(  # noqa: PLR0913  what a disk is, by name
        self,
        name: str | None,
        size_bytes: int,
        template: str,
        *,
        snapshots: Sequence[str | None] = (),
        tags: Mapping[str, str] | None = None,
        snapshot_tags: Sequence[Mapping[str, str]] = (),
        parent_id: str | None = None,
        **facts: Any,
    ) -> tuple[Entry, ...]:
        """Add a volume and its snapshots, oldest first by their names; return them in this order.

        The oldest snapshot stands on `parent_id`, the next one on it, the volume on the last one.
        All have the same tags, unless `snapshot_tags` has others for each snapshot; `facts` are
        further fields of them all.
        """
        values = {**policy.inherited(self._templates[template]), "created_at": self._now, **facts}
        number, volume_id = self._new_id()
        made = []
        own_tags = snapshot_tags or [tags or {}] * len(snapshots)
        for snapshot, tags_of_it in zip(snapshots, own_tags):
            snapshot_number, global_id = self._new_id()
            entry = Entry(
                global_id=global_id,
                number=snapshot_number,
                snapshot=True,
                name=snapshot,
                size_bytes=size_bytes,
                parent_id=parent_id,
                tags=tags_of_it,
                created_from=volume_id,
                created_from_number=number,
                auto_name=snapshot is None,
                **values,
            )
            made.append(entry)
            parent_id = global_id
        volume = Entry(
            global_id=volume_id,
            number=number,
            snapshot=False,
            name=name,
            size_bytes=size_bytes,
            parent_id=parent_id,
            tags=tags or {},
            **values,
        )
        for entry in (*made, volume):
            self._add("entry", entry.global_id, entry)
        return (volume, *made)

    def attach(self, entry: Entry, client_id: int, *, read_only: bool = False) -> None:
        """Have an object attached to a client, which is registered when it is not known."""
        position = self._positions.get(client_id, 0)
        self._positions[client_id] = position + 1
        if position == 0:
            self._add("client", str(client_id), Client(client_id, running=True))
        attachment = Attachment(entry.global_id, client_id, read_only, position)
        self._add("attachment", f"{entry.global_id}/{client_id}", attachment)

    def write(self) -> None:
        """Write down what was added, and where the cluster's numbers go on."""
        generation = self._meta.generation + 1
        meta = replace(self._meta, generation=generation, last_number=self._number)
        self._store.write([*self._rows, ("meta", "0", meta)])
        self._rows.clear()

    def _template(self, name: str, capacity: int | None) -> None:
        self._number += 1
        template = Template(self._number, name, capacity or objects.DEFAULT_CAPACITY)
        self._templates[name] = template
        self._add("template", str(template.number), template)

    def _new_id(self) -> tuple[int, str]:
        self._number += 1
        return self._number, objects.global_id(self._meta.cluster_id, self._number)

    def _add(self, kind: str, key: str, row: object) -> None:
        self._rows.append((kind, key, row))
        if len(self._rows) >= _AT_ONCE:
            self.write()
