"""What an instruction or a whole loop touches: rectangles of memories, and cells without addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.traits import IsTerminator, get_effects

from plena.dialects.loop import AffineOp, ForOp, Linear, YieldOp
from plena.dialects.plena_isa.control import RegisterOp
from plena.dialects.plena_isa.instruction import Access, Instruction
from plena.dialects.plena_isa.registers import PlenaRegister, is_zero_cell
from plena.dialects.plena_isa.spec import Memory, Mode
from plena.machine.constants import INT_LIMIT
from plena.machine.target import Target


class Everything:
    """All memories and registers at once."""

    def __repr__(self) -> str:
        return "everything"


EVERYTHING = Everything()
"""The resource of what does not say what it touches: its effect conflicts with every other."""

Resource: TypeAlias = Memory | SSAValue | Attribute | Everything
"""A memory, a virtual register cell (its value) or a machine register (its type: it may be declared twice)."""

WHOLE_CELL = Linear(0)
"""The place of what has no addresses."""

COARSE_LIMIT = 256
"""Effects on one resource that a loop may have before they are merged into bounding rectangles."""

ACCUMULATORS = (Memory.ACC_MM, Memory.ACC_V, Memory.ACC_BMM, Memory.ACC_BMV)
"""Accumulators: zero at reset, each cleared only by its own write-out (plena_isa.md section 1.3)."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A rectangle of a resource that is touched: `rows` rows of `width` cells, `pitch` apart, from `base` on.

    `base` None: any part of the resource. `inner` are the values in `base` that belong to one execution of the op
    (indices of loops inside it, run-time numbers it loads) with their largest values; all other values are those of
    the surroundings.
    """

    resource: Resource
    mode: Mode
    base: Linear | None = WHOLE_CELL
    rows: int = 1
    width: int = 1
    pitch: int = 0
    inner: tuple[tuple[SSAValue, int], ...] = ()

    @property
    def writes(self) -> bool:
        return Mode.WRITE in self.mode

    @property
    def reads(self) -> bool:
        return Mode.READ in self.mode


ANYTHING = Effect(EVERYTHING, Mode.UPDATE, None)
"""The effect of an operation whose effects are not declared."""

Effects: TypeAlias = dict[Resource, tuple[Effect, ...]]


def resource_of_cell(cell: SSAValue) -> Resource:
    """The resource a register operand stands for."""
    kind = cell.type
    return kind if isinstance(kind, PlenaRegister) and kind.is_allocated else cell


def is_free(op: Instruction) -> bool:
    """Whether an instruction does nothing because its destination is f0 (plena_isa.md section 3.5)."""
    if not op.SPEC.free_if_f0:
        return False
    return is_zero_cell(op.operand_named(op.SPEC.slots[0].name))


def touches_in_order(op: Instruction, target: Target) -> Iterator[Effect]:
    """The effects of one instruction: what it reads, then what it writes."""
    if is_free(op):
        return
    for slot, value in op.named_operands():
        if isinstance(value.type, PlenaRegister):
            yield Effect(resource_of_cell(value), slot.mode)
    accesses = op.accesses(target)
    if accesses is None:
        yield ANYTHING
        return
    for access in accesses:
        yield Effect(access.memory, access.mode, _base(access), access.rows, access.width, access.pitch)


def _base(access: Access) -> Linear | None:
    if access.base is None and not access.memory.is_addressed:
        return WHOLE_CELL
    return access.base


class EffectTable:
    """Effects of operations for one target, remembered per operation.

    Discard it when the program changes, or `forget` the loops that operations have left or entered.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._known: dict[Operation, Effects] = {}

    def of(self, op: Operation) -> Effects:
        """The effects of one execution of an instruction, or of a loop from first to last iteration.

        An operation that does not declare its effects touches everything.
        """
        found = self._known.get(op)
        if found is None:
            if isinstance(op, Instruction):
                found = _grouped(list(touches_in_order(op, self.target)))
            elif isinstance(op, ForOp):
                found = self.of_body(op)
                found = _grouped([_enclosed(e, op.body.block) for group in found.values() for e in group])
            elif touches_nothing(op):
                found = {}
            else:
                found = _grouped([ANYTHING])
            self._known[op] = found
        return found

    def forget(self, loop: ForOp) -> None:
        """The body of a loop has changed; what is in the loop has not, and the loops around it were not asked for."""
        self._known.pop(loop, None)

    def of_body(self, loop: ForOp) -> Effects:
        """The effects of one iteration of a loop; its index and the numbers loaded in it are free values."""
        return self.of_sequence(loop.operations)

    def of_sequence(self, operations: Sequence[Operation]) -> Effects:
        """The effects of operations of one block, executed once."""
        return _grouped([e for op in operations for group in self.of(op).values() for e in group])

    def first_touches(self, operations: Sequence[Operation]) -> dict[Resource, Mode]:
        """How each resource without addresses is first touched when the operations run once.

        Operations other than instructions and loops are left out: ask `of_sequence` whether one touches everything.
        """
        first: dict[Resource, Mode] = {}
        for op in operations:
            for inner in op.walk():
                if isinstance(inner, Instruction):
                    reads = list(touches_in_order(inner, self.target))
                    for effect in sorted(reads, key=lambda e: not e.reads):
                        first.setdefault(effect.resource, effect.mode)
        return first


