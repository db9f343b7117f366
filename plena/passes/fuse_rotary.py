"""`fuse-rotary`: rotary position embeddings, in halves or interleaved, of all or some features of a head."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)

from plena.dialects import aten, plena
from plena.dialects.tensor_shapes import shape_of
from plena.passes.fuse_attention import repeated_view
from plena.tensor.emission import Emitter
from plena.tensor.layout_maps import LayoutMap
from plena.tensor.rewriting import rewrite
from plena.tensor.tracing import Trace, trace


@dataclass(frozen=True)
class Rotated:
    """x * cos + rotate(x) * sin along the last axis; cos and sin broadcast to x."""

    input: SSAValue
    cos: SSAValue
    sin: SSAValue
    style: plena.RotaryStyle


def _slice_of(value: SSAValue) -> tuple[SSAValue, tuple[int, int, int, int]] | None:
    """(x, bounds) if the value is a slice of x; also one of x viewed as pairs or halves, as unbind makes
    it."""
    op = value.owner
    if isinstance(op, aten.SliceOp):
        return op.input, op.bounds
    if not isinstance(op, aten.ViewOp) or not isinstance(op.input.owner, aten.SliceOp):
        return None
    piece = op.input.owner
    view = piece.input.owner
    if not isinstance(view, aten.ViewOp):
        return None
    x, (axis, index, end, _) = view.input, piece.bounds
    shape, cut = shape_of(x), shape_of(view.result)
    last = len(shape) - 1
    half = (*shape[:-1], shape[-1] // 2)
    if cut[:last] != shape[:-1] or end != index + 1 or shape_of(value) != half:
        return None
    if cut[last:] == (half[-1], 2) and axis == last + 1:
        return x, (last, index, shape[-1], 2)
    if cut[last:] == (2, half[-1]) and axis == last:
        return x, (last, index * half[-1], end * half[-1], 1)
    return None


def _negated(value: SSAValue) -> SSAValue | None:
    return value.owner.input if isinstance(value.owner, aten.NegOp) else None


def match_rotation(value: SSAValue) -> tuple[SSAValue, plena.RotaryStyle] | None:
    """x if the value is rotate(x): (-second half, first half), or (-odd, even) interleaved."""
    traced_back = value.owner
    if isinstance(traced_back, aten.ViewOp):
        return _match_interleaved(traced_back)
    if not isinstance(traced_back, aten.CatOp) or len(traced_back.tensors) != 2:
        return None
    last = len(shape_of(value)) - 1
    negative = _negated(traced_back.tensors[0])
    if traced_back.dim.value.data != last or negative is None:
        return None
    second, first = _slice_of(negative), _slice_of(traced_back.tensors[1])
    if second is None or first is None or first[0] != second[0]:
        return None
    width = shape_of(first[0])[last]
    halves = first[1] == (last, 0, width // 2, 1) and second[1] == (last, width // 2, width, 1)
    return (first[0], "half") if halves and width % 2 == 0 else None


def _match_interleaved(view: aten.ViewOp) -> tuple[SSAValue, plena.RotaryStyle] | None:
    """stack([-x[..., 1::2], x[..., 0::2]], -1) flattened."""
    cat = view.input.owner
    if not isinstance(cat, aten.CatOp) or len(cat.tensors) != 2:
        return None
    shape = shape_of(cat.result)
    if cat.dim.value.data != len(shape) - 1 or shape[-1] != 2:
        return None
    odd, even = (_unstacked(tensor) for tensor in cat.tensors)
    negative = _negated(odd)
    second, first = None if negative is None else _slice_of(negative), _slice_of(even)
    if second is None or first is None or first[0] != second[0]:
        return None
    x = first[0]
    last, width = len(shape_of(x)) - 1, shape_of(x)[-1]
    strided = first[1] == (last, 0, width, 2) and second[1] == (last, 1, width, 2)
    return (x, "interleaved") if strided and shape_of(view.result) == shape_of(x) else None


def _unstacked(value: SSAValue) -> SSAValue:
    """x of x viewed with a last axis of 1, as stack makes it."""
    op = value.owner
    is_column = isinstance(op, aten.ViewOp) and shape_of(value) == (*shape_of(op.input), 1)
    return op.input if is_column and isinstance(op, aten.ViewOp) else value


def match_rotary(op: aten.AddOp) -> Rotated | None:
    """x * cos + rotate(x) * sin, in any order of sums and products."""
    for plain, turned in ((op.input, op.other), (op.other, op.input)):
        if not isinstance(plain.owner, aten.MulOp) or not isinstance(turned.owner, aten.MulOp):
            continue
        sides = turned.owner
        for rotated, sin in ((sides.input, sides.other), (sides.other, sides.input)):
            found = match_rotation(rotated)
            if found is None:
                continue
            x, style = found
            first = plain.owner
            if x == first.input:
                return Rotated(x, first.other, sin, style)
            if x == first.other:
                return Rotated(x, first.input, sin, style)
    return None


def match_halves(op: aten.CatOp) -> Rotated | None:
    """cat([a * cos - b * sin, b * cos + a * sin]) with a, b the halves of x and tables of half the width."""
    if len(op.tensors) != 2 or op.dim.value.data != len(shape_of(op.result)) - 1:
        return None
    difference, total = (tensor.owner for tensor in op.tensors)
    if not isinstance(difference, aten.SubOp) or not isinstance(total, aten.AddOp):
        return None
    return _match_pair(difference, total, "half")


def _match_pair(difference: aten.SubOp, total: aten.AddOp, style: plena.RotaryStyle) -> Rotated | None:
    products = [difference.input, difference.other, total.input, total.other]
    factors = [v.owner for v in products if isinstance(v.owner, aten.MulOp)]
    if len(factors) != 4:
        return None
    ac, bs, *rest = factors
    for a, cos in ((ac.input, ac.other), (ac.other, ac.input)):
        for b, sin in ((bs.input, bs.other), (bs.other, bs.input)):
            crossed = [{f.input, f.other} for f in rest]
            if sorted(map(_identity, crossed)) != sorted(map(_identity, [{b, cos}, {a, sin}])):
                continue
            x = _whole(a, b, style)
            if x is not None:
                return Rotated(x, cos, sin, style)
    return None


def _identity(values: set[SSAValue]) -> tuple[int, ...]:
    return tuple(sorted(id(value) for value in values))


def _whole(a: SSAValue, b: SSAValue, style: plena.RotaryStyle) -> SSAValue | None:
    """x of which a and b are the halves, or the even and odd elements."""
    first, second = _slice_of(a), _slice_of(b)
    if first is None or second is None or first[0] != second[0]:
        return None
    x = first[0]
    last, width = len(shape_of(x)) - 1, shape_of(x)[-1]
    if style == "half":
        expected = ((last, 0, width // 2, 1), (last, width // 2, width, 1))
    else:
        expected = ((last, 0, width, 2), (last, 1, width, 2))
    if (first[1], second[1]) == expected:
        return x
    return None


class FuseRotary(RewritePattern):
    """The sum that ends a rotation of whole tables."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.AddOp, rewriter: PatternRewriter) -> None:
        found = match_rotary(op)
        if found is not None:
            _replace(rewriter, op, found, doubled=False)


