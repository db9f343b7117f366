"""Interpreter of the `tile` dialect: the machine reference.

It computes what the program computes, in its order of operations and with its roundings (bf16 at every vector SRAM
write, the HBM type at every load and store), on numpy arrays, one per buffer. It knows nothing of addresses, registers
or instructions, so that it can find the errors of every pass below the tile level.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls

from plena.dialects.plena_isa.transfer import ACTIVATIONS
from plena.dialects.tile import (
    BroadcastMatmulOp,
    BufferOp,
    ConstantOp,
    DataOp,
    HostOp,
    LoadRowsOp,
    LoadTilesOp,
    MatmulOp,
    OnlineSoftmaxOp,
    PackOp,
    ResetStateOp,
    ScaleRowsOp,
    SoftmaxRowsOp,
    SplatOp,
    StoreRowsOp,
    ViewOp,
    ZeroOp,
)
from plena.host import view as views
from plena.host.layout import TensorPlacement, chunks, matrices_of
from plena.host.placement_attributes import placement_of
from plena.host.view import Array
from plena.integers import ceil_div
from plena.interpreters.loop import LoopFunctions
from plena.interpreters.tile_products import ProductFunctions
from plena.interpreters.tile_routing import RoutingFunctions
from plena.interpreters.tile_rows import RowFunctions
from plena.interpreters.tile_values import Floats, Region, add_in_order, exponential, in_chunks, panels_of
from plena.machine.number_formats import NumberFormat, bf16_round
from plena.machine.scalar_codes import scalar_bf16_round
from plena.machine.target import Target


def run_tiles(module: ModuleOp, source: Callable[[TensorPlacement], Array]) -> dict[int, Array]:
    """Runs a tile-level module.

    Args:
        module: the flat body, buffers allocated or not.
        source: the source tensor of an input's or datum's placement.

    Returns:
        The results by number, in the shape of their placement's source tensor's matrix view: [*batch, R, C].
    """
    target = Target.from_module(module)
    functions = TileFunctions(target, source)
    interpreter = Interpreter(module)
    interpreter.register_implementations(LoopFunctions())
    interpreter.register_implementations(functions)
    interpreter.register_implementations(RowFunctions(target))
    interpreter.register_implementations(ProductFunctions(target))
    interpreter.register_implementations(RoutingFunctions(target))
    with np.errstate(all="ignore"):
        interpreter.run_ssacfg_region(module.body, (), "program")
    results: dict[int, Array] = {}
    for placement, region in functions.outputs:
        results[placement.source.index] = matrices_of(placement, region.data[: placement.elements], target)
    return results


@register_impls
class TileFunctions(InterpreterFunctions):
    """Implements buffers and every tile operation."""

    def __init__(self, target: Target, source: Callable[[TensorPlacement], Array]) -> None:
        self.target, self.source = target, source
        self.outputs: list[tuple[TensorPlacement, Region]] = []
        self.open_sum: Floats | None = None

    @impl(BufferOp)
    def run_buffer(self, interpreter: Interpreter, op: BufferOp, args: PythonValues) -> PythonValues:
        placements = [placement_of(p, op.space) for p in op.placements or ()]
        unit = 1
        if op.space == "hbm":
            number_format = placements[0].number_format(self.target) if placements else self._activations(0)
            unit = max(1, number_format.element_bits // 8)
        data: Array = np.zeros(ceil_div(op.size.data, unit), np.int64 if op.space == "int" else np.float32)
        for placement in placements:
            if placement.source.kind == "output":
                self.outputs.append((placement, Region(data, 0, unit)))
            elif placement.source.is_staged:
                start = placement.address // unit
                self._fill(data[start : start + placement.elements], placement)
        return (Region(data, 0, unit),)

    def _fill(self, data: Array, placement: TensorPlacement) -> None:
        """What the host stages: the view and scale of the placement, encoded in its format.

        Of a state it is what the memory holds.
        """
        if placement.source.kind == "state":
            for offset, elements in chunks(placement, self.source(placement), self.target):
                data[offset : offset + len(elements)] = elements
            return
        matrices = views.apply(placement.view, np.asarray(self.source(placement)))
        values = matrices.astype(data.dtype)
        values = values * data.dtype.type(placement.scale)
        for offset, elements in chunks(placement, values, self.target):
            data[offset : offset + len(elements)] = elements
        if placement.memory == "hbm":
            width = self.target.vlen
            whole = data[: len(data) // width * width].reshape(-1, width)
            number_format = placement.number_format(self.target)
            seen = number_format.staged(whole, placement.staging)
            whole[:] = number_format.staged(whole - seen, placement.staging) if placement.residual else seen
        elif placement.memory == "fp":
            data[:] = scalar_bf16_round(data.astype(np.float16).astype(np.float32))

    @impl(ConstantOp)
    def run_constant(self, interpreter: Interpreter, op: ConstantOp, args: PythonValues) -> PythonValues:
        values = np.array(op.numbers, np.float16).astype(np.float32)
        return (Region(scalar_bf16_round(values)),)

    @impl(DataOp)
    def run_data(self, interpreter: Interpreter, op: DataOp, args: PythonValues) -> PythonValues:
        return ()

    @impl(HostOp)
    def run_host(self, interpreter: Interpreter, op: HostOp, args: PythonValues) -> PythonValues:
        return ()

    @impl(ViewOp)
    def run_view(self, interpreter: Interpreter, op: ViewOp, args: PythonValues) -> PythonValues:
        return (args[0].at(args[1]),)

    def _activations(self, kv: int) -> NumberFormat:
        return self.target.precision[ACTIVATIONS[kv != 0]]

    @impl(LoadRowsOp)
    def run_load_rows(self, interpreter: Interpreter, op: LoadRowsOp, args: PythonValues) -> PythonValues:
        dst, src = args
        vlen = self.target.vlen
        for block in range(op.blocks):
            rows = src.rows(op.rows, op.src_row, vlen, block * op.src_block)
            dst.rows(op.rows, vlen, vlen, block * op.dst_block)[:] = bf16_round(rows)
        return ()

    @impl(StoreRowsOp)
    def run_store_rows(self, interpreter: Interpreter, op: StoreRowsOp, args: PythonValues) -> PythonValues:
        dst, src = args
        vlen = self.target.vlen
        number_format = self._activations(op.kv)
        for block in range(op.blocks):
            rows = src.rows(op.rows, vlen, vlen, block * op.src_block)
            dst.rows(op.rows, op.dst_row, vlen, block * op.dst_block)[:] = number_format.quantize(rows)
        return ()

    @impl(LoadTilesOp)
    def run_load_tiles(self, interpreter: Interpreter, op: LoadTilesOp, args: PythonValues) -> PythonValues:
        dst, src = args
        mlen = self.target.mlen
        pitch = op.src_row or mlen * src.unit
        for i in range(op.outer):
            for j in range(op.inner):
                tile = src.rows(mlen, pitch, mlen, i * op.src_outer + j * op.src_inner)
                dst.rows(mlen, mlen, mlen, i * op.dst_outer + j * op.dst_inner)[:] = tile
        return ()

    @impl(MatmulOp)
    def run_matmul(self, interpreter: Interpreter, op: MatmulOp, args: PythonValues) -> PythonValues:
        out, x, w = args
        mlen = self.target.mlen
        for block in range(ceil_div(op.columns, mlen)):
            width = min(mlen, op.columns - block * mlen)
            total = np.zeros((op.rows, width), np.float32)
            for k in range(op.k_tiles):
                at = k * op.w_k + block * op.w_n
                inside = (w.offset + at) % self.target.tile
                first = inside // mlen
                tile = w.rows(mlen, mlen, mlen, at - inside)
                left = x.rows(op.rows, mlen, mlen, k * op.x_block)
                right = tile.T if op.transposed else tile
                total = total + left @ right[:, first : first + width]
            rows = out.rows(op.rows, mlen, width, block * op.out_block)
            rows[:] = bf16_round(total)
        return ()

    @impl(PackOp)
    def run_pack(self, interpreter: Interpreter, op: PackOp, args: PythonValues) -> PythonValues:
        out, x, p = args
        mlen, hlen = self.target.mlen, self.target.hlen
        slots = self.target.broadcast_amount
        tile = p.rows(mlen, mlen, mlen)
        for k in range(op.blocks):
            total = np.zeros((slots, mlen, mlen), np.float32)
            for b in range((op.sets or 1) * op.row_blocks):
                start = b // op.row_blocks * op.x_set + b % op.row_blocks * op.x_row_block
                rows = x.rows(mlen, mlen, mlen, k * op.x_block + start)
                part = tile[:, b * hlen : (b + 1) * hlen]
                for c in range(slots):
                    total[c] += np.float32(0.25) * (rows[:, c * hlen : (c + 1) * hlen] @ part.T)
            out.rows(slots * mlen, mlen, mlen, k * op.out_block)[:] = bf16_round(total.reshape(-1, mlen))
        return ()

    @impl(BroadcastMatmulOp)
    def run_broadcast_matmul(
        self, interpreter: Interpreter, op: BroadcastMatmulOp, args: PythonValues
    ) -> PythonValues:
        out, x, w = args
        mlen, hlen = self.target.mlen, self.target.hlen
        slots = self.target.broadcast_amount
        for block in range(op.n_tiles):
            total, self.open_sum = self.open_sum, None
            if total is None:
                total = np.zeros((slots, mlen, mlen), np.float32)
            parts = [(k, slots) for k in range(op.k_tiles)] + [(op.k_tiles, op.slices)]
            for k, slices in parts:
                if not slices:
                    continue
                lane = w.offset % self.target.tile
                tile = w.rows(mlen, mlen, mlen, block * op.w_n + k * op.w_k - lane)
                for c in range(slices):
                    rows = x.rows(mlen, mlen, mlen, k * op.x_block + c * self.target.tile)
                    part = slice(lane + c * hlen, lane + (c + 1) * hlen)
                    for b in range(slots):
                        left = rows[:, b * hlen : (b + 1) * hlen] if op.transposed else rows[:, b::slots]
                        right = tile[:, part].T if op.transposed else tile[part]
                        total[b] += np.float32(0.25) * (left @ right)
            if op.partial:
                self.open_sum = total
                continue
            out.rows(slots * mlen, mlen, mlen, block * op.out_block)[:] = bf16_round(total.reshape(-1, mlen))
        return ()

    @impl(SplatOp)
    def run_splat(self, interpreter: Interpreter, op: SplatOp, args: PythonValues) -> PythonValues:
        dst, values = args
        vlen = self.target.vlen
        dst.rows(op.rows, op.dst_row, vlen)[:] = values.rows(1, vlen, vlen)
        return ()

    @impl(ZeroOp)
    def run_zero(self, interpreter: Interpreter, op: ZeroOp, args: PythonValues) -> PythonValues:
        vlen = self.target.vlen
        args[0].rows(op.rows, vlen, vlen)[:] = 0.0
        return ()

    @impl(SoftmaxRowsOp)
    def run_softmax_rows(
        self, interpreter: Interpreter, op: SoftmaxRowsOp, args: PythonValues
    ) -> PythonValues:
        panels = panels_of(op, args)
        blocks = self._blocks(panels["x"], op)
        start = panels["floor"].rows(1, 1, 1)[0, 0]
        maximum = np.maximum(np.max(blocks, axis=(0, 2)), start)
        if op.undivided:
            for block in blocks:
                block[:] = exponential(bf16_round(block - maximum[:, None]))
            return ()
        total = np.zeros_like(maximum)
        if op.sink:
            total = exponential(bf16_round(start - maximum))
        elif op.undefined:
            above = bf16_round(maximum - start)
            with np.errstate(divide="ignore", invalid="ignore"):
                total = bf16_round(bf16_round(np.float32(1) / above) * np.float32(0))
        elif "start" in panels:
            total[:] = panels["start"].rows(1, 1, 1)[0, 0]
        for block in blocks:
            block[:] = exponential(bf16_round(block - maximum[:, None]))
            if op.scratch is None:
                total = bf16_round(total + block.sum(axis=1))
        if op.scratch is not None:
            total = bf16_round(total + add_in_order(in_chunks(blocks, op.chunk)).sum(axis=1))
        factor = bf16_round(np.float32(1) / total)
        for block in blocks:
            block[:] = bf16_round(block * factor[:, None])
        return ()

    @impl(ResetStateOp)
    def run_reset_state(self, interpreter: Interpreter, op: ResetStateOp, args: PythonValues) -> PythonValues:
        panels, rows = panels_of(op, args), op.rows
        panels["maximum"].rows(1, 1, rows)[:] = panels["floor"].rows(1, 1, 1)
        total = panels["total"].rows(1, 1, rows)
        total[:] = 1.0 if op.sink else 0.0
        if "start" in panels:
            total[:] = panels["start"].rows(1, 1, 1)
        return ()

    @impl(OnlineSoftmaxOp)
    def run_online_softmax(
        self, interpreter: Interpreter, op: OnlineSoftmaxOp, args: PythonValues
    ) -> PythonValues:
        panels = panels_of(op, args)
        rows = op.rows
        maxima, totals, corrections = (
            panels[name].rows(1, 1, rows)[0] for name in ("maximum", "total", "correction")
        )
        blocks = self._blocks(panels["x"], op)
        maximum = np.maximum(np.max(blocks, axis=(0, 2)), maxima)
        corrections[:] = exponential(bf16_round(maxima - maximum))
        maxima[:] = maximum
        total = bf16_round(totals * corrections)
        for block in blocks:
            block[:] = exponential(bf16_round(block - maximum[:, None]))
            total = bf16_round(total + block.sum(axis=1))
        totals[:] = total
        return ()

    @impl(ScaleRowsOp)
    def run_scale_rows(self, interpreter: Interpreter, op: ScaleRowsOp, args: PythonValues) -> PythonValues:
        x, factors = args
        factor = factors.rows(1, 1, op.rows)[0]
        if op.invert:
            factor = bf16_round(np.float32(1) / factor)
        for block in self._blocks(x, op):
            block[:] = bf16_round(block * factor[:, None])
        return ()

    def _blocks(self, x: Region, op: SoftmaxRowsOp | OnlineSoftmaxOp | ScaleRowsOp) -> list[Floats]:
        """The column blocks of a panel, as views."""
        vlen = self.target.vlen
        return [x.rows(op.rows, vlen, vlen, b * op.block) for b in range(op.blocks)]
