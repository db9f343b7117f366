"""`pick-experts`: where few tokens choose few experts, only those are run whose parameters they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from plena.dialects import aten
from plena.dialects.plena import (
    EXPERT_TENSORS,
    ChosenExpertsOp,
    ExpertsOp,
    LinearOp,
    ProjectionsOp,
    RouteOp,
    YieldOp,
)
from plena.dialects.tensor_shapes import shape_of
from plena.kernels.expert_cost import ExpertProducts, cycles_of_all, cycles_of_chosen
from plena.machine.target import Target
from plena.passes.loop_experts import lowered_body
from plena.passes.pipelines import BODY_PIPELINE
from plena.tensor.picked_experts import PickedBody, picked_body
from plena.tensor.staged_parameters import expression_of
from plena.timing.registry import DEFAULT_TIMING

ExpertSchedule = Literal["auto", "all", "chosen"]

MOST_IDS = 512
"""Words of INT SRAM that the ids of all tokens may take, of 1,024: kept ones stay until their experts have run."""


@dataclass(frozen=True)
class PickExperts(ModulePass):
    """An expert of a token is found by its id at run time, for each token and slot, where that is faster.

    What is compared are the products of the bodies and the transfers of their matrices: `experts` "auto" takes the
    faster one, "chosen" always picks, "all" never. A choice that is not what plena.route gives, or a body that needs
    more than rows, numbers and parameters of its expert, is left to `lower-experts`. The new body is at the level of
    `plena`.

    Before::

        builtin.module {
          func.func @main(%x: tensor<1x4xf32>, %s: tensor<1x8xf32>) -> tensor<1x4xf32> {
            %a = aten.parameter @a : tensor<8x4x4xf32>
            %0 = plena.route %s {k = 2 : i64} : (tensor<1x8xf32>) -> tensor<1x8xf32>
            %1 = plena.experts %0 : tensor<1x8xf32> rows(%x : tensor<1x4xf32>) stacked(%a : tensor<8x4x4xf32>) -> tensor<1x4xf32> {
            ^bb0(%2: tensor<1x4xf32>, %3: tensor<4x4xf32>):
              %4 = aten.linear %2, %3 : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
              plena.yield %4 : tensor<1x4xf32>
            }
            func.return %1 : tensor<1x4xf32>
          }
        }

    After::

        builtin.module attributes {plena.expert_tensors = ["a"]} {
          func.func @main(%x: tensor<1x4xf32>, %s: tensor<1x8xf32>) -> tensor<1x4xf32> {
            %a = aten.parameter @a : tensor<8x4x4xf32>
            %0 = plena.route %s {k = 2 : i64} : (tensor<1x8xf32>) -> tensor<1x8xf32>
            %1 = plena.chosen_experts %0 : tensor<1x8xf32> rows(%x : tensor<1x4xf32>) stacked(%a : tensor<8x4x4xf32>) {k = 2 : i64} -> tensor<1x4xf32> {
            ^bb0(%2: tensor<1x4xf32>):
              %3 = plena.parameter @"expert 0" : tensor<4x4xf32>
              %4 = plena.linear %2, %3 : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
              plena.yield %4 : tensor<1x4xf32>
            }
            func.return %1 : tensor<1x4xf32>
          }
        }
    """

    name = "pick-experts"
    experts: ExpertSchedule = "auto"
    timing: str = DEFAULT_TIMING

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = Target.from_module(op)
        _name_tensors(op)
        if self.experts == "all":
            return
        for found in [inner for inner in op.walk() if isinstance(inner, ExpertsOp)]:
            experts = _with_rows_of_one_token(found)
            if not _can_be_picked(experts):
                continue
            body = picked_body(experts)
            block = None if body is None else _lowered(body, op)
            if body is None or block is None:
                continue
            if self.experts == "chosen" or self._is_faster(experts, block, target):
                _replace(experts, body, block)

    def _is_faster(self, op: ExpertsOp, body: Block, target: Target) -> bool:
        tokens, experts = shape_of(op.mask)
        weights = [
            weight
            for layer in body.ops
            if isinstance(layer, LinearOp | ProjectionsOp)
            for weight in ([layer.weight] if isinstance(layer, LinearOp) else layer.weights)
        ]
        layers = [shape_of(weight) for weight in weights]
        products = ExpertProducts(tokens, experts, _chosen(op), tuple((s[0], s[1]) for s in layers))
        return cycles_of_chosen(products, target, self.timing) < cycles_of_all(products, target, self.timing)


def _name_tensors(module: ModuleOp) -> None:
    """Notes on the module which tensors belong to experts."""
    names: set[str] = set()
    for op in module.walk():
        if isinstance(op, ExpertsOp):
            behind = list(op.stacked)
            while behind:
                owner = behind.pop().owner
                if isinstance(owner, aten.ParameterOp):
                    names.add(owner.symbol.string_value())
                elif isinstance(owner, Operation):
                    behind.extend(owner.operands)
    if names:
        module.attributes[EXPERT_TENSORS] = ArrayAttr([StringAttr(name) for name in sorted(names)])


def _with_rows_of_one_token(op: ExpertsOp) -> ExpertsOp:
    """The operation with what its body reads of a single token as rows: with one slot nothing told it from numbers that
    all tokens share."""
    block = op.body.block
    used = [operand for inner in block.ops for operand in inner.operands if not op.is_inside(operand)]
    outer = [value for value in dict.fromkeys(used) if expression_of(value) is None]
    if shape_of(op.mask)[0] > 1 or not outer or any(shape_of(value)[:1] != (1,) for value in outer):
        return op
    for n, value in enumerate(outer):
        argument = block.insert_arg(value.type, len(op.rows) + n)
        value.replace_uses_with_if(argument, lambda use: use.operation.parent is block)
    new = ExpertsOp(op.mask, [*op.rows, *outer], op.columns, op.stacked, op.detach_region(op.body))
    new.attributes.update(op.attributes)
    parent = op.parent_block()
    assert parent is not None
    parent.insert_op_before(new, op)
    op.result.replace_all_uses_with(new.result)
    op.detach()
    op.erase()
    return new


def _chosen(op: ExpertsOp) -> int:
    route = op.mask.owner
    assert isinstance(route, RouteOp)
    return route.k.value.data


def _can_be_picked(op: ExpertsOp) -> bool:
    """Whether ids say which experts run, and all that these need are rows, numbers and parameters."""
    tokens = shape_of(op.mask)[0]
    return (
        isinstance(op.mask.owner, RouteOp)
        and tokens * _chosen(op) <= MOST_IDS // 2
        and all(expression_of(value) is not None for value in op.stacked)
        and op.is_closed
    )


def _lowered(body: PickedBody, module: ModuleOp) -> Block | None:
    """The body at the level of `plena`; None if something has no form there."""
    block = lowered_body(body.block, module, BODY_PIPELINE)
    if block is not None:
        leave = block.last_op
        assert isinstance(leave, ReturnOp)
        block.insert_op_before(YieldOp(list(leave.arguments)), leave)
        leave.detach()
        leave.erase()
    return block


def _replace(op: ExpertsOp, body: PickedBody, block: Block) -> None:
    parent = op.parent_block()
    assert parent is not None

    def viewed(value: SSAValue, as_type: Attribute) -> SSAValue:
        if value.type == as_type:
            return value
        view = aten.ViewOp.build(operands=[value], result_types=[as_type], attributes=dict(op.attributes))
        parent.insert_op_before(view, op)
        return view.results[0]

    rows = [viewed(value, as_type) for value, as_type in body.rows]
    new = ChosenExpertsOp(
        *(op.mask, rows, body.columns, op.stacked, _chosen(op), Region(block), body.scores),
        attributes=dict(op.attributes),
    )
    parent.insert_op_before(new, op)
    op.result.replace_all_uses_with(viewed(new.result, op.result.type))
    op.detach()
    op.erase()


__all__ = ["ExpertSchedule", "PickExperts"]