class FuseRotaryOfHalves(RewritePattern):
    """The concatenation that ends a rotation written on the two halves."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.CatOp, rewriter: PatternRewriter) -> None:
        found = match_halves(op)
        if found is not None:
            _replace(rewriter, op, found, doubled=True)


class FuseRotaryOfPairs(RewritePattern):
    """stack([a * cos - b * sin, b * cos + a * sin], -1) flattened, a and b the even and odd elements."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.ViewOp, rewriter: PatternRewriter) -> None:
        cat = op.input.owner
        if not isinstance(cat, aten.CatOp) or len(cat.tensors) != 2:
            return
        if cat.dim.value.data != len(shape_of(cat.result)) - 1 or shape_of(cat.result)[-1] != 2:
            return
        difference, total = (_unstacked(tensor).owner for tensor in cat.tensors)
        if not isinstance(difference, aten.SubOp) or not isinstance(total, aten.AddOp):
            return
        found = _match_pair(difference, total, "interleaved")
        if found is not None and shape_of(found.input) == shape_of(op.result):
            _replace(rewriter, op, found, doubled=True)


@dataclass(frozen=True)
class _Table:
    """A cos or sin table as a view with axes [positions, width]."""

    base: SSAValue
    layout: LayoutMap
    positions: int


def _table(value: SSAValue, shape: tuple[int, ...], rows_axes: list[int]) -> _Table | None:
    """The table that broadcasts over everything but positions (and maybe samples) of x.

    `shape` is x's with the table's width; `rows_axes` are the axes of x that make its rows, most significant
    first.
    """
    traced = trace(value)
    axes = traced.layout.expanded(shape).axes
    others = [i for i in range(len(shape) - 1) if i not in rows_axes]
    if any(atom.source >= 0 for i in others for atom in axes[i]):
        return None
    rows = [atom for i in rows_axes for atom in axes[i]]
    while rows and rows[0].source < 0:
        rows.pop(0)
    if any(atom.source < 0 for atom in (*rows, *axes[-1])):
        return None
    positions = prod(atom.size for atom in rows)
    return _Table(traced.base, LayoutMap(traced.layout.factors, (tuple(rows), axes[-1])), positions)


