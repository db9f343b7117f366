"""What `plena.explore` gives: what it found, and the page that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from plena.exploring.found import Found
from plena.exploring.page import page_of
from plena.text_files import write_text


@dataclass(frozen=True)
class Study(Found):
    """A search and its points, finished or not; its attributes are those of `Found`."""

    def report(self, path: str | Path) -> None:
        """Writes one self-contained HTML page: fronts, parallel coordinates, importances, the table of points.

        Raises:
            PlenaError: it cannot be written.
        """
        write_text(Path(path), page_of(self))
