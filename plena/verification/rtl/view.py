"""A program as the rules look at it: fields, kinds of instructions, execution order, addresses where they are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

from plena.dialects.derived import derived
from plena.dialects.plena_isa import OPCODES, Field, InstructionSpec, Integer, Kind, Mode
from plena.dialects.plena_isa.control import CBreakOp
from plena.dialects.plena_isa.scalar import SAddiIntOp, SLdFPOp, SMaxFPOp, SStFPOp
from plena.dialects.plena_isa.spec import Unit
from plena.dialects.plena_isa.transfer import HPrefetchMOp, HPrefetchVOp
from plena.dialects.plena_isa.vector import VMulVFOp, VShftVOp
from plena.errors import PlenaError
from plena.lifting.execute import SymbolicRun
from plena.lifting.flat_program import FlatProgram
from plena.lifting.preloaded import Preloaded
from plena.lifting.records import layout, opcode_doing
from plena.lifting.resolve import Resolver
from plena.lifting.structure import loop_tree
from plena.lifting.tree import LiftedInstruction, LiftedProgram, Number
from plena.machine.rtl_build import RtlBuild, rtl_build
from plena.machine.target import Target
from plena.verification.footprints import Interval, cells

START, END = opcode_doing(Integer.LOOP_START), opcode_doing(Integer.LOOP_END)
BREAK = CBreakOp.SPEC.opcode
ADD_IMMEDIATE = SAddiIntOp.SPEC.opcode
LOAD_FP, STORE_FP = SLdFPOp.SPEC.opcode, SStFPOp.SPEC.opcode
MAX_FP = SMaxFPOp.SPEC.opcode
PREFETCH_M, PREFETCH_V = HPrefetchMOp.SPEC.opcode, HPrefetchVOp.SPEC.opcode
MUL_VF, SHIFT = VMulVFOp.SPEC.opcode, VShftVOp.SPEC.opcode


def _is(spec: InstructionSpec, name: str, kind: Kind, mode: Mode) -> bool:
    slot = spec.by_name.get(name)
    return slot is not None and slot.kind is kind and slot.mode is mode


@derived
def products() -> frozenset[int]:
    """The matrix instructions that load operands and accumulate."""
    return frozenset(op for op, s in OPCODES.items() if s.unit is Unit.MATRIX and not s.clears)


@derived
def write_outs() -> frozenset[int]:
    """The matrix instructions that write an accumulator out."""
    return frozenset(op for op, s in OPCODES.items() if s.unit is Unit.MATRIX and s.clears)


@derived
def vector_ops() -> frozenset[int]:
    """The instructions of the vector unit."""
    return frozenset(op for op, s in OPCODES.items() if s.unit is Unit.VECTOR)


@derived
def reductions() -> frozenset[int]:
    """The vector instructions that reduce a row into an f register."""
    return frozenset(op for op in vector_ops() if _is(OPCODES[op], "acc", Kind.F, Mode.UPDATE))


@derived
def with_scalar() -> frozenset[int]:
    """The vector instructions with a scalar operand."""
    return frozenset(op for op in vector_ops() if _is(OPCODES[op], "b", Kind.F, Mode.READ))


@derived
def of_two_rows() -> frozenset[int]:
    """The elementwise vector instructions on two rows."""
    return frozenset(
        op for op in vector_ops() if _is(OPCODES[op], "b", Kind.GP, Mode.READ) and OPCODES[op].executable
    )


@derived
def unheld() -> frozenset[int]:
    """The vector instructions that a running reduction does not hold: those without a scalar operand."""
    return vector_ops() - reductions() - with_scalar()


@derived
def computes_fp() -> frozenset[int]:
    """The scalar floating-point instructions whose result may collide with a load: the maximum is their fence."""
    found = {op for op, s in OPCODES.items() if s.unit is Unit.SCALAR and s.free_if_f0}
    return frozenset(found - {MAX_FP})


class RtlView:
    """One program, one target, and the build of the RTL."""

    def __init__(self, code: FlatProgram, target: Target, preloaded: Preloaded) -> None:
        self.code, self.target, self.preloaded = code, target, preloaded
        self.build: RtlBuild = rtl_build()
        self.unknown_addresses: str | None = None

    def field(self, pc: int, name: str) -> int:
        """The number in a slot of an instruction."""
        spec = OPCODES[self.code.op[pc]]
        return self.code.number(pc, spec.by_name[name].field)

    def spec(self, pc: int) -> InstructionSpec:
        """The declaration of an instruction."""
        return OPCODES[self.code.op[pc]]

    @cached_property
    def _positions(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for pc, op in enumerate(self.code.op):
            found.setdefault(op, []).append(pc)
        return found

    def at(self, opcodes: Iterable[int]) -> list[int]:
        """The positions of instructions, in order."""
        return sorted(pc for op in set(opcodes) for pc in self._positions.get(op, ()))

    def where(self, holds: Callable[[InstructionSpec], object]) -> list[int]:
        """The positions of the instructions whose declaration has a property, in order."""
        return self.at(op for op in self._positions if holds(OPCODES[op]))

    def unused_bits(self, pc: int, lowest: int) -> int:
        """The bits of a word from one on."""
        return int(self.code.words[pc]) >> lowest

    def reads_f(self, pc: int) -> frozenset[int]:
        """The f registers that an instruction reads."""
        return frozenset(
            self.code.number(pc, s.field)
            for s in self.spec(pc).slots
            if s.kind is Kind.F and Mode.READ in s.mode
        )

    @cached_property
    def successors(self) -> list[tuple[int, ...]]:
        """What may execute after each instruction. An end of a loop belongs to the innermost open start."""
        ops, last = self.code.op, len(self.code) - 1
        after: list[tuple[int, ...]] = [(pc + 1,) if pc < last else () for pc in range(len(ops))]
        open_loops: list[int] = []
        for pc, op in enumerate(ops):
            if op == START:
                open_loops.append(pc)
            elif op == END and open_loops:
                start = open_loops.pop()
                if self.code.imm[start] != 1:
                    after[pc] = (start + 1, *after[pc])
            elif op == BREAK:
                after[pc] = ()
        return after

    @cached_property
    def program(self) -> LiftedProgram | None:
        """The affine form; None, and `unknown_addresses` says why, where addresses cannot be told before a run."""
        code = self.code
        if code.op and code.op[-1] == BREAK:
            code = FlatProgram(code.words[:-1], code.text, code.file, None, code.line_numbers)
        try:
            run = SymbolicRun(code, loop_tree(code), self.target)
            return Resolver(run, self.preloaded, strict=False, keep_forwarded=True).program()
        except PlenaError as error:
            self.unknown_addresses = error.what
            return None

    @cached_property
    def items(self) -> dict[int, LiftedInstruction]:
        """The affine instruction at each position; a position that is missing never runs or is not known."""
        return {} if self.program is None else {item[0]: item for item in self.program.instructions()}

    def number(self, pc: int, name: str) -> Number | None:
        """The address in a slot, immediate included; None where it is not known."""
        item = self.items.get(pc)
        if item is None:
            return None
        return item[1 + layout(self.code.op[pc]).addresses.index(name)]

    def bounds(self) -> list[tuple[int, int]]:
        """The bounds of every loop index."""
        return [] if self.program is None else self.program.bounds

    def tiles(self, pc: int, name: str) -> list[Interval] | None:
        """The matrix tiles that an address slot names over all iterations; None for any."""
        number = self.number(pc, name)
        return None if number is None else cells(number, self.target.tile, 1, self.bounds())

    def rows(self, pc: int, name: str, count: int) -> list[Interval] | None:
        """`count` vector rows from an address slot on, over all iterations; None for any."""
        number = self.number(pc, name)
        return None if number is None else cells(number, self.target.vlen, count, self.bounds())

    def sources(self, pc: int) -> dict[str, int]:
        """The gp registers that an instruction takes addresses from, by slot."""
        return {s.name: self.code.number(pc, s.field) for s in self.spec(pc).slots if s.is_address}

    def funct1(self, pc: int) -> int:
        """The funct1 field."""
        return self.code.number(pc, Field.FUNCT1)


def overlap(one: list[Interval] | None, other: list[Interval] | None) -> bool:
    """Whether two sets of cells may share one."""
    if one is None or other is None:
        return True
    return any(a < d and c < b for a, b in one for c, d in other)
