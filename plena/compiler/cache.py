"""A folder of results by content: what a key stands for never changes, so that any number of processes may share it.

An entry is a small JSON document in a file of its own, written beside its place and renamed. Readers check it: one that
is cut off, changed or of another key is no entry. The oldest go when the folder is larger than it may be.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from plena.errors import PlenaError

LARGEST = 256 << 20
"""Bytes of a folder, unless said otherwise."""

SHARE_KEPT = 0.75
"""How much of them stays when the oldest go."""

CHECK_EVERY = 64
"""Entries that a process writes between two looks at the size of the folder."""


class Cache:
    """Documents by key in a folder.

    Args:
        folder: made if there is none.
        largest: bytes that it may hold, about: it is looked at every `CHECK_EVERY` entries.

    Raises:
        PlenaError: no folder is named, or it cannot be made.
    """

    def __init__(self, folder: str | Path, largest: int = LARGEST) -> None:
        if not str(folder):
            raise PlenaError("the cache needs a folder", "cache", "Name one, or leave the cache out.")
        self.folder = Path(folder).expanduser()
        self.largest = largest
        self._written = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlenaError(f"the cache cannot be made: {error.strerror}", str(self.folder)) from None

    def get(self, *parts: Any) -> dict[str, Any] | None:
        """What was put for the same parts; None if nothing is known, or it is damaged."""
        key = key_of(parts)
        path = self._place(key)
        try:
            text = path.read_text(encoding="utf-8")
            document = json.loads(text)
            os.utime(path)
        except (OSError, ValueError):
            return None
        if not isinstance(document, dict) or document.get("key") != key:
            return None
        value = document.get("value")
        if not isinstance(value, dict) or document.get("check") != _check(value):
            return None
        return value

    def put(self, value: dict[str, Any], *parts: Any) -> None:
        """Keeps plain data for parts; a folder that takes nothing any more is left alone."""
        key = key_of(parts)
        path = self._place(key)
        part = path.with_name(f".{key}.{os.getpid()}.{threading.get_ident()}")
        try:
            path.parent.mkdir(exist_ok=True)
            part.write_text(
                json.dumps({"key": key, "check": _check(value), "value": value}), encoding="utf-8"
            )
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            return
        if self._written % CHECK_EVERY == 0:
            self.shrink()
        self._written += 1

    def shrink(self) -> None:
        """Removes what was not used for longest, if the folder is too large."""
        entries = sorted(self._entries())
        size = sum(entry[1] for entry in entries)
        if size <= self.largest:
            return
        for _, own, path in entries:
            if size <= SHARE_KEPT * self.largest:
                return
            path.unlink(missing_ok=True)
            size -= own

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """When each file was last used, its size, the file; those of other processes may vanish meanwhile."""
        for path in self.folder.glob("??/*"):
            try:
                found = path.stat()
            except OSError:
                continue
            yield found.st_mtime, found.st_size, path

    def _place(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def key_of(parts: Any) -> str:
    """A digest of plain data and of the compiler."""
    text = json.dumps([compiler_digest(), parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def compiler_digest() -> str:
    """A digest of the compiler as it is installed: its files, and the versions of what its results hang on."""
    found = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".json", ".toml"):
            found.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    found.update(" ".join(version(name) for name in ("xdsl", "torch", "numpy")).encode())
    return found.hexdigest()


def _check(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
