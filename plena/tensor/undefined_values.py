"""Where NaN and infinity may come from, and which tensors they may reach: one property of values.

What the machine writes to HBM loses them (a block format makes finite numbers of both), so keys and values that a
program computes must not hold any: PyTorch has NaN in every query that sees such a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue

from plena.dialects import plena
from plena.tensor.infinities import makes_infinity

Sources = frozenset[Operation]


@dataclass(frozen=True)
class Undefined:
    """By value, the operations whose NaN or infinity it may hold; none for values that are not named."""

    sources: Mapping[SSAValue, Sources] = field(default_factory=dict[SSAValue, Sources])

    def of(self, value: SSAValue) -> Sources:
        """The operations whose NaN or infinity the value may hold."""
        return self.sources.get(value, frozenset())

    @property
    def reaching_keys(self) -> Sources:
        """The operations whose NaN or infinity something may hold that a program stores to read it back as a matrix.

        Keys and values of attention, right operands of products, what is transposed.
        """
        found: Sources = frozenset()
        for value in self.sources:
            if any(_is_stored(use.operation, use.index) for use in value.uses):
                found |= self.of(value)
        return found


def _is_stored(reader: Operation, index: int) -> bool:
    match reader:
        case plena.AttentionOp():
            return index in (1, 2)
        case plena.MatmulOp():
            return index == 1
        case plena.RearrangeOp():
            return reader.order.get_values()[-1] != len(reader.order) - 1
        case _:
            return False


def makes_undefined_rows(op: Operation) -> bool:
    """Whether a query without any key gets NaN."""
    return isinstance(op, plena.AttentionOp) and op.empty is not None and op.empty.data == "nan"


def undefined_values(function: FuncOp) -> Undefined:
    """Follows NaN and infinity through a function, and through repetitions until nothing is new."""
    sources: dict[SSAValue, Sources] = {}
    _walk(function.body.block, sources)
    return Undefined(sources)


def _walk(block: Block, sources: dict[SSAValue, Sources]) -> None:
    for op in block.ops:
        if isinstance(op, plena.RepeatOp):
            _repeat(op, sources)
            continue
        found: Sources = frozenset({op}) if makes_undefined_rows(op) or makes_infinity(op) else frozenset()
        for operand in op.operands:
            found |= sources.get(operand, frozenset())
        for result in op.results if found else ():
            sources[result] = found


def _repeat(op: plena.RepeatOp, sources: dict[SSAValue, Sources]) -> None:
    """What an iteration yields the next one carries."""
    terminator = op.body.block.last_op
    assert isinstance(terminator, plena.YieldOp)
    carried = [sources.get(value, frozenset()) for value in op.initial]
    while True:
        for argument, found in zip(op.body.block.args, carried, strict=False):
            sources[argument] = found
        _walk(op.body.block, sources)
        yielded = [sources.get(value, frozenset()) for value in terminator.values]
        grown = [a | b for a, b in zip(carried, yielded, strict=True)]
        if grown == carried:
            break
        carried = grown
    for output, found in zip(op.outputs, carried, strict=True):
        sources[output] = found
