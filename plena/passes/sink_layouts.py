"""`sink-layouts`: moves rearrangements behind kernels that do not mind, so that they meet and cancel."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.passes.canonicalize_layouts import ComposeLayouts
from plena.tensor.emission import Emitter
from plena.tensor.layout_maps import Atom, LayoutMap
from plena.tensor.rewriting import rewrite
from plena.tensor.tracing import apply_layout, is_staged, trace


@dataclass(frozen=True)
class Sunk:
    """A matrix [m', n'] seen as a rearrangement of a matrix [m, n] whose rows hold the columns in `parts`
    parts.

    Attributes:
        base: the value, of any rank; its elements as [m, n].
        layout: the view of it with axes (rows, columns).
        shape: (m, n).
        parts: n / n'; part p of a row of the base is a whole row of the view.
    """

    base: SSAValue
    layout: LayoutMap
    shape: tuple[int, int]
    parts: int

    def core(self, emitter: Emitter) -> SSAValue:
        """The base as a matrix."""
        return emitter.reshape(self.base, self.shape)

    def with_columns(self, columns: int) -> LayoutMap:
        """The view when the base has rows of parts * columns elements instead."""
        rows, features = self.layout.axes
        kept = self.layout.factors[: len(self.layout.factors) - len(features)]
        if columns == 1:
            return LayoutMap(kept, (rows, ()))
        return LayoutMap((*kept, columns), (rows, (Atom(columns, len(kept)),)))


def sunk(value: SSAValue) -> Sunk | None:
    """The value as a rearrangement that leaves its rows whole; None if it is none, or moves nothing."""
    traced = trace(value)
    return None if traced.base == value else sunk_view(traced.base, traced.layout)


def sunk_view(base: SSAValue, layout: LayoutMap) -> Sunk | None:
    """A view of `base` as a rearrangement that leaves its rows whole; None if it is none, or moves nothing."""
    shape = shape_of(base)
    if layout.repeats or len(shape) < 2 or len(layout.axes) != 2:
        return None
    columns = layout.shape[1]
    features = [atom.source for atom in layout.axes[1]]
    count = len(layout.factors)
    trailing = features == list(range(count - len(features), count))
    if not trailing or shape[-1] % columns != 0:
        return None
    core = (prod(shape[:-1]), shape[-1])
    parts = shape[-1] // columns
    if parts == 1 and layout.is_reshape:
        return None
    if len(shape) != 2 and parts > 1:
        return None
    return Sunk(base, layout, core, parts)


class SinkBelowElementwise(RewritePattern):
    """f(layout(x)) is layout(f(x)) for kernels of single elements.

    Rows stay whole, or f(x) is a result of the program.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(
        self,
        op: plena.ActivationOp | plena.AddScalarOp | plena.MulScalarOp | plena.ClampOp,
        rewriter: PatternRewriter,
    ) -> None:
        found = sunk(op.input) or _arranged_by_host(op.input, op.result)
        if found is None:
            return
        emitter = Emitter(rewriter, op)
        core = found.core(emitter)
        result = emitter.add(op.create(operands=[core], result_types=[core.type], properties=op.properties))
        emitter.replace(emitter.view(result, found.layout, shape_of(op.result)))


def _arranged_by_host(value: SSAValue, result: SSAValue) -> Sunk | None:
    """The value as any rearrangement of a computed matrix, if what is made of it is only returned."""
    traced = trace(value)
    shape = shape_of(traced.base)
    moves = traced.base != value and not traced.layout.repeats and not traced.layout.is_reshape
    if not moves or isinstance(traced.base, BlockArgument) or len(shape) != 2 or not _is_returned(result):
        return None
    return Sunk(traced.base, traced.layout, (shape[0], shape[1]), 1)


def _is_returned(value: SSAValue) -> bool:
    """Whether a value is only returned, moved or not."""
    readers = [use.operation for use in value.uses]
    return all(
        isinstance(reader, ReturnOp)
        or (isinstance(reader, plena.ReshapeOp | plena.RearrangeOp) and _is_returned(reader.result))
        for reader in readers
    )


class SinkBelowRows(RewritePattern):
    """A norm or softmax of rows is one of parts of the rearranged rows."""

    @op_type_rewrite_pattern
    def match_and_rewrite(
        self, op: plena.RmsNormOp | plena.LayerNormOp | plena.SoftmaxOp, rewriter: PatternRewriter
    ) -> None:
        found = sunk(op.input)
        if found is None:
            return
        emitter = Emitter(rewriter, op)
        core = found.core(emitter)
        properties = {**op.properties, "groups": plena.integer(op.groups.value.data * found.parts)}
        operands = [core, *op.operands[1:]]
        result = emitter.add(op.create(operands=operands, result_types=[core.type], properties=properties))
        emitter.replace(emitter.view(result, found.layout, shape_of(op.result)))


