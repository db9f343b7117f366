"""`convert-plena-to-tile`: kernels on tensors become tile operations on buffers, inside counted loops."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    Float32Type,
    IntegerAttr,
    IntegerType,
    ModuleOp,
    StringAttr,
    TensorType,
    i64,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from plena.dialects.plena import EXPERT_TENSORS, RearrangeOp, ReshapeOp
from plena.dialects.refusals import place_of
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.dialects.tile import CHOICES, BufferOp, ChoicesAttr
from plena.errors import CompileError
from plena.host.layout import Source, TensorPlacement
from plena.host.placement_attributes import placement_attribute, with_infinities
from plena.host.view import Pad, Permute, Reshape, Step
from plena.kernels import (
    arithmetic,
    chosen_experts,
    embedding,
    layout,
    linear,
    movement,
    norms,
    patches,
    products,
    reductions,
    repeat,
    rotary,
    routing,
    state,
)
from plena.kernels.attention import forms
from plena.kernels.builder import TileBuilder
from plena.kernels.context import KernelContext, input_tensor, lower_operation
from plena.kernels.elementwise import copy_panel
from plena.kernels.interleaved_heads import interleave_heads
from plena.kernels.product_cost import PRODUCT_OF, is_wrong
from plena.kernels.product_mix import grouped_products
from plena.kernels.schedule import LoopOrder, Schedule
from plena.kernels.tensors import Panel
from plena.machine.choices import AttentionChoice, Machine, MatmulChoice, Objective, Staging
from plena.machine.target import Target
from plena.tensor.infinite_inputs import inputs_that_may_be_infinite
from plena.tensor.infinities import makes_undefined_rows
from plena.tensor.undefined_values import undefined_values
from plena.timing.registry import DEFAULT_TIMING, profile_named

USEFUL_MACS = "plena.useful_macs"
"""Module attribute: multiply-accumulates of the mathematical operations by module path of the model."""

_REGISTERED = (
    arithmetic,
    chosen_experts,
    forms,
    embedding,
    layout,
    linear,
    movement,
    norms,
    patches,
    products,
    reductions,
    repeat,
    rotary,
    routing,
    state,
)


@dataclass(frozen=True)
class ConvertPlenaToTile(ModulePass):
    """Replaces func.func @main by the flat body of a tile-level program.

    Arguments and parameters become HBM buffers in the layout their kernel wants, results vector SRAM buffers;
    reshapes and rearrangements at both ends become views in their placements; matrices that kernels bring themselves
    are `tile.data`. What was chosen, and which options would change it, is the module's `tile.choices`. Buffers have room behind them for what
    transfers and products write beyond the last row.

    Before::

        builtin.module attributes {plena.target = {BROADCAST_AMOUNT = 1 : i64}} {
          func.func @main(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
            %0 = plena.mul_scalar %x, 2.000000e+00 : f64 : (tensor<4x64xf32>) -> tensor<4x64xf32>
            func.return %0 : tensor<4x64xf32>
          }
        }

    After::

        builtin.module attributes {plena.target = {BROADCAST_AMOUNT = 1 : i64}, plena.useful_macs = {}, tile.choices = #tile.choices<sections 1, []>} {
          %0 = tile.buffer @input0 [4352] : !tile.buffer<vector> placements [#tile.placement<"output_0" of output 0 as column_blocks [4, 64] bf16 padded [4, 64]>]
          %1 = tile.buffer @input0_hbm [256] : !tile.buffer<hbm> placements [#tile.placement<"input0_hbm" of input 0 as column_blocks [4, 64] HBM_V_ACT_TYPE padded [4, 64] view [infinite 1]>]
          %2 = tile.constant [2.000000e+00 : f64]
          tile.load_rows dst(%0 : vector) src(%1 : hbm) rows = 4 blocks = 1 dst_block = 256 src_row = 64 src_block = 256 attributes {plena.step = "load"}
          tile.elementwise rows = 4 blocks = 1 out(%0[64, 256]) in(%0[64, 256]) {
          ^bb0(%3: !tile.lanes):
            %4 = tile.lanewise "mul" %3, %2 : !tile.buffer<fp>
            tile.yield %4
          }
        }
    """

    name = "convert-plena-to-tile"
    objective: Objective = "cycles"
    timing: str = DEFAULT_TIMING
    matmul: MatmulChoice = "auto"
    attention: AttentionChoice = "auto"
    query_block: int = 0
    order: LoopOrder = "heads"
    parts: int = 1
    sections: int = 4
    pairing: bool = False
    shortening: int = 0
    row_groups: bool = True
    by_matrices: int = 0
    staging: Staging = "public"
    machine: Machine = "emulator"
    allow_unsupported: bool = False

    @staticmethod
    def of(schedule: Schedule) -> ConvertPlenaToTile:
        """The pass with the options of a schedule."""
        return ConvertPlenaToTile(**{f.name: getattr(schedule, f.name) for f in fields(Schedule)})

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        profile_named(self.timing, self.name)
        schedule = Schedule(**{f.name: getattr(self, f.name) for f in fields(Schedule)})
        _require_unit(schedule, Target.from_module(op))
        convert(op, schedule)


def _require_unit(schedule: Schedule, target: Target) -> None:
    """Whether the target has what products are asked to be made by.

    Raises:
        CompileError: it has no broadcast unit, or one that means something else there, or that the machine behind the
            timing profile does not execute right.
    """
    matmul = schedule.matmul
    if schedule.machine == "rtl" and matmul in ("broadcast", "vector"):
        raise CompileError(
            f"matmul {matmul} needs instructions that the RTL does not execute as the emulator does",
            "options",
            "Leave matmul out: products are made by M_MM there.",
        )
    if matmul in ("broadcast", "vector") and not target.has_broadcast:
        raise CompileError(
            f"matmul {matmul} needs the broadcast unit, which this target has not: BROADCAST_AMOUNT "
            f"{target.broadcast_amount} * HLEN {target.hlen} is not MLEN {target.mlen}, or HLEN is 1",
            "options",
            "Leave matmul out: the compiler takes what the target has.",
        )
    if is_wrong(matmul, target, schedule):
        raise CompileError(
            f"matmul {matmul} makes products by {PRODUCT_OF[matmul]}, which has cycles under {schedule.timing}, but which "
            "the machine that they were measured on does not execute right",
            "options",
            "Leave matmul out, or add allow_unsupported=True to count with these cycles (docs/timing.md).",
        )


def convert(module: ModuleOp, schedule: Schedule) -> None:
    """Converts in place."""
    functions = [f for f in module.body.block.ops if isinstance(f, FuncOp)]
    if len(functions) != 1:
        raise CompileError(f"a program is one function, found {len(functions)}")
    (function,) = functions
    kernels = KernelContext(TileBuilder(Target.from_module(module), schedule.machine), schedule)
    kernels.may_hold_nan = any(makes_undefined_rows(op) for op in function.walk())
    kernels.undefined = undefined_values(function)
    products = grouped_products(function, kernels.target, schedule) if schedule.by_matrices else []
    kernels.matrix_products.update(products[: schedule.by_matrices])
    interleave_heads(function, kernels)
    infinite = inputs_that_may_be_infinite(function)
    routed = module.attributes.get(EXPERT_TENSORS)
    if isinstance(routed, ArrayAttr):
        kernels.routed = {name.data for name in routed if isinstance(name, StringAttr)}
    for index, argument in enumerate(function.body.block.args):
        assert isinstance(argument.type, TensorType)
        element = argument.type.element_type
        integer = isinstance(element, IntegerType) and element.width.data > 1
        kernels.set(argument, input_tensor(index, argument, integer=integer))
    for op in function.body.block.ops:
        _lower(op, kernels)
    module.attributes[USEFUL_MACS] = DictionaryAttr(
        {path: IntegerAttr(macs, i64) for path, macs in kernels.useful_macs.items()}
    )
    module.attributes[CHOICES] = ChoicesAttr.of(
        order=kernels.tunable,
        pairing=kernels.pairable,
        shortening=kernels.mixable,
        row_groups=kernels.grouped,
        sections=kernels.sections,
        decisions=kernels.decisions,
    )
    function.detach()
    function.erase(safe_erase=False)
    by_name: dict[int | str, bool] = {}
    for given, rows in infinite.items():
        name = given if isinstance(given, int) else kernels.host_values.get(given)
        if name is not None:
            by_name[name] = rows
    for op in list(kernels.builder.finish().body.block.ops):
        if isinstance(op, BufferOp) and op.placements is not None:
            op.placements = ArrayAttr([with_infinities(placed, by_name) for placed in op.placements])
        op.detach()
        module.body.block.add_op(op)


def _lower(op: Operation, kernels: KernelContext) -> None:
    if isinstance(op, ReturnOp):
        for index, value in enumerate(op.arguments):
            _return(value, index, kernels)
        return
    if isinstance(op, RearrangeOp | ReshapeOp) and not _is_host(op, kernels) and _only_returned(op):
        return
    lower_operation(op, kernels)


def _only_returned(op: RearrangeOp | ReshapeOp) -> bool:
    """Whether what is read of it are results alone, perhaps rearranged once more."""
    users = [use.operation for use in op.result.uses]
    return all(
        isinstance(user, ReturnOp) or (isinstance(user, RearrangeOp | ReshapeOp) and _only_returned(user))
        for user in users
    )


def _is_host(op: RearrangeOp | ReshapeOp, kernels: KernelContext) -> bool:
    return op.input in kernels.locations and kernels.host(op.input) is not None


def _return(value: SSAValue, index: int, kernels: KernelContext) -> None:
    """Gives the buffer of a result its placement; rearrangements of a result are the host's."""
    steps: list[Step] = []
    while isinstance(op := value.owner, RearrangeOp | ReshapeOp) and value not in kernels.locations:
        # Outputs are read back through the view's inverse, so the steps run from the result to the panel.
        steps.extend(_inverse(op))
        value = op.input
    if not isinstance(element_type_of(value), Float32Type):
        _return_integers(value, index, steps, kernels)
        return
    panel = kernels.panel(value)
    if shape_of(value) != (panel.rows, panel.columns):
        steps.append(Reshape((panel.rows, panel.columns)))
    buffer = panel.buffer.owner
    if not isinstance(buffer, BufferOp) or buffer.placements is not None:
        copy = kernels.new_panel("result", panel.rows, panel.columns, panel.groups, panel.group_pitch)
        copy_panel(kernels, panel, copy)
        panel, buffer = copy, copy.buffer.owner
        assert isinstance(buffer, BufferOp)
    output = _output(panel, index, steps, kernels)
    buffer.placements = ArrayAttr([placement_attribute(output, kernels.data)])


def _return_integers(value: SSAValue, index: int, steps: list[Step], kernels: KernelContext) -> None:
    """Integers and booleans pass through INT SRAM, which holds them as they are."""
    tensor = kernels.host(value)
    where = place_of(value.owner) if isinstance(value.owner, Operation) else None
    what = f"result {index}, {prod(shape_of(value))} integers of shape {shape_of(value)},"
    if tensor is None:
        raise CompileError(f"{what} would have to be computed", where, "Compute it outside.")
    tensor = tensor.through(Reshape((prod(tensor.shape),)))
    if prod(tensor.shape) > kernels.target.int_sram_size:
        raise CompileError(f"{what} does not fit INT SRAM", where, "Return it outside.")
    placement = TensorPlacement(
        f"result_{index}", "int", 0, tensor.shape, "words", "u32", tensor.source, view=tensor.view
    )
    view = (*steps, Reshape(tensor.shape))
    output = replace(placement, name=f"output_{index}", source=Source("output", index), view=view)
    kernels.placed_buffer(placement.name, "int", placement.elements, [placement, output])


def _inverse(op: RearrangeOp | ReshapeOp) -> list[Step]:
    if isinstance(op, ReshapeOp):
        return [Reshape(shape_of(op.input))]
    factors, order = op.factors.get_values(), op.order.get_values()
    permuted = tuple(factors[i] for i in order)
    inverse = tuple(order.index(i) for i in range(len(order)))
    return [Reshape(permuted), Permute(inverse), Reshape(shape_of(op.input))]


def _output(panel: Panel, index: int, steps: list[Step], kernels: KernelContext) -> TensorPlacement:
    vlen = kernels.target.vlen
    rows, physical = panel.rows, panel.block // vlen
    matrix: tuple[int, ...] = (rows, panel.columns)
    if not panel.is_packed:
        matrix = (rows, panel.lanes)
        heads = Reshape((rows, panel.groups, panel.group_columns))
        steps = [*steps, heads, Pad(2, 0, panel.group_pitch - panel.group_columns), Reshape(matrix)]
    return TensorPlacement(
        name=f"output_{index}",
        memory="vector",
        address=0,
        shape=matrix,
        layout="column_blocks",
        format="bf16",
        source=Source("output", index),
        padded=(physical, panel.blocks(vlen) * vlen),
        view=tuple(steps),
    )
