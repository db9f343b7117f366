"""States in HBM: where a buffer of the model lies from run to run, and how rows and wholes are written into it.

A state is a matrix in rows, all column blocks of a row one behind the other. Where rows are written at run-time
positions, a row has whole writebacks: H_STORE_V moves several rows at a time, and so its neighbours survive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from xdsl.ir import Operation, SSAValue, Use

from plena.dialects.plena import (
    AttentionOp,
    PickSampleOp,
    RearrangeOp,
    ReshapeOp,
    StateAttr,
    StateOp,
    WriteRowsOp,
    WriteStateOp,
)
from plena.dialects.plena_isa.transfer import ACTIVATIONS
from plena.dialects.refusals import origin_of, refusal
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import PanelRows, ScatterRowsOp, StoreRowsOp, ZeroOp
from plena.host.layout import Source, TensorPlacement, hbm_alignment
from plena.host.view import Pad, Reshape, Step
from plena.host.view_attributes import view_of
from plena.integers import ceil_div, round_up
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.head_layout import HeadLayout, wanted_layout
from plena.kernels.lane_moves import relaid
from plena.kernels.packing import define_rows
from plena.kernels.tensors import Panel, StateRows
from plena.machine.number_formats import Mx
from plena.machine.transferable import can_store


@kernel_for(StateOp)
def lower_state(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, StateOp)
    place_states(ctx, op.result, [op.value])


def place_states(ctx: KernelContext, value: SSAValue, states: Sequence[StateAttr]) -> None:
    """Gives `value` its place in HBM: that of one state, or in a repetition those of all iterations at a pitch."""
    rows, columns = shape_of(value)
    target, vlen = ctx.target, ctx.target.vlen
    written = any(isinstance(op, WriteRowsOp) for op in _readers(value))
    layout = (wanted_layout(value, target) if written else None) or HeadLayout(1, columns)
    lanes = layout.groups * layout.pitch
    blocks, amount = ceil_div(lanes, vlen), max(1, target.hbm_v_writeback_amount)
    key, bit = _stored_type(ctx, value, written)
    per_row = round_up(blocks, amount) if written else blocks
    reach = _reach(ctx, value, written)
    padded = (max(ctx.physical_rows(rows), reach), per_row * vlen)
    exact = not written and isinstance(target.precision[key], Mx)
    placements = [
        TensorPlacement(
            f"state_{state.symbol}",
            "hbm",
            0,
            (rows, lanes),
            "rows",
            key,
            Source("state", symbol=state.symbol),
            padded,
            (*view_of(state.operand), *_gaps(layout, rows, columns)),
        )
        for state in states
    ]
    size = placements[0].element_bytes(target)
    pitch = round_up(size * (1 + exact), hbm_alignment(target))
    placed: list[TensorPlacement] = []
    for number, placement in enumerate(placements):
        placed.append(replace(placement, address=number * pitch))
        if exact:
            rest = replace(
                placement, name=f"{placement.name}_rest", address=number * pitch + size, residual=True
            )
            placed.append(rest)
    buffer = ctx.placed_buffer("state", "hbm", len(states) * pitch, placed)
    if ctx.iteration is not None and len(states) > 1:
        buffer = ctx.builder.view(buffer, ctx.iteration * pitch)
    row = per_row * vlen * ctx.element_bytes(key)
    ctx.set_state(
        value,
        StateRows(
            buffer, rows, layout.groups, columns // layout.groups, layout.pitch, row, bit, size * exact
        ),
    )


def _readers(value: SSAValue) -> Iterator[Operation]:
    """What reads or writes a state, all its versions and samples."""
    for use in value.uses:
        yield use.operation
        if isinstance(use.operation, WriteRowsOp | PickSampleOp) and use.index == 0:
            yield from _readers(use.operation.result)


def _stored_type(ctx: KernelContext, value: SSAValue, written: bool) -> tuple[str, int]:
    """The type of a state and its precision bit: that of keys and values if rows are written and attention reads them.

    Raises:
        CompileError: the machine cannot store it, or attention cannot read what it stores.
    """
    precision = ctx.target.precision
    attention = next((op for op in _readers(value) if isinstance(op, AttentionOp)), None)
    op = attention or next(_readers(value))
    bits = (1, 0) if written else (0,)
    for bit in bits:
        key = ACTIVATIONS[bit]
        read_as = precision["HBM_M_KV_TYPE"] if written and attention is not None else precision[key]
        if can_store(precision[key]) and precision[key] == read_as and ctx.target.hbm_v_writeback_amount:
            return key, bit
    raise refusal(
        op,
        "a state must be stored in a type that H_STORE_V writes and its reader has: HBM_V_KV_TYPE equal to "
        "HBM_M_KV_TYPE for keys and values",
        "Make the formats equal in the settings of the target, of an Mx type or Plain bf16.",
    )


def _reach(ctx: KernelContext, value: SSAValue, written: bool) -> int:
    """Rows that are read from the last sample's first one on: whole tiles by attention and what a prefetch moves
    besides, whole loads of a sample. Where rows are written, as if attention read them: in another program on the same
    states it may."""
    target, rows = ctx.target, shape_of(value)[0]
    surplus = (target.m_prefetch_tiles - 1) * target.mlen
    found = round_up(rows, target.mlen) + surplus if written else 0
    for op in _readers(value):
        if isinstance(op, AttentionOp):
            length = op.key_rows
            found = max(found, rows - length + round_up(length, target.mlen) + surplus)
        elif isinstance(op, PickSampleOp):
            length = shape_of(op.result)[0]
            found = max(found, rows - length + ctx.physical_rows(length))
    return found


def _gaps(layout: HeadLayout, rows: int, columns: int) -> tuple[Step, ...]:
    size = columns // layout.groups
    if size == layout.pitch:
        return ()
    lanes = layout.groups * layout.pitch
    return Reshape((rows, layout.groups, size)), Pad(2, 0, layout.pitch - size), Reshape((rows, lanes))


@kernel_for(WriteRowsOp)
def lower_write_rows(op: Operation, ctx: KernelContext) -> None:
    """The new rows are laid out as they lie in HBM and stored at addresses that the host gives as byte offsets."""
    assert isinstance(op, WriteRowsOp)
    _keep_old_value(op, ctx)
    _require_finite(op, op.rows, ctx)
    state, vlen = ctx.state(op.state), ctx.target.vlen
    positions = ctx.host(op.positions)
    if positions is None:
        raise refusal(
            op,
            "the positions are computed from real numbers",
            "Write at positions that are an integer input, a constant, or computed from integers.",
        )
    batch, count = op.batch.value.data, shape_of(op.positions)[0]
    panel = _rows_panel(op, ctx, state)
    per_row, blocks = state.row // (vlen * ctx.element_bytes(ACTIVATIONS[state.kv])), panel.blocks(vlen)
    new = ctx.builder.buffer("new_rows", "vector", batch * count * per_row * vlen)
    with ctx.builder.step("lay out rows"):
        if per_row > blocks:
            ctx.builder.insert(ZeroOp(dst=new, rows=batch * count * per_row))
        out, rows = PanelRows(new, per_row * vlen, vlen), PanelRows(panel.buffer, vlen, panel.block)
        ctx.builder.map("copy", out, rows, size=(batch * count, blocks))
    offsets = ctx.row_offsets(positions, state.row, op.length)
    with ctx.builder.step("write rows"), ctx.builder.loop(batch) as sample:
        ctx.builder.insert(
            ScatterRowsOp(
                dst=ctx.builder.view(state.buffer, sample * (op.length * state.row)),
                src=ctx.builder.view(new, sample * (count * per_row * vlen)),
                offsets=offsets,
                rows=count,
                blocks=per_row,
                kv=state.kv,
            )
        )
    ctx.set_state(op.result, state)


def _rows_panel(op: WriteRowsOp, ctx: KernelContext, state: StateRows) -> Panel:
    """The rows to write, heads where they lie in the state."""
    tensor = ctx.host(op.rows)
    if tensor is not None:
        return ctx.load("rows", tensor, groups=state.groups, pitch=state.group_pitch)
    panel = ctx.panel(op.rows)
    if panel.is_packed and state.is_packed:
        return panel
    return relaid(ctx, op, panel, state.groups, state.group_pitch)


@kernel_for(PickSampleOp)
def lower_pick_sample(op: Operation, ctx: KernelContext) -> None:
    """The state from the sample's first row on, whose byte offset the host gives."""
    assert isinstance(op, PickSampleOp)
    if isinstance(ctx.locations.get(op.result), Panel):
        return  # What it was before the state was written, which has happened meanwhile.
    state, rows = ctx.state(op.state), shape_of(op.result)[0]
    number = ctx.host(op.number)
    if number is None:
        raise refusal(
            op,
            "the number of the sample is computed from real numbers",
            "Pick a sample by a number that is an integer input, or computed from integers.",
        )
    with ctx.builder.step("find sample"):
        offsets = ctx.row_offsets(number, rows * state.row, op.batch.value.data, "sample")
        buffer = ctx.builder.view(state.buffer, ctx.builder.load_id(offsets))
    ctx.set_state(op.result, replace(state, buffer=buffer, rows=rows))


