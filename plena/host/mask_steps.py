"""Steps of views that make what is added to attention scores out of masks and biases.

A softmax does not see a number that is added to a whole row, so a bias is staged relative to the highest of its row:
small numbers keep their bits in a block format, and bf16 scores keep theirs. What float32 absorbs hides a key; a row
of nothing else is uniform, as in PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from plena.errors import PlenaError
from plena.host.step import Array, Json, Step

Floats: TypeAlias = npt.NDArray[np.float32]

NEAR = 512.0
"""Biases this far below the highest of their row are staged to the format's precision beside small ones."""

FAR = 2.0**13
"""Biases below are hidden beside others: bf16 scores that made up for it would have no bits left."""

LOWEST = 14
"""2^14 hides a key in a row that has others."""

ABSORBING = 2.0**20
"""From here on float32 rounds what is added to a bias to 1/8 and more: bf16 does to the bias / 2^16."""

DEEPEST = 30
"""No score is seen beside 2^30 in bf16."""

UNSEEN = 38
"""2^38 hides a key beside others that 2^30 hides; a block of MX numbers holds both."""


def level_of(number: float) -> int:
    """The exponent of the power of two that does to bf16 scores what `number` does to float32 ones."""
    return min(int(np.floor(np.log2(abs(number)))) - 16, DEEPEST)


Bounds: TypeAlias = tuple[int, ...]
"""A bound of a band, or nothing."""


def inside_band(queries: int, keys: int, lower: Bounds, upper: Bounds) -> npt.NDArray[np.bool_]:
    """[queries, keys]: whether lower <= key - query <= upper."""
    distance = np.arange(keys)[None, :] - np.arange(queries)[:, None]
    inside = np.ones(distance.shape, bool)
    if lower:
        inside &= distance >= lower[0]
    if upper:
        inside &= distance <= upper[0]
    return inside


@dataclass(frozen=True)
class _Rows:
    """Biases [..., queries, keys] taken apart: `near` numbers as they are, `levels` that hide keys or absorb scores."""

    highest: Floats
    near: Floats
    levels: Floats
    is_near: npt.NDArray[np.bool_]
    beyond: Floats
    """The level of what lies behind the last key."""


def _taken_apart(
    biases: Array, shifted: bool, hidden: int, alone: bool, number: float | None = None
) -> _Rows:
    """With a ``number`` it is taken apart in their place, once in each row."""
    biases = biases.astype(np.float32)
    highest = biases.max(axis=-1, keepdims=True)
    nothing = np.isneginf(highest)
    base = np.where(np.isfinite(highest), highest, np.float32(0)) if shifted else np.zeros_like(highest)
    if number is not None:
        biases = np.full_like(highest, number)
    with np.errstate(over="ignore", invalid="ignore"):
        below = biases - base
        exponent = np.minimum(np.floor(np.log2(np.maximum(np.abs(base), 1.0))) - 16, DEEPEST)
    absorbs = np.abs(base) >= ABSORBING
    level = np.where(absorbs, -np.exp2(exponent), 0.0)
    deepest = -(2.0**hidden)
    loser = np.minimum(8 * level, -(2.0**LOWEST)) if alone else np.full_like(level, deepest)
    loser = np.where(nothing, deepest, loser)
    is_near = (below >= -NEAR) | np.isnan(below)
    is_far = ~is_near & (below >= -FAR) & ~absorbs & alone
    with np.errstate(invalid="ignore", over="ignore"):
        step = np.exp2(np.floor(np.log2(np.maximum(-below, 1.0))) - 3)
        far = np.round(below / step) * step
    levels = np.where(is_near, level, np.where(is_far, far, loser))
    near = np.where(is_near, below, 0.0)
    return _Rows(base, near.astype(np.float32), levels.astype(np.float32), is_near, loser.astype(np.float32))


