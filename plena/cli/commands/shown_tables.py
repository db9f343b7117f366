"""Tables of figures in the terminal and as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plena.errors import PlenaError
from plena.text_files import write_text

if TYPE_CHECKING:
    from rich.table import Table


def table_of(*columns: str) -> Table:
    """A table; numbers in the columns between the first and the last."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number in (0, len(columns) - 1) else "right")
    return table


def print_table(table: Table) -> None:
    """Fits a terminal; in a file or pipe every row is one line, however long its problem."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1 << 16)
        console.width = max(160, console.measure(table).maximum)
    console.print(table, markup=False)


def write_csv(folder: Path, name: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A file in a folder that is made if there is none.

    Raises:
        PlenaError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlenaError(f"cannot be made: {error.strerror}", str(folder)) from None
    write_text(folder / name, text.getvalue())
