"""Linear layers: weights streamed tile by tile, in the M_MM, the broadcast or the vector schedule."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import LinearOp, ProjectionsOp, RearrangeOp, ReshapeOp
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import PanelRows
from plena.host.view import Pad, Permute, Reshape
from plena.integers import ceil_div, round_up
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.head_layout import HeadLayout, wanted_layout
from plena.kernels.packing import is_packed_by_host, pack_value, pack_vectors, shape_in_lanes
from plena.kernels.paired_products import is_pairable, multiply_pairs
from plena.kernels.product_cost import ProductShape, Unit, preferred_unit
from plena.kernels.tensors import HostTensor, Panel, PanelShape
from plena.kernels.vector_products import multiply_vectors
from plena.kernels.vectors import load_vectors
from plena.kernels.weight_stream import (
    BlockProducts,
    GroupProducts,
    WeightStream,
    resident_tiles,
    rows_at_a_time,
)
from plena.machine.target import Target


@dataclass(frozen=True)
class Layer:
    """One weight [N, K] with its optional bias [N] and the value it makes, heads in the lanes as `heads` says."""

    weight: HostTensor
    bias: HostTensor | None
    result: SSAValue
    heads: HeadLayout | None = None

    def with_gaps(self, target: Target) -> Layer:
        """The layer with rows of zeros where an attention that reads the result wants lanes between heads."""
        features = self.weight.shape[0]
        heads = wanted_layout(self.result, target)
        if heads is None or (heads.groups * heads.pitch == features and not heads.moves):
            return self
        weight = heads.with_gaps(self.weight)
        return Layer(weight, None if self.bias is None else heads.with_gaps(self.bias), self.result, heads)

    def panel(self, buffer: SSAValue, rows: int, block: int) -> Panel:
        """Where the result lies."""
        features = shape_of(self.result)[1]
        groups, pitch = (1, features) if self.heads is None else (self.heads.groups, self.heads.pitch)
        return Panel(buffer, rows, groups, features // groups, pitch, block)


@kernel_for(LinearOp, ProjectionsOp)
def lower_linear(op: Operation, ctx: KernelContext) -> None:
    lower_layers(op, op.operands[0], _layers(op, ctx), ctx)


def lower_layers(
    op: Operation, value: SSAValue, layers: list[Layer], ctx: KernelContext, *, spreads_nan: bool = False
) -> None:
    """All layers of one input in the same schedule, chosen for their sum: packing is shared.

    With `spreads_nan` the broadcast unit is not used, which would.
    """
    x = shape_in_lanes(ctx, value)
    target = ctx.target
    layers = [layer.with_gaps(target) for layer in layers]
    k_tiles = x.blocks(target.vlen)
    n_tiles = sum(ceil_div(layer.weight.shape[0], target.mlen) for layer in layers)
    shape = ProductShape(
        x.rows,
        k_tiles,
        n_tiles,
        pack_tiles=0 if value in ctx.packed else k_tiles,
        pack_vector_tiles=0 if value in ctx.packed_vectors or is_packed_by_host(ctx, value) else k_tiles,
        slices=ceil_div(x.lanes, target.hlen),
        held=resident_tiles(ctx) - target.m_prefetch_tiles,
    )
    spreads_nan = spreads_nan or ctx.spreads_nan(value)
    unit: Unit = "mm" if spreads_nan else preferred_unit(shape, target, ctx.schedule)
    if unit == "vector" and op in ctx.matrix_products:
        unit = "broadcast"
    ctx.grouped |= unit == "vector" and x.rows > target.broadcast_amount and ctx.schedule.matmul == "auto"
    ctx.decide(op, shape, unit)
    if unit == "vector" and is_packed_by_host(ctx, value):
        pack_vectors(ctx, value)
    else:
        ctx.panel(value)
    for group in _groups(layers, ctx):
        _lower_group(value, x, group, unit, ctx)


def _groups(layers: list[Layer], ctx: KernelContext) -> list[list[Layer]]:
    """Layers that are made together, their results one behind the other; a result of the program is on its own, and so
    is a weight whose tiles hold rows of the reduction: they are as far apart as the layer is wide."""
    returned = [layer for layer in layers if _is_returned(layer.result)]
    together = [layer for layer in layers if layer not in returned]
    alike = {(layer.bias is None, len(layer.weight.stack)) for layer in together}
    same = len(alike) == 1 and ctx.schedule.machine != "rtl"
    return [*([together] if same else [[layer] for layer in together]), *([layer] for layer in returned)]


def _is_returned(value: SSAValue) -> bool:
    return any(isinstance(use.operation, ReturnOp | ReshapeOp | RearrangeOp) for use in value.uses)


def _lower_group(value: SSAValue, x: PanelShape, layers: list[Layer], unit: Unit, ctx: KernelContext) -> None:
    """Layers as one product: their weights, biases and results lie one behind the other."""
    vlen = ctx.target.vlen
    for layer in layers:
        ctx.count_macs(x.rows * shape_of(layer.result)[1] * layer.weight.shape[1])
    blocks = [ceil_div(layer.weight.shape[0], vlen) for layer in layers]
    columns = sum(blocks) * vlen if len(layers) > 1 else layers[0].weight.shape[0]
    whole = ctx.new_panel("linear", x.rows, columns)
    weight = ctx.place_together(
        "weight", [_tiles(layer.weight, x, ctx) for layer in layers], "tiled", WEIGHTS
    )
    if unit == "vector":
        once = any(ctx.is_routed(layer.weight.source) for layer in layers)
        multiply_vectors(value, weight, whole, ctx, once=once)
    elif unit == "broadcast":
        _broadcast(value, weight, whole, ctx)
    else:
        _mm(value, weight, whole, ctx)
    biases = [layer.bias for layer in layers if layer.bias is not None]
    if biases:
        _add_biases(biases, whole, ctx)
    first = 0
    for layer, count in zip(layers, blocks, strict=True):
        buffer = ctx.builder.view(whole.buffer, first * whole.block)
        ctx.set(layer.result, layer.panel(buffer, x.rows, whole.block))
        first += count
        if first < sum(blocks):
            ctx.defined_tails[buffer] = whole.block * (sum(blocks) - first) // vlen


def _layers(op: Operation, ctx: KernelContext) -> list[Layer]:
    if isinstance(op, LinearOp):
        triples = [(op.weight, op.bias, op.result)]
    else:
        assert isinstance(op, ProjectionsOp)
        biases = list(op.biases) or [None] * len(op.weights)
        triples = list(zip(op.weights, biases, op.outputs, strict=True))
    layers: list[Layer] = []
    for weight, bias, result in triples:
        staged = ctx.host(weight)
        if staged is None:
            raise refusal(
                op,
                "the weight is computed",
                "Make the weight a parameter, a buffer or an input, or a function of parameters alone.",
            )
        layers.append(Layer(staged, None if bias is None else ctx.host(bias), result))
    return layers


WEIGHTS = "HBM_M_WEIGHT_TYPE"


def _tiles(weight: HostTensor, x: PanelShape, ctx: KernelContext) -> tuple[HostTensor, tuple[int, int]]:
    """[N, K] as PyTorch has it, a row of tiles contiguous; gaps between the input's column groups become zeros.

    For the RTL [K, N]: M_MM takes columns of the output from columns of a tile, where M_TMM takes them from rows.
    """
    mlen = ctx.target.mlen
    features = weight.shape[0]
    if not x.is_packed:
        weight = weight.through(
            Reshape((features, x.groups, x.group_columns)),
            Pad(2, 0, x.group_pitch - x.group_columns),
            Reshape((features, x.lanes)),
        )
    rows, columns = round_up(features, mlen), x.blocks(mlen) * mlen
    if ctx.schedule.machine == "rtl":
        return weight.through(Permute((1, 0))), (columns, rows)
    return weight, (rows, columns)


def _mm(value: SSAValue, weight: SSAValue, result: Panel, ctx: KernelContext) -> None:
    """For each column block of the output: its tiles to matrix SRAM, then all row blocks.

    Rows are cut where an iteration over column blocks would run too many instructions for the watchdog. If the
    schedule asks for it, column blocks are made in pairs as far as that is possible.
    """
    target, builder, x = ctx.target, ctx.builder, ctx.panel(value)
    stream = WeightStream.of(weight, x.shape, result, ctx)
    done = 0
    if is_pairable(x, result, stream, ctx):
        ctx.pairable = True
        done = multiply_pairs(value, x, result, stream, ctx) if ctx.schedule.pairing else 0
    if done == stream.n_tiles:
        return
    rows = result.physical_rows(target.vlen)
    most = rows_at_a_time(rows, stream.k_tiles, ctx)
    products = BlockProducts(stream, most, ctx, by_halves=True)
    products.begin(builder.view(result.buffer, done * result.block), (stream.n_tiles - done) * rows)

    def chunk_of_rows(chunk: Linear, count: int) -> None:
        first = chunk * (most * target.vlen)
        with builder.loop(stream.n_tiles - done) as n:
            out = builder.view(result.buffer, (n + done) * result.block + first)
            products.multiply(out, (x.buffer, first, x.block), (n + done) * stream.row_bytes, count)

    builder.by_groups(rows, most, chunk_of_rows)


def _broadcast(value: SSAValue, weight: SSAValue, result: Panel, ctx: KernelContext) -> None:
    """For each column block of the output: its tiles to matrix SRAM, then all groups of row blocks."""
    builder = ctx.builder
    packed = pack_value(ctx, value)
    stream = WeightStream.of(weight, ctx.panel(value).shape, result, ctx)
    products = GroupProducts(stream, packed.block, ctx)
    with builder.loop(stream.n_tiles) as n:
        products.load(n * stream.row_bytes)
        with builder.loop(packed.groups) as group:
            out = builder.view(result.buffer, n * result.block + group * packed.block)
            products.multiply(out, (packed.buffer, group * packed.group), n * stream.row_bytes)


def _add_biases(biases: list[HostTensor], result: Panel, ctx: KernelContext) -> None:
    """One row per column block, added to every row."""
    vlen = ctx.target.vlen
    rows = load_vectors(ctx, "bias", biases)
    with ctx.builder.step("bias"):
        ctx.builder.map(
            "add",
            PanelRows(result.buffer, vlen, result.block),
            PanelRows(result.buffer, vlen, result.block),
            PanelRows(rows, 0, vlen),
            size=(result.physical_rows(vlen), result.blocks(vlen)),
        )
