"""What kernels share: where tensors are, staging of host tensors, vector SRAM panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from math import lcm, prod
from typing import Literal

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import symbols_of
from plena.dialects.plena_isa.transfer import ACTIVATIONS
from plena.dialects.provenance import MODULE_ATTRIBUTE
from plena.dialects.refusals import UNSUPPORTED, BlamedOn, refusal
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import (
    LoadRowsOp,
    MapScalarsOp,
    PanelRows,
    SplatOp,
    SpreadScalarsOp,
)
from plena.errors import CompileError
from plena.host.image import POSITIONS
from plena.host.layout import Layout, Order, Source, TensorPlacement, hbm_alignment
from plena.host.placement_attributes import placement_attribute
from plena.host.values.attributes import attribute_of
from plena.host.values.graph import HostValue
from plena.host.view import Array, Pad, Reshape
from plena.integers import ceil_div, round_up
from plena.kernels.builder import TileBuilder
from plena.kernels.product_cost import ProductShape, Unit, describe_choice
from plena.kernels.schedule import Schedule
from plena.kernels.tensors import HostTensor, PackedPanel, Panel, Scalars, StateRows, TensorLocation
from plena.machine.number_formats import Mx, NumberFormat
from plena.machine.target import Target
from plena.tensor.undefined_values import Undefined


@dataclass(frozen=True)
class ChosenIds:
    """Ids in INT SRAM, the softmax of their scores in FP SRAM, `pitch` words from one token's to the next one's."""

    ids: SSAValue
    weights: SSAValue
    pitch: int


@dataclass
class KernelContext:
    """State of the conversion of one function."""

    builder: TileBuilder
    schedule: Schedule
    locations: dict[SSAValue, TensorLocation] = field(default_factory=dict[SSAValue, TensorLocation])
    data: dict[str, Attribute | Array] = field(default_factory=dict[str, "Attribute | Array"])
    """Staging expressions and constants of the kernels' own by the symbol that placements name them with."""
    packed: dict[SSAValue, PackedPanel] = field(default_factory=dict[SSAValue, PackedPanel])
    """Forms of tensors that are packed for transposed products of matrices."""
    packed_vectors: dict[SSAValue, PackedPanel] = field(default_factory=dict[SSAValue, PackedPanel])
    """Forms of tensors that are packed for products with vectors."""
    constant_tiles: dict[str, SSAValue] = field(default_factory=dict[str, SSAValue])
    """Constant tiles in matrix SRAM by name: packing tiles, rotations."""
    tables: dict[tuple[HostTensor, int, int], Panel] = field(
        default_factory=dict[tuple[HostTensor, int, int], Panel]
    )
    """Rotary tables in vector SRAM."""
    second_copies: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])
    """Second copies of tensors in vector SRAM for products in pairs (plena.kernels.paired_products)."""
    defined_tails: dict[SSAValue, int] = field(default_factory=dict[SSAValue, int])
    """Rows behind the last column block of a panel that hold zeros."""
    defined_rows: set[SSAValue] = field(default_factory=set[SSAValue])
    """Panels whose rows behind the last one are zeroed in every column block."""
    host_values: dict[HostValue, str] = field(default_factory=dict[HostValue, str])
    """Symbols of what the host computes of inputs."""
    numbers: dict[float, SSAValue] = field(default_factory=dict[float, SSAValue])
    """Computed constants by value (see plena.kernels.fp_sram)."""
    constant_panels: dict[str, SSAValue] = field(default_factory=dict[str, SSAValue])
    """Constant rows in vector SRAM by name."""
    spread: dict[SSAValue, Panel] = field(default_factory=dict[SSAValue, Panel])
    """Panels made of tensors in FP SRAM."""
    shared: set[SSAValue] = field(default_factory=set[SSAValue])
    """Buffers that several tensors or iterations read: never overwritten."""
    loaded: dict[SSAValue, HostTensor] = field(default_factory=dict[SSAValue, HostTensor])
    """What the host stages and vector SRAM holds."""
    states: dict[SSAValue, StateRows] = field(default_factory=dict[SSAValue, StateRows])
    """Where states lie in HBM, by every value that stands for one."""
    offsets: dict[tuple[HostTensor, int, int], SSAValue] = field(
        default_factory=dict[tuple[HostTensor, int, int], SSAValue]
    )
    """Run-time positions in INT SRAM by tensor, bytes from row to row and how many rows there are."""
    decisions: list[str] = field(default_factory=list[str])
    """What was chosen and why, one line each."""
    id_words: dict[str, SSAValue] = field(default_factory=dict[str, SSAValue])
    """INT SRAM for ids by name: no two buffers there share words, so kernels do (plena.kernels.expert_choice)."""
    routed: Set[str] = frozenset()
    """Parameters and buffers of the model that belong to routed experts."""
    chosen_ids: dict[SSAValue, ChosenIds] = field(default_factory=dict[SSAValue, "ChosenIds"])
    """The ids that rows of zeros and ones were made of, by those rows, where experts are run by their ids."""
    iterations: int = 1
    """How often the repetition that is being lowered runs."""
    iteration: Linear | None = None
    """The index of the repetition that is being lowered."""
    may_hold_nan: bool = False
    """Whether some row may be NaN: the broadcast unit would spread it to others."""
    undefined: Undefined = field(default_factory=Undefined)
    """Which tensors may hold NaN or infinity."""
    tunable: bool = False
    """Whether loop order and query block of the schedule had any effect."""
    pairable: bool = False
    """Whether a linear layer in the M_MM schedule has column blocks that could be made in pairs."""
    mixable: bool = False
    """Whether M_BTMV makes products of a repetition that would be shorter by M_BTMM."""
    grouped: bool = False
    """Whether M_BTMV makes a product of more rows than it takes at once."""
    matrix_products: set[Operation] = field(default_factory=set[Operation])
    """Products of a repetition that M_BTMM makes for the watchdog's sake (plena.kernels.product_mix)."""
    sections: int = 1
    """The most pieces of code that treat query blocks apart by the keys they see, were the schedule to allow them."""
    useful_macs: dict[str, int] = field(default_factory=dict[str, int])
    """Multiply-accumulates of the mathematical operations, padding not counted."""

    @property
    def target(self) -> Target:
        return self.builder.target

    @property
    def free_tiles(self) -> int:
        """Tiles of matrix SRAM beside the constant ones, which stay."""
        return self.target.matrix_tiles - len(self.constant_tiles) * self.target.m_prefetch_tiles

    def host(self, value: SSAValue) -> HostTensor | None:
        """The tensor if the host stages it, None if the program computes it."""
        location = self.locations[value]
        return location if isinstance(location, HostTensor) else None

    def staged(self, value: SSAValue) -> HostTensor | None:
        """The tensor if the host stages it, also where it has been loaded; None if the program computes it."""
        return self.host(value) or self.loaded.get(value)

    def state(self, value: SSAValue) -> StateRows:
        """Where a state lies."""
        return self.states[value]

    def set_state(self, value: SSAValue, state: StateRows) -> None:
        """Says where a state lies that `value` stands for."""
        self.states[value] = state
        self.set(value, state)

    def row_offsets(self, positions: HostTensor, row: int, rows: int, name: str = POSITIONS) -> SSAValue:
        """Byte offsets of rows in INT SRAM: `positions` below `rows` times `row` bytes."""
        key = (positions, row, rows)
        if key not in self.offsets:
            count = prod(positions.shape)
            flat = positions.through(Reshape((count,)))
            placement = TensorPlacement(
                name,
                "int",
                0,
                (count,),
                "words",
                "u32",
                flat.source,
                view=flat.view,
                scale=float(row),
                limit=rows,
            )
            self.offsets[key] = self.placed_buffer(name, "int", count, [placement])
        return self.offsets[key]

    def spreads_nan(self, *values: SSAValue) -> bool:
        """Whether the broadcast unit would make NaN of rows beside those that are, or hold infinity or come close."""
        unsafe = self.undefined
        return self.may_hold_nan or any(unsafe.of(value) or value in unsafe.huge for value in values)

    def place(
        self,
        name: str,
        tensor: HostTensor,
        layout: Layout,
        number_format: str,
        padded: tuple[int, int],
        *,
        scale: float = 1.0,
        order: Order = "rows",
        exact: bool = False,
        also: Sequence[HostTensor] = (),
    ) -> SSAValue:
        """An HBM buffer that the host fills with the matrices [..., R, C] of a tensor, each padded.

        With `exact` those of what the format loses of the tensor follow, then those of `also`.
        """
        placement = TensorPlacement(
            name=name,
            memory="hbm",
            address=0,
            shape=tensor.shape,
            layout=layout,
            format=number_format,
            source=tensor.source,
            padded=padded,
            view=tensor.view,
            scale=scale,
            order=order,
        )
        parts = [(tensor, placement)]
        if exact:
            parts.append((tensor, replace(placement, name=f"{name}_rest", residual=True)))
        for n, other in enumerate(also):
            placed = replace(placement, name=f"{name}_also_{n}", shape=other.shape, view=other.view)
            parts.append((other, placed))
        return self._place(parts)

    def place_together(
        self,
        name: str,
        parts: Sequence[tuple[HostTensor, tuple[int, int]]],
        layout: Layout,
        number_format: str,
        *,
        exact: bool = False,
    ) -> SSAValue:
        """An HBM buffer with several tensors one behind the other, each padded to the given rows and columns.

        With `exact` what the format loses of them follows in the same order.
        """
        placed = [
            (
                tensor,
                TensorPlacement(
                    f"{name}_part_{n}_rest" if residual else f"{name}_part_{n}",
                    "hbm",
                    0,
                    tensor.shape,
                    layout,
                    number_format,
                    tensor.source,
                    padded,
                    tensor.view,
                    residual=residual,
                ),
            )
            for residual in ((False, True) if exact else (False,))
            for n, (tensor, padded) in enumerate(parts)
        ]
        return self._place(placed, name)

    def _place(self, parts: Sequence[tuple[HostTensor, TensorPlacement]], name: str = "") -> SSAValue:
        """Tensors one behind the other; inside a repetition those of all iterations, at a constant pitch."""
        name = name or parts[0][1].name
        starts = [0]
        for _, placement in parts:
            starts.append(starts[-1] + placement.element_bytes(self.target))
        if not any(tensor.stack for tensor, _ in parts):
            placements = [replace(p, address=start) for start, (_, p) in zip(starts, parts, strict=False)]
            return self._guarded(name, starts[-1], placements)
        assert self.iteration is not None
        pitch = round_up(starts[-1], hbm_alignment(self.target))
        times = max(len(tensor.stack) for tensor, _ in parts)
        stack = [
            replace(placement, name=f"{placement.name}_{n}", source=source, address=n * pitch + start)
            for start, (tensor, placement) in zip(starts, parts, strict=False)
            for n, source in enumerate(tensor.stack or (tensor.source,) * times)
        ]
        return self.builder.view(self._guarded(name, times * pitch, stack), self.iteration * pitch)

    def _guarded(self, name: str, size: int, placements: Sequence[TensorPlacement]) -> SSAValue:
        """A buffer with rows of zeros behind its tensors, as many as a prefetch reads beyond the last one."""
        placements = [replace(p, staging=self.schedule.staging) for p in placements]
        last, target = placements[-1], self.target
        surplus = 0
        if last.layout == "tiled":
            surplus = (target.m_prefetch_tiles - 1) * target.mlen
        elif last.layout == "column_blocks":
            surplus = -last.padded_matrix[0] % target.hbm_v_prefetch_amount
        if not surplus:
            return self.placed_buffer(name, "hbm", size, placements)
        zeros = self.constant_rows(f"guard_{surplus}", np.zeros((surplus, target.vlen), np.float32))
        guard = TensorPlacement(
            f"{name}_guard", "hbm", size, zeros.shape, "rows", last.format, zeros.source, view=zeros.view
        )
        return self.placed_buffer(name, "hbm", size + guard.element_bytes(target), [*placements, guard])

    def placed_buffer(
        self, name: str, space: str, size: int, placements: Sequence[TensorPlacement]
    ) -> SSAValue:
        """A buffer that the host fills, reads, or leaves to the program; what placements name must be in `data`."""
        placements = [replace(p, routed=True) if self.is_routed(p.source) else p for p in placements]
        return self.builder.buffer(
            name, space, size, [placement_attribute(placement, self.data) for placement in placements]
        )

    def is_routed(self, source: Source) -> bool:
        """Whether data are a parameter of routed experts, however it is rearranged."""
        expression = self.data.get(source.symbol) if source.kind == "data" else None
        return isinstance(expression, Attribute) and not self.routed.isdisjoint(symbols_of(expression))

    def place_scalars(
        self, name: str, tensor: HostTensor, memory: Literal["fp", "int"], *, limit: int = 0
    ) -> SSAValue:
        """A buffer in a scalar SRAM that the host fills with the elements of a tensor."""
        number_format = "bf16" if memory == "fp" else "u32"
        placement = TensorPlacement(
            name,
            memory,
            0,
            tensor.shape,
            "words",
            number_format,
            tensor.source,
            view=tensor.view,
            limit=limit,
        )
        return self.placed_buffer(name, memory, placement.elements, [placement])

    def element_bytes(self, format_key: str) -> int:
        """Bytes of HBM per element of a number format."""
        number_format: NumberFormat = self.target.precision[format_key]
        return max(1, number_format.element_bits // 8)

    @property
    def row_unit(self) -> int:
        """Rows of a panel come in multiples of this: whole products, prefetches and writebacks."""
        target = self.target
        return lcm(target.blen, target.hbm_v_prefetch_amount, max(1, target.hbm_v_writeback_amount))

    def physical_rows(self, rows: int) -> int:
        """Rows of a column block of a panel with `rows` rows."""
        return round_up(rows, self.row_unit)

    def new_panel(
        self,
        name: str,
        rows: int,
        columns: int,
        groups: int = 1,
        pitch: int = 0,
        *,
        reach: int = 0,
        copies: int = 1,
    ) -> Panel:
        """A panel for [rows, columns] whose `groups` of columns lie `pitch` lanes apart (0: without gaps).

        Column blocks have room for `reach` rows. Behind the last one there is room for `copies` - 1 panels more and for
        the surplus rows of transfers and broadcast products.
        """
        vlen = self.target.vlen
        group_columns = columns // groups
        pitch = pitch or group_columns
        physical = self.physical_rows(max(rows, reach))
        block = physical * vlen
        blocks = ceil_div(groups * pitch, vlen)
        buffer = self.builder.buffer(name, "vector", copies * blocks * block + self._slack() * vlen)
        return Panel(buffer, rows, groups, group_columns, pitch, block)

    def _slack(self) -> int:
        """Rows behind a panel that a broadcast product starting in its last row reaches, or a prefetch."""
        together = (
            self.target.broadcast_amount * self.target.mlen if self.target.has_broadcast else self.target.mlen
        )
        return max(self.row_unit, together)

    def once(self, tensor: HostTensor) -> AbstractContextManager[None]:
        """Where to bring in a host tensor: before a repetition unless every iteration has its own."""
        return nullcontext() if tensor.stack or self.iteration is None else self.builder.prologue()

    def load(
        self,
        name: str,
        tensor: HostTensor,
        format_key: str = "HBM_V_ACT_TYPE",
        *,
        groups: int = 1,
        pitch: int = 0,
        scale: float = 1.0,
        exact: bool = False,
    ) -> Panel:
        """A two-dimensional host tensor brought into vector SRAM, times a power of two; see `new_panel`.

        With `exact`, and integers, to bf16 precision: the sum of its MX form and of what that loses, brought in
        together.
        """
        rows, columns = tensor.shape
        vlen = self.target.vlen
        exact = exact or tensor.integer or tensor.precise
        copies = 2 if exact and isinstance(self.target.precision[format_key], Mx) else 1
        panel = self.new_panel(name, rows, columns, groups, pitch, copies=copies)
        physical, blocks = panel.physical_rows(vlen), panel.blocks(vlen)
        if not panel.is_packed:
            gap = panel.group_pitch - panel.group_columns
            heads = Reshape((rows, groups, panel.group_columns))
            tensor = tensor.through(heads, Pad(2, 0, gap), Reshape((rows, panel.lanes)))
        padded = (physical, round_up(panel.lanes, vlen))
        unit = self.element_bytes(format_key)
        with self.once(tensor), self.builder.step("load"):
            source = self.place(
                f"{name}_hbm", tensor, "column_blocks", format_key, padded, scale=scale, exact=copies > 1
            )
            self.builder.insert(
                LoadRowsOp(
                    dst=panel.buffer,
                    src=source,
                    rows=physical,
                    blocks=copies * blocks,
                    dst_block=panel.block,
                    src_row=vlen * unit,
                    src_block=physical * vlen * unit,
                )
            )
            if copies > 1:
                self._add_rest(panel)
        return panel

    def _add_rest(self, panel: Panel) -> None:
        """panel += the panel that follows it."""
        vlen = self.target.vlen
        rows = panel.blocks(vlen) * panel.physical_rows(vlen)
        self.builder.map(
            "add",
            PanelRows(panel.buffer, vlen, 0),
            PanelRows(panel.buffer, vlen, 0),
            PanelRows(self.builder.view(panel.buffer, rows * vlen), vlen, 0),
            size=(rows, 1),
        )

    def _load_state(self, state: StateRows) -> Panel:
        """A whole state in vector SRAM."""
        vlen = self.target.vlen
        panel = self.new_panel("state", state.rows, state.columns, state.groups, state.group_pitch, copies=2)
        with self.builder.step("load state"):
            self.load_state_part(state, 0, panel, panel.buffer)
            if state.rest:
                rows = panel.blocks(vlen) * panel.physical_rows(vlen)
                self.load_state_part(state, state.rest, panel, self.builder.view(panel.buffer, rows * vlen))
                self._add_rest(panel)
        return panel

    def load_state_part(self, state: StateRows, start: int, panel: Panel, dst: SSAValue) -> None:
        """The matrix of a state that begins at byte `start` into `dst`, as the rows of `panel` lie."""
        vlen = self.target.vlen
        self.builder.insert(
            LoadRowsOp(
                dst=dst,
                src=self.builder.view(state.buffer, start),
                rows=panel.physical_rows(vlen),
                blocks=panel.blocks(vlen),
                dst_block=panel.block,
                src_row=state.row,
                src_block=vlen * self.element_bytes(ACTIVATIONS[state.kv]),
                kv=state.kv,
            )
        )

    def load_exact(self, name: str, tensor: HostTensor) -> Panel:
        """A two-dimensional host tensor to bf16 precision.

        For what is no weight: the error of rotary angles would count as the program's, that of biases is not averaged.
        """
        return self.load(name, tensor, exact=True)

    def load_staged(self, tensor: HostTensor, form: str = "", *, scale: float = 1.0) -> Panel:
        """A matrix of the model's, under its own name and that of its `form`, times a power of two: all but real inputs
        to bf16 precision."""
        source = tensor.source
        name = "_".join(filter(None, (source.symbol or f"input{source.index}", form)))
        exact = source.kind == "data" or tensor.counts
        return self.load(_identifier(name), tensor, scale=scale, exact=exact)

    def panel(self, value: SSAValue) -> Panel:
        """The matrix in vector SRAM, loaded on first use if the host stages it: all but real inputs to bf16 precision.

        A tensor of another rank, which only the host rearranges, is loaded as rows of its last axis.
        """
        location = self.locations[value]
        if isinstance(location, HostTensor):
            self.loaded[value] = location
            if len(location.shape) != 2:
                columns = location.shape[-1] if location.shape else 1
                location = location.through(Reshape((prod(location.shape) // columns, columns)))
            once = not location.stack and self.iteration is not None
            location = self.locations[value] = self.load_staged(location)
            if once:
                self.shared.add(location.buffer)
        elif isinstance(location, StateRows):
            location = self.locations[value] = self._load_state(location)
        elif isinstance(location, Scalars):
            if value not in self.spread:
                self.spread[value] = spread(self, location, finite=not self.undefined.of(value))
            return self.spread[value]
        return location

    def constant_rows(self, name: str, rows: Array) -> HostTensor:
        """A constant matrix of a kernel's own as a host tensor; equal names must mean equal matrices.

        Raises:
            CompileError: a tensor of the model has that name.
        """
        known = self.data.get(name)
        if isinstance(known, Attribute):
            raise name_taken(name)
        if known is None:
            self.data[name] = rows
            self.builder.data(name, rows)
        shape = tuple(int(n) for n in rows.shape)
        return HostTensor(Source("data", symbol=name), shape)

    def host_value(self, value: HostValue) -> HostTensor:
        """What the host computes of inputs as a host tensor; equal values are staged from one computation."""
        symbol = self.host_values.get(value)
        if symbol is None:
            symbol = self.host_values[value] = f"host_{len(self.host_values)}"
            self.builder.host_value(symbol, attribute_of(value))
        source, kind = Source("host", symbol=symbol), np.dtype(value.dtype).kind
        precise = kind == "f" and not value.is_zero_one
        return HostTensor(source, value.shape, integer=kind in "iu", precise=precise)

    def host_value_of(self, source: Source) -> HostValue:
        """The value that a source names."""
        return next(value for value, symbol in self.host_values.items() if symbol == source.symbol)

    def decide(self, op: Operation, shape: ProductShape, unit: Unit) -> None:
        """Notes which schedule a product got, its cycles under every timing profile, and whether they agree."""
        self.decisions.append(describe_choice(op, shape, unit, self.target, self.schedule))

    def forget_packed(self, value: SSAValue) -> None:
        """Drops the packed forms of a value of a kernel's own, whose place another may take."""
        self.packed.pop(value, None)
        self.packed_vectors.pop(value, None)

    def count_macs(self, macs: int) -> None:
        """Adds multiply-accumulates of the operation being lowered, once for each iteration of a repetition."""
        module = self.builder.provenance.get(MODULE_ATTRIBUTE)
        name = module.data if isinstance(module, StringAttr) else ""
        self.useful_macs[name] = self.useful_macs.get(name, 0) + macs * self.iterations

    def set(self, value: SSAValue, location: TensorLocation) -> None:
        """Says where a value lies. What it has in common with an operand that is read later nothing may overwrite."""
        self.locations[value] = location
        op = value.owner
        if isinstance(location, Panel) and isinstance(op, Operation):
            for operand in op.operands:
                own = self.locations.get(operand)
                if isinstance(own, Panel) and own.buffer is location.buffer and is_read_behind(op, operand):
                    self.shared.add(location.buffer)


def is_read_behind(op: Operation, value: SSAValue) -> bool:
    """Whether anything reads a value after an operation of its block."""
    block = op.parent_block()
    for use in value.uses:
        user = None if block is None else block.find_ancestor_op_in_block(use.operation)
        if user is None or not (user is op or user.is_before_in_block(op)):
            return True
    return False


def name_taken(name: str) -> CompileError:
    """The error for a tensor of the model that is called as a matrix that kernels bring."""
    return CompileError(
        f"the model has a parameter or buffer `{name}`, which is the name of a matrix of the compiler",
        "model",
        "Rename it.",
    )


def _identifier(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)[-40:].strip("_") or "tensor"


Kernel = Callable[[Operation, KernelContext], None]

KERNELS: dict[type[Operation], Kernel] = {}
"""The kernel of every tensor-level operation."""


def kernel_for(*op_classes: type[Operation]) -> Callable[[Kernel], Kernel]:
    """Registers the kernel of tensor-level operations."""

    def register(function: Kernel) -> Kernel:
        for op_class in op_classes:
            KERNELS[op_class] = function
        return function

    return register


def lower_operation(op: Operation, ctx: KernelContext) -> None:
    """Runs the kernel of an operation; what it emits carries the operation's place in the model."""
    kernel = KERNELS.get(type(op))
    if kernel is None:
        raise refusal(op, None, UNSUPPORTED)
    before = ctx.builder.provenance
    ctx.builder.provenance = {k: v for k, v in op.attributes.items() if k == MODULE_ATTRIBUTE}
    with BlamedOn(op):
        kernel(op, ctx)
    ctx.builder.provenance = before


def input_tensor(index: int, value: SSAValue, *, integer: bool) -> HostTensor:
    """Argument number `index` of the function."""
    return HostTensor(Source("input", index), shape_of(value), integer=integer)


__all__ = [
    "KERNELS",
    "KernelContext",
    "input_tensor",
    "kernel_for",
    "lower_operation",
]


def spread(ctx: KernelContext, scalars: Scalars, *, finite: bool) -> Panel:
    """The tensor [rows, groups] as a panel; with one group all lanes of a row hold its number."""
    panel = ctx.new_panel("spread", scalars.rows, scalars.groups)
    spread_into(ctx, scalars, panel, finite=finite)
    return panel


def spread_into(ctx: KernelContext, scalars: Scalars, panel: Panel, *, finite: bool) -> None:
    """As `spread` into a packed panel of as many rows and columns."""
    vlen = ctx.target.vlen
    per_block = min(vlen, scalars.groups)
    masks = lane_masks(ctx, per_block, 1) if scalars.groups > 1 and finite else None
    for block in range(panel.blocks(vlen)):
        groups = min(per_block, scalars.groups - block * per_block)
        out = ctx.builder.view(panel.buffer, block * panel.block)
        spread_group(ctx, scalars, block * per_block, groups, out, masks, 0 if finite else 1)


def spread_group(
    ctx: KernelContext,
    scalars: Scalars,
    first: int,
    groups: int,
    out: SSAValue,
    masks: SSAValue | None,
    width: int = 0,
) -> None:
    """Rows of a column block: the scalars of `groups` groups from `first` on, each in the lanes of its mask row.

    With a `width` each is copied to so many lanes instead: products with 0 make NaN of infinities.
    """
    if width and groups > 1:
        _copy_group(ctx, scalars, first, groups, out, width)
        return
    scratch = ctx.builder.buffer("row", "vector", ctx.target.vlen) if groups > 1 else None
    ctx.builder.insert(
        SpreadScalarsOp(
            out=out,
            scratch=scratch,
            scalars=ctx.builder.view(scalars.buffer, first),
            masks=masks,
            rows=scalars.rows,
            groups=groups,
            scalars_row=scalars.groups,
        )
    )


def _copy_group(
    ctx: KernelContext, scalars: Scalars, first: int, groups: int, out: SSAValue, width: int
) -> None:
    """As `spread_group`, by way of a row written down in FP SRAM."""
    vlen, builder = ctx.target.vlen, ctx.builder
    row = builder.buffer("row_of_scalars", "fp", vlen)

    def fill(at: SSAValue, source: SSAValue, count: int) -> None:
        builder.insert(MapScalarsOp(kind="copy", out=at, a=source, count=count, out_step=1, a_step=0))

    fill(row, builder.constant(0.0), vlen)
    with builder.loop(scalars.rows) as r:
        with builder.loop(groups) as g:
            source = builder.view(scalars.buffer, r * scalars.groups + g + first)
            fill(builder.view(row, g * width), source, width)
        builder.insert(SplatOp(dst=builder.view(out, r * vlen), values=row, rows=1, dst_row=vlen))


def lane_masks(ctx: KernelContext, groups: int, width: int) -> SSAValue:
    """Row g is 1 in the lanes of group g of `width` lanes each and 0 elsewhere, in vector SRAM."""
    return constant_panel(
        ctx, f"lane_masks_{groups}_{width}", np.repeat(np.eye(groups, dtype=np.float32), width, axis=1)
    )


def constant_panel(ctx: KernelContext, name: str, rows: Array) -> SSAValue:
    """A constant of at most one column block in vector SRAM, brought in once."""
    known = ctx.constant_panels.get(name)
    if known is None:
        with ctx.builder.prologue():
            known = ctx.constant_panels[name] = ctx.load(name, ctx.constant_rows(name, rows)).buffer
    return known
