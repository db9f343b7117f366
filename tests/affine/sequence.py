"""The instructions a program executes, one after the other, with their addresses as numbers."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, SSAValue

from plena.dialects.loop import ForOp, Linear, linear_of
from plena.dialects.plena_isa import Instruction, RegisterOp
from plena.dialects.plena_isa.instruction import property_slots


def executed(module: ModuleOp) -> list[tuple[object, ...]]:
    """(mnemonic, operands, flags) of every executed instruction.

    A number loaded at run time is named by the position of the instruction that loads it.
    """
    cells = [op.results[0] for op in module.walk() if isinstance(op, RegisterOp)]
    names = {cell: f"{cell.type} {number}" for number, cell in enumerate(cells)}
    return list(_block(module.body.block, {}, [0], names))


def _block(
    block: Block, values: dict[SSAValue, Linear], count: list[int], names: dict[SSAValue, str]
) -> Iterator[tuple[object, ...]]:
    for op in block.ops:
        if isinstance(op, ForOp):
            for iteration in range(op.trips):
                yield from _block(op.body.block, {**values, op.index: Linear(iteration)}, count, names)
        elif isinstance(op, Instruction):
            operands = tuple(
                (slot.name, _operand(value, values, names)) for slot, value in op.named_operands()
            )
            flags = tuple(op.number(slot.name) for slot in property_slots(op.SPEC))
            if op.results:
                values[op.results[0]] = Linear(0, ((_Loaded(count[0]), 1),))  # type: ignore[arg-type]
            count[0] += 1
            yield (op.SPEC.mnemonic, operands, flags)


def _operand(value: SSAValue, values: dict[SSAValue, Linear], names: dict[SSAValue, str]) -> str:
    if value in names:
        return names[value]
    expression = linear_of(value)
    total = Linear(expression.constant)
    for v, c in expression.terms:
        total = total + values[v] * c
    return f"{total.constant} + {sorted((str(v), c) for v, c in total.terms)}"


class _Loaded(int):
    """The position of an S_LD_INT, standing for the number it loads."""