class SinkBelowReduction(RewritePattern):
    """A reduction over the features of rearranged rows is one of parts of the rows."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.ReduceOp, rewriter: PatternRewriter) -> None:
        found = sunk(op.input) if op.axis.data == "features" else None
        if found is None:
            return
        emitter = Emitter(rewriter, op)
        groups = op.groups.value.data
        kind = cast(plena.ReductionKind, op.kind.data)
        reduced = plena.ReduceOp(kind, "features", found.core(emitter), groups * found.parts)
        layout = found.with_columns(groups)
        emitter.replace(emitter.view(emitter.add(reduced), layout, shape_of(op.result)))


class SinkBelowLinear(RewritePattern):
    """A linear layer of rows in another order gives its rows in that order."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.LinearOp, rewriter: PatternRewriter) -> None:
        found = sunk(op.input)
        if found is None or found.parts != 1:
            return
        emitter = Emitter(rewriter, op)
        result = emitter.add(plena.LinearOp(found.core(emitter), op.weight, op.bias))
        layout = found.with_columns(shape_of(result)[1])
        emitter.replace(emitter.view(result, layout, shape_of(op.result)))


class SinkBelowBinary(RewritePattern):
    """layout(x) op y is layout(x op y') where y is arranged like x already, or can be."""

    @op_type_rewrite_pattern
    def match_and_rewrite(
        self,
        op: plena.AddOp | plena.SubOp | plena.MulOp | plena.DivOp | plena.MaximumOp | plena.MinimumOp,
        rewriter: PatternRewriter,
    ) -> None:
        found = sunk(op.lhs)
        if found is None:
            return
        emitter = Emitter(rewriter, op)
        rhs = _arranged_alike(emitter, found, op.rhs)
        if rhs is None:
            return
        core = found.core(emitter)
        if isinstance(op, plena.DivOp):
            result = emitter.add(plena.DivOp(core, rhs, nonzero=op.nonzero is not None))
        else:
            result = emitter.add(type(op)(core, rhs))
        emitter.replace(emitter.view(result, found.layout, shape_of(op.result)))


def _arranged_alike(emitter: Emitter, found: Sunk, rhs: SSAValue) -> SSAValue | None:
    """The right operand for the core of `found`, None if that takes moving computed data."""
    shape = shape_of(rhs)
    staged = is_staged(rhs)
    if len(shape) == 1:
        if found.parts == 1:
            return rhs
        if not staged:
            return None
        tiled = emitter.add(plena.ExpandOp(rhs, (found.parts, *shape)))
        return emitter.reshape(tiled, (found.parts * shape[0],))
    expected = found.layout if shape == found.layout.shape else found.with_columns(shape[1])
    own_shape = (found.shape[0], found.parts * shape[1])
    traced = trace(rhs)
    if traced.layout.repeats:
        return emitter.view(rhs, inverse(expected), own_shape) if staged else None
    if prod(shape_of(traced.base)) == prod(own_shape) and _same(traced.layout, expected):
        return emitter.reshape(traced.base, own_shape)
    return emitter.view(rhs, inverse(expected), own_shape) if staged else None


def _same(a: LayoutMap, b: LayoutMap) -> bool:
    return a.simplified() == b.simplified()


def inverse(layout: LayoutMap) -> LayoutMap:
    """The view that undoes one that repeats nothing."""
    sizes = tuple(atom.size for atom in layout.atoms)
    order = layout.order
    atoms = tuple(Atom(layout.factors[i], order.index(i)) for i in range(len(order)))
    return LayoutMap(sizes, (atoms,))


