"""Hypothesis strategies for the `aten` and `plena` dialects.

A module is one function; every op draws its operands by type from the values in scope, or as new arguments. The
default strategy of an op comes from its definition (one shape for all operands, optional operands and properties
drawn); ops whose verifiers ask for more have a strategy of their own in STRATEGIES. All are legal by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, get_args

from hypothesis import strategies as st
from xdsl.dialects import func
from xdsl.dialects.builtin import (
    ArrayAttr,
    BoolAttr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
    TensorType,
    f32,
    f64,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    OperandDef,
    OptOperandDef,
    OptPropertyDef,
    VarOperandDef,
    VerificationContext,
)
from xdsl.utils.exceptions import VerifyException

from plena.dialects import aten, plena
from plena.dialects.plena import BandAttr, integer, integers, real
from plena.dialects.plena.contraction import MASKED
from plena.dialects.tensor_shapes import shape_of

OPERATIONS = 40
"""At most, per module."""

Shape = tuple[int, ...]
Draw = st.DrawFn


class Text:
    """A module that shows as its text; not a dataclass, which hypothesis would show field by field."""

    def __init__(self, module: ModuleOp) -> None:
        self.module = module

    def __repr__(self) -> str:
        return str(self.module)


@dataclass
class Scope:
    """The function under construction: values in scope, and arguments for types that nothing has yet."""

    draw: Draw
    block: Block
    values: list[SSAValue] = field(default_factory=list[SSAValue])

    def value(self, value_type: Attribute) -> SSAValue:
        """A value of the type."""
        known = [value for value in self.values if value.type == value_type]
        if known and self.draw(st.booleans()):
            return self.draw(st.sampled_from(known))
        argument = self.block.insert_arg(value_type, len(self.block.args))
        self.values.append(argument)
        return argument

    def tensor(self, *shape: int) -> SSAValue:
        """A real tensor."""
        return self.value(real(*shape))

    def maybe(self, *shape: int) -> SSAValue | None:
        """A real tensor or none."""
        return self.tensor(*shape) if self.draw(st.booleans()) else None


sizes = st.integers(1, 5)
numbers = st.floats(allow_nan=False, width=64)
positive = st.floats(1e-12, 8.0)


def shapes(low: int = 0, high: int = 4) -> st.SearchStrategy[Shape]:
    return st.lists(sizes, min_size=low, max_size=high).map(tuple)


def axes(draw: Draw, rank: int) -> list[int]:
    """Some axes, in order."""
    return sorted(draw(st.sets(st.integers(0, rank - 1), min_size=1)))


def number(value: float) -> FloatAttr:
    return FloatAttr(value, f64)


def boolean(draw: Draw) -> BoolAttr:
    return BoolAttr.from_bool(draw(st.booleans()))


def tensor_type(element: Attribute, shape: Shape) -> TensorType[Any]:
    return TensorType(element, shape)


def build(
    op: type[IRDLOperation],
    operands: Sequence[Any],
    results: Sequence[Attribute | list[Attribute]],
    **properties: Attribute | None,
) -> Operation:
    """An op; an optional operand is None or a value, a variadic one a list."""
    definition = op.get_irdl_definition()
    segments: list[Any] = []
    for value, (_, kind) in zip(operands, definition.operands, strict=True):
        segments.append(
            [value]
            if isinstance(kind, OptOperandDef) and value is not None
            else []
            if value is None
            else value
        )
    return op.build(operands=segments, result_types=list(results), properties=properties)


# The default.

_CANDIDATES: list[st.SearchStrategy[Attribute]] = [
    numbers.map(number),
    st.integers(-9, 9).map(integer),
    st.booleans().map(BoolAttr.from_bool),
    st.lists(st.integers(0, 9), max_size=3).map(integers),
    st.text(max_size=5).map(StringAttr),
]


def property_of(draw: Draw, constraint: Any) -> Attribute:
    """A value that the constraint takes."""
    for strategy in _CANDIDATES:
        candidate = draw(strategy)
        try:
            constraint.verify(candidate, VerificationContext())
        except VerifyException:
            continue
        return candidate
    raise AssertionError(f"no candidate for {constraint}")


def by_definition(op: type[IRDLOperation]) -> Callable[[Draw, Scope], Operation]:
    """The default: operands and results of one matrix type."""

    def strategy(draw: Draw, scope: Scope) -> Operation:
        definition = op.get_irdl_definition()
        shape = draw(shapes(2, 2))
        operands: list[Any] = []
        for _, kind in definition.operands:
            match kind:
                case OptOperandDef():
                    operands.append(scope.maybe(*shape))
                case VarOperandDef():
                    operands.append([scope.tensor(*shape) for _ in range(draw(st.integers(1, 3)))])
                case OperandDef():
                    operands.append(scope.tensor(*shape))
                case _:
                    raise AssertionError(kind)
        properties: dict[str, Attribute] = {}
        for name, prop in definition.properties.items():
            if name.endswith("SegmentSizes") or (isinstance(prop, OptPropertyDef) and draw(st.booleans())):
                continue
            properties[name] = property_of(draw, prop.constr)
        return build(op, operands, [real(*shape)] * len(definition.results), **properties)

    return strategy


# aten.


def broadcast_pair(draw: Draw) -> tuple[Shape, Shape, Shape]:
    """Two shapes and their broadcast."""
    shape = draw(shapes(0, 3))
    sides = [
        tuple(1 if draw(st.booleans()) else n for n in shape)[draw(st.integers(0, len(shape))) :]
        for _ in range(2)
    ]
    result = aten_broadcast(sides)
    return sides[0], sides[1], result


def aten_broadcast(sides: Sequence[Shape]) -> Shape:
    from plena.dialects.tensor_shapes import broadcast_shapes

    result = broadcast_shapes(sides)
    assert result is not None
    return result


def aten_binary(op: type[IRDLOperation]) -> Callable[[Draw, Scope], Operation]:
    def strategy(draw: Draw, scope: Scope) -> Operation:
        a, b, result = broadcast_pair(draw)
        return build(op, [scope.tensor(*a), scope.tensor(*b)], [real(*result)])

    return strategy


def aten_compare(draw: Draw, scope: Scope) -> Operation:
    a, b, result = broadcast_pair(draw)
    predicate = StringAttr(draw(st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"])))
    types = [tensor_type(IntegerType(1), result)]
    return build(aten.CompareOp, [scope.tensor(*a), scope.tensor(*b)], types, predicate=predicate)


def aten_where(draw: Draw, scope: Scope) -> Operation:
    a, b, result = broadcast_pair(draw)
    condition = scope.value(tensor_type(IntegerType(1), result))
    return build(aten.WhereOp, [condition, scope.tensor(*a), scope.tensor(*b)], [real(*result)])


def aten_gelu(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes())
    kind = StringAttr(draw(st.sampled_from(["none", "tanh"])))
    return build(aten.GeluOp, [scope.tensor(*shape)], [real(*shape)], approximate=kind)


def symbols(draw: Draw) -> SymbolRefAttr:
    return SymbolRefAttr(draw(st.sampled_from(["w", "layers.0.self_attn.q_proj.weight", "a name", "1st"])))


@st.composite
def bands(draw: Draw) -> BandAttr:
    lower, upper = sorted([draw(st.integers(-9, 9)), draw(st.integers(-9, 9))])
    return BandAttr(*draw(st.sampled_from([(lower, upper), (None, upper), (lower, None), (None, None)])))


def aten_parameter(draw: Draw, scope: Scope) -> Operation:
    return build(aten.ParameterOp, [], [real(*draw(shapes()))], symbol=symbols(draw))


def aten_constant(draw: Draw, scope: Scope) -> Operation:
    band = draw(st.none() | bands())
    return build(aten.ConstantOp, [], [real(*draw(shapes()))], symbol=symbols(draw), band=band)


def aten_full(draw: Draw, scope: Scope) -> Operation:
    value = draw(st.floats(allow_nan=False).map(number) | st.integers(-99, 99).map(integer))
    element = i64 if isinstance(value, IntegerAttr) else real().element_type
    return build(aten.FullOp, [], [tensor_type(element, draw(shapes()))], value=value)


def aten_operator(draw: Draw, scope: Scope) -> Operation:
    inputs = [scope.tensor(*draw(shapes())) for _ in range(draw(st.integers(0, 3)))]
    arguments: list[Attribute] = [StringAttr(f"%{i}") for i in range(len(inputs))]
    arguments += draw(st.lists(numbers.map(number) | st.integers(-9, 9).map(integer), max_size=3))
    outputs: list[Attribute] = [real(*draw(shapes())) for _ in range(draw(st.integers(1, 3)))]
    name = StringAttr("aten.sort.default")
    return build(aten.OperatorOp, [inputs], [outputs], operator=name, arguments=ArrayAttr(arguments))


def regrouped(draw: Draw, shape: Shape) -> Shape:
    """Another shape of as many elements."""
    left, result = prod(shape), list[int]()
    while left > 1:
        result.append(draw(st.sampled_from([n for n in range(1, left + 1) if left % n == 0])))
        left //= result[-1]
    return tuple(result)


def aten_view(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes())
    return build(aten.ViewOp, [scope.tensor(*shape)], [real(*regrouped(draw, shape))])


def aten_permute(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes(1))
    dims = draw(st.permutations(range(len(shape))))
    result = real(*(shape[d] for d in dims))
    return build(aten.PermuteOp, [scope.tensor(*shape)], [result], dims=integers(dims))


def expansion(draw: Draw) -> tuple[Shape, Shape]:
    """A shape and one that it repeats to."""
    result = draw(shapes())
    source = tuple(1 if draw(st.booleans()) else n for n in result)
    return source[draw(st.integers(0, len(source))) :], result


def aten_expand(draw: Draw, scope: Scope) -> Operation:
    source, result = expansion(draw)
    return build(aten.ExpandOp, [scope.tensor(*source)], [real(*result)])


def aten_slice(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes(1))
    dim = draw(st.integers(0, len(shape) - 1))
    start = draw(st.integers(0, shape[dim] - 1))
    end, step = draw(st.integers(start + 1, shape[dim])), draw(st.integers(1, 3))
    result = (*shape[:dim], len(range(start, end, step)), *shape[dim + 1 :])
    bounds = {"dim": dim, "start": start, "end": end, "step": step}
    properties = {name: integer(value) for name, value in bounds.items()}
    return build(aten.SliceOp, [scope.tensor(*shape)], [real(*result)], **properties)


def aten_cat(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes(1))
    dim = draw(st.integers(0, len(shape) - 1))
    parts = draw(st.lists(sizes, min_size=1, max_size=3))
    tensors = [scope.tensor(*shape[:dim], n, *shape[dim + 1 :]) for n in parts]
    result = real(*shape[:dim], sum(parts), *shape[dim + 1 :])
    return build(aten.CatOp, [tensors], [result], dim=integer(dim))


def aten_embedding(draw: Draw, scope: Scope) -> Operation:
    rows, columns, ids = draw(sizes), draw(sizes), draw(shapes(0, 2))
    operands = [scope.tensor(rows, columns), scope.value(tensor_type(i64, ids))]
    return build(aten.EmbeddingOp, operands, [real(*ids, columns)])


def aten_index_select(draw: Draw, scope: Scope) -> Operation:
    shape, count = draw(shapes(1)), draw(sizes)
    dim = draw(st.integers(0, len(shape) - 1))
    operands = [scope.tensor(*shape), scope.value(tensor_type(i64, (count,)))]
    result = real(*shape[:dim], count, *shape[dim + 1 :])
    return build(aten.IndexSelectOp, operands, [result], dim=integer(dim))


def aten_state(draw: Draw, scope: Scope) -> Operation:
    return build(aten.StateOp, [], [real(*draw(shapes()))], symbol=symbols(draw))


def aten_write_state(draw: Draw, scope: Scope) -> Operation:
    return build(aten.WriteStateOp, [scope.tensor(*draw(shapes()))], [], symbol=symbols(draw))


def aten_index_copy(draw: Draw, scope: Scope) -> Operation:
    shape, count = draw(shapes(1)), draw(sizes)
    dim = draw(st.integers(0, len(shape) - 1))
    source = scope.tensor(*shape[:dim], count, *shape[dim + 1 :])
    operands = [scope.tensor(*shape), scope.value(tensor_type(i64, (count,))), source]
    return build(aten.IndexCopyOp, operands, [real(*shape)], dim=integer(dim))


def plena_state(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes(2, 2))
    factors = regrouped(draw, shape)
    order = draw(st.permutations(range(len(factors))))
    name = symbols(draw)
    moved = draw(
        st.sampled_from([name, plena.reshaped(name, shape), plena.rearranged(name, factors, order, shape)])
    )
    return plena.StateOp(moved, shape)


def plena_write_rows(draw: Draw, scope: Scope) -> Operation:
    batch, length, count, columns = (draw(sizes) for _ in range(4))
    state, rows = scope.tensor(batch * length, columns), scope.tensor(batch * count, columns)
    return plena.WriteRowsOp(state, rows, scope.value(tensor_type(i64, (count,))), batch)


def plena_pick_sample(draw: Draw, scope: Scope) -> Operation:
    batch, length, columns = (draw(sizes) for _ in range(3))
    state = scope.tensor(batch * length, columns)
    return plena.PickSampleOp(state, scope.value(tensor_type(i64, (1,))), batch)


def plena_write_state(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes(2, 2))
    return plena.WriteStateOp(scope.tensor(*shape), scope.tensor(*shape))


def aten_linear(draw: Draw, scope: Scope) -> Operation:
    leading, inner, outer = draw(shapes(0, 2)), draw(sizes), draw(sizes)
    operands = [scope.tensor(*leading, inner), scope.tensor(outer, inner), scope.maybe(outer)]
    return build(aten.LinearOp, operands, [real(*leading, outer)])


def aten_matmul(draw: Draw, scope: Scope) -> Operation:
    a, b, batch = broadcast_pair(draw)
    rows, inner, columns = draw(sizes), draw(sizes), draw(sizes)
    operands = [scope.tensor(*a, rows, inner), scope.tensor(*b, inner, columns)]
    return build(aten.MatmulOp, operands, [real(*batch, rows, columns)])


def aten_attention(draw: Draw, scope: Scope) -> Operation:
    batch, heads, queries, keys, size = (draw(sizes) for _ in range(5))
    mask = scope.maybe(*draw(st.sampled_from([(queries, keys), (1, keys), (batch, 1, queries, keys)])))
    operands = [scope.tensor(batch, heads, n, size) for n in (queries, keys, keys)]
    return build(
        aten.ScaledDotProductAttentionOp,
        [*operands, mask],
        [real(batch, heads, queries, size)],
        is_causal=boolean(draw),
        scale=draw(st.none() | positive.map(number)),
        enable_gqa=boolean(draw),
    )


def aten_conv2d(draw: Draw, scope: Scope) -> Operation:
    batch, channels, groups, features = (draw(st.integers(1, 3)) for _ in range(4))
    kernel, stride, padding, dilation = ([draw(st.integers(1, 2)) for _ in range(2)] for _ in range(4))
    outputs = [draw(st.integers(1, 3)) for _ in range(2)]
    image = [
        (n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(outputs, stride, dilation, kernel, strict=True)
    ]
    image = [size + 2 for size in image] if draw(st.booleans()) else image
    outputs = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip(image, padding, dilation, kernel, stride, strict=True)
    ]
    features *= groups
    return build(
        aten.Conv2dOp,
        [
            scope.tensor(batch, channels * groups, *image),
            scope.tensor(features, channels, *kernel),
            scope.maybe(features),
        ],
        [real(batch, features, *outputs)],
        stride=integers(stride),
        padding=integers(padding),
        dilation=integers(dilation),
        groups=integer(groups),
    )


def aten_reduction(op: type[IRDLOperation]) -> Callable[[Draw, Scope], Operation]:
    def strategy(draw: Draw, scope: Scope) -> Operation:
        shape = draw(shapes(1))
        dim, keep = axes(draw, len(shape)), draw(st.booleans())
        result = [1 if i in dim else n for i, n in enumerate(shape) if keep or i not in dim]
        properties = {"dim": integers(dim), "keepdim": BoolAttr.from_bool(keep)}
        return build(op, [scope.tensor(*shape)], [real(*result)], **properties)

    return strategy


def aten_softmax(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes(1))
    dim = integer(draw(st.integers(0, len(shape) - 1)))
    return build(aten.SoftmaxOp, [scope.tensor(*shape)], [real(*shape)], dim=dim)


def aten_norm(op: type[IRDLOperation], operands: int) -> Callable[[Draw, Scope], Operation]:
    def strategy(draw: Draw, scope: Scope) -> Operation:
        shape = draw(shapes(1))
        normalized = shape[draw(st.integers(0, len(shape) - 1)) :]
        optional = [scope.maybe(*normalized) for _ in range(operands)]
        properties = {"normalized_shape": integers(normalized), "eps": number(draw(positive))}
        return build(op, [scope.tensor(*shape), *optional], [real(*shape)], **properties)

    return strategy


# plena.


@st.composite
def expressions(draw: Draw, depth: int = 2) -> Any:
    """Staging expressions; their shapes need not fit, which nothing at this level can tell."""
    leaf = st.builds(lambda: symbols(draw)) | st.builds(plena.FullAttr, positive, shapes(0, 2))
    if depth == 0:
        return draw(leaf)
    inner = expressions(depth - 1)
    some = shapes(1, 3)
    factors = draw(some)
    order = draw(st.permutations(range(len(factors))))
    return draw(
        leaf
        | st.builds(plena.reshaped, inner, some)
        | st.builds(lambda x: plena.rearranged(x, factors, order, factors), inner)
        | st.builds(plena.sliced, inner, st.integers(0, 1), st.integers(0, 3), st.integers(4, 9), sizes)
        | st.builds(plena.ConcatAttr, st.lists(inner, min_size=1, max_size=2), st.integers(0, 1))
        | st.builds(plena.expanded, inner, some)
        | st.builds(plena.ProductAttr, inner, inner)
        | st.builds(plena.SumAttr, inner, inner)
        | st.builds(plena.MatvecAttr, inner, inner)
        | st.builds(plena.AdditiveMaskAttr, inner)
    )


def plena_parameter(draw: Draw, scope: Scope) -> Operation:
    return plena.ParameterOp(draw(expressions()), draw(shapes(0, 3)))


def plena_linear(draw: Draw, scope: Scope) -> Operation:
    rows, inner, outer = draw(sizes), draw(sizes), draw(sizes)
    return plena.LinearOp(scope.tensor(rows, inner), scope.tensor(outer, inner), scope.maybe(outer))


def plena_projections(draw: Draw, scope: Scope) -> Operation:
    rows, inner, outer = draw(sizes), draw(sizes), draw(st.lists(sizes, min_size=1, max_size=3))
    weights = [scope.tensor(n, inner) for n in outer]
    biases = [scope.tensor(n) for n in outer] if draw(st.booleans()) else []
    return plena.ProjectionsOp(scope.tensor(rows, inner), weights, biases)


def plena_matmul(draw: Draw, scope: Scope) -> Operation:
    batch, rows, inner, columns = (draw(sizes) for _ in range(4))
    transpose = draw(st.booleans())
    right = (batch * columns, inner) if transpose else (batch * inner, columns)
    return plena.MatmulOp(scope.tensor(batch * rows, inner), scope.tensor(*right), batch, transpose)


def plena_attention(draw: Draw, scope: Scope) -> Operation:
    batch, kv_heads, group, queries, keys, size, width = (draw(st.integers(1, 3)) for _ in range(7))
    heads = kv_heads * group
    bias_shape = [1 if draw(st.booleans()) else n for n in (batch, heads, queries)]
    fill = draw(st.sampled_from([None, -1e4, -1e9]))
    return plena.AttentionOp(
        scope.tensor(batch * queries, heads * size),
        scope.tensor(batch * keys, kv_heads * size),
        scope.tensor(batch * keys, kv_heads * width),
        batch=batch,
        heads=heads,
        kv_heads=kv_heads,
        scale=draw(positive),
        bias=scope.maybe(*bias_shape, keys),
        key_padding=scope.value(tensor_type(i64, (batch, keys))) if draw(st.booleans()) else None,
        sinks=scope.maybe(heads),
        softcap=draw(st.none() | positive),
        band=draw(st.none() | bands()),
        fill=fill,
        masked=None if fill is None else draw(st.sampled_from(MASKED)),
        empty=draw(st.sampled_from([None, "zero", "nan"])),
        moderate=draw(st.booleans()),
    )


def plena_patch_embedding(draw: Draw, scope: Scope) -> Operation:
    batch, channels, features, *kernel = (draw(st.integers(1, 3)) for _ in range(5))
    image = [k * draw(st.integers(1, 3)) + draw(st.integers(0, k - 1)) for k in kernel]
    weight = scope.tensor(features, channels * kernel[0] * kernel[1])
    operands = (scope.tensor(batch, channels, *image), weight, scope.maybe(features))
    return plena.PatchEmbeddingOp(*operands, (kernel[0], kernel[1]))


def grouped(draw: Draw, scope: Scope) -> tuple[SSAValue, int, int]:
    """A matrix, its groups of features and their size."""
    rows, groups, size = draw(sizes), draw(st.integers(1, 3)), draw(sizes)
    return scope.tensor(rows, groups * size), groups, size


def plena_rms_norm(draw: Draw, scope: Scope) -> Operation:
    x, groups, size = grouped(draw, scope)
    return plena.RmsNormOp(x, scope.maybe(size), draw(positive), groups)


def plena_layer_norm(draw: Draw, scope: Scope) -> Operation:
    x, groups, size = grouped(draw, scope)
    return plena.LayerNormOp(x, scope.maybe(size), scope.maybe(size), draw(positive), groups)


def plena_softmax(draw: Draw, scope: Scope) -> Operation:
    x, groups, _ = grouped(draw, scope)
    return plena.SoftmaxOp(x, groups)


def plena_reduce(draw: Draw, scope: Scope) -> Operation:
    groups, size, other = (draw(sizes) for _ in range(3))
    axis = draw(st.sampled_from(get_args(plena.ReductionAxis)))
    shape = (other, groups * size) if axis == "features" else (groups * size, other)
    kind = draw(st.sampled_from(get_args(plena.ReductionKind)))
    return plena.ReduceOp(kind, axis, scope.tensor(*shape), groups)


def plena_rotary(draw: Draw, scope: Scope) -> Operation:
    samples, positions, heads, half, rest = (draw(st.integers(1, 3)) for _ in range(5))
    width = 2 * half
    x = scope.tensor(samples * positions, heads * (width + rest - 1))
    style = draw(st.sampled_from(get_args(plena.RotaryStyle)))
    return plena.RotaryOp(x, scope.tensor(positions, width), scope.tensor(positions, width), heads, style)


def plena_rotaries(draw: Draw, scope: Scope) -> Operation:
    samples, positions, half, rest = (draw(st.integers(1, 3)) for _ in range(4))
    heads = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    width = 2 * half
    inputs = [scope.tensor(samples * positions, count * (width + rest - 1)) for count in heads]
    if len(set(inputs)) < len(inputs):
        inputs, heads = inputs[:1], heads[:1]
    style = draw(st.sampled_from(get_args(plena.RotaryStyle)))
    tables = scope.tensor(positions, width), scope.tensor(positions, width)
    return plena.RotariesOp(inputs, *tables, heads, style)


_SLOPED = ("leaky_relu", "elu")


def plena_activation(draw: Draw, scope: Scope) -> Operation:
    kind = draw(st.sampled_from(get_args(plena.ActivationKind)))
    slope = draw(positive) if kind in _SLOPED else None
    return plena.ActivationOp(kind, scope.tensor(*draw(shapes(2, 2))), slope)


def plena_gate(draw: Draw, scope: Scope) -> Operation:
    kind = draw(st.sampled_from([k for k in get_args(plena.ActivationKind) if k not in _SLOPED]))
    shape = draw(shapes(2, 2))
    return plena.GateOp(kind, scope.tensor(*shape), scope.tensor(*shape))


def plena_binary(op: type[plena.BinaryOp]) -> Callable[[Draw, Scope], Operation]:
    def strategy(draw: Draw, scope: Scope) -> Operation:
        rows, groups, size = (draw(sizes) for _ in range(3))
        columns = groups * size
        right = draw(st.sampled_from([(rows, columns), (columns,), (rows, groups), (rows, 1)]))
        return op(scope.tensor(rows, columns), scope.tensor(*right))

    return strategy


def plena_clamp(draw: Draw, scope: Scope) -> Operation:
    low, high = draw(st.sampled_from([(True, False), (False, True), (True, True)]))
    bounds = [draw(numbers) if present else None for present in (low, high)]
    return plena.ClampOp(scope.tensor(*draw(shapes(2, 2))), *bounds)


def plena_cast(draw: Draw, scope: Scope) -> Operation:
    element = draw(st.sampled_from([i64, IntegerType(1)]))
    return plena.CastOp(scope.value(tensor_type(element, draw(shapes()))))


def plena_fill_infinity(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes(2, 2))
    return plena.FillInfinityOp(scope.tensor(*shape), scope.tensor(*shape), draw(st.sampled_from([1, -1])))


def plena_compare(draw: Draw, scope: Scope) -> Operation:
    element = draw(st.sampled_from([i64, IntegerType(1), f32]))
    predicate = draw(st.sampled_from(plena.COMPARISONS))
    return plena.CompareOp(predicate, scope.value(tensor_type(element, draw(shapes()))), draw(numbers))


def plena_bit(draw: Draw, scope: Scope) -> Operation:
    element = draw(st.sampled_from([i64, IntegerType(1), f32]))
    return plena.BitOp(scope.value(tensor_type(element, draw(shapes()))))


def plena_reshape(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes())
    return plena.ReshapeOp(scope.tensor(*shape), regrouped(draw, shape))


def plena_rearrange(draw: Draw, scope: Scope) -> Operation:
    factors = draw(shapes(1))
    order = draw(st.permutations(range(len(factors))))
    return plena.RearrangeOp(
        scope.tensor(*regrouped(draw, factors)), factors, order, regrouped(draw, factors)
    )


def plena_slice(draw: Draw, scope: Scope) -> Operation:
    def part() -> tuple[int, int, int, int, int]:
        groups, offset, size, stride = (
            draw(sizes),
            draw(st.integers(0, 2)),
            draw(sizes),
            draw(st.integers(1, 2)),
        )
        whole = offset + stride * (size - 1) + 1 + draw(st.integers(0, 2))
        return groups, offset, size, stride, groups * whole

    rows, columns = part(), part()
    groups, offsets, lengths, strides, shape = zip(rows, columns, strict=True)
    return plena.SliceOp(scope.tensor(*shape), offsets, lengths, strides, groups)


def plena_concat(draw: Draw, scope: Scope) -> Operation:
    groups, other, parts = draw(sizes), draw(sizes), draw(st.lists(sizes, min_size=1, max_size=3))
    axis = draw(st.sampled_from(get_args(plena.ReductionAxis)))
    shaped = [(groups * n, other) if axis == "rows" else (other, groups * n) for n in parts]
    return plena.ConcatOp(axis, [scope.tensor(*shape) for shape in shaped], groups)


def plena_expand(draw: Draw, scope: Scope) -> Operation:
    source, result = expansion(draw)
    return plena.ExpandOp(scope.tensor(*source), result)


def plena_relative(draw: Draw, scope: Scope) -> Operation:
    shape = draw(shapes(1, 3))
    numbers = st.floats(-8, 8).filter(bool)
    what = draw(st.sampled_from([(None, None), (-4.0, None), (None, "near"), (None, "hidden")]))
    of = draw(numbers), draw(numbers), *what
    return plena.RelativeOp(scope.tensor(*shape), draw(st.integers(0, len(shape) - 1)), *of)


def plena_embedding(draw: Draw, scope: Scope) -> Operation:
    ids = scope.value(tensor_type(i64, draw(shapes(1, 2))))
    return plena.EmbeddingOp(scope.tensor(draw(sizes), draw(sizes)), ids)


def plena_repeat(draw: Draw, scope: Scope) -> Operation:
    """Layers that add something staged to what they carry."""
    times, shape = draw(st.integers(1, 3)), draw(shapes(2, 2))
    initial = scope.tensor(*shape)
    body = Block(arg_types=[initial.type, real(shape[1])])
    added = plena.AddOp(*body.args)
    body.add_ops([added, plena.YieldOp([added.result])])
    stacked = [[draw(expressions(1)) for _ in range(times)]]
    return plena.RepeatOp(times, [initial], stacked, Region(body))


def plena_route(draw: Draw, scope: Scope) -> Operation:
    experts = draw(st.integers(2, 9))
    return plena.RouteOp(scope.tensor(draw(sizes), experts), draw(st.integers(1, min(experts, 8))))


def plena_experts(draw: Draw, scope: Scope) -> Operation:
    """Experts that add their parameters to the tokens."""
    tokens, experts, width = (draw(sizes) for _ in range(3))
    body = Block(arg_types=[real(tokens, width), real(tokens, 1), real(width)])
    added = plena.AddOp(body.args[0], body.args[2])
    body.add_ops([added, plena.YieldOp([added.result])])
    mask, column = scope.tensor(tokens, experts), scope.tensor(tokens, experts)
    parameters = [scope.tensor(experts, width)]
    return plena.ExpertsOp(mask, [scope.tensor(tokens, width)], [column], parameters, Region(body))


def plena_chosen_experts(draw: Draw, scope: Scope) -> Operation:
    """Experts that double a token."""
    tokens, experts, width = (draw(sizes) for _ in range(3))
    body = Block(arg_types=[real(1, width), real(1, 1)])
    added = plena.AddOp(body.args[0], body.args[0])
    body.add_ops([added, plena.YieldOp([added.result])])
    mask, column = scope.tensor(tokens, experts), scope.tensor(tokens, experts)
    rows, parameters, k = (
        [scope.tensor(tokens, width)],
        [scope.tensor(experts, 2)],
        draw(st.integers(1, experts)),
    )
    return plena.ChosenExpertsOp(mask, rows, [column], parameters, k, Region(body))


STRATEGIES: dict[type[IRDLOperation], Callable[[Draw, Scope], Operation]] = {
    **{
        op: aten_binary(op)
        for op in (
            aten.AddOp, aten.SubOp, aten.MulOp, aten.DivOp, aten.PowOp, aten.MaximumOp, aten.MinimumOp,
            aten.LogicalAndOp,
        )
    },
    aten.CompareOp: aten_compare,
    aten.WhereOp: aten_where,
    aten.GeluOp: aten_gelu,
    aten.ParameterOp: aten_parameter,
    aten.StateOp: aten_state,
    aten.WriteStateOp: aten_write_state,
    aten.IndexCopyOp: aten_index_copy,
    aten.ConstantOp: aten_constant,
    aten.FullOp: aten_full,
    aten.OperatorOp: aten_operator,
    aten.ViewOp: aten_view,
    aten.PermuteOp: aten_permute,
    aten.ExpandOp: aten_expand,
    aten.SliceOp: aten_slice,
    aten.CatOp: aten_cat,
    aten.EmbeddingOp: aten_embedding,
    aten.IndexSelectOp: aten_index_select,
    aten.LinearOp: aten_linear,
    aten.MatmulOp: aten_matmul,
    aten.ScaledDotProductAttentionOp: aten_attention,
    aten.Conv2dOp: aten_conv2d,
    aten.SumOp: aten_reduction(aten.SumOp),
    aten.MeanOp: aten_reduction(aten.MeanOp),
    aten.AmaxOp: aten_reduction(aten.AmaxOp),
    aten.SoftmaxOp: aten_softmax,
    aten.LayerNormOp: aten_norm(aten.LayerNormOp, 2),
    aten.RmsNormOp: aten_norm(aten.RmsNormOp, 1),
    plena.ParameterOp: plena_parameter,
    plena.StateOp: plena_state,
    plena.WriteRowsOp: plena_write_rows,
    plena.PickSampleOp: plena_pick_sample,
    plena.WriteStateOp: plena_write_state,
    plena.LinearOp: plena_linear,
    plena.ProjectionsOp: plena_projections,
    plena.MatmulOp: plena_matmul,
    plena.AttentionOp: plena_attention,
    plena.PatchEmbeddingOp: plena_patch_embedding,
    plena.RmsNormOp: plena_rms_norm,
    plena.LayerNormOp: plena_layer_norm,
    plena.SoftmaxOp: plena_softmax,
    plena.ReduceOp: plena_reduce,
    plena.RotaryOp: plena_rotary,
    plena.RotariesOp: plena_rotaries,
    plena.ActivationOp: plena_activation,
    plena.GateOp: plena_gate,
    plena.AddOp: plena_binary(plena.AddOp),
    plena.SubOp: plena_binary(plena.SubOp),
    plena.MulOp: plena_binary(plena.MulOp),
    plena.DivOp: plena_binary(plena.DivOp),
    plena.FillInfinityOp: plena_fill_infinity,
    plena.ClampOp: plena_clamp,
    plena.CastOp: plena_cast,
    plena.CompareOp: plena_compare,
    plena.BitOp: plena_bit,
    plena.ReshapeOp: plena_reshape,
    plena.RearrangeOp: plena_rearrange,
    plena.SliceOp: plena_slice,
    plena.ConcatOp: plena_concat,
    plena.ExpandOp: plena_expand,
    plena.RelativeOp: plena_relative,
    plena.EmbeddingOp: plena_embedding,
    plena.RepeatOp: plena_repeat,
    plena.RouteOp: plena_route,
    plena.ExpertsOp: plena_experts,
    plena.ChosenExpertsOp: plena_chosen_experts,
}  # fmt: skip
"""Strategies of the ops that their definition does not describe completely."""

INSIDE_OTHERS = (plena.YieldOp, plena.HostOp)
"""Ops that only occur in the regions of others, and host values, whose graphs tests/host draws."""

TENSOR_OPS: list[type[Any]] = [
    op for op in (*aten.Aten.operations, *plena.Plena.operations) if op not in INSIDE_OTHERS
]


def strategy_of(op: type[IRDLOperation]) -> Callable[[Draw, Scope], Operation]:
    """How an op is drawn."""
    return STRATEGIES.get(op) or by_definition(op)


@st.composite
def tensor_modules(
    draw: Draw,
    ops: Sequence[type[Any]] = tuple(TENSOR_OPS),
    last: type[Any] | None = None,
    most: int = OPERATIONS,
) -> Text:
    """Functions of drawn ops; `last` is the op that they end with."""
    block = Block()
    scope = Scope(draw, block)
    chosen = draw(st.lists(st.sampled_from(list(ops)), max_size=0 if last else most))
    for op in [*chosen, *([last] if last else [])]:
        made = strategy_of(op)(draw, scope)
        if draw(st.booleans()):
            made.attributes["plena.module"] = StringAttr(draw(st.sampled_from(["", "layers.0.mlp", 'a "b"'])))
        block.add_op(made)
        scope.values.extend(made.results)
    results = [value for value in scope.values if draw(st.integers(0, 2)) == 0]
    block.add_op(func.ReturnOp(*results))
    types = ([value.type for value in block.args], [value.type for value in results])
    return Text(ModuleOp([func.FuncOp("main", types, Region(block))]))


def matrices(value: SSAValue) -> bool:
    """Whether a value is a real matrix."""
    return len(shape_of(value)) == 2 and value.type == real(*shape_of(value))
