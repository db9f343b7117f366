"""Images of HBM in files: what is large is no memory of the process, and what nobody writes is nowhere."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]

LARGE = 1 << 26
"""Bytes from which a new image gets a file, so that the memories of runs have in common what they do not write."""

PAGE = 1 << 12
"""Bytes of a memory that are known to be the same or not: what a run changes is copied by pages."""

COPIED = 1 << 20
"""Bytes that are looked at together when an image is copied."""

_files: weakref.WeakKeyDictionary[mmap.mmap, int] = weakref.WeakKeyDictionary()
"""The open file of every mapping: its name may belong to another file by now, or to none."""


def new_image(size: int, length: int) -> Bytes:
    """Zeros, in a sparse file without a name if there are many; it goes with the last array on it.

    Args:
        size: bytes of the image.
        length: bytes of the memory that it is for: so long is the file, for `private_copy`.
    """
    folder = tempfile.gettempdir()
    # On a full disk a mapped file ends the process.
    if size < LARGE or shutil.disk_usage(folder).free < size + LARGE:
        return np.zeros(size, np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(max(size, length))
        return _mapped(file.fileno(), size, mmap.ACCESS_WRITE)


def sparse_file(path: Path, size: int, length: int) -> None:
    """Makes a file of `length` zero bytes, of which `size` are going to be written: holes until then.

    Raises:
        OSError: it cannot be made, or there is no room for what is going to be written.
    """
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise OSError(errno.ENOSPC, f"the image needs {size:,} bytes, {free:,} are free")
    with path.open("wb") as file:
        file.truncate(length)


def open_image(path: Path) -> Bytes:
    """The image in a file, which stays as it is: what is written is in memory.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return _mapped(file.fileno(), size, mmap.ACCESS_COPY) if size else np.zeros(0, np.uint8)


def private_copy(image: Bytes, length: int) -> Bytes | None:
    """The first `length` bytes of the file of an image, copied where somebody writes; None if it has no such file."""
    file = _files.get(image.base) if isinstance(image.base, mmap.mmap) else None
    if file is None or os.fstat(file).st_size < length:
        return None
    return np.ndarray((length,), np.uint8, mmap.mmap(file, length, access=mmap.ACCESS_COPY))


def copy_written(source: Bytes, target: Bytes) -> None:
    """Copies an image to the beginning of zeros; what is zero stays no memory."""
    for start in range(0, source.size, COPIED):
        part = source[start : start + COPIED]
        if part.any():
            target[start : start + part.size] = part


def _mapped(file: int, size: int, access: int) -> Bytes:
    mapping = mmap.mmap(file, size, access=access)
    kept = os.dup(file)
    weakref.finalize(mapping, os.close, kept)
    _files[mapping] = kept
    return np.ndarray((size,), np.uint8, mapping)
