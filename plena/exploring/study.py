"""What `plena.explore` gives: what it found, and the page that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from plena.errors import PlenaError
from plena.exploring.found import Found
from plena.exploring.page import page_of
from plena.text_files import write_text


@dataclass(frozen=True)
class Study(Found):
    """A search and its points, finished or not; its attributes are those of `Found`."""

    def report(self, path: str | Path, *, traffic: float = 1.0, programs: int = 0) -> None:
        """Writes one self-contained HTML page: fronts, parallel coordinates, importances, the table of points.

        Args:
            path: the page.
            traffic: of the formats that the picture of formats marks as chosen: bytes over those of the shipped ones.
            programs: of so many points of the front, the first by the first objective, the program's report is written
                too, into a folder beside the page, which links to it.

        Raises:
            PlenaError: it cannot be written.
        """
        if isinstance(programs, bool) or not isinstance(programs, int) or programs < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PlenaError(f"programs must be a whole number of at least 0, not {programs!r}", "report")
        if isinstance(traffic, bool) or not isinstance(traffic, int | float) or not traffic > 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PlenaError(
                f"traffic must be a number above 0, not {traffic!r}", "report", "For example 1.1."
            )
        path = Path(path)
        links = dict(self._program_reports(path, programs))
        write_text(path, page_of(self, traffic, links))

    def _program_reports(self, page: Path, programs: int) -> Iterator[tuple[int, str]]:
        """Writes reports of programs of the front: the number of the point, and the link to its report."""
        folder = page.with_name(f"{page.stem}-programs")
        for number in self.front.index[:programs]:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise PlenaError(f"cannot be made: {error.strerror}", str(folder)) from None
            self.program(int(number)).report(folder / f"point-{number}.html")
            yield int(number), f"{quote(folder.name)}/point-{number}.html"
