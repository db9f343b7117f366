"""Finding loops: numbering, nesting, perfect nests."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.ir import Block, Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp, YieldOp
from plena.errors import CompileError
from plena.machine.constants import INT_LIMIT


def loops_in(op: Operation) -> Iterator[ForOp]:
    """Every loop nested in `op` in pre-order: the position is the loop's number in pass options."""
    for region in op.regions:
        for block in region.blocks:
            for inner in block.ops:
                if isinstance(inner, ForOp):
                    yield inner
                if inner.regions:
                    yield from loops_in(inner)


def loops_numbered(op: Operation, numbers: tuple[int, ...]) -> list[ForOp]:
    """The loops with these pre-order numbers, outer ones first; all of them when no number is given.

    Raises:
        CompileError: there is no loop with such a number, or one is named twice.
    """
    loops = list(loops_in(op))
    if not numbers:
        return loops
    for number in numbers:
        if not 0 <= number < len(loops):
            raise CompileError(
                f"there is no loop {number}",
                hint=f"the program has {len(loops)} loops, numbered from 0 in pre-order",
            )
        if numbers.count(number) > 1:
            raise CompileError(f"loop {number} is named twice", hint="name every loop once")
    return [loops[n] for n in sorted(numbers)]


def longest_iteration(module: Operation) -> int:
    """The most operations that an iteration of an outermost loop runs, apart from loops and address arithmetic."""
    (region,) = module.regions
    return max((iteration_length(op) for op in region.block.ops if isinstance(op, ForOp)), default=0)


def iteration_length(loop: ForOp) -> int:
    """The operations that an iteration runs, apart from loops and address arithmetic."""
    count = 0
    for op in loop.body.block.ops:
        if isinstance(op, ForOp):
            count += op.trip_count.value.data * iteration_length(op)
        elif not isinstance(op, AffineOp | YieldOp):
            count += 1
    return count


def require_affine(loop: ForOp) -> None:
    """Refuses a loop of the register form, whose counter and pointers do not survive a transformation.

    Raises:
        CompileError: the loop has a counter cell.
    """
    if loop.counter is not None:
        raise CompileError(
            "a loop of the register form cannot be transformed",
            hint="transform the affine form, or lift it first",
        )


def inner_of_perfect_nest(outer: ForOp) -> ForOp | None:
    """The only loop in a body that holds nothing else but address arithmetic, else None."""
    inner: ForOp | None = None
    for op in outer.operations:
        if isinstance(op, ForOp):
            if inner is not None:
                return None
            inner = op
        elif not isinstance(op, AffineOp):
            return None
    return inner


def is_defined_in(value: SSAValue, block: Block) -> bool:
    """Whether a value is an argument of `block` or computed in it, at any depth."""
    owner = value.owner
    inside = owner if isinstance(owner, Block) else owner.parent
    while inside is not None:
        if inside is block:
            return True
        inside = inside.parent_block()
    return False


def largest_value(value: SSAValue) -> int:
    """The largest value an index value takes: trip count minus one, or the 32-bit limit for run-time numbers."""
    owner = value.owner
    if isinstance(owner, Block):
        loop = owner.parent_op()
        if isinstance(loop, ForOp):
            return loop.trips - 1
    return INT_LIMIT - 1
