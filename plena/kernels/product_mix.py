"""Which products M_BTMM makes although M_BTMV is faster: it takes fewer instructions, which the watchdog counts in an
iteration of a repetition, and less text, which a budget does."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation

from plena.dialects.plena import LinearOp, ProjectionsOp, RepeatOp
from plena.dialects.tensor_shapes import shape_of
from plena.integers import ceil_div
from plena.kernels.product_cost import (
    CYCLES,
    ProductShape,
    broadcast_instructions,
    preferred_unit,
    vector_instructions,
)
from plena.kernels.schedule import Schedule
from plena.machine.target import Target


@dataclass(frozen=True)
class Mix:
    """Some products by M_BTMM: instructions that are saved, and cycles that it takes more."""

    saved: int = 0
    lost: int = 0
    products: tuple[Operation, ...] = ()

    def with_product(self, op: Operation, saved: int, lost: int) -> Mix:
        return Mix(self.saved + saved, self.lost + lost, (*self.products, op))


def choosable_products(op: RepeatOp, target: Target, schedule: Schedule) -> list[Mix]:
    """Every product of an iteration that `schedule` makes by M_BTMV and that is shorter by M_BTMM, on its own."""
    if schedule.matmul != "auto":
        return []
    found: list[Mix] = []
    for inner in op.body.block.ops:
        if not isinstance(inner, LinearOp | ProjectionsOp):
            continue
        shape = _shape(inner, target)
        saved = vector_instructions(shape, target) - broadcast_instructions(shape, target)
        if saved > 0 and preferred_unit(shape, target, schedule) == "vector":
            broadcast, vector = (
                CYCLES[unit](shape, target, schedule.timing) for unit in ("broadcast", "vector")
            )
            found.append(Mix().with_product(inner, saved, broadcast - vector))
    return found


def cheapest_mix(products: list[Mix], shortening: int) -> Mix:
    """The products that save so many instructions for the fewest cycles; all if they save less."""
    fronts = [Mix()]
    for product in products:
        (op,) = product.products
        mixes = [*fronts, *(mix.with_product(op, product.saved, product.lost) for mix in fronts)]
        mixes.sort(key=lambda mix: (mix.lost, -mix.saved))
        fronts = []
        for mix in mixes:
            if not fronts or mix.saved > fronts[-1].saved:
                fronts.append(mix)
    return next((mix for mix in fronts if mix.saved >= shortening), fronts[-1])


def grouped_products(module: Operation, target: Target, schedule: Schedule) -> list[Operation]:
    """The products that `schedule` makes by M_BTMV group by group of rows, first those that M_BTMM makes for the fewest
    cycles more."""
    if schedule.matmul != "auto":
        return []
    lost: dict[Operation, int] = {}
    for op in module.walk():
        if not isinstance(op, LinearOp | ProjectionsOp):
            continue
        shape = _shape(op, target)
        if shape.rows > target.broadcast_amount and preferred_unit(shape, target, schedule) == "vector":
            broadcast, vector = (
                CYCLES[unit](shape, target, schedule.timing) for unit in ("broadcast", "vector")
            )
            lost[op] = broadcast - vector
    return sorted(lost, key=lost.__getitem__)


def _shape(op: LinearOp | ProjectionsOp, target: Target) -> ProductShape:
    rows, features = shape_of(op.operands[0])
    k_tiles = ceil_div(features, target.mlen)
    n_tiles = sum(ceil_div(shape_of(result)[1], target.mlen) for result in op.results)
    return ProductShape(rows, k_tiles, n_tiles, k_tiles, k_tiles, ceil_div(features, target.hlen))