_WITHOUT_EFFECT = (AffineOp, YieldOp, RegisterOp)


def touches_nothing(op: Operation) -> bool:
    """Whether an operation that is no instruction certainly has no effect when it runs."""
    if isinstance(op, _WITHOUT_EFFECT):
        return True
    return op.has_trait(IsTerminator) or get_effects(op) == frozenset()


def _enclosed(effect: Effect, body: Block) -> Effect:
    """The effect as seen from outside a loop: values of its body become values of the execution."""
    if effect.base is None:
        return effect
    known = {value for value, _ in effect.inner}
    added: list[tuple[SSAValue, int]] = []
    for value, _ in effect.base.terms:
        owner = value.owner
        if value in known:
            continue
        if owner is body:
            loop = body.parent_op()
            assert isinstance(loop, ForOp)
            added.append((value, loop.trips - 1))
        elif isinstance(owner, Operation) and owner.parent is body:
            added.append((value, INT_LIMIT - 1))
    return replace(effect, inner=(*effect.inner, *added)) if added else effect


def _grouped(effects: list[Effect]) -> Effects:
    """Effects by resource: equal rectangles once, too many of them as bounding rectangles."""
    merged: dict[tuple[object, ...], Effect] = {}
    for e in effects:
        key = (e.resource, e.base, e.rows, e.width, e.pitch, e.inner)
        old = merged.get(key)
        merged[key] = e if old is None else replace(old, mode=old.mode | e.mode)
    groups: dict[Resource, list[Effect]] = {}
    for e in merged.values():
        groups.setdefault(e.resource, []).append(e)
    return {
        resource: tuple(group if len(group) <= COARSE_LIMIT else _bounding(group))
        for resource, group in groups.items()
    }


def _bounding(effects: list[Effect]) -> list[Effect]:
    """One rectangle around all effects whose addresses differ by constants."""
    families: dict[tuple[object, ...], list[Effect]] = {}
    for e in effects:
        variable = None if e.base is None else e.base.variable_part
        families.setdefault((variable, frozenset(e.inner), e.mode), []).append(e)
    bounded: list[Effect] = []
    for family in families.values():
        first = family[0]
        if first.base is None:
            bounded.append(first)
            continue
        starts = [e.base.constant for e in family if e.base is not None]
        ends = [s + (e.rows - 1) * e.pitch + e.width for s, e in zip(starts, family, strict=True)]
        base = Linear(min(starts), first.base.terms)
        bounded.append(replace(first, base=base, rows=1, width=max(ends) - min(starts), pitch=0))
    return bounded
