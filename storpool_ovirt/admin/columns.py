"""Columns of text for people, each as wide as its widest cell, whatever script that is in.

rich knows how wide a character is on a terminal. Its own tables are for what fits on a screen: one
takes 0.2 ms for each row, and a large cluster has 20,000 attachments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import cells


def lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a line for each row, with two blanks between its cells, and none at its end; nothing is
    cut or wrapped.

    It goes through the rows twice, so of very many each may be made then (`lazily.Each`).
    """
    widths: list[int] = []
    for row in rows:
        own = [*map(cells.cell_len, row)]
        widths = [*map(max, widths, own)] if widths else own
    for row in rows:
        yield "  ".join(map(cells.set_cell_size, row, widths)).rstrip()