class SinkBelowGate(RewritePattern):
    """A gate of two operands arranged alike."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.GateOp, rewriter: PatternRewriter) -> None:
        gate, up = sunk(op.gate), sunk(op.up)
        if gate is None or up is None or gate.shape != up.shape or not _same(gate.layout, up.layout):
            return
        emitter = Emitter(rewriter, op)
        kind = cast(plena.ActivationKind, op.kind.data)
        result = emitter.add(plena.GateOp(kind, gate.core(emitter), up.core(emitter)))
        emitter.replace(emitter.view(result, gate.layout, shape_of(op.result)))


class SinkBelowFeatureSlice(RewritePattern):
    """A slice of the features of rearranged rows is one of every part of the rows."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.SliceOp, rewriter: PatternRewriter) -> None:
        found = sunk(op.input)
        groups, offsets = op.groups.get_values(), op.offsets.get_values()
        sizes, strides = op.sizes.get_values(), op.strides.get_values()
        all_rows = groups[0] == 1 and offsets[0] == 0 and sizes[0] == shape_of(op.input)[0]
        if found is None or not all_rows:
            return
        emitter = Emitter(rewriter, op)
        part = plena.SliceOp(
            found.core(emitter),
            (0, offsets[1]),
            (found.shape[0], sizes[1]),
            (1, strides[1]),
            (1, groups[1] * found.parts),
        )
        layout = found.with_columns(groups[1] * sizes[1])
        emitter.replace(emitter.view(emitter.add(part), layout, shape_of(op.result)))


class SinkBelowFeatureConcat(RewritePattern):
    """Features joined of rows all rearranged alike."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.ConcatOp, rewriter: PatternRewriter) -> None:
        if op.axis.data != "features":
            return
        found = [sunk(value) for value in op.inputs]
        sunks = [x for x in found if x is not None]
        if len(sunks) != len(found):
            return
        first = sunks[0]
        alike = all(x.parts == first.parts and _same(x.with_columns(2), first.with_columns(2)) for x in sunks)
        if not alike:
            return
        emitter = Emitter(rewriter, op)
        groups = op.groups.value.data * first.parts
        joined = emitter.add(plena.ConcatOp("features", [x.core(emitter) for x in sunks], groups))
        layout = first.with_columns(shape_of(op.result)[1])
        emitter.replace(emitter.view(joined, layout, shape_of(op.result)))


class HoistAboveElementwise(RewritePattern):
    """layout(f(x)) is f(layout(x)) where that moves nothing: the host arranges an input, or two layouts cancel."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.RearrangeOp, rewriter: PatternRewriter) -> None:
        kernel = op.input.owner
        if not isinstance(kernel, plena.ActivationOp | plena.AddScalarOp | plena.MulScalarOp | plena.ClampOp):
            return
        traced = trace(kernel.input)
        if not op.input.has_one_use():
            return
        composed = apply_layout(traced.layout, op)
        if composed is None or len(composed.axes) != 2 or composed.repeats:
            return
        if not isinstance(traced.base, BlockArgument) and (
            traced.base == kernel.input or not composed.is_reshape
        ):
            return
        if sunk_view(traced.base, composed) is not None:
            return
        emitter = Emitter(rewriter, op)
        moved = emitter.view(traced.base, composed, shape_of(op.result))
        properties = kernel.properties
        emitter.replace(
            emitter.add(kernel.create(operands=[moved], result_types=[moved.type], properties=properties))
        )


PATTERNS: list[RewritePattern] = [
    ComposeLayouts(),
    SinkBelowElementwise(),
    SinkBelowRows(),
    SinkBelowReduction(),
    SinkBelowLinear(),
    SinkBelowBinary(),
    SinkBelowGate(),
    SinkBelowFeatureSlice(),
    SinkBelowFeatureConcat(),
    HoistAboveElementwise(),
]


@dataclass(frozen=True)
class SinkLayouts(ModulePass):
    """Moves reshapes and rearrangements of matrices behind the kernels that compute rows or parts of rows.

    What is left of them composes; where a model moves heads forth and back nothing remains.

    Before::

        builtin.module {
          func.func @main(%x: tensor<8x64xf32>, %g: tensor<16xf32>) -> tensor<32x16xf32> {
            %0 = plena.rearrange %x {factors = array<i64: 2, 4, 4, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<8x64xf32>) -> tensor<32x16xf32>
            %1 = plena.rms_norm %0, gain = %g {eps = 1.000000e-05 : f64} : (tensor<32x16xf32>, tensor<16xf32>) -> tensor<32x16xf32>
            func.return %1 : tensor<32x16xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<8x64xf32>, %g: tensor<16xf32>) -> tensor<32x16xf32> {
            %0 = plena.rms_norm %x, gain = %g {eps = 1.000000e-05 : f64, groups = 4 : i64} : (tensor<8x64xf32>, tensor<16xf32>) -> tensor<8x64xf32>
            %1 = plena.rearrange %0 {factors = array<i64: 2, 4, 4, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<8x64xf32>) -> tensor<32x16xf32>
            func.return %1 : tensor<32x16xf32>
          }
        }
    """

    name = "sink-layouts"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite(op, PATTERNS)
