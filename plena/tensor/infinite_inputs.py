"""Which inputs may hold minus infinity when a program runs, as masks that are added to scores do.

A compiler knows the infinities that a model fills in; what an input holds it does not know. So it says where the
program does the right thing with minus infinity, and the host refuses to stage it elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from xdsl.dialects.builtin import Float32Type
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from plena.dialects import plena
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.host.values.attributes import value_of
from plena.host.values.graph import HostValue
from plena.tensor.infinities import BOUNDED, holds_only, may_overflow

Kind = Literal["low", "high", "empty", "nan", "joint"]
"""Elements that are minus or plus infinity; numbers of rows that are minus infinity where all of a row is; rows of NaN
where all of a row was minus infinity; "joint": such rows may be of several infinities, not of this input's alone."""

Kinds = frozenset[Kind]

Given = int | HostValue
"""An input by its number, or what the host computes of some."""

Reach = dict[Given, Kinds]
"""What its minus infinity has become."""

_FLIPPED: dict[Kind, Kind] = {"low": "high", "high": "low", "empty": "nan", "nan": "nan"}
_OF_ROWS: Kinds = frozenset({"empty", "nan", "joint"})
_ELEMENTS: Kinds = frozenset({"low", "high"})


def inputs_that_may_be_infinite(function: FuncOp) -> Mapping[Given, bool]:
    """The float inputs, and biases that the host makes of some, whose minus infinity a program computes with as PyTorch
    does.

    Returns:
        Whether whole rows of them may be, too. Where they may not, one of them may hold infinities in a call.
    """
    walk = _Walk()
    for index, argument in enumerate(function.body.block.args):
        if isinstance(element_type_of(argument), Float32Type):
            walk.reached[argument] = {index: frozenset({"low"})}
            walk.known[index] = True
    walk.block(function.body.block)
    return walk.known


@dataclass
class _Walk:
    """Operands before results.

    Attributes:
        reached: by value, what the inputs' minus infinity has become in it.
        known: the answer so far, which operations only take away from.
    """

    reached: dict[SSAValue, Reach] = field(default_factory=dict[SSAValue, Reach])
    known: dict[Given, bool] = field(default_factory=dict[Given, bool])

    def block(self, block: Block) -> None:
        """All operations of a block, those of bodies behind the ones that have them."""
        for op in block.ops:
            if isinstance(op, plena.RepeatOp):
                self._repeat(op)
            elif not isinstance(op.parent_op(), plena.RepeatOp) or not isinstance(op, plena.YieldOp):
                self._step(op)
                for region in op.regions:
                    for inner in region.blocks:
                        self.block(inner)

    def _repeat(self, op: plena.RepeatOp) -> None:
        """What an iteration yields the next one carries."""
        carried = [self.reached.get(value, {}) for value in op.initial]
        while True:
            self.reached.update(zip(op.body.block.args, carried, strict=False))
            self.block(op.body.block)
            yielded = [self.reached.get(value, {}) for value in op.yielded]
            grown = [_either(a, b) for a, b in zip(carried, yielded, strict=True)]
            if grown == carried:
                break
            carried = grown
        self.reached.update(zip(op.outputs, carried, strict=True))

    def _step(self, op: Operation) -> None:
        found = [self.reached.get(operand, {}) for operand in op.operands]
        if isinstance(op, plena.HostOp) and (made := _bias_of(op)) is not None:
            self.known.setdefault(made, True)
            self.reached[op.result] = {made: frozenset({"low"})}
            return
        if not any(found):
            return
        result = self._result(op, found)
        for reach in () if result is not None else found:
            for index, kinds in reach.items():
                self._give_up(index, kinds)
        reach = {index: kinds for index, kinds in (result or {}).items() if index in self.known and kinds}
        self.reached.update((value, reach) for value in op.results)

    def _give_up(self, index: Given, kinds: Kinds) -> None:
        """Whole rows of an input must hold a number if only those matter, all of it otherwise."""
        if not kinds <= _OF_ROWS or "joint" in kinds:
            self.known.pop(index, None)
        elif index in self.known:
            self.known[index] = False

    def _result(self, op: Operation, found: list[Reach]) -> Reach | None:
        """What reaches the result; None if the operation must not be given infinity."""
        match op:
            case ReturnOp() | plena.StagedTestOp() | plena.HostOp():
                return {}  # The host looks at what it computes when it stages that.
            case plena.ReshapeOp() | plena.RearrangeOp():
                moved = _is_of_host(op.input) or _is_made(op.input) or _is_only_returned(op.result)
                return found[0] if moved or (isinstance(op, plena.ReshapeOp) and _keeps_rows(op)) else None
            case plena.ExpandOp() | plena.SliceOp():
                return found[0] if _keeps_rows(op) else None
            case plena.AddOp():
                return self._sum(op, found, {})
            case plena.SubOp():
                return self._sum(op, found, _FLIPPED)
            case plena.RelativeOp() if op.number is not None or (op.part and op.part.data == "near"):
                return {}
            case plena.RelativeOp() if op.factor.value.data < 0:
                return _mapped(found[0], _FLIPPED)
            case plena.AddScalarOp() | plena.RelativeOp():
                return found[0]
            case plena.MulScalarOp() if op.value.value.data:
                return found[0] if op.value.value.data > 0 else _mapped(found[0], _FLIPPED)
            case plena.SoftmaxOp() if op.groups.value.data == 1:
                return self._made(found[0], "low", "nan")
            case plena.ReduceOp() if op.axis.data == "features" and op.groups.value.data == 1:
                if op.kind.data == "max":
                    return self._made(found[0], "low", "empty")
                return found[0] if _hold(found[0], "nan") else None
            case plena.ActivationOp() if op.kind.data == "log":
                return found[0] if _hold(found[0], "nan") else None
            case plena.ActivationOp() if op.kind.data == "exp" and _hold(found[0], "low", "empty", "nan"):
                return {n: kinds - {"low", "empty"} for n, kinds in found[0].items() if "nan" in kinds}
            case plena.ActivationOp() if op.kind.data in BOUNDED:
                return self._made(found[0], "low", None)
            case plena.ClampOp() if op.min is not None:
                return self._made(found[0], "low", None)
            case plena.AttentionOp() if not any(found[:3]) and all(map(_is_of_host, op.operands[3:])):
                return {}
            case _:
                return None

    def _sum(
        self, op: plena.AddOp | plena.SubOp, found: list[Reach], second: Mapping[Kind, Kind]
    ) -> Reach | None:
        """Infinities of both signs never meet."""
        columns = shape_of(op.result)[-1]
        sides = [found[0], _mapped(found[1], second)]
        elements: set[Kind] = set()
        for operand, reach in zip(op.operands, sides, strict=True):
            here = _ELEMENTS.intersection(kind for kinds in reach.values() for kind in kinds)
            if here and shape_of(operand)[-1] != columns:
                return None
            elements |= here
        if len(elements) > 1:
            return None
        added: set[Kind] = set()
        if elements and any(map(may_overflow, op.operands)):
            signs = (-1, 1 if second else -1)
            added |= {"joint"} if all(map(holds_only, op.operands, signs)) else {"joint", "nan"}
        whole: Reach = {}
        for index in {*sides[0], *sides[1]}:
            a, b = (side.get(index, frozenset[Kind]()) for side in sides)
            joint: set[Kind] = {"joint"} if a & _ELEMENTS and b & _ELEMENTS else set()
            whole[index] = frozenset({*a, *b, *added, *joint})
        return whole

    def _made(self, reach: Reach, of: Kind, made: Kind | None) -> Reach | None:
        """What an operation makes of infinities `of` one sign; none is given NaN, which some take for a number."""
        if not _hold(reach, of, "empty"):
            return None
        after: Reach = {}
        for index, kinds in reach.items():
            joint: set[Kind] = {"joint"} if "joint" in kinds else set()
            after[index] = frozenset[Kind]() if made is None else frozenset({made, *joint})
        return after


