"""A file of schedules, an SQLite database: any number of processes may read and write it."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from plena.errors import PlenaError

APPLICATION = 0x504C454E
"""Marks the file as ours."""

VERSION = 1
"""Of the table."""

LOCKED_SECONDS = 10.0
"""How long another program may hold the file."""

_MAKE = """create table schedules (
    key text primary key, recipe text not null, timing text not null,
    static integer not null, cycles integer not null, about text not null) without rowid"""


@dataclass(frozen=True)
class Entry:
    """A schedule as it lies in the file; nothing of it is to be trusted.

    Args:
        recipe: a JSON document.
        timing: the profile that counted.
        static, cycles: what the one who wrote it counted.
        about: the kernels in a few words.
    """

    recipe: str
    timing: str
    static: int
    cycles: int
    about: str


class TuningDatabase:
    """Schedules by key.

    Args:
        path: the file.
        make: whether it is made if there is none.

    Raises:
        PlenaError: there is no such file, it is something else, of another version, or locked.
    """

    def __init__(self, path: str | Path, *, make: bool = False) -> None:
        if not str(path):
            raise PlenaError("the tuning database needs a file", "tuning", "Name one, or leave it out.")
        self.path = Path(path).expanduser()
        if not make and not self.path.is_file():
            raise PlenaError(
                "there is no such tuning database",
                str(self.path),
                "`plena tune` makes it, as does plena.tune.",
            )
        with self._open(), _refusals(self.path):
            pass

    def get(self, key: str) -> Entry | None:
        """What is known for a key."""
        with self._open() as connection:
            return _get(connection, key)

    def put(self, key: str, entry: Entry, replacing: Entry | None) -> bool:
        """Keeps an entry in place of one that was read; False if another one has come meanwhile."""
        with self._open() as connection:
            connection.execute("begin immediate")
            fits = _get(connection, key) == replacing
            if fits:
                values = (key, entry.recipe, entry.timing, entry.static, entry.cycles, entry.about)
                connection.execute("insert or replace into schedules values (?, ?, ?, ?, ?, ?)", values)
            connection.execute("commit")
            return fits

    def entries(self) -> dict[str, Entry]:
        """All of them by key."""
        with self._open() as connection:
            rows = connection.execute(f"select key, {_COLUMNS} from schedules order by key")
            return {key: Entry(*row) for key, *row in rows}

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        """A connection for one question; it is checked that the file is what it should be.

        Raises:
            PlenaError: it is not, or is locked.
        """
        with (
            _refusals(self.path),
            closing(sqlite3.connect(self.path, timeout=LOCKED_SECONDS, isolation_level=None)) as connection,
        ):
            if not _number(connection, "page_count"):
                _make(connection)
            self._require_ours(connection)
            yield connection

    def _require_ours(self, connection: sqlite3.Connection) -> None:
        if _number(connection, "application_id") != APPLICATION:
            raise PlenaError("not a tuning database", str(self.path), "Name another file.")
        version = _number(connection, "user_version")
        if version != VERSION:
            raise PlenaError(
                f"a tuning database of version {version}, this plena has version {VERSION}",
                str(self.path),
                "Name another file: `plena tune` makes it.",
            )


_COLUMNS = "recipe, timing, static, cycles, about"


def _get(connection: sqlite3.Connection, key: str) -> Entry | None:
    row = connection.execute(f"select {_COLUMNS} from schedules where key = ?", (key,)).fetchone()
    return None if row is None else Entry(*row)


def _make(connection: sqlite3.Connection) -> None:
    """Makes the table, unless another process has done so while this one waited for the lock."""
    connection.execute("begin immediate")
    if not _number(connection, "user_version"):
        connection.execute(_MAKE)
        connection.execute(f"pragma application_id = {APPLICATION}")
        connection.execute(f"pragma user_version = {VERSION}")
    connection.execute("commit")


def _number(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"pragma {name}").fetchone()[0])


@contextmanager
def _refusals(path: Path) -> Generator[None]:
    """Turns what SQLite refuses into one error.

    Raises:
        PlenaError: the file is locked, cannot be opened, or is no database.
    """
    try:
        yield
    except sqlite3.Error as error:
        text, hint = str(error), "Name another file."
        if "locked" in text:
            text, hint = "the tuning database is locked by another program", "Close it, or name another file."
        raise PlenaError(text, str(path), hint) from None
