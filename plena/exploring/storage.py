"""Where a study lies: an SQLite file unless another database is named, with one client at a time."""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plena.errors import PlenaError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study as OptunaStudy

NAME = "plena"
"""Of the study in its storage."""

LOCKED_SECONDS = 10
"""How long another program may hold an SQLite file."""

FACTS = "plena"
"""Attribute of a study: what it was made for."""


def user_cache() -> Path:
    """The folder for what can be computed again."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "plena"


def url_of(storage: str | Path) -> str:
    """The URL of a storage; a path is an SQLite file."""
    text = str(storage)
    return text if "://" in text else f"sqlite:///{Path(text).expanduser().absolute()}"


def told(url: str) -> str:
    """What a page says of a storage that others get: the name of a file, a database without its password."""
    if url.startswith("sqlite:///"):
        return Path(url.removeprefix("sqlite:///")).name
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)


@contextmanager
def only_client(url: str) -> Generator[None]:
    """Holds an SQLite file for this process; other databases are the user's to share out.

    Raises:
        PlenaError: another process has it, or its folder cannot be made.
    """
    if not url.startswith("sqlite:///"):
        yield
        return
    path = Path(url.removeprefix("sqlite:///"))
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("a")
    except OSError as error:
        raise PlenaError(f"cannot be written: {error.strerror}", str(error.filename or lock)) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlenaError(
                "another process explores with this storage",
                str(path),
                "Wait for it, or name another storage.",
            ) from None
        yield


def opened(url: str, objectives: int) -> OptunaStudy:
    """The study of a storage, made if there is none.

    Raises:
        PlenaError: no such database, one of another version, one that is locked, or a study of other objectives.
    """
    import optuna
    from optuna.study import StudyDirection

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with refusals(url, RuntimeError, ImportError, ValueError):
        study = optuna.create_study(
            storage=_storage(url),
            study_name=NAME,
            directions=[StudyDirection.MINIMIZE] * objectives,
            load_if_exists=True,
        )
    if len(study.directions) != objectives:
        raise _of_another("objectives", url)
    return study


def read(url: str) -> OptunaStudy:
    """The study of a storage that somebody else may be filling.

    Raises:
        PlenaError: there is no such study or database, or one of another version.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not path.is_file():
        raise PlenaError("there is no such study", str(path), "`plena explore --storage` makes it.")
    with refusals(url, RuntimeError, ImportError, ValueError, KeyError):
        return optuna.load_study(storage=_storage(url), study_name=NAME)


def claim(study: OptunaStudy, url: str, facts: Mapping[str, Any]) -> None:
    """Notes what a study is made for, which must be what it was made for before.

    Raises:
        PlenaError: it is a study of something else.
    """
    facts = json.loads(json.dumps(facts))
    with refusals(url):
        known = study.user_attrs.get(FACTS)
        if known is None and study.get_trials(deepcopy=False):
            raise PlenaError("its study was not made by plena", url, "Name another storage.")
        known = dict(known or {})
        for name, fact in facts.items():
            if known.setdefault(name, fact) != fact:
                raise _of_another(name, url)
        if known != study.user_attrs.get(FACTS):
            study.set_user_attr(FACTS, known)


def _of_another(name: str, url: str) -> PlenaError:
    advice = "Name another storage, or explore what it was made for."
    if name == "model":
        advice += " Weights count: a factory of random ones needs torch.manual_seed."
    return PlenaError(f"it holds a study with another {name}", url, advice)


def _storage(url: str) -> RDBStorage:
    from optuna.storages import RDBStorage

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        is_file = url.startswith("sqlite:")
        storage = RDBStorage(
            url, engine_kwargs={"connect_args": {"timeout": LOCKED_SECONDS}} if is_file else {}
        )
    if is_file:
        from sqlalchemy import event

        storage.engine.dispose()
        event.listen(storage.engine, "connect", _without_waiting)
    return storage


def _without_waiting(connection: Any, record: object) -> None:
    """Optuna commits ten times for a trial: with a log nobody waits for the disk; a killed process loses nothing."""
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")


@contextmanager
def refusals(url: str, *others: type[Exception]) -> Generator[None]:
    """Turns what a database refuses into one error.

    Args:
        others: what Optuna raises beside errors of the database when it opens one.

    Raises:
        PlenaError: it is locked, of another version, or no database.
    """
    import sqlalchemy.exc
    from optuna.exceptions import OptunaError

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, OptunaError, *others) as error:
        cause = error.__cause__ or error
        text = " ".join(str(getattr(cause, "orig", None) or cause).split())
        hint = "Name another storage."
        if "locked" in text:
            text, hint = "the storage is locked by another program", "Close it, or name another storage."
        raise PlenaError(text.rstrip("."), url, hint) from error
