"""How far into HBM a program reads: up to there a load for nobody does no harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from xdsl.dialects.builtin import IndexType
from xdsl.ir import Block, Operation, SSAValue

from plena.dialects.loop import Linear, linear_of
from plena.dialects.loop.nests import largest_value
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.plena_isa.transfer import TransferInstruction
from plena.loops.effects import Resource, resource_of_cell, touches_in_order
from plena.machine.target import Target

Origin: TypeAlias = tuple[Resource | Linear, Linear | None]
"""What offsets count from: the base of a transfer and the distance of its scales."""


@dataclass(frozen=True)
class Reach:
    """The byte behind the last that certainly is loaded, by what it counts from; scales lie as far then."""

    target: Target
    ends: Mapping[Origin, int] = field(default_factory=dict[Origin, int])

    @staticmethod
    def of(module: Operation, target: Target) -> Reach:
        """That of a program. Numbers of run time count as 0, bases that it changes are left out."""
        ends, changed = dict[Origin, int](), set[Resource]()
        for op in module.walk():
            if isinstance(op, TransferInstruction):
                if op.transfer.is_load and (end := _end(op, target, 0)) is not None:
                    ends[_origin(op)] = max(end, ends.get(_origin(op), 0))
            elif isinstance(op, Instruction):
                changed.update(e.resource for e in touches_in_order(op, target) if e.writes)
        return Reach(target, {origin: end for origin, end in ends.items() if origin[0] not in changed})

    def holds(self, load: Instruction, further: int) -> bool:
        """Whether a load, so many bytes behind where it ends last, is still in what the program loads elsewhere."""
        if not isinstance(load, TransferInstruction):
            return False
        end = _end(load, self.target, None)
        return end is not None and end + further <= self.ends.get(_origin(load), 0)


def _origin(op: TransferInstruction) -> Origin:
    base, scale = op.operand_named("base"), op.operand_named("scale")
    assert base is not None
    own = linear_of(base) if isinstance(base.type, IndexType) else resource_of_cell(base)
    return own, None if scale is None else linear_of(scale)


def _end(op: TransferInstruction, target: Target, at_run_time: int | None) -> int | None:
    """Behind the last byte of elements; None if the row pitch is not known, or an offset hangs on a run-time number
    and nothing says what that counts as."""
    stride, offset = op.operand_named("stride"), op.address("off")
    pitch = Linear(target.vlen) if not op.number("rstride") else None if stride is None else linear_of(stride)
    if pitch is None or not pitch.is_constant:
        return None
    most: dict[SSAValue, tuple[int, int]] = {}
    for value, _ in offset.terms:
        if isinstance(value.owner, Block):
            most[value] = (0, largest_value(value))
        elif at_run_time is None:
            return None
        else:
            most[value] = (at_run_time, at_run_time)
    bits = op.transfer.number_format(target, op.number("precision")).element_bits
    return offset.range(most)[1] + (op.transfer.rows(target) - 1) * pitch.constant + target.vlen * bits // 8
