"""Which tensors may hold a number far beyond their others that the model itself puts in, as masked fills do.

Formats whose numbers share a scale lose what lies beside such a number, so kernels that store a tensor ask.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.ir import Attribute, Block, Operation, OpResult, SSAValue

from plena.dialects import plena
from plena.dialects.tensor_shapes import is_boolean
from plena.tensor.ranges import range_of

FAR = 2.0**7
"""Numbers of the model itself beyond this are far from what its tensors hold."""

Signs = frozenset[int]
"""Of the fills that still matter: -1, 1."""

_BOTH: Signs = frozenset({-1, 1})
_POSITIVE: Signs = frozenset({1})

_BOUNDED = ("sigmoid", "tanh", "reciprocal", "rsqrt", "log", "log1p")
"""Activations that make a moderate number of a huge one."""

_SIGNED = ("abs", "leaky_relu")
"""Those that let huge negative numbers pass; the others make moderate ones of them."""

_PASSING = (
    "add", "sub", "mul", "neg", "where", "cast", "reshape", "slice", "expand", "permute", "concat",
    "maximum", "minimum", "flip", "finite",
)  # fmt: skip
"""Operations of the host whose result is far from 0 where an operand is."""


def far_fill(value: SSAValue) -> Operation | None:
    """An operation that puts a number beyond `FAR` in some elements of what a value is made of, if the value may hold
    it: masked fills, `where` with such a number, masks that are added, constants whose numbers lie far apart.

    What is only scaled as a whole, and what the inputs hold, is not looked at.
    """
    waiting, seen = [(value, _BOTH)], set[tuple[SSAValue, Signs]]()
    while waiting:
        item = waiting.pop()
        if item in seen or not item[1]:
            continue
        seen.add(item)
        value, signs = item
        owner = value.owner
        if isinstance(owner, Block):
            waiting.extend((v, signs) for v in _carried(owner, value))
        elif isinstance(owner, plena.RepeatOp):
            assert isinstance(value, OpResult)
            waiting.append((owner.yielded[value.index], signs))
        elif not _signs_of(owner).isdisjoint(signs):
            return owner
        else:
            waiting.extend(_behind(owner, signs))
    return None


def _carried(block: Block, value: SSAValue) -> Iterator[SSAValue]:
    """What an argument of a repeated body is before the first iteration and behind each."""
    repeat = block.parent_op()
    if isinstance(repeat, plena.RepeatOp):
        for argument, first, later in zip(block.args, repeat.initial, repeat.yielded, strict=False):
            if argument is value:
                yield from (first, later)


def _signs_of(op: Operation) -> Signs:
    """The signs of the far numbers that an operation itself brings in."""
    match op:
        case plena.ParameterOp(value=plena.FullAttr() as full):
            number = full.value.value.data
            return frozenset({1 if number > 0 else -1}) if abs(number) > FAR else frozenset()
        case plena.ParameterOp():
            return _BOTH if op.extremes is not None or _names_far(op.value) else frozenset()
        case plena.MulScalarOp() if abs(op.value.value.data) > FAR and _is_mask(op.input):
            sign = 1 if op.value.value.data > 0 else -1
            return frozenset({sign}) if range_of(op.input).is_nonnegative else _BOTH
        case plena.RelativeOp() if op.number is not None:
            number = op.number.value.data
            return frozenset({1 if number > 0 else -1}) if abs(number) > FAR else frozenset()
        case plena.HostOp():
            return _BOTH if _host_names_far(op) else frozenset()
        case _:
            return frozenset()


def _names_far(value: Attribute) -> bool:
    match value:
        case plena.FullAttr():
            return abs(value.value.value.data) > FAR
        case plena.ProductAttr() | plena.SumAttr():
            return _names_far(value.lhs) or _names_far(value.rhs)
        case plena.ViewAttr():
            return _names_far(value.operand)
        case plena.ConcatAttr():
            return any(map(_names_far, value.operands.data))
        case _:
            return False


def _host_names_far(op: plena.HostOp) -> bool:
    nodes = op.value.nodes.data
    waiting = [len(nodes) - 1]
    while waiting:
        node = nodes[waiting.pop()]
        number = node.plain_settings.get("value")
        if node.operation.data == "full" and isinstance(number, int | float):
            if abs(number) > FAR:
                return True
        elif node.operation.data in _PASSING:
            waiting.extend(node.operands.get_values())
    return False


def _is_mask(value: SSAValue) -> bool:
    """Whether a tensor is made of booleans and numbers."""
    op = value.owner
    match op:
        case plena.CastOp():
            return is_boolean(op.input)
        case (
            plena.AddScalarOp() | plena.MulScalarOp() | plena.ReshapeOp() | plena.RearrangeOp() | plena.ExpandOp()
            | plena.SliceOp()
        ):  # fmt: skip
            return _is_mask(op.input)
        case _:
            return False


def _behind(op: Operation, signs: Signs) -> list[tuple[SSAValue, Signs]]:
    """The operands whose fills reach the result, and of which signs; none of softmax, norms and products."""
    flipped = frozenset(-sign for sign in signs)
    match op:
        case plena.SubOp():
            return [(op.lhs, signs), (op.rhs, flipped)]
        case plena.MulOp():
            sides = ((op.lhs, op.rhs), (op.rhs, op.lhs))
            return [(a, signs if range_of(b).is_nonnegative else _BOTH) for a, b in sides]
        case plena.DivOp():
            return [(op.lhs, signs if range_of(op.rhs).is_nonnegative else _BOTH)]
        case plena.MulScalarOp():
            return [(op.input, signs if op.value.value.data > 0 else flipped)]
        case plena.ActivationOp():
            return _before_activation(op.kind.data, op.input, signs)
        case plena.GateOp():
            return [*_before_activation(op.kind.data, op.gate, _BOTH), (op.up, _BOTH)]
        case plena.ClampOp():
            if op.min is not None and op.min.value.data >= -FAR:
                signs -= {-1}
            if op.max is not None and op.max.value.data <= FAR:
                signs -= {1}
            return [(op.input, signs)]
        case (
            plena.AddOp() | plena.MaximumOp() | plena.MinimumOp() | plena.AddScalarOp() | plena.ReduceOp()
            | plena.ReshapeOp() | plena.RearrangeOp() | plena.ExpandOp() | plena.SliceOp() | plena.ConcatOp()
        ):  # fmt: skip
            return [(operand, signs) for operand in op.operands]
        case plena.RelativeOp() if op.part is None or op.part.data == "hidden":
            return [(op.input, signs if op.factor.value.data > 0 else flipped)]
        case _:
            return []


def _before_activation(kind: str, value: SSAValue, signs: Signs) -> list[tuple[SSAValue, Signs]]:
    if kind in _SIGNED:
        return [(value, _BOTH)]
    return [] if kind in _BOUNDED or 1 not in signs else [(value, _POSITIVE)]
