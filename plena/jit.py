"""How functions are compiled to machine code, and the stamp that keys their disk cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

Int: TypeAlias = Any
"""An integer in compiled code: int64 unless the text says otherwise. Numba, not pyright, checks compiled functions."""

Float: TypeAlias = Any
"""A float32 in compiled code."""


def compiled(function: F) -> F:
    """Compile a function that is called from other compiled code only.

    IEEE division instead of exceptions; no fast-math, so every float32 operation rounds once and in order.
    """
    return cast(F, numba.njit(nogil=True, error_model="numpy")(function))


def entry_point(function: F) -> F:
    """Compile a function that Python calls, and cache the machine code on disk if there is a place for it."""
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:
        return compiled(function)


def source_stamp(folder: Path, constants: object = None) -> int:
    """A number that changes with any source file of a folder, and with constants its functions have from elsewhere.

    Numba keys the cache of a function on its own file and on its closure, not on the files of the functions
    that are linked into it; an entry point therefore closes over this stamp.
    """
    digest = hashlib.sha256(repr(constants).encode())
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "little")
