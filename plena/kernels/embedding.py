"""Rows of tables in HBM by numbers in INT SRAM."""

from __future__ import annotations

from xdsl.ir import Operation

from plena.dialects.plena import EmbeddingOp
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import GatherRowsOp
from plena.host.layout import TensorPlacement
from plena.host.view import Reshape
from plena.integers import round_up
from plena.kernels.context import KernelContext, kernel_for


@kernel_for(EmbeddingOp)
def lower_embedding(op: Operation, ctx: KernelContext) -> None:
    """The table lies in HBM column block by column block, so that a prefetch's surplus rows are table rows too.

    The host stores the ids as byte offsets of rows: a step of the lookup is one addition. Ids known at compile time
    are staged the same way.
    """
    assert isinstance(op, EmbeddingOp)
    table, ids = ctx.host(op.table), ctx.host(op.ids)
    if table is None or ids is None:
        raise refusal(
            op,
            "the table or the ids are computed",
            "Look up rows of a parameter or buffer by ids that are an input or constant.",
        )
    vocabulary, columns = shape_of(op.table)
    count = shape_of(op.result)[0]
    if count > ctx.target.int_sram_size:
        raise refusal(
            op,
            f"{count} ids do not fit INT SRAM, which has {ctx.target.int_sram_size} words",
            "Use a smaller batch or sequence, or a target with more INT SRAM.",
        )
    target, vlen = ctx.target, ctx.target.vlen
    unit = ctx.element_bytes("HBM_V_ACT_TYPE")
    rows = ctx.physical_rows(vocabulary + target.hbm_v_prefetch_amount - 1)
    offsets = ids.through(Reshape((count,)))
    placement = TensorPlacement(
        "ids",
        "int",
        0,
        offsets.shape,
        "words",
        "u32",
        offsets.source,
        view=offsets.view,
        scale=float(vlen * unit),
        limit=vocabulary,
    )
    result = ctx.new_panel("embedding", count, columns)
    with ctx.builder.step("gather"):
        ctx.builder.insert(
            GatherRowsOp(
                dst=result.buffer,
                table=ctx.place(
                    "table", table, "column_blocks", "HBM_V_ACT_TYPE", (rows, round_up(columns, vlen))
                ),
                offsets=ctx.placed_buffer("ids", "int", placement.elements, [placement]),
                rows=count,
                blocks=result.blocks(vlen),
                dst_block=result.block,
                table_block=rows * vlen * unit,
            )
        )
    ctx.set(op.result, result)
