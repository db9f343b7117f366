"""Demands checked on affine operands: exactly, over all index values at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plena.dialects.loop import Linear
from plena.dialects.plena_isa import InstructionSpec
from plena.dialects.plena_isa.demands import DemandKind
from plena.lifting.ranges import exact
from plena.lifting.tree import Number, expression_of, number_of, range_of
from plena.lifting.values import Value, add, linear, scale
from plena.machine.constants import INT_LIMIT
from plena.machine.target import Target
from plena.verification.checks import Check

Bounds = Sequence[tuple[int, int]]
Steps = Mapping[int, int]


class Undecided(Exception):
    """The operand is beyond linear reasoning: the program has to be run."""


@dataclass(frozen=True)
class Violation:
    """A demand that fails for some index values."""

    check: Check
    message: str


def residues(number: Number, modulus: int, bounds: Bounds, steps: Steps) -> set[int]:
    """All values modulo something."""
    if isinstance(number, int):
        return {number % modulus}
    found = {number.constant % modulus}
    for index, coefficient in number.terms:
        low, high = bounds[index]
        first, distance = low * coefficient, steps.get(index, 1)
        step = distance * coefficient % modulus
        count = min((high - low) // distance + 1, modulus) if step else 1
        reached = {(first + step * i) % modulus for i in range(count)}
        found = {(f + r) % modulus for f in found for r in reached}
    return found


def violation(
    check: Check, numbers: Sequence[Number], bounds: Bounds, steps: Steps, store: StoreShape | None
) -> Violation | None:
    """What is wrong with a demand, None if it holds for all index values.

    Raises:
        Undecided: linear reasoning cannot tell.
    """
    x = numbers[check.number]
    lowest = range_of(x, bounds)[0]
    if lowest < 0 and check.kind in (DemandKind.BELOW, DemandKind.STRIDED_ROWS, DemandKind.STORE):
        # Only IR can say this: a register holds it modulo 2^32, behind the end of every memory.
        return Violation(check, below_zero(x, lowest))
    match check.kind:
        case DemandKind.ALIGNED:
            bad = _unaligned(x, check.modulus, bounds, steps)
            return None if bad is None else Violation(check, f"{bad} is not a multiple of {check.modulus}")
        case DemandKind.BELOW:
            largest = x if isinstance(x, int) else range_of(x, bounds)[1]
            if largest < check.limit:
                return None
            return Violation(check, f"{_up_to(x, largest)} is out of range, the last is {check.limit - 1}")
        case DemandKind.RESIDUE_BELOW:
            worst = max(residues(x, check.modulus, bounds, steps))
            if worst < check.limit:
                return None
            return Violation(check, f"offset {worst} in the tile must be below {check.limit}")
        case DemandKind.STRIDED_ROWS:
            return _strided_rows(check, x, numbers[check.number + 1], bounds)
        case DemandKind.STORE:
            assert store is not None
            return _store(check, numbers, bounds, store)


def below_zero(number: Number, lowest: int) -> str:
    """The message about a number whose smallest value is negative."""
    return f"{lowest} is below zero" if isinstance(number, int) else f"down to {lowest}: it is below zero"


def _up_to(number: Number, largest: int) -> str:
    return f"{largest}" if isinstance(number, int) else f"up to {largest}:"


def _unaligned(number: Number, modulus: int, bounds: Bounds, steps: Steps) -> int | None:
    """Some value that is not a multiple, None if all are."""
    if isinstance(number, int):
        return number if number % modulus else None
    value = number.constant + sum(c * bounds[i][0] for i, c in number.terms)
    if value % modulus:
        return value
    for index, coefficient in number.terms:
        step = coefficient * steps.get(index, 1)
        low, high = bounds[index]
        if step % modulus and high - low >= steps.get(index, 1):
            return value + step
    return None


def _value(number: Number) -> Value:
    return number if isinstance(number, int) else linear(number.constant, number.terms)


def _strided_rows(check: Check, x: Number, stride: Number, bounds: Bounds) -> Violation | None:
    """Row i is at x + i * stride * MLEN modulo 2^32; the lane part of x does not change the row."""
    for row in range(check.rows):
        at = exact(add(_value(x), scale(_value(stride), row * check.modulus)), bounds)
        if at is None:
            raise Undecided
        largest = range_of(at, bounds)[1]
        if largest >= check.limit:
            what = f"row {row} of the block at {_up_to(at, largest)} is out of range, the last is {check.limit - 1}"
            return Violation(check, what)
    return None


@dataclass(frozen=True)
class StoreShape:
    """A store with one HBM type: rows, their bytes, and how far apart they are.

    Attributes:
        pitch: bytes from row to row, None when the stride register says.
    """

    rows: int
    row_bytes: int
    scale_bytes: int
    ratio: int
    pitch: int | None
    hbm_size: int


def store_of(target: Target, spec: InstructionSpec, flags: int) -> StoreShape | None:
    """The shape that the flag bits of a store select, None for what does not store to HBM."""
    transfer = spec.transfer
    if transfer is None or transfer.is_load:
        return None
    fields = spec.fields_of(flags)
    number_format = transfer.number_format(target, fields["precision"])
    return StoreShape(
        transfer.rows(target),
        number_format.element_bytes(target.vlen),
        number_format.scale_bytes(target.vlen),
        number_format.ratio,
        None if spec.by_name["rstride"].canonical(fields["rstride"]) else target.vlen,
        target.hbm_size,
    )


def scale_row_offset(row: int, pitch: int, ratio: int) -> int:
    """Byte offset of a scale row, in binary32 as on the machine (plena_isa.md section 5.1)."""
    return int(np.float32(row) * np.float32(np.float32(pitch) / np.float32(ratio)))


def _store(check: Check, numbers: Sequence[Number], bounds: Bounds, shape: StoreShape) -> Violation | None:
    """Element rows at base + off + u32(i * pitch), scale rows at base + scale + off // ratio + i * pitch / ratio."""
    off, high, low, scale_start, stride = numbers[check.number : check.number + 5]
    start = weighted_sum([(off, 1), (high, INT_LIMIT), (low, 1)])
    pitch = shape.pitch if shape.pitch is not None else stride
    for row in range(shape.rows):
        moved = exact(scale(_value(pitch), row), bounds)
        if moved is None:
            raise Undecided
        last = range_of(weighted_sum([(start, 1), (moved, 1)]), bounds)[1]
        problem = _past_end(f"row {row}", last, shape.row_bytes, shape.hbm_size)
        if problem:
            return Violation(check, problem)
        if not shape.scale_bytes:
            continue
        scales = weighted_sum(
            [(high, INT_LIMIT * shape.ratio), (low, shape.ratio), (scale_start, shape.ratio), (off, 1)]
        )
        if not isinstance(pitch, int):
            raise Undecided
        first = range_of(scales, bounds)[1] // shape.ratio
        last = first + scale_row_offset(row, pitch, shape.ratio)
        problem = _past_end(f"the scales of row {row}", last, shape.scale_bytes, shape.hbm_size)
        if problem:
            return Violation(check, problem)
    return None


def _past_end(what: str, start: int, length: int, size: int) -> str | None:
    if start + length > 1 << 64:
        raise Undecided
    if start + length <= size:
        return None
    return f"{what}, {length} bytes at HBM address {start}, reaches past HBM_SIZE = {size}"


def weighted_sum(parts: Sequence[tuple[Number, int]]) -> Number:
    """A weighted sum over the integers."""
    weighted = [expression_of(number) * factor for number, factor in parts]
    return number_of(Linear.of(sum(x.constant for x in weighted), [t for x in weighted for t in x.terms]))
