"""Where NaN and infinity may come from, and which tensors they may reach: one property of values.

What the machine writes to HBM loses them (a block format makes finite numbers of both), so keys and values that a
program computes must not hold any: PyTorch has NaN in every query that sees such a key. What moves lanes by products
with 0 and 1 spreads those of one element over its row, so such kernels ask whether a row may hold some beside numbers
that are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.infinities import keeps_huge, makes_huge, makes_infinity, makes_undefined_rows, vanishes
from plena.tensor.remembering import remembering
from plena.tensor.shares import is_share

Sources = frozenset[Operation]


@dataclass(frozen=True)
class Undefined:
    """By value, the operations whose NaN or infinity it may hold; none for values that are not named.

    Attributes:
        sources: in any of its elements.
        uneven: in some elements of a row and not in all of them.
        beyond: in the lanes behind the last column, which a number that is spread over a row fills, too.
        huge: the values that may hold finite numbers close to the ends of float32.
    """

    sources: Mapping[SSAValue, Sources] = field(default_factory=dict[SSAValue, Sources])
    uneven: Mapping[SSAValue, Sources] = field(default_factory=dict[SSAValue, Sources])
    beyond: Mapping[SSAValue, Sources] = field(default_factory=dict[SSAValue, Sources])
    huge: Set[SSAValue] = frozenset()

    def of(self, value: SSAValue) -> Sources:
        """The operations whose NaN or infinity the value may hold."""
        return self.sources.get(value, frozenset())

    def in_rows_of(self, value: SSAValue) -> Sources:
        """The operations whose NaN or infinity a row of the value may hold beside finite numbers."""
        return self.uneven.get(value, frozenset())

    def behind_columns_of(self, value: SSAValue) -> Sources:
        """The operations whose NaN or infinity the lanes behind the last column may hold."""
        return self.beyond.get(value, frozenset())

    def may_be_nan(self, value: SSAValue) -> bool:
        """Whether an element may be NaN, not infinity alone: infinities that are only filled in, moved and added to
        finite numbers make none."""
        if not self.of(value):
            return False
        op = value.owner
        match op:
            case plena.ParameterOp():
                return False
            case plena.AddOp() | plena.SubOp():
                opposite = all(self.of(operand) for operand in op.operands)
                return opposite or any(self.may_be_nan(operand) for operand in op.operands)
            case plena.FillInfinityOp():
                return self.may_be_nan(op.lhs)
            case (
                plena.ReshapeOp()
                | plena.RearrangeOp()
                | plena.ExpandOp()
                | plena.RelativeOp()
                | plena.SliceOp()
                | plena.ConcatOp()
            ):
                return any(self.may_be_nan(operand) for operand in op.operands)
            case plena.AddScalarOp():
                return self.may_be_nan(op.input)
            case _:
                return True

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


def undefined_values(function: FuncOp) -> Undefined:
    """Follows NaN and infinity through a function, and through repetitions until nothing is new."""
    walk = _Walk()
    with remembering():
        walk.block(function.body.block)
    return Undefined(walk.sources, walk.uneven, walk.beyond, walk.huge)


@dataclass
class _Walk:
    """What is known of the values that have been walked past."""

    sources: dict[SSAValue, Sources] = field(default_factory=dict[SSAValue, Sources])
    uneven: dict[SSAValue, Sources] = field(default_factory=dict[SSAValue, Sources])
    beyond: dict[SSAValue, Sources] = field(default_factory=dict[SSAValue, Sources])
    huge: set[SSAValue] = field(default_factory=set[SSAValue])

    def block(self, block: Block) -> None:
        for op in block.ops:
            if isinstance(op, plena.RepeatOp):
                self._repeat(op)
                continue
            if isinstance(op, plena.ChosenExpertsOp):
                self._experts(op)
                continue
            if makes_huge(op) or (keeps_huge(op) and not self.huge.isdisjoint(op.operands)):
                self.huge.update(op.results)
            if vanishes(op):
                continue
            own: Sources = frozenset({op}) if makes_infinity(op) else frozenset()
            uneven = _of_operands(op, self.uneven)
            if not makes_undefined_rows(op):
                uneven |= own
            found = own | _of_operands(op, self.sources)
            for result in op.results:
                self._set(self.sources, result, found)
                self._set(self.beyond, result, self._behind_columns(op))
                self._set(self.uneven, result, frozenset() if _is_row_by_row(op) else uneven)

    def _behind_columns(self, op: Operation) -> Sources:
        """What elementwise operations leave there: what was there, and numbers that they spread over rows."""
        if not isinstance(
            op, plena.BinaryOp | plena.UnaryOp | plena.GateOp | plena.ReshapeOp | plena.SliceOp
        ):
            return frozenset()
        found: Sources = frozenset()
        columns = shape_of(op.results[0])[-1:]
        for operand in op.operands:
            same = shape_of(operand)[-1:] == columns
            found |= (self.beyond if same else self.sources).get(operand, frozenset())
        return found

    @staticmethod
    def _set(known: dict[SSAValue, Sources], value: SSAValue, found: Sources) -> None:
        if found:
            known[value] = found

    def _experts(self, op: plena.ChosenExpertsOp) -> None:
        """What one expert computes for one token, added up."""
        given = (*op.rows, *op.columns, *([] if op.scores is None else [op.scores]))
        pairs = list(zip(op.body.block.args, given, strict=True))
        for known in (self.sources, self.uneven):
            for argument, value in pairs:
                self._set(known, argument, known.get(value, frozenset()))
        self.huge.update(argument for argument, value in pairs if value in self.huge)
        self.block(op.body.block)
        for known in (self.sources, self.uneven):
            self._set(known, op.result, known.get(op.yielded, frozenset()))
        if op.yielded in self.huge:
            self.huge.add(op.result)

    def _repeat(self, op: plena.RepeatOp) -> None:
        """What an iteration yields the next one carries."""
        kinds = (self.sources, self.uneven)
        carried = [[known.get(value, frozenset()) for known in kinds] for value in op.initial]
        while True:
            for argument, found, value in zip(op.body.block.args, carried, op.initial, strict=False):
                if value in self.huge:
                    self.huge.add(argument)
                for known, of_kind in zip(kinds, found, strict=True):
                    known[argument] = of_kind
            self.block(op.body.block)
            yielded = [[known.get(value, frozenset()) for known in kinds] for value in op.yielded]
            grown = [
                [a | b for a, b in zip(x, y, strict=True)] for x, y in zip(carried, yielded, strict=True)
            ]
            if grown == carried:
                break
            carried = grown
        for output, found, value in zip(op.outputs, carried, op.yielded, strict=True):
            if value in self.huge:
                self.huge.add(output)
            for known, of_kind in zip(kinds, found, strict=True):
                known[output] = of_kind


def _of_operands(op: Operation, known: Mapping[SSAValue, Sources]) -> Sources:
    found: Sources = frozenset()
    # Masks of attention hide keys; what a query without any gets is a source of its own.
    operands = (op.query, op.key, op.value) if isinstance(op, plena.AttentionOp) else op.operands
    for operand in operands:
        found |= known.get(operand, frozenset())
    return found


def _is_row_by_row(op: Operation) -> bool:
    """Whether a row of the result is undefined as a whole or not at all, whatever the operands hold.

    An RMS norm of a row with an infinity is NaN there, and 0 elsewhere.
    """
    match op:
        case plena.SoftmaxOp() | plena.LayerNormOp():
            return op.groups.value.data == 1
        case plena.ReduceOp():
            return op.axis.data == "features" and op.groups.value.data == 1
        case plena.DivOp():
            return is_share(op)
        case _:
            return False