@kernel_for(WriteStateOp)
def lower_write_state(op: Operation, ctx: KernelContext) -> None:
    """A whole state, to bf16 precision: what its type holds of it, and of what that loses."""
    assert isinstance(op, WriteStateOp)
    _keep_old_value(op, ctx)
    _require_finite(op, op.value, ctx)
    state, builder, vlen = ctx.state(op.state), ctx.builder, ctx.target.vlen
    panel = ctx.panel(op.value)
    if not panel.is_packed or not state.is_packed:
        raise refusal(
            op,
            "the columns of the new state are those of heads that lie apart",
            "Keep the state as it is before it is split into heads.",
        )
    define_rows(ctx, panel, panel.physical_rows(vlen))
    with builder.step("store state"):
        _store(ctx, state, panel.buffer, panel, 0)
        if not state.rest:
            return
        lost = ctx.new_panel("lost", panel.rows, panel.columns)
        ctx.load_state_part(state, 0, lost, lost.buffer)
        size = (panel.physical_rows(vlen), panel.blocks(vlen))
        whole, held = (PanelRows(p.buffer, vlen, p.block) for p in (panel, lost))
        builder.map("sub", held, whole, held, size=size)
        _store(ctx, state, lost.buffer, lost, state.rest)


def _store(ctx: KernelContext, state: StateRows, src: SSAValue, panel: Panel, to: int) -> None:
    vlen = ctx.target.vlen
    ctx.builder.insert(
        StoreRowsOp(
            dst=ctx.builder.view(state.buffer, to),
            src=src,
            rows=panel.physical_rows(vlen),
            blocks=panel.blocks(vlen),
            src_block=panel.block,
            dst_row=state.row,
            dst_block=vlen * ctx.element_bytes(ACTIVATIONS[state.kv]),
            kv=state.kv,
        )
    )


