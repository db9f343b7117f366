"""Views: how the host takes the matrices that the machine works on out of a tensor, as data.

A view is a sequence of steps on arrays, for example ``[B, S, H*D] -> [B, H, S, D]`` is
``(Reshape((B, S, H, D)), Permute((0, 2, 1, 3)))``. ``apply`` goes from the tensor to its matrices (inputs,
weights), ``scatter`` writes matrices back into a tensor (outputs). Both work on any dtype.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias, TypeGuard

import numpy as np

from plena.errors import PlenaError
from plena.host.mask_steps import (
    Biases,
    Hidden,
    Relative,
    RelativeHidden,
    RelativeNear,
    RelativeNumber,
    Sighted,
)
from plena.host.step import Array, Json, Step


@dataclass(frozen=True)
class Reshape(Step):
    """Row-major reshape to ``shape``."""

    shape: tuple[int, ...]

    def apply(self, array: Array) -> Array:
        return array.reshape(self.shape)

    def scatter(self, array: Array, into: Array) -> Array:
        return array.reshape(into.shape)

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if prod(shape) != prod(self.shape):
            raise ValueError(f"cannot reshape {shape} to {self.shape}")
        return self.shape

    def to_json(self) -> Json:
        return ["reshape", list(self.shape)]


@dataclass(frozen=True)
class Permute(Step):
    """Dimension i of the result is dimension ``dims[i]`` of the operand."""

    dims: tuple[int, ...]

    def apply(self, array: Array) -> Array:
        return array.transpose(self.dims)

    def scatter(self, array: Array, into: Array) -> Array:
        return array.transpose(np.argsort(self.dims).tolist())

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(self.dims) != list(range(len(shape))):
            raise ValueError(f"{self.dims} does not permute the dimensions of {shape}")
        return tuple(shape[d] for d in self.dims)

    def to_json(self) -> Json:
        return ["permute", list(self.dims)]


@dataclass(frozen=True)
class Slice(Step):
    """Elements ``start, start + step, ...`` below ``stop`` of dimension ``dim``."""

    dim: int
    start: int
    stop: int
    step: int = 1

    def _index(self) -> tuple[slice, ...]:
        return (*[slice(None)] * self.dim, slice(self.start, self.stop, self.step))

    def apply(self, array: Array) -> Array:
        return array[self._index()]

    def scatter(self, array: Array, into: Array) -> Array:
        whole = into.copy()
        whole[self._index()] = array
        return whole

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        inside = 0 <= self.dim < len(shape) and 0 <= self.start <= self.stop <= shape[self.dim]
        if not inside or self.step < 1:
            raise ValueError(f"{self} does not fit {shape}")
        length = len(range(self.start, self.stop, self.step))
        return (*shape[: self.dim], length, *shape[self.dim + 1 :])

    def to_json(self) -> Json:
        return ["slice", self.dim, self.start, self.stop, self.step]


@dataclass(frozen=True)
class Pad(Step):
    """``before`` and ``after`` zeros along dimension ``dim``."""

    dim: int
    before: int
    after: int

    def apply(self, array: Array) -> Array:
        widths = [(0, 0)] * array.ndim
        widths[self.dim] = (self.before, self.after)
        return np.pad(array, widths)

    def scatter(self, array: Array, into: Array) -> Array:
        return array[(*[slice(None)] * self.dim, slice(self.before, array.shape[self.dim] - self.after))]

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if not 0 <= self.dim < len(shape) or min(self.before, self.after) < 0:
            raise ValueError(f"{self} does not fit {shape}")
        length = shape[self.dim] + self.before + self.after
        return (*shape[: self.dim], length, *shape[self.dim + 1 :])

    def to_json(self) -> Json:
        return ["pad", self.dim, self.before, self.after]


@dataclass(frozen=True)
class Expand(Step):
    """Broadcast to ``shape``; ``scatter`` takes for every element the first copy that is not as in ``into``."""

    shape: tuple[int, ...]

    def apply(self, array: Array) -> Array:
        strides = np.broadcast_to(array, self.shape).strides
        return np.lib.stride_tricks.as_strided(
            array, self.shape, strides
        )  # As writable as `array`: torch asks for it.

    def scatter(self, array: Array, into: Array) -> Array:
        added = array.ndim - into.ndim
        repeated = [
            axis for axis, n in enumerate(array.shape) if axis < added or into.shape[axis - added] != n
        ]
        copies = np.moveaxis(array, repeated, range(len(repeated))).reshape(-1, into.size)
        changed = copies != into.reshape(-1)
        return np.take_along_axis(copies, changed.argmax(axis=0)[None], 0).reshape(into.shape)

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if np.broadcast_shapes(shape, self.shape) != self.shape:
            raise ValueError(f"cannot expand {shape} to {self.shape}")
        return self.shape

    def to_json(self) -> Json:
        return ["expand", list(self.shape)]


_COMPARISONS: dict[str, Callable[[Array, float], Array]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


@dataclass(frozen=True)
class Compare(Step):
    """Whether elements are eq, ne, lt, le, gt or ge a number.

    ``scatter`` leaves elements of which it is as true as in ``into``; others become the number or a neighbour of it.
    """

    predicate: str
    number: float

    reads_numbers = True
    makes_booleans = True

    def apply(self, array: Array) -> Array:
        return self._of(array)

    def _of(self, array: Array) -> Array:
        if array.dtype.kind == "b":
            array = array.astype(np.int64)
        whole = array.dtype.kind in "iu" and float(self.number).is_integer()
        return _COMPARISONS[self.predicate](array, int(self.number) if whole else self.number)

    def scatter(self, array: Array, into: Array) -> Array:
        wanted = array != 0
        near = np.array([self.number, self.number - 1, self.number + 1])
        truth = _COMPARISONS[self.predicate](near, self.number)
        changed = np.where(wanted, near[truth.argmax()], near[(~truth).argmax()])
        return np.where(wanted == self._of(into), into, changed).astype(into.dtype)

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def to_json(self) -> Json:
        return ["compare", self.predicate, self.number]


@dataclass(frozen=True)
class Bits(Step):
    """Zeros and ones as they are.

    Raises:
        ValueError: another value.
    """

    reads_numbers = True
    makes_booleans = True

    def apply(self, array: Array) -> Array:
        wrong = (array != 0) & (array != 1)
        if wrong.any():
            raise ValueError(f"{array[wrong].flat[0]} is no element of a mask of zeros and ones")
        return array != 0

    def scatter(self, array: Array, into: Array) -> Array:
        return array.astype(into.dtype)

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def to_json(self) -> Json:
        return ["bits"]


@dataclass(frozen=True)
class Infinite(Step):
    """Numbers among which minus infinity may be; in all of a row too if ``rows``, and nowhere without this step."""

    rows: int

    reads_numbers = True

    def apply(self, array: Array) -> Array:
        return array

    def scatter(self, array: Array, into: Array) -> Array:
        return array

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def to_json(self) -> Json:
        return ["infinite", self.rows]


View: TypeAlias = tuple[Step, ...]

_LINES = {step.name: step for step in (Relative, RelativeNear, RelativeHidden)}
_STEPS: dict[str, Callable[..., Step]] = {
    "reshape": Reshape,
    "permute": Permute,
    "slice": Slice,
    "pad": Pad,
    "expand": Expand,
    "compare": Compare,
    "bits": Bits,
    "infinite": Infinite,
    "biases": Biases,
    "hidden": Hidden,
    "sighted": Sighted,
    "relative_number": RelativeNumber,
    **_LINES,
}
_WITH_NUMBERS = ("compare", *_LINES, "relative_number")


def apply(view: Sequence[Step], array: Array) -> Array:
    """The matrices of a tensor; a numpy view of it where the steps allow one."""
    for step in view:
        array = step.apply(array)
    return array


def scatter(view: Sequence[Step], array: Array, into: Array) -> Array:
    """A tensor like ``into`` whose elements that ``view`` reaches are those of ``array``."""
    befores: list[Array] = []
    for step in view:
        befores.append(into)
        into = step.apply(into)
    if array.shape != into.shape:
        raise ValueError(f"the view gives {into.shape}, not {array.shape}")
    for step, before in zip(reversed(view), reversed(befores), strict=True):
        array = step.scatter(array, before)
    return array


def result_shape(view: Sequence[Step], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a view gives to a tensor of ``shape``.

    Raises:
        ValueError: a step does not fit.
    """
    for step in view:
        shape = step.result_shape(shape)
    return shape


