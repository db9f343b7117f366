"""`share-projections`: linear layers of one input read it together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.passes import ModulePass

from plena.dialects import plena
from plena.dialects.provenance import MODULE_ATTRIBUTE


@dataclass(frozen=True)
class ShareProjections(ModulePass):
    """Joins linear layers with the same input, all with a bias or all without, into one `plena.projections`.

    It stands where the first of them stood, with the operands of the others moved before it; its
    location names the modules that it computes.

    Before::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>) -> (tensor<4x6xf32>, tensor<4x2xf32>) {
            %0 = plena.parameter @q : tensor<6x8xf32>
            %1 = plena.linear %x, %0 {plena.module = "a.q"} : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x6xf32>
            %2 = plena.parameter @k : tensor<2x8xf32>
            %3 = plena.linear %x, %2 {plena.module = "a.k"} : (tensor<4x8xf32>, tensor<2x8xf32>) -> tensor<4x2xf32>
            func.return %1, %3 : tensor<4x6xf32>, tensor<4x2xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>) -> (tensor<4x6xf32>, tensor<4x2xf32>) {
            %0 = plena.parameter @q : tensor<6x8xf32>
            %1 = plena.parameter @k : tensor<2x8xf32>
            %2, %3 = plena.projections %x : tensor<4x8xf32> weights(%0, %1 : tensor<6x8xf32>, tensor<2x8xf32>) {plena.module = "a.{q,k}"} -> tensor<4x6xf32>, tensor<4x2xf32>
            func.return %2, %3 : tensor<4x6xf32>, tensor<4x2xf32>
          }
        }
    """

    name = "share-projections"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            if isinstance(function, func.FuncOp):
                for block in function.body.blocks:
                    _share(block)


def _share(block: Block) -> None:
    groups: dict[tuple[SSAValue, bool], list[plena.LinearOp]] = defaultdict(list)
    for op in block.ops:
        if isinstance(op, plena.LinearOp) and _is_staged(op):
            groups[op.input, op.bias is not None].append(op)
    for linears in groups.values():
        if len(linears) > 1:
            _join(linears)


def _is_staged(op: plena.LinearOp) -> bool:
    return all(isinstance(operand.owner, plena.ParameterOp) for operand in op.operands[1:])


def _join(linears: list[plena.LinearOp]) -> None:
    first = linears[0]
    block = first.parent
    assert block is not None
    for linear in linears[1:]:
        for operand in linear.operands[1:]:
            parameter = operand.owner
            assert isinstance(parameter, Operation)
            if not parameter.is_before_in_block(first):
                parameter.detach()
                block.insert_op_before(parameter, first)
    biases = [linear.bias for linear in linears if linear.bias is not None]
    joined = plena.ProjectionsOp(first.input, [linear.weight for linear in linears], biases)
    joined.attributes.update(joint_location(linears))
    block.insert_op_before(joined, first)
    for linear, output in zip(linears, joined.outputs, strict=True):
        linear.result.replace_all_uses_with(output)
        linear.detach()
        linear.erase()


def joint_location(joined: Sequence[Operation]) -> dict[str, Attribute]:
    """The first one's location, its module extended by the last path components of the others."""
    location = {k: v for k, v in joined[0].attributes.items() if k.startswith("plena.")}
    paths = [op.attributes.get(MODULE_ATTRIBUTE) for op in joined]
    texts = [path.data for path in paths if isinstance(path, StringAttr)]
    stems = {text.rpartition(".")[0] for text in texts}
    leaves = list(dict.fromkeys(text.rpartition(".")[2] for text in texts))
    if len(texts) == len(joined) and len(stems) == 1 and len(leaves) > 1:
        stem = stems.pop()
        location[MODULE_ATTRIBUTE] = StringAttr(f"{stem}{'.' if stem else ''}{{{','.join(leaves)}}}")
    return location