def _replace(
    rewriter: PatternRewriter, op: aten.AddOp | aten.CatOp | aten.ViewOp, found: Rotated, doubled: bool
) -> None:
    shape = shape_of(found.input)
    if len(shape) < 2:
        return
    traced = trace(found.input)
    heads_axis = _heads_axis(traced, shape)
    rows_axes = [i for i in range(len(shape) - 1) if i != heads_axis]
    width = shape[-1] // 2 if doubled else shape[-1]
    table_shape = (*shape[:-1], width)
    tables = [_table(t, table_shape, rows_axes) for t in (found.cos, found.sin)]
    cos, sin = tables
    if cos is None or sin is None or cos.positions != sin.positions:
        return
    emitter = Emitter(rewriter, op)
    heads = 1 if heads_axis is None else shape[heads_axis]
    order = [*rows_axes, *([] if heads_axis is None else [heads_axis]), len(shape) - 1]
    rows = prod(shape[i] for i in rows_axes)
    if traced.layout.repeats:
        traced = Trace(found.input, LayoutMap.of(shape))
    matrix = emitter.view(traced.base, traced.layout.permuted(order), (rows, heads * shape[-1]))
    staged = [_staged_table(emitter, t, width, doubled, found.style) for t in (cos, sin)]
    rotated = emitter.add(plena.RotaryOp(matrix, staged[0], staged[1], heads, found.style))
    moved = tuple(shape[i] for i in order)
    back = [order.index(i) for i in range(len(shape))]
    emitter.replace(emitter.view(rotated, LayoutMap.of(moved).permuted(back), shape))


def _heads_axis(traced: Trace, shape: tuple[int, ...]) -> int | None:
    """The axis of [batch, heads, rows, features] or [batch, rows, heads, features] that is heads.

    It is the one that lies next to the features in the base; without a base to tell, the one before the rows.
    """
    if len(shape) < 4:
        return len(shape) - 3 if len(shape) == 3 and _inner_axis(traced, shape) == len(shape) - 3 else None
    inner = _inner_axis(traced, shape)
    return inner if inner is not None else len(shape) - 3