def to_json(view: Sequence[Step]) -> Json:
    """A list of ``[name, argument, ...]``."""
    return [step.to_json() for step in view]


def from_json(steps: object, where: str) -> View:
    """Inverse of ``to_json``.

    Raises:
        PlenaError: not such a list.
    """
    if not isinstance(steps, list):
        raise PlenaError("a view must be a list of steps", where)
    return tuple(_step_from_json(step, where) for step in steps)


def _three_numbers(numbers: Sequence[object]) -> TypeGuard[Sequence[float]]:
    return len(numbers) == 3 and all(isinstance(n, int | float) for n in numbers)


def _step_from_json(step: object, where: str) -> Step:
    match step:
        case ["compare", str(predicate), int() | float() as number] if predicate in _COMPARISONS:
            return Compare(predicate, float(number))
        case [str(name), int() as dim, int() | float() as factor, int() | float() as offset] if (
            name in _LINES
        ):
            return _LINES[name](dim, float(factor), float(offset))
        case ["relative_number", int() as dim, *numbers] if _three_numbers(numbers):
            return RelativeNumber(dim, *map(float, numbers))
        case _:
            pass
    if isinstance(step, list) and step and step[0] in _STEPS and step[0] not in _WITH_NUMBERS:
        arguments = [tuple(a) if isinstance(a, list) else a for a in step[1:]]
        flat = [n for a in arguments for n in (a if isinstance(a, tuple) else (a,))]
        if all(isinstance(n, int) for n in flat):
            try:
                return _STEPS[step[0]](*arguments)
            except (TypeError, ValueError):
                pass
    raise PlenaError(f"unknown view step {step!r}", where)
