"""`loop-experts`: many experts, a group of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, SymbolRefAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from plena.dialects import aten
from plena.dialects.plena import (
    ExpertsOp,
    FullAttr,
    ParameterOp,
    PlenaOp,
    RepeatOp,
    YieldOp,
    expert_symbol,
)
from plena.dialects.plena.staging import sliced, some_of, with_symbols
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.driver import run_pipeline
from plena.integers import ceil_div
from plena.machine.target import Target
from plena.passes.pipelines import BODY_PIPELINE
from plena.tensor.emission import location_of
from plena.tensor.expert_bodies import spreading
from plena.tensor.staged_parameters import expression_of

GROUP = "group of experts"
"""The symbol of the zeros and ones that take a group's columns of all experts' numbers."""


@dataclass(frozen=True)
class LoopExperts(ModulePass):
    """A loop over groups of experts, which adds up what they compute, where one layer for all would not do.

    Side by side the experts would be too wide for vector SRAM; or the product with their second matrices, whose
    reduction is over all of them, for matrix SRAM, so that it would read each weight once for every few tokens.
    `group` is how many are together, 0 for as many as can be. What a group needs of numbers [T, E] is a product with
    zeros and ones, which belong to the iteration as its parameters do.

    Before::

        builtin.module {
          func.func @main(%x: tensor<8x4xf32>, %m: tensor<8x2xf32>) -> tensor<8x4xf32> {
            %a = aten.parameter @a : tensor<2x4096x4xf32>
            %b = aten.parameter @b : tensor<2x4x4096xf32>
            %0 = plena.experts %m : tensor<8x2xf32> rows(%x : tensor<8x4xf32>) stacked(%a, %b : tensor<2x4096x4xf32>, tensor<2x4x4096xf32>) -> tensor<8x4xf32> {
            ^bb0(%1: tensor<8x4xf32>, %2: tensor<4096x4xf32>, %3: tensor<4x4096xf32>):
              %4 = aten.linear %1, %2 : (tensor<8x4xf32>, tensor<4096x4xf32>) -> tensor<8x4096xf32>
              %5 = aten.linear %4, %3 : (tensor<8x4096xf32>, tensor<4x4096xf32>) -> tensor<8x4xf32>
              plena.yield %5 : tensor<8x4xf32>
            }
            func.return %0 : tensor<8x4xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<8x4xf32>, %m: tensor<8x2xf32>) -> tensor<8x4xf32> {
            %a = aten.parameter @a : tensor<2x4096x4xf32>
            %b = aten.parameter @b : tensor<2x4x4096xf32>
            %0 = plena.parameter #plena.full<0.000000e+00 : f64, array<i64: 8, 4>> : tensor<8x4xf32>
            %1 = plena.repeat %0 {times = 2 : i64, stacked = [[#plena.view<#plena.concatenated<[#plena.full<1.000000e+00 : f64, array<i64: 1>>, #plena.full<0.000000e+00 : f64, array<i64: 2>>], 0 : i64>, [expand [2, 3], reshape [6], slice 0 0 4 1, reshape [2, 2], slice 1 0 1 1, reshape [1, 2]]>, #plena.view<#plena.concatenated<[#plena.full<1.000000e+00 : f64, array<i64: 1>>, #plena.full<0.000000e+00 : f64, array<i64: 2>>], 0 : i64>, [expand [2, 3], reshape [6], slice 0 0 4 1, reshape [2, 2], slice 1 1 2 1, reshape [1, 2]]>], [#plena.view<@a, [slice 0 0 1 1, reshape [4096, 4]]>, #plena.view<@a, [slice 0 1 2 1, reshape [4096, 4]]>], [#plena.view<@b, [slice 0 0 1 1, reshape [4, 4096]]>, #plena.view<@b, [slice 0 1 2 1, reshape [4, 4096]]>]]} : (tensor<8x4xf32>) -> tensor<8x4xf32> {
            ^bb0(%2: tensor<8x4xf32>, %3: tensor<1x2xf32>, %4: tensor<4096x4xf32>, %5: tensor<4x4096xf32>):
              %6 = plena.linear %m, %3 : (tensor<8x2xf32>, tensor<1x2xf32>) -> tensor<8x1xf32>
              %7 = plena.linear %x, %4 : (tensor<8x4xf32>, tensor<4096x4xf32>) -> tensor<8x4096xf32>
              %8 = plena.mul %7, %6 : (tensor<8x4096xf32>, tensor<8x1xf32>) -> tensor<8x4096xf32>
              %9 = plena.linear %8, %5 : (tensor<8x4096xf32>, tensor<4x4096xf32>) -> tensor<8x4xf32>
              %10 = plena.add %2, %9 : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
              plena.yield %10 : tensor<8x4xf32>
            }
            func.return %1 : tensor<8x4xf32>
          }
        }
    """

    name = "loop-experts"
    group: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = Target.from_module(op)
        for experts in [found for found in op.walk() if isinstance(found, ExpertsOp)]:
            group = self.group or _together(experts, target)
            stacks = [expression_of(value) for value in experts.stacked]
            known = [stack for stack in stacks if stack is not None]
            if group < experts.experts and len(known) == len(stacks) and experts.is_closed:
                _replace(experts, group, known, op)


def _together(op: ExpertsOp, target: Target) -> int:
    """How many experts can be one layer: the largest divisor of all of them that fits, all if a loop's body would not."""
    tokens, experts = shape_of(op.mask)
    products = [inner for inner in op.body.block.ops if isinstance(inner, aten.LinearOp | aten.MatmulOp)]
    reductions = [shape_of(p.input)[-1] for p in products if not _is_given(p.input, op)]
    inner = max(reductions, default=1)
    hidden = max((shape_of(p.result)[-1] for p in products), default=1)

    def fits(count: int) -> bool:
        tiles = ceil_div(count * inner, target.mlen)
        once = tokens <= target.broadcast_amount or tiles <= target.matrix_tiles - 2 * target.m_prefetch_tiles
        return once and 3 * tokens * count * hidden <= target.vector_sram_size // 2

    found = next((n for n in range(experts, 0, -1) if experts % n == 0 and fits(n)), 1)
    tiles = sum(
        ceil_div(shape_of(p.input)[-1], target.mlen) * ceil_div(shape_of(p.result)[-1], target.mlen)
        for p in products
    )
    return found if _instructions(tokens, found * tiles, target) <= target.max_loop_instructions else experts


def _instructions(tokens: int, tiles: int, target: Target) -> int:
    """About how many instructions products with so many tiles take, in the schedule that takes fewest."""
    by_rows = ceil_div(tokens, target.broadcast_amount)
    by_blocks = 4 * ceil_div(tokens, target.mlen * target.broadcast_amount)
    return 3 * min(by_rows, by_blocks) * tiles * max(1, target.mlen // target.hlen)


def _is_given(value: SSAValue, op: ExpertsOp) -> bool:
    """Whether it is one of the rows that every expert reads, or a view of one."""
    while isinstance(view := value.owner, aten.ViewOp):
        value = view.input
    return value in op.body.block.args[: len(op.rows)]


def _replace(op: ExpertsOp, group: int, stacks: list[Attribute], module: ModuleOp) -> None:
    found = _body(op, group, module)
    if found is None:
        return
    outer = [*op.rows, op.mask, *op.columns]
    steps = range(0, op.experts, group)
    choices = spreading(op.experts, 1)
    tables = [
        {
            GROUP: sliced(choices, 1, first, first + group),
            **{
                expert_symbol(n).string_value(): some_of(stack, first, first + group)
                for n, stack in enumerate(stacks)
            },
        }
        for first in steps
    ]
    zeros = ParameterOp(FullAttr(0.0, shape_of(op.result)), shape_of(op.result))
    _before(op, zeros)
    parameters = [inner for inner in found.ops if isinstance(inner, ParameterOp)]
    own = [p for p in parameters if with_symbols(p.value, tables[0]) != p.value]
    block = Block(arg_types=[op.result.type, *(p.result.type for p in own)])
    mapping: dict[SSAValue, SSAValue] = dict(zip(found.args, [block.args[0], *outer], strict=True))
    mapping.update(zip((p.result for p in own), block.args[1:], strict=True))
    for inner in found.ops:
        if inner in own:
            continue
        copy = inner.clone(mapping)
        if isinstance(inner, ParameterOp):
            _before(op, copy)
        elif isinstance(inner, ReturnOp):
            block.add_op(YieldOp(list(copy.operands)))
        else:
            block.add_op(copy)
    stacked = [[with_symbols(p.value, table) for table in tables] for p in own]
    repeat = RepeatOp(len(steps), [zeros.result], stacked, Region(block))
    repeat.attributes.update(location_of(op))
    _before(op, repeat)
    op.result.replace_all_uses_with(repeat.outputs[0])
    op.detach()
    op.erase()


def _before(op: Operation, new: Operation) -> None:
    parent = op.parent
    assert parent is not None
    parent.insert_op_before(new, op)


def _body(op: ExpertsOp, group: int, module: ModuleOp) -> Block | None:
    """One group's sum on top of what there is, as a function of that and of all that is not its own; in `plena` ops."""
    tokens = shape_of(op.mask)[0]
    numbers = [op.mask, *op.columns]
    block = Block(arg_types=[op.result.type, *(v.type for v in (*op.rows, *numbers))])
    rows, wide = block.args[1 : 1 + len(op.rows)], block.args[1 + len(op.rows) :]
    choice = ParameterOp(SymbolRefAttr(GROUP), (op.experts, group))
    block.add_op(choice)
    narrow: list[SSAValue] = []
    for value in wide:
        element = element_type_of(value)
        product = aten.MatmulOp.build(
            operands=[value, choice.result], result_types=[TensorType(element, (tokens, group))]
        )
        block.add_op(product)
        narrow.append(product.result)
    stacked: list[SSAValue] = []
    for n, value in enumerate(op.stacked):
        kind = TensorType(element_type_of(value), (group, *shape_of(value)[1:]))
        parameter = aten.ParameterOp.build(properties={"symbol": expert_symbol(n)}, result_types=[kind])
        block.add_op(parameter)
        stacked.append(parameter.result)
    inner = ExpertsOp(narrow[0], rows, narrow[1:], stacked, op.body.clone())
    total = aten.AddOp.build(operands=[block.args[0], inner.result], result_types=[op.result.type])
    for new in (inner, total):
        new.attributes.update(location_of(op))
        block.add_op(new)
    block.add_op(ReturnOp(total.result))
    return lowered_body(block, module, ("lower-experts", *BODY_PIPELINE))


def lowered_body(block: Block, module: ModuleOp, passes: Sequence[str]) -> Block | None:
    """A block that ends in func.return, run through passes to the level of `plena` as a function of its own.

    Args:
        module: its attributes, among them the target, are the function's.

    Returns: the block, in no region; None if something has no form at that level.
    """
    leave = block.last_op
    assert isinstance(leave, ReturnOp)
    types = tuple(a.type for a in block.args), tuple(value.type for value in leave.arguments)
    function = FuncOp("main", types, Region(block))
    run_pipeline(ModuleOp([function], attributes=dict(module.attributes)), passes)
    found = function.body.block
    if not all(isinstance(inner, PlenaOp | ReturnOp) for inner in found.ops):
        return None
    function.body.detach_block(found)
    return found
