"""Sharing a weight image between program folders.

A folder that shares has no HBM image of its own. Its manifest names the other folder and the byte ranges of that
image which are this program's weights; what else is not zero is in ``hbm_private.bin``. Two programs for the same
model may place their weights differently: ranges are found tensor by tensor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from plena.errors import PlenaError
from plena.host.layout import TensorPlacement
from plena.host.mapped_image import new_image
from plena.machine.target import Target
from plena.program.manifest import HBM, read_manifest

if TYPE_CHECKING:
    from plena.program.data import ProgramData

SHARED_KEY = "shared_image"
"""Entry of the manifest of a folder that shares."""

_STEP = 1 << 24
_PAGE = 1 << 12


class Segment(NamedTuple):
    """``length`` bytes at ``theirs`` in the other image are those at ``ours`` in this one."""

    theirs: int
    ours: int
    length: int


def share_image(
    program: ProgramData, image: Path, private: Path, directory: Path, share: Path
) -> dict[str, Any] | None:
    """Find an image's weights in another folder and write the rest to ``private``.

    Returns:
        the manifest entry, or None if no weight is the same there.

    Raises:
        PlenaError: the other folder is not whole, or shares an image itself.
    """
    manifest = read_manifest(share)
    if SHARED_KEY in manifest:
        raise PlenaError(
            f"it shares the image of {manifest[SHARED_KEY]['folder']}", str(share), "Share that one."
        )
    target = Target().with_settings(manifest["target"])
    placements = [TensorPlacement.from_json(p) for p in manifest["placements"]]
    mine, theirs = _open(image), _open(share / HBM)
    segments = sorted(
        (s for s in _candidates(program, placements, target) if _same(mine, theirs, s)),
        key=lambda s: s.ours,
    )
    if not segments:
        return None
    rest = [part for gap in _gaps(segments, mine.size) for part in _not_zero(mine, *gap)]
    with private.open("wb") as file:
        for start, length in rest:
            file.write(mine[start : start + length].data)
    return {
        "folder": os.path.relpath(share.resolve(), directory.resolve()),
        "bytes": int(mine.size),
        "crc32": manifest["files"][HBM]["crc32"],
        "segments": [list(segment) for segment in segments],
        "private": [list(part) for part in rest],
    }


def rebuild_image(entry: object, directory: Path, private: Path) -> npt.NDArray[np.uint8]:
    """The image of a folder that shares.

    Raises:
        PlenaError: the other folder is gone or holds another image, or the entry is malformed.
    """
    match entry:
        case {
            "folder": str(folder),
            "bytes": int(size),
            "crc32": str(crc),
            "segments": [*listed],
            "private": [*parts],
        }:
            pass
        case _:
            raise PlenaError(f"`{SHARED_KEY}` is malformed", str(directory))
    share = directory / folder
    other: Mapping[str, Any] = read_manifest(share)
    if other["files"].get(HBM, {}).get("crc32") != crc:
        raise PlenaError(
            "its memory image is not the one that this program shares",
            str(share),
            f"Compile the program in {directory} again.",
        )
    theirs, own = _open(share / HBM), _open(private)
    segments = [Segment(*s) for s in listed if isinstance(s, list) and len(s) == 3]
    image = new_image(size, size)
    taken = 0
    try:
        for segment in segments:
            _copy(image, segment.ours, theirs, segment.theirs, segment.length)
        for start, length in parts:
            _copy(image, start, own, taken, length)
            taken += length
    except ValueError:
        raise PlenaError(f"`{SHARED_KEY}` does not fit the images", str(directory)) from None
    return image


def _copy(
    image: npt.NDArray[np.uint8], start: int, source: npt.NDArray[np.uint8], first: int, length: int
) -> None:
    """Copies bytes; a slice assignment alone would repeat a single one.

    Raises:
        ValueError: there are not so many.
    """
    if max(start + length - image.size, first + length - source.size) > 0:
        raise ValueError(f"{length} bytes at {first} or {start} are not there")
    image[start : start + length] = source[first : first + length]


def _candidates(program: ProgramData, placements: list[TensorPlacement], target: Target) -> Iterator[Segment]:
    """Ranges of data placements that both programs lay out alike; whether the bytes agree is not known yet."""
    known = {_key(p): p for p in placements if p.memory == "hbm" and p.source.kind == "data"}
    for placement in program.placements_of("data"):
        other = known.get(_key(placement)) if placement.memory == "hbm" else None
        if other is None or other.number_format(target) != placement.number_format(program.target):
            continue
        for ours, theirs in zip(placement.hbm_ranges(program.target), other.hbm_ranges(target), strict=True):
            if ours[1] - ours[0] == theirs[1] - theirs[0] > 0:
                yield Segment(theirs[0], ours[0], ours[1] - ours[0])


def _key(placement: TensorPlacement) -> TensorPlacement:
    return replace(placement.at(0), name="")


def _same(mine: npt.NDArray[np.uint8], theirs: npt.NDArray[np.uint8], segment: Segment) -> bool:
    for start in range(0, segment.length, _STEP):
        count = min(_STEP, segment.length - start)
        ours = mine[segment.ours + start : segment.ours + start + count]
        if not np.array_equal(ours, theirs[segment.theirs + start : segment.theirs + start + count]):
            return False
    return True


def _gaps(segments: list[Segment], size: int) -> Iterator[tuple[int, int]]:
    """Start and length of what the segments, sorted by ``ours``, leave out of ``size`` bytes."""
    position = 0
    for segment in segments:
        if segment.ours > position:
            yield position, segment.ours - position
        position = max(position, segment.ours + segment.length)
    if position < size:
        yield position, size - position


def _not_zero(mine: npt.NDArray[np.uint8], start: int, length: int) -> Iterator[tuple[int, int]]:
    """The parts of a gap that hold something, in whole pages: where other programs have something, there is nothing."""
    first = end = start
    for at in range(start, start + length, _PAGE):
        stop = min(at + _PAGE, start + length)
        if mine[at:stop].any():
            if at > end:
                if end > first:
                    yield first, end - first
                first = at
            end = stop
    if end > first:
        yield first, end - first


def _open(path: Path) -> npt.NDArray[np.uint8]:
    if not path.exists() or not path.stat().st_size:
        return np.zeros(0, np.uint8)
    return np.memmap(path, np.uint8, "r")
