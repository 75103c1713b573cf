"""What Engine asks over a whole life, as the properties of reconcile and rebuild live it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rigs import kept_tags
from rigs.disk_model import GIB
from rigs.disk_rig import Death, Fault
from storpool_ovirt import errors

if TYPE_CHECKING:
    from rigs.disk_model import Row
    from rigs.yard import Yard


# In the place of a verb: one of StorPool's services makes a pass.
PASS = "pass"


class History:
    """What Engine asks, one verb after another, and what it knows from the answers: each node's
    least size."""

    DISKS = tuple(f"d{number}000000-0000-4000-8000-000000000000" for number in range(3))

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        yard.given(**kept_tags.DOMAIN)
        self.foreign = yard.see().foreign  # as VolumeCare has left it
        self.known: dict[str, int] = {}
        self.asked: dict[str, tuple[object, ...]] = {}

    def step(self, verb: str, number: int, gib: int, fault: Fault | None) -> None:
        """Have Engine ask something that makes sense, and learn from the answer; whatever becomes
        of it, all objects have their tags (T79)."""
        self._ask(verb, number, gib, fault)
        kept_tags.check(self.yard)

    def _ask(self, verb: str, number: int, gib: int, fault: Fault | None) -> None:
        if verb == PASS:
            self.yard.beside().play(number)
            self.foreign = self.yard.see().foreign
            return
        rows = self.yard.see().rows
        arguments = self._arguments(verb, number, gib, rows)
        if not arguments:
            return
        if verb == "attach":
            self.yard.shut(str(arguments[0]), number % 3 + 1)
            return
        target = str(arguments[-1] if verb == "clone" else arguments[0])
        doomed = [
            uuid
            for uuid, row in rows.items()
            if target == uuid or (verb == "delete" and row.root == target)
        ]
        if verb in ("delete", "remove"):
            self.known = {uuid: size for uuid, size in self.known.items() if uuid not in doomed}
        if verb in ("create", "clone"):
            self.asked[target] = (verb, *arguments)
        try:
            if fault is not None and fault.kind == "undelivered":
                self.yard.undelivered(verb, *arguments)
                return
            answer = self.yard.verb(verb, *arguments, fault=fault)
        except (errors.Error, Death) as error:
            assert fault is not None or isinstance(error, errors.Conflict), verb
            return
        self._learn(verb, target if answer is None else str(answer), arguments)

    def _arguments(
        self, verb: str, number: int, gib: int, rows: dict[str, Row]
    ) -> tuple[object, ...]:
        known = [*self.known]  # in the order of their making, as ids are random
        new = self.DISKS[number % len(self.DISKS)]
        if verb in ("create", "clone"):
            if new in self.asked:
                same = self.asked[new][1:]
                return same if self.asked[new][0] == verb and same[0] in (new, *known) else ()
            if verb == "clone" and not known:
                return ()
            return (new, gib * GIB) if verb == "create" else (known[number % len(known)], new)
        fitting = [uuid for uuid in known if self._fits(verb, uuid, rows)]
        if verb == "delete":
            fitting += [uuid for uuid in self.asked if uuid not in known]
        if not fitting:
            return ()
        chosen = fitting[number % len(fitting)]
        return (chosen, gib * GIB) if verb == "extend" else (chosen,)

    def _fits(self, verb: str, uuid: str, rows: dict[str, Row]) -> bool:
        kind = rows[uuid].kind
        is_active = rows[rows[uuid].root].active == uuid
        wanted = {
            "preview": kind == "snapshot",
            "delete": kind == "volume",
            "remove": not is_active,
        }
        return wanted.get(verb, kind == "volume")

    def _learn(self, verb: str, uuid: str, arguments: tuple[object, ...]) -> None:
        rows = self.yard.see().rows
        if verb in ("create", "clone", "snapshot", "preview"):
            self.known.setdefault(uuid, rows[uuid].size_bytes)
        elif verb == "extend":
            active = rows[uuid].active or uuid
            self.known[active] = int(str(arguments[1]))