@dataclass(frozen=True)
class _Within(Step):
    """Biases or masks seen through a band, whose outside they then hide."""

    reads_numbers: ClassVar[bool] = True
    lower: Bounds = ()
    upper: Bounds = ()

    def _inside(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        return inside_band(shape[-2], shape[-1], self.lower, self.upper)

    def _banded(self, biases: Array) -> Floats:
        biases = biases.astype(np.float32)
        if not (self.lower or self.upper):
            return biases
        return np.where(self._inside(biases.shape), biases, np.float32(-np.inf))


@dataclass(frozen=True)
class Biases(_Within):
    """Real biases [..., queries, keys], relative to the highest of each row if ``shifted``; 0 where they hide.

    ``rest`` says that a tensor of `Hidden` levels is added as well; without it nothing may be hidden.
    """

    shifted: int = 1
    rest: int = 0

    def apply(self, array: Array) -> Array:
        rows = _taken_apart(self._banded(array), bool(self.shifted), LOWEST, alone=True)
        if self.rest:
            return rows.near
        banded = self._banded(array)
        left_out = np.isneginf(banded) & ~np.isneginf(array.astype(np.float32))
        with np.errstate(invalid="ignore"):
            below = np.where(left_out, np.float32(0), banded - rows.highest).astype(np.float32)
        if (below < -FAR).any() or np.isneginf(array).any():
            raise PlenaError(
                f"a parameter that is added to attention scores holds {array.min():g}",
                "staging attention biases",
                "Hide keys by a mask: a boolean, or a constant with -inf.",
            )
        return below

    def scatter(self, array: Array, into: Array) -> Array:
        rows = _taken_apart(self._banded(into), bool(self.shifted), LOWEST, alone=True)
        changed = (array != self.apply(into)) & (rows.is_near | (not self.rest))
        return np.where(changed, array + rows.highest, into).astype(into.dtype)

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def to_json(self) -> Json:
        return ["biases", list(self.lower), list(self.upper), self.shifted, self.rest]


SWALLOWING = 2.0**24
"""Beside it float32 keeps nothing below 2."""


@dataclass(frozen=True)
class Relative(Step):
    """``factor`` times numbers plus ``offset``, relative to the highest along axis ``dim``.

    As `Biases` and `Hidden` have them together, but for minus infinity, which stays.
    """

    reads_numbers: ClassVar[bool] = True
    name: ClassVar[str] = "relative"
    dim: int
    factor: float = 1.0
    offset: float = 0.0

    @property
    def minds_infinity(self) -> bool:
        """They become none of its numbers."""
        return True

    def _rows(self, array: Array, number: float | None = None) -> _Rows:
        """Numbers taken apart, ``dim`` as the last axis."""
        return _taken_apart(self._line(array), True, LOWEST, True, number)

    def _line(self, array: Array) -> Floats:
        """The numbers, ``dim`` as the last axis."""
        with np.errstate(over="ignore"):
            line = array.astype(np.float32) * np.float32(self.factor) + np.float32(self.offset)
        return np.moveaxis(line, self.dim, -1)

    def _is_lowest(self, array: Array) -> npt.NDArray[np.bool_]:
        """Whether numbers are minus infinity, ``dim`` as the last axis: given so, or rows of nothing else."""
        given = np.moveaxis(np.isinf(array) & ((array < 0) == (self.factor > 0)), self.dim, -1)
        return given | np.isneginf(self._line(array)).all(axis=-1, keepdims=True)

    def apply(self, array: Array) -> Array:
        if np.isnan(array).any():
            raise PlenaError(
                "NaN is added to scores",
                "staging biases",
                "Its row would be NaN, which the machine's formats do not hold: give numbers, or minus infinity.",
            )
        return np.moveaxis(self._staged(array), -1, self.dim)

    def _staged(self, array: Array) -> Floats:
        rows = self._rows(array)
        return np.where(self._is_lowest(array), np.float32(-np.inf), rows.near + rows.levels)

    def scatter(self, array: Array, into: Array) -> Array:
        """Numbers that staging left as they are keep all their bits."""
        rows = self._rows(into)
        with np.errstate(over="ignore", invalid="ignore"):
            line = np.moveaxis(array, self.dim, -1) - self._level(rows) + rows.highest
            before = (line - np.float32(self.offset)) / np.float32(self.factor)
        before = np.moveaxis(before, -1, self.dim)
        changed = (array != self.apply(into)) & np.moveaxis(rows.is_near, -1, self.dim)
        return np.where(changed & np.isfinite(before), before, into).astype(into.dtype)

    def _level(self, rows: _Rows) -> Floats | np.float32:
        return rows.levels

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if not 0 <= self.dim < len(shape):
            raise ValueError(f"{shape} has no axis {self.dim}")
        return shape

    def to_json(self) -> Json:
        return [self.name, self.dim, self.factor, self.offset]


@dataclass(frozen=True)
class RelativeNear(Relative):
    """Those of `Relative` that are near the highest of their row, 0 elsewhere: they share no scale with the others."""

    name: ClassVar[str] = "relative_near"

    def _staged(self, array: Array) -> Floats:
        return self._rows(array).near

    def _level(self, rows: _Rows) -> Floats | np.float32:
        return np.float32(0)


@dataclass(frozen=True)
class RelativeHidden(Relative):
    """What is to be added to `RelativeNear`: what hides keys, or absorbs the scores of rows."""

    name: ClassVar[str] = "relative_hidden"

    def _staged(self, array: Array) -> Floats:
        return np.where(self._is_lowest(array), np.float32(-np.inf), self._rows(array).levels)

    def scatter(self, array: Array, into: Array) -> Array:
        """Levels lose nothing."""
        return into


@dataclass(frozen=True)
class RelativeNumber(Relative):
    """A number relative to what `Relative` subtracts from each row, as if it were in it."""

    number: float = 0.0

    def _staged(self, array: Array) -> Floats:
        rows = self._rows(array, self.number)
        return rows.near + rows.levels

    def scatter(self, array: Array, into: Array) -> Array:
        """A number says nothing of the tensor."""
        return into

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        super().result_shape(shape)
        return (*shape[: self.dim], 1, *shape[self.dim + 1 :])

    def to_json(self) -> Json:
        return ["relative_number", self.dim, self.factor, self.offset, self.number]


def relative(dim: int, factor: float, offset: float, number: float | None, part: str | None) -> Relative:
    """What is relative to the highest of each row: numbers, a part of them, or one number in their place."""
    line = dim, factor, offset
    if number is not None:
        return RelativeNumber(*line, number)
    return {None: Relative, "near": RelativeNear, "hidden": RelativeHidden}[part](*line)


@dataclass(frozen=True)
class Hidden(_Within):
    """0 where a key is seen and powers of two where not, ``width`` keys wide: what lies behind the last is hidden.

    Of ``real`` biases, those that `Biases` leaves out; of masks, where they are 0 (or false): -2^``hidden``, and in
    rows without a key that is seen -2^``empty``, or 0 if that is negative. ``alone``: no other mask hides keys.
    """

    width: int = field(default=0)
    hidden: int = LOWEST
    empty: int = LOWEST
    real: int = 0
    shifted: int = 1
    alone: int = 1

    def apply(self, array: Array) -> Array:
        if self.real:
            rows = _taken_apart(self._banded(array), bool(self.shifted), self.hidden, bool(self.alone))
            levels, beyond = rows.levels, rows.beyond
        else:
            seen = array != 0
            inside = self._inside(array.shape) if self.lower or self.upper else np.ones_like(seen)
            some = (seen & inside).any(axis=-1, keepdims=True)
            empty = -(2.0**self.empty) if self.empty >= 0 else 0.0
            levels = np.where(seen, 0.0, np.where(some, -(2.0**self.hidden), empty))
            exponent = np.where(some, self.hidden, self.empty if self.empty >= 0 else self.hidden)
            beyond = -np.exp2(np.minimum(exponent + 3.0, UNSEEN))
        behind = np.broadcast_to(beyond, (*levels.shape[:-1], self.width - levels.shape[-1]))
        return np.concatenate([levels, behind], axis=-1).astype(np.float32)

    def scatter(self, array: Array, into: Array) -> Array:
        """Levels lose nothing."""
        return into

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.width < shape[-1]:
            raise ValueError(f"{shape[-1]} keys do not fit {self.width}")
        return (*shape[:-1], self.width)

    def to_json(self) -> Json:
        numbers = [self.width, self.hidden, self.empty, self.real, self.shifted, self.alone]
        return ["hidden", list(self.lower), list(self.upper), *numbers]


@dataclass(frozen=True)
class Sighted(_Within):
    """Masks [batch, heads, queries or 1, keys] as they are, for so many ``queries``; refuses those that blind one.

    A key is seen where a mask is not 0, or a ``real`` bias not minus infinity, and the band allows it.
    """

    queries: int = 1
    real: int = 0

    def apply(self, array: Array) -> Array:
        seen = ~np.isneginf(array.astype(np.float32)) if self.real else array != 0
        inside = inside_band(self.queries, array.shape[-1], self.lower, self.upper)
        blind = ~(seen & inside).any(axis=-1)
        if blind.any():
            sample, head, query = (int(n) for n in np.argwhere(blind)[0])
            of_head = f", head {head}" if array.shape[1] > 1 else ""
            raise PlenaError(
                f"query {query} of sample {sample}{of_head} sees no key: its row is NaN, and a later attention has it "
                "among its keys, which the machine stores in a number format without NaN",
                "staging attention masks",
                "Let every query see a key, or hide keys by a finite number such as -1e9 instead of minus infinity.",
            )
        return array

    def scatter(self, array: Array, into: Array) -> Array:
        """Nothing was changed."""
        return array

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 4 or shape[2] not in (1, self.queries):
            raise ValueError(f"{shape} are no masks of {self.queries} queries")
        return shape

    def to_json(self) -> Json:
        return ["sighted", list(self.lower), list(self.upper), self.queries, self.real]
