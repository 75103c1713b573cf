"""The demo's output: one table, a row for each call as it is made; plain text in a pipe."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

MAX_WIDTH = 120
WHO_WIDTH, TIME_WIDTH = 6, 4
# Of what the other columns leave: in 80 columns hardly anything is wrapped.
ASKED_SHARE, DID_SHARE = 37, 28


class Screen:
    """The rows of the terminal, written as they come."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.console.width = min(self.console.width, MAX_WIDTH)

    def head(self, title: str) -> None:
        """Write what comes, and what the columns are."""
        self.console.print(Text(title, "bold"))
        self.console.print()
        self._row("", "oVirt asked", "StorPool did", "ms", style="bold")
        self.console.rule(style="dim", characters="-")

    def step(self, title: str) -> None:
        """Begin a step of the story: its rows follow."""
        self.console.print(Text(title, "bold cyan"))

    def call(self, who: str, asked: str, did: list[str], seconds: float) -> None:
        """Write what one program was asked, and what it asked StorPool to do."""
        self._row(who, asked, "\n".join(did), f"{seconds * 1000:.0f}")

    def note(self, who: str, text: str, result: str) -> None:
        """Write what came of it: for the guest, or for Engine."""
        self._row(who, text, result, "", style="green")

    def quote(self, who: str, text: str) -> None:
        """Write a longer sentence that one of them said."""
        table = self._columns("green")
        table.add_column(ratio=1, style="green")
        table.add_row("", Text(who), Text(text))
        self.console.print(table)

    def summary(self, text: str, *, good: bool) -> None:
        """Write one closing line."""
        self.console.print(Text(text, "bold green" if good else "bold red"), soft_wrap=True)

    def line(self, text: str) -> None:
        """Write a line as it is, to be copied."""
        self.console.print(Text(text), soft_wrap=True)

    def gap(self) -> None:
        """Leave a line empty."""
        self.console.print()

    def _row(self, who: str, asked: str, did: str, milliseconds: str, *, style: str = "") -> None:
        table = self._columns(style)
        table.add_column(ratio=ASKED_SHARE, overflow="fold", style=style)
        table.add_column(ratio=DID_SHARE, overflow="fold", style=style or "yellow")
        table.add_column(width=TIME_WIDTH, justify="right", style=style or "dim")
        cells = map(Text, (who, asked, did, milliseconds))  # Text: what programs say is no markup
        table.add_row("", *cells)
        self.console.print(table)

    def _columns(self, style: str = "") -> Table:
        table = Table.grid(padding=(0, 1), pad_edge=False, expand=True)
        table.add_column(width=1)
        table.add_column(width=WHO_WIDTH, style=style or "dim")
        return table
