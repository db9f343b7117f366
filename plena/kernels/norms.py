"""Norms and softmax along rows, of whole rows or of every head's part of them."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import LayerNormOp, RmsNormOp, SoftmaxOp
from plena.dialects.refusals import refusal
from plena.dialects.tile import (
    NormalizeLaneGroupsOp,
    NormalizeRowsOp,
    PanelRows,
    SoftmaxLaneGroupsOp,
    SoftmaxRowsOp,
)
from plena.host.view import Expand, Reshape
from plena.kernels.attention.rows import SOFTMAX_FLOOR, TAKING_TURNS, row_sum_scratch
from plena.kernels.context import KernelContext, kernel_for, lane_masks
from plena.kernels.finite_operands import require_finite
from plena.kernels.fp_sram import lane_hiding, number
from plena.kernels.head_norms import HeadNorms
from plena.kernels.lanes import Lanes, emit_elementwise, rows_of
from plena.kernels.operands import destination
from plena.kernels.parts import Parts, chunk_of_many, first_lanes, parts_of
from plena.kernels.tensors import HostTensor, Panel
from plena.kernels.vectors import load_vectors
from plena.timing.registry import profile_named

MOST_SUMMED = 8
"""Column blocks whose sums may be added as numbers: the sum is rounded after each, which with 16 blocks takes the error
of a LayerNorm of rows whose mean is not 0 from below to above 0.6 %."""


@kernel_for(RmsNormOp)
def lower_rms_norm(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, RmsNormOp)
    _normalize(op, "rms", op.groups.value.data, op.eps.value.data, op.gain, None, ctx)


@kernel_for(LayerNormOp)
def lower_layer_norm(op: Operation, ctx: KernelContext) -> None:
    """The variance is the mean square of the deviations from the rounded mean, in a second pass.

    Relative RMS error on 64 x 384 by the rows' mean in standard deviations (tests/kernels/test_norms.py measures it):

    | mean | 0 | 1 | 4 | 16 | vector instructions a row |
    | --- | --- | --- | --- | --- | --- |
    | E[x^2] - E[x]^2 | 0.36 % | 0.59 % | 4.3 % | NaN | 34 |
    | two passes | 0.34 % | 0.48 % | 1.2 % | 3.6 % | 34 |
    | two passes, shifted by the mean of the deviations | 0.34 % | 0.38 % | 0.38 % | 0.36 % | 46 |

    The first saves nothing, since the deviations are needed anyway. The last costs a quarter more and only matters
    where means exceed deviations, which the rows that models normalise do not come near.
    """
    assert isinstance(op, LayerNormOp)
    _normalize(op, "layer", op.groups.value.data, op.eps.value.data, op.gain, op.bias, ctx)


def _normalize(
    op: Operation,
    kind: str,
    groups: int,
    eps: float,
    gain: SSAValue | None,
    bias: SSAValue | None,
    ctx: KernelContext,
) -> None:
    given = ctx.panel(op.operands[0])
    source, parts = parts_of(ctx, op, given, groups)
    size = parts.size
    result = source if source.buffer != given.buffer else destination(ctx, op, f"{kind}_norm", op.operands[0])
    vlen, builder = ctx.target.vlen, ctx.builder
    vectors = [(kind, value) for kind, value in (("mul", gain), ("add", bias)) if value is not None]
    rows = _vector_rows(op, [value for _, value in vectors], parts, ctx) if vectors else []
    norms = HeadNorms(source, parts, ctx)
    if kind == "rms" and not parts.is_alone and norms.is_possible(op.operands[0], eps) and norms.pays():
        require_finite(ctx, op, "the norm of parts of rows")
        norms.normalize(result, eps, rows[0] if rows else None)
        ctx.set(op.results[0], result)
        return
    eps_number, inverse = number(ctx, size * eps), number(ctx, 1.0 / size)
    if parts.is_alone:
        mask = first_lanes(ctx, parts.rest) if parts.rest else None
        chunk = chunk_of_many(parts.blocks)
        turns = (
            kind == "rms" and mask is None and not chunk and parts.blocks > 1 and source.rows >= TAKING_TURNS
        )
        waits = ctx.schedule.objective == "cycles" and profile_named(ctx.schedule.timing).work is not None
        together = TAKING_TURNS if turns and waits else 1
        scratch = builder.buffer("row", "vector", (3 if chunk else 2 * together) * vlen)
        with builder.loop(groups) as g:
            builder.insert(
                NormalizeRowsOp(
                    kind=kind,
                    eps=eps_number,
                    inverse=inverse,
                    out=builder.view(result.buffer, g * (parts.blocks * result.block)),
                    scratch=scratch,
                    x=builder.view(source.buffer, g * (parts.blocks * source.block)),
                    mask=mask,
                    rows=source.rows,
                    blocks=parts.blocks,
                    x_block=source.block,
                    out_block=result.block,
                    chunk=chunk,
                    together=together,
                    summing=int(
                        ctx.schedule.objective == "size" and mask is None and 1 < parts.blocks <= MOST_SUMMED
                    ),
                )
            )
    else:
        require_finite(ctx, op, "the norm of parts of rows")
        builder.insert(
            NormalizeLaneGroupsOp(
                kind=kind,
                eps=eps_number,
                inverse=inverse,
                out=result.buffer,
                scratch=builder.buffer("row", "vector", 3 * vlen),
                x=source.buffer,
                masks=lane_masks(ctx, parts.per_block, parts.size),
                rows=source.rows,
                blocks=source.blocks(vlen),
                x_block=source.block,
                out_block=result.block,
                groups=parts.per_block,
            )
        )
    if vectors:
        _apply_vectors([kind for kind, _ in vectors], rows, parts, result, ctx)
    ctx.set(op.results[0], result)


def _vector_rows(op: Operation, vectors: list[SSAValue], parts: Parts, ctx: KernelContext) -> list[PanelRows]:
    """The gain and the bias of a norm in vector SRAM, each a row for all rows of a panel."""
    vlen = ctx.target.vlen
    known = [tensor for tensor in map(ctx.host, vectors) if tensor is not None]
    if len(known) < len(vectors):
        raise refusal(
            op,
            "the gain or bias is computed",
            "Make it a parameter, a buffer or an input, or multiply and add after the norm.",
        )
    buffer = load_vectors(ctx, "gain", [_repeated(tensor, parts) for tensor in known])
    per_vector = parts.blocks * vlen
    return [
        PanelRows(ctx.builder.view(buffer, n * per_vector), 0, vlen if parts.is_alone else 0)
        for n in range(len(vectors))
    ]


def _apply_vectors(
    kinds: list[str], rows: list[PanelRows], parts: Parts, panel: Panel, ctx: KernelContext
) -> None:
    """The gain and then the bias of a norm, the same for every part of a row."""
    vlen, builder = ctx.target.vlen, ctx.builder

    def scaled(lanes: Lanes) -> SSAValue:
        x, *others = lanes.inputs
        for kind, vector in zip(kinds, others, strict=True):
            x = lanes.apply(kind, x, vector)
        return x

    if not parts.is_alone:
        whole = rows_of(ctx, panel)
        emit_elementwise(ctx, [whole], [whole, *rows], (panel.rows, panel.blocks(vlen)), scaled)
        return
    # Row by row its loops become those of the norm.
    with builder.loop(parts.groups) as g, builder.loop(panel.rows) as r:
        first = g * (parts.blocks * panel.block) + r * vlen
        part = PanelRows(builder.view(panel.buffer, first), vlen, panel.block)
        emit_elementwise(ctx, [part], [part, *rows], (1, parts.blocks), scaled)


def _repeated(vector: HostTensor, parts: Parts) -> HostTensor:
    """A vector as it is, or repeated for every part of a column block."""
    count, size = parts.per_block, parts.size
    return vector.through(Reshape((1, size)), Expand((count, size)), Reshape((count * size,)))


@kernel_for(SoftmaxOp)
def lower_softmax(op: Operation, ctx: KernelContext) -> None:
    """In place; lanes that belong to no part are hidden by a large negative number first."""
    assert isinstance(op, SoftmaxOp)
    given = ctx.panel(op.input)
    groups, vlen, builder = op.groups.value.data, ctx.target.vlen, ctx.builder
    source, parts = parts_of(ctx, op, given, groups)
    panel = source if source.buffer != given.buffer else destination(ctx, op, "softmax", op.input)
    floor = builder.constant(SOFTMAX_FLOOR)
    if panel.buffer != source.buffer:
        size = (source.rows, source.blocks(vlen))
        builder.map("copy", rows_of(ctx, panel), rows_of(ctx, source), size=size)
    if not parts.is_alone:
        require_finite(ctx, op, "the softmax of parts of rows")
        builder.insert(
            SoftmaxLaneGroupsOp(
                x=panel.buffer,
                scratch=builder.buffer("row", "vector", 2 * vlen),
                hide=lane_hiding(ctx, parts.per_block, parts.size),
                masks=lane_masks(ctx, parts.per_block, parts.size),
                floor=floor,
                rows=panel.rows,
                blocks=panel.blocks(vlen),
                block=panel.block,
                groups=parts.per_block,
            )
        )
        ctx.set(op.result, panel)
        return
    hidden = lane_hiding(ctx, 1, parts.rest) if parts.rest else None
    scratch, chunk = row_sum_scratch(builder, parts.blocks, vlen) if parts.blocks > 1 else (None, 0)
    with builder.loop(groups) as g:
        part = g * (parts.blocks * panel.block)
        if hidden is not None:
            last = builder.view(panel.buffer, part + Linear((parts.blocks - 1) * panel.block))
            rows = PanelRows(last, vlen, panel.block)
            builder.map("add", rows, rows, PanelRows(hidden, 0, 0), size=(panel.rows, 1))
        builder.insert(
            SoftmaxRowsOp(
                x=builder.view(panel.buffer, part),
                floor=floor,
                scratch=scratch,
                rows=panel.rows,
                blocks=parts.blocks,
                block=panel.block,
                chunk=chunk,
            )
        )
    ctx.set(op.result, panel)