def _inner_axis(traced: Trace, shape: tuple[int, ...]) -> int | None:
    features = traced.layout.axes[-1]
    if not features or features[0].source <= 0:
        return None
    neighbour = features[0].source - 1
    columns = shape_of(traced.base)[-1]
    if columns == prod(atom.size for atom in features):
        return None
    for axis in range(len(shape) - 1):
        if any(atom.source == neighbour for atom in traced.layout.axes[axis]):
            return axis
    return None


def _staged_table(
    emitter: Emitter, table: _Table, width: int, doubled: bool, style: plena.RotaryStyle
) -> SSAValue:
    """The table [positions, R]; one of half the width is doubled as the style wants it."""
    matrix = repeated_view(emitter, table.base, table.layout, (table.positions, width))
    if not doubled:
        return matrix
    if style == "half":
        return emitter.add(plena.ConcatOp("features", [matrix, matrix]))
    column = emitter.reshape(matrix, (table.positions, width, 1))
    pairs = emitter.add(plena.ExpandOp(column, (table.positions, width, 2)))
    return emitter.reshape(pairs, (table.positions, 2 * width))


@dataclass(frozen=True)
class FuseRotaryEmbedding(ModulePass):
    """Replaces x * cos + rotate(x) * sin by `plena.rotary`.

    Before::

        builtin.module {
          func.func @main(%x: tensor<1x2x4x8xf32>) -> tensor<1x2x4x8xf32> {
            %0 = aten.constant @cos : tensor<1x1x4x8xf32>
            %1 = aten.constant @sin : tensor<1x1x4x8xf32>
            %2 = aten.mul %x, %0 : (tensor<1x2x4x8xf32>, tensor<1x1x4x8xf32>) -> tensor<1x2x4x8xf32>
            %3 = aten.slice %x {dim = 3 : i64, start = 0 : i64, end = 4 : i64, step = 1 : i64} : (tensor<1x2x4x8xf32>) -> tensor<1x2x4x4xf32>
            %4 = aten.slice %x {dim = 3 : i64, start = 4 : i64, end = 8 : i64, step = 1 : i64} : (tensor<1x2x4x8xf32>) -> tensor<1x2x4x4xf32>
            %5 = aten.neg %4 : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
            %6 = aten.cat %5, %3 {dim = 3 : i64} : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x8xf32>
            %7 = aten.mul %6, %1 : (tensor<1x2x4x8xf32>, tensor<1x1x4x8xf32>) -> tensor<1x2x4x8xf32>
            %8 = aten.add %2, %7 : (tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>) -> tensor<1x2x4x8xf32>
            func.return %8 : tensor<1x2x4x8xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<1x2x4x8xf32>) -> tensor<1x2x4x8xf32> {
            %0 = aten.constant @cos : tensor<1x1x4x8xf32>
            %1 = aten.constant @sin : tensor<1x1x4x8xf32>
            %2 = plena.rearrange %x {factors = array<i64: 2, 4, 8>, order = array<i64: 1, 0, 2>} : (tensor<1x2x4x8xf32>) -> tensor<4x16xf32>
            %3 = plena.reshape %0 : (tensor<1x1x4x8xf32>) -> tensor<4x8xf32>
            %4 = plena.reshape %1 : (tensor<1x1x4x8xf32>) -> tensor<4x8xf32>
            %5 = plena.rotary "half" %2, %3, %4 {heads = 2 : i64} : (tensor<4x16xf32>, tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x16xf32>
            %6 = plena.rearrange %5 {factors = array<i64: 4, 2, 8>, order = array<i64: 1, 0, 2>} : (tensor<4x16xf32>) -> tensor<1x2x4x8xf32>
            func.return %6 : tensor<1x2x4x8xf32>
          }
        }
    """

    name = "fuse-rotary"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns: list[RewritePattern] = [FuseRotary(), FuseRotaryOfHalves(), FuseRotaryOfPairs()]
        rewrite(op, patterns)
