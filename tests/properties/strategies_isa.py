"""Hypothesis strategies for the `loop` and `plena_isa` dialects, derived from the instruction declarations.

Modules are legal by construction: operands are drawn from the values in scope, a loop opens a scope. They verify, but
their addresses are arbitrary; strategies_programs.py draws modules that also run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from plena.assembly import AsmInstruction
from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa import INSTRUCTIONS, OP_OF_MNEMONIC, Instruction, Kind, Mode, RegisterOp
from plena.dialects.plena_isa.instruction import REGISTER_OF_KIND, operand_slots, property_slots
from plena.dialects.plena_isa.spec import InstructionSpec, Slot

DRAWN_ELSEWHERE = ("plena_isa.register", "loop.for", "loop.yield", "loop.affine")
"""Operations that are no instructions; every module has them."""

OPERATIONS = 60
"""At most, per module."""


class Text:
    """A module that shows as its text; not a dataclass, which hypothesis would show field by field."""

    def __init__(self, module: ModuleOp) -> None:
        self.module = module

    def __repr__(self) -> str:
        return str(self.module)


@dataclass
class Scope:
    """What an operation may name at a place."""

    cells: dict[Kind, list[SSAValue]]
    indices: list[SSAValue] = field(default_factory=list[SSAValue])

    def inside(self, index: SSAValue) -> Scope:
        return Scope(self.cells, [*self.indices, index])


def has_affine_form(spec: InstructionSpec) -> bool:
    """Whether no operand is a gp register that the instruction writes."""
    written = [slot for slot in spec.slots if slot.kind is Kind.GP and Mode.WRITE in slot.mode]
    return all(slot.optional for slot in written)


AFFINE = tuple(op for op in OP_OF_MNEMONIC.values() if has_affine_form(op.SPEC))
REGISTER = tuple(op for op in OP_OF_MNEMONIC.values() if not op.SPEC.mnemonic.startswith("C_LOOP"))
"""Structured loops take the place of C_LOOP_START and C_LOOP_END."""


def numbers(slot: Slot) -> st.SearchStrategy[int]:
    """Immediates and flags: often 0 or the largest."""
    return st.sampled_from([0, slot.field.limit - 1]) | st.integers(0, slot.field.limit - 1)


@st.composite
def attributes(draw: st.DrawFn) -> dict[str, Attribute]:
    """Provenance, mostly none."""
    names = draw(st.sets(st.sampled_from(["plena.module", "plena.step"]), max_size=draw(st.integers(0, 2))))
    return {
        name: StringAttr(draw(st.sampled_from(["", "layers.0.mlp", 'a "b" \\ c']))) for name in sorted(names)
    }


@st.composite
def affine_ops(draw: st.DrawFn, scope: Scope) -> AffineOp:
    """A linear expression over the index values in scope."""
    values = draw(st.lists(st.sampled_from(scope.indices), max_size=3)) if scope.indices else []
    big = st.integers(-(1 << 33), 1 << 33)
    terms = [(value, draw(st.integers(-300, 300) | big)) for value in values]
    op = AffineOp(Linear.of(draw(big), terms))
    op.attributes.update(draw(attributes()))
    return op


@st.composite
def affine_instructions(draw: st.DrawFn, op: type[Instruction], scope: Scope) -> list[Operation]:
    """An instruction in affine form, with the expressions that it needs."""
    needed: list[Operation] = []

    def index() -> SSAValue:
        if scope.indices and draw(st.booleans()):
            return draw(st.sampled_from(scope.indices))
        expression = draw(affine_ops(scope))
        needed.append(expression)
        return expression.result

    operands: dict[str, SSAValue | int] = {}
    for slot in operand_slots(op.SPEC):
        if slot.optional and (slot.name not in op.SPEC.sticky or draw(st.booleans())):
            continue
        takes_index = slot.is_address or slot.name in op.SPEC.sticky
        if takes_index or (slot.name == "base" and draw(st.booleans())):
            operands[slot.name] = index()
        else:
            operands[slot.name] = draw(st.sampled_from(scope.cells[slot.kind]))
    operands |= {slot.name: draw(numbers(slot)) for slot in property_slots(op.SPEC)}
    made = op.named(operands, draw(attributes()))
    scope.indices.extend(made.results)
    return [*needed, made]


@st.composite
def register_instructions(draw: st.DrawFn, op: type[Instruction], scope: Scope) -> list[Operation]:
    """An instruction in register form."""
    slots = [slot for slot in op.SPEC.slots if slot.is_register]
    operands: dict[str, SSAValue | int] = {s.name: draw(st.sampled_from(scope.cells[s.kind])) for s in slots}
    operands |= {slot.name: draw(numbers(slot)) for slot in property_slots(op.SPEC)}
    return [op.named(operands, draw(attributes()))]


InstructionStrategy = Callable[[type[Instruction], Scope], st.SearchStrategy[list[Operation]]]


@dataclass
class _ModuleDrawer:
    """Fills blocks with drawn operations until the budget is spent."""

    draw: st.DrawFn
    op_classes: tuple[type[Instruction], ...]
    one: InstructionStrategy
    has_counters: bool
    left: int

    def block(self, block: Block, scope: Scope, depth: int) -> None:
        for _ in range(self.draw(st.integers(0, 6))):
            if self.left <= 0:
                return
            self.left -= 1
            if depth and self.draw(st.integers(0, 3)) == 0:
                block.add_op(self.loop(scope, depth))
            else:
                block.add_ops(self.draw(self.one(self.draw(st.sampled_from(self.op_classes)), scope)))

    def loop(self, scope: Scope, depth: int) -> ForOp:
        counter = self.draw(st.sampled_from(scope.cells[Kind.GP])) if self.has_counters else None
        trips = self.draw(st.integers(1, 4) | st.integers(1, (1 << 22) - 1))
        loop = ForOp(trips, None, counter, self.draw(attributes()))
        body = loop.body.block
        terminator = body.last_op
        assert terminator is not None
        terminator.detach()
        self.block(body, scope.inside(loop.index), depth - 1)
        body.add_op(terminator)
        return loop


def _declared(block: Block, numbers_of: dict[Kind, list[int | None]]) -> Scope:
    """Declares cells, None a virtual one."""
    cells: dict[Kind, list[SSAValue]] = {}
    for kind, declared in numbers_of.items():
        register = REGISTER_OF_KIND[kind]
        ops = [RegisterOp(register.unallocated() if n is None else register.at(n)) for n in declared]
        block.add_ops(ops)
        cells[kind] = [op.cell for op in ops]
    return Scope(cells)


@st.composite
def affine_modules(draw: st.DrawFn, last: type[Instruction] | None = None, most: int = OPERATIONS) -> Text:
    """Modules in affine form; `last` is the instruction they end with."""
    module = ModuleOp([])
    block = module.body.block
    scope = _declared(block, {Kind.GP: [0], Kind.F: [0, None, None], Kind.A: [None, 0]})
    _ModuleDrawer(draw, AFFINE, affine_instructions, False, most).block(block, scope, 3)
    if last is not None:
        block.add_ops(draw(affine_instructions(last, scope)))
    return Text(module)


@st.composite
def register_modules(
    draw: st.DrawFn,
    last: type[Instruction] | None = None,
    most: int = OPERATIONS,
    allocated: bool = False,
) -> Text:
    """Modules in register form, loops with their counters; `allocated` = physical registers only."""
    module = ModuleOp([])
    block = module.body.block
    some: list[int | None] = [0, 1, 7, 15] if allocated else [0, 3, None, None]
    scope = _declared(block, {Kind.GP: some, Kind.F: [0, 5, *some[2:]], Kind.A: [0, *some[2:]]})
    _ModuleDrawer(draw, REGISTER, register_instructions, True, most).block(block, scope, 3)
    if last is not None:
        block.add_ops(draw(register_instructions(last, scope)))
    return Text(module)


def modules_with(op: type[Instruction]) -> st.SearchStrategy[Text]:
    """Small modules that end with an `op`, in the forms it has; flat loop instructions only there."""
    affine = [affine_modules(op, 4)] if op in AFFINE else []
    return st.one_of([*affine, register_modules(op, 4)])


@st.composite
def asm_instructions(draw: st.DrawFn) -> AsmInstruction:
    """Any instruction with any values that fit."""
    spec = draw(st.sampled_from(list(INSTRUCTIONS.values())))
    return AsmInstruction(spec, tuple(draw(numbers(slot)) for slot in spec.slots))


def asm_programs(most: int = 40) -> st.SearchStrategy[list[AsmInstruction]]:
    """Flat programs, loops not matched."""
    return st.lists(asm_instructions(), max_size=most)
