"""The file of schedules: two writers, a locked file, files of other kinds and versions."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from plena.compiler.tuning import database as module
from plena.compiler.tuning.database import Entry, TuningDatabase
from plena.errors import PlenaError


def entry(cycles: int) -> Entry:
    return Entry("{}", "transactional", 10, cycles, "1 linear")


def test_an_entry_is_only_replaced_by_who_has_seen_it(tmp_path: Path) -> None:
    first = TuningDatabase(tmp_path / "t.db", make=True)
    second = TuningDatabase(tmp_path / "t.db")
    assert first.get("a") is None and first.put("a", entry(5), None)
    assert not second.put("a", entry(4), None)
    assert second.get("a") == entry(5)
    assert second.put("a", entry(4), entry(5)) and first.get("a") == entry(4)
    assert first.entries() == {"a": entry(4)}


def lowered(path: Path, start: int) -> int:
    """Takes one from the entry a hundred times, as tuners do; how often somebody else was faster."""
    database, lost = TuningDatabase(path, make=True), 0
    for _ in range(100):
        while True:
            known = database.get("a")
            if database.put("a", entry(start if known is None else known.cycles - 1), known):
                break
            lost += 1
    return lost


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    """Processes that make the file at the same time and write the same entry: no step is lost."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(lowered, [tmp_path / "t.db"] * 2, [1000] * 2))
    assert TuningDatabase(tmp_path / "t.db").get("a") == entry(1000 - 199)


def test_a_locked_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCKED_SECONDS", 0.1)
    database = TuningDatabase(tmp_path / "t.db", make=True)
    with sqlite3.connect(tmp_path / "t.db", isolation_level=None) as other:
        other.execute("begin exclusive")
        for call in (lambda: database.get("a"), lambda: database.put("a", entry(1), None)):
            with pytest.raises(PlenaError, match=r"t.db: the tuning database is locked by another program"):
                call()
        other.execute("commit")
    assert database.put("a", entry(1), None)
    other.close()


def test_files_that_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(PlenaError, match=r"text.db: file is not a database"):
        TuningDatabase(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("create table x (y)")
    other.close()
    for make in (False, True):
        with pytest.raises(PlenaError, match=r"other.db: not a tuning database"):
            TuningDatabase(tmp_path / "other.db", make=make)
    TuningDatabase(tmp_path / "new.db", make=True)
    with sqlite3.connect(tmp_path / "new.db") as other:
        other.execute("pragma user_version = 2")
    other.close()
    with pytest.raises(PlenaError, match=r"new.db: a tuning database of version 2, this plena has version 1"):
        TuningDatabase(tmp_path / "new.db")
    with pytest.raises(PlenaError, match="unable to open database file"):
        TuningDatabase(tmp_path / "nosuch" / "t.db", make=True)
    with pytest.raises(PlenaError, match="there is no such tuning database"):
        TuningDatabase(tmp_path)