def _either(a: Reach, b: Reach) -> Reach:
    """What a value may hold that is one of two."""
    return {index: a.get(index, frozenset()) | b.get(index, frozenset()) for index in {*a, *b}}


def _hold(reach: Reach, *kinds: Kind) -> bool:
    """Whether there is nothing but these."""
    return all(found <= {*kinds, "joint"} for found in reach.values())


def _mapped(reach: Reach, kinds: Mapping[Kind, Kind]) -> Reach:
    return {index: frozenset(kinds.get(kind, kind) for kind in found) for index, found in reach.items()}


def _is_of_host(value: SSAValue) -> bool:
    """Whether the host moves the elements of an argument while it stages them."""
    return isinstance(_source(value), BlockArgument)


def _is_made(value: SSAValue) -> bool:
    """Whether the host computes elements and moves them while it stages them."""
    return isinstance(_source(value).owner, plena.HostOp)


def _source(value: SSAValue) -> SSAValue:
    while isinstance(op := value.owner, plena.ReshapeOp | plena.RearrangeOp | plena.RelativeOp):
        value = op.input
    return value


def _bias_of(op: plena.HostOp) -> HostValue | None:
    """What the host computes of real inputs and stages less the largest of each row."""
    value, numbers = value_of(op.value), dict[int, int]()
    for n, operand in enumerate(op.inputs):
        if not isinstance(operand, BlockArgument):
            return None
        numbers[n] = operand.index
    is_bias = any(isinstance(use.operation, plena.RelativeOp) for use in op.result.uses)
    return value.with_inputs(numbers) if is_bias and value.real_inputs else None


def _keeps_rows(op: plena.ReshapeOp | plena.ExpandOp | plena.SliceOp) -> bool:
    """Whether rows are moved as they are."""
    return shape_of(op.input)[-1:] == shape_of(op.result)[-1:]


def _is_only_returned(value: SSAValue) -> bool:
    users = [use.operation for use in value.uses]
    return all(
        isinstance(user, ReturnOp)
        or (isinstance(user, plena.ReshapeOp | plena.RearrangeOp) and _is_only_returned(user.result))
        for user in users
    )


__all__ = ["inputs_that_may_be_infinite"]
