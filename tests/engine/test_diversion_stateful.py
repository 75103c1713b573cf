"""storpool-engine-divert on a machine where packages, administrators, backups and kills come in any
order."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Callable

from diversion_ground import Death, Facts, Machine, dying, facts
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from storpool_ovirt import errors
from storpool_ovirt.engine import client_file, dispatcher

STEPS_MAX = 5
MODES = st.sampled_from([0o755, 0o644, 0o750, 0o4755])
HALF_MADE = f".{dispatcher.CLIENT}.storpool-ovirt"


class Diversions(RuleBasedStateMachine):
    """`stock` is Engine's own client as the newest package, or whoever patched it, left it; None
    where Engine has none."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.machine = Machine(self.place / "root")
        self.stock: Facts | None = None
        self.saved: Facts | None = None
        self.aside: Path | None = None

    def teardown(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.place)

    # What others do

    @initialize()
    def first_package(self) -> None:
        """There is an Engine."""
        self.package(0o755)

    @rule(mode=MODES)
    def package(self, mode: int) -> None:
        """Install, update or downgrade ovirt-engine."""
        self.aside = None
        self.stock = self.machine.package(mode)

    @precondition(lambda self: self.stock)
    @rule()
    def erase(self) -> None:
        """Erase it, or update it to a release without the client."""
        self.machine.erase()
        self.aside = self.stock = None

    @precondition(lambda self: self.stock and not self.aside)
    @rule(mode=MODES)
    def patch(self, mode: int) -> None:
        """Put a changed client in place, as sp-ovirt does; it is Engine's own from then on."""
        self.machine.number += 1
        self.machine.client.unlink()
        self.machine.client.write_text(f"patched {self.machine.number}\n")
        self.machine.client.chmod(mode)
        self.stock = facts(self.machine.client)

    @precondition(lambda self: self.machine.client.is_symlink() and not self.aside)
    @rule()
    def copy(self) -> None:
        """Restore the client by `cp -L`."""
        self.machine.copy_in_place_of_link()

    @precondition(lambda self: self.stock and not self.aside)
    @rule(links=st.booleans())
    def backup(self, links: bool) -> None:
        """Copy the folder."""
        self.machine.backup(self.place / "saved", links=links)
        self.saved = self.stock

    @precondition(lambda self: self.saved and self.stock and not self.aside)
    @rule()
    def restore(self) -> None:
        """Restore that copy."""
        self.machine.restore(self.place / "saved")
        self.stock = self.saved

    @precondition(lambda self: self.stock and not self.aside)
    @rule()
    def foreign(self) -> None:
        """Let somebody else's link take the client's place."""
        self.aside = self.place / "aside"
        self.machine.client.rename(self.aside)
        self.machine.client.symlink_to("/opt/other/dispatcher")

    @precondition(lambda self: self.aside)
    @rule()
    def foreign_gone(self) -> None:
        """Take it away again."""
        assert self.aside
        self.machine.client.unlink()
        self.aside.rename(self.machine.client)
        self.aside = None

    # What we do

    @rule(other=st.booleans())
    def on(self, other: bool) -> None:
        """Divert, to the dispatcher of either installation."""
        own = self.machine.other if other else self.machine.own
        self.changed(self.machine.diversion(own).on)
        if self.stock and not self.aside:
            assert self.machine.client.readlink() == own
            assert facts(self.machine.kept) == self.stock
            assert self.machine.names() == {
                dispatcher.CLIENT,
                dispatcher.STOCK,
                client_file.OF_THE_SAME_PACKAGE,
            }
            assert self.machine.diversion(own).status()[0] == 0

    @rule(other=st.booleans())
    def off(self, other: bool) -> None:
        """Take the diversion away; that of another installation stays."""
        own = self.machine.other if other else self.machine.own
        client = self.machine.client
        anothers = client.is_symlink() and client.readlink() != own
        self.changed(self.machine.diversion(own).off)
        if anothers and not self.aside:
            assert client.is_symlink()
        elif self.stock and not self.aside:
            assert facts(client) == self.stock
            assert self.machine.names() == {dispatcher.CLIENT, client_file.OF_THE_SAME_PACKAGE}

    @rule(at=st.integers(1, STEPS_MAX), behind=st.booleans(), way=st.sampled_from(["on", "off"]))
    def killed(self, at: int, behind: bool, way: str) -> None:
        """Kill it at a step, before or behind it."""
        do: Callable[[], str] = getattr(self.machine.diversion(), way)
        with contextlib.suppress(Death, errors.Conflict), dying(at, behind=behind):
            do()

    def changed(self, do: Callable[[], str]) -> None:
        """Do it; a foreign link is refused and left, and nothing of ours stays without an
        Engine."""
        if self.aside:
            names = self.machine.names()
            try:
                do()
            except errors.Conflict:
                assert str(self.machine.client.readlink()) == "/opt/other/dispatcher"
                assert self.machine.names() == names - {HALF_MADE}
            else:
                raise AssertionError("a link of somebody else's is refused")
            return
        do()
        if self.stock is None:
            assert not self.machine.folder.exists()
            assert "nothing to do" in do()

    @invariant()
    def engine_has_a_client(self) -> None:
        """At any moment: Engine's name leads to something, and Engine's own file is there, as it
        was; status has words for all that can be."""
        code, words = self.machine.diversion().status()
        assert code in (0, 1)
        assert ":" in words
        if self.stock is None or self.aside:
            return
        client, kept = self.machine.client, self.machine.kept
        assert client.exists(), "Engine finds nothing"
        own = [each for each in (client, kept) if each.exists() and not each.is_symlink()]
        assert self.stock in [facts(each) for each in own]


TestDiversions = Diversions.TestCase
TestDiversions.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
