"""Staged vectors in vector SRAM: biases, gains, masks of lanes."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from plena.dialects.tile import LoadRowsOp, PanelRows
from plena.host.view import Pad, Reshape
from plena.integers import ceil_div
from plena.kernels.context import KernelContext
from plena.kernels.tensors import HostTensor
from plena.machine.number_formats import Mx

ACTIVATIONS = "HBM_V_ACT_TYPE"


def load_vectors(
    ctx: KernelContext, name: str, vectors: Sequence[HostTensor], *, exact: bool = True
) -> SSAValue:
    """Vectors one behind the other, each from the beginning of a row on, VLEN elements in a row.

    Rows follow each other as they do in HBM, so that a prefetch brings in as many as it can. With `exact` to bf16
    precision, real inputs apart: biases and gains act on all rows alike, their errors do not average out.
    """
    target, vlen = ctx.target, ctx.target.vlen
    unit = ctx.element_bytes(ACTIVATIONS)
    parts: list[tuple[HostTensor, tuple[int, int]]] = []
    for vector in vectors:
        (length,) = vector.shape
        rows = ceil_div(length, vlen)
        lanes = vector.through(Pad(0, 0, rows * vlen - length), Reshape((rows, vlen)))
        parts.append((lanes, (rows, vlen)))
    total = sum(rows for _, (rows, _) in parts)
    exact = exact and isinstance(target.precision[ACTIVATIONS], Mx)
    exact = exact and all(
        vector.source.kind == "data" or vector.integer or vector.precise for vector in vectors
    )
    loaded = 2 * total if exact else total
    buffer = ctx.builder.buffer(name, "vector", (loaded + target.hbm_v_prefetch_amount) * vlen)
    own = next((vector for vector in vectors if vector.stack), vectors[0])
    with ctx.once(own), ctx.builder.step("load"):
        source = ctx.place_together(f"{name}_hbm", parts, "column_blocks", ACTIVATIONS, exact=exact)
        ctx.builder.insert(
            LoadRowsOp(
                dst=buffer, src=source, rows=loaded, blocks=1, dst_block=0, src_row=vlen * unit, src_block=0
            )
        )
        if exact:
            ctx.builder.map(
                "add",
                PanelRows(buffer, vlen, 0),
                PanelRows(buffer, vlen, 0),
                PanelRows(ctx.builder.view(buffer, total * vlen), vlen, 0),
                size=(total, 1),
            )
    return buffer