def _keep_old_value(op: WriteRowsOp | WriteStateOp, ctx: KernelContext) -> None:
    """A state is written in place: for whoever reads later what it was before, that is brought into vector SRAM."""
    block = op.parent_block()
    assert block is not None
    for use in list(_uses(op.state, ctx)):
        reader = block.find_ancestor_op_in_block(use.operation)
        if isinstance(use.operation, WriteStateOp) and use.index == 0:
            continue
        if reader is not None and reader is not op and op.is_before_in_block(reader):
            if isinstance(use.operation, PickSampleOp):
                lower_pick_sample(use.operation, ctx)
                ctx.panel(use.operation.result)
            else:
                ctx.panel(_in_memory(use.operation.operands[use.index]))


def _in_memory(value: SSAValue) -> SSAValue:
    """The state, or the sample of one, that a value is a view of."""
    while isinstance(value.owner, ReshapeOp | RearrangeOp):
        value = value.owner.input
    return value


def _uses(value: SSAValue, ctx: KernelContext) -> Iterator[Use]:
    """Uses of a value, and of its views that are not computed but read where they are used."""
    for use in value.uses:
        yield use
        if isinstance(use.operation, ReshapeOp | RearrangeOp | PickSampleOp):
            view = use.operation.result
            if not isinstance(ctx.locations.get(view), Panel):
                yield from _uses(view, ctx)


def _require_finite(op: WriteRowsOp | WriteStateOp, value: SSAValue, ctx: KernelContext) -> None:
    """What is stored in a block format loses NaN and makes other numbers of infinity.

    Raises:
        CompileError: the value may hold one of them.
    """
    for source in sorted(ctx.undefined.of(value), key=lambda s: s.name):
        raise refusal(
            op,
            f"a state that may hold infinity or NaN, of {origin_of(source)}, has no kernel",
            "Keep what overflows finite before, as in y / x.abs().clamp(min=1e-6).",
        )
