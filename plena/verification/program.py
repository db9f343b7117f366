"""The static check of a flat program: affine operands where it can be lifted, else its integer part run for real."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from plena.dialects.loop import Linear
from plena.dialects.plena_isa import OPCODES, Integer, Kind, Mode
from plena.emulator import aborts
from plena.emulator.decoding import DecodedProgram, decode_program
from plena.emulator.kernels import Kernel
from plena.errors import PlenaError
from plena.gc_pause import without_collection
from plena.lifting.build import read_at_reset
from plena.lifting.execute import SymbolicRun
from plena.lifting.flat_program import FlatProgram
from plena.lifting.preloaded import Preloaded
from plena.lifting.records import layout, opcode_doing
from plena.lifting.resolve import Resolver
from plena.lifting.structure import FlatLoop, loop_tree
from plena.lifting.tree import LiftedItem, LiftedLoop, LiftedProgram
from plena.machine.target import Target
from plena.verification import concrete_kernels as ends
from plena.verification.accesses import NAMES
from plena.verification.affine_checks import (
    StoreShape,
    Undecided,
    Violation,
    below_zero,
    store_of,
    violation,
)
from plena.verification.cells import unwritten_reads
from plena.verification.checks import Check, check_table
from plena.verification.concrete import ConcreteResult, run_concretely
from plena.verification.findings import Finding, Severity
from plena.verification.operand_quirks import operand_quirks
from plena.verification.quirks import Quirk, counter_writes, quirks

_LOAD = opcode_doing(Integer.LOAD)

MOST_FINDINGS = 1000
"""Findings of one kind after which the check stops listing more."""


class ProgramCheck:
    """One static check of one flat program."""

    def __init__(self, code: FlatProgram, target: Target, preloaded: Preloaded) -> None:
        self.code, self.target, self.preloaded = code, target, preloaded
        self.found: list[Finding] = []
        self.seen: set[tuple[int | None, str, str | None]] = set()

    def run(self) -> list[Finding]:
        """Everything found: errors, then warnings, each in program order."""
        with without_collection():
            if self._can_load():
                self._executed()
            for quirk in islice(quirks(self.code, self.target), MOST_FINDINGS):
                self._warn(quirk)
            for quirk in counter_writes(self.code):
                self._warn(quirk)
        return sorted(self.found, key=lambda f: (not f.is_error, -1 if f.index is None else f.index))

    def _add(self, severity: Severity, code: str, message: str, pc: int | None, operand: str | None) -> None:
        if (pc, code, operand) in self.seen:
            return
        self.seen.add((pc, code, operand))
        line = None if pc is None else self.code.line(pc)
        text = None if pc is None else self.code.shown(pc)
        self.found.append(Finding(severity, code, message, pc, line, operand, text))

    def _error(self, code: str, message: str, pc: int | None = None, operand: str | None = None) -> None:
        self._add(Severity.ERROR, code, message, pc, operand)

    def _warn(self, quirk: Quirk) -> None:
        self._add(Severity.WARNING, quirk.code, quirk.message, quirk.pc, quirk.operand)

    def _can_load(self) -> bool:
        """What the machine refuses before the first instruction."""
        sizes = {
            "hbm": self.target.hbm_size,
            "fp": self.target.fp_sram_size,
            "int": self.target.int_sram_size,
        }
        for memory, size in sizes.items():
            wanted = self.preloaded.size(memory)
            if wanted > size:
                self._error("preload-too-large", f"{memory} is preloaded up to {wanted}, it holds {size}")
        if self.target.hbm_size % 64:
            self._error("hbm-size-not-64", f"HBM_SIZE = {self.target.hbm_size} is not a multiple of 64")
        for pc, op in enumerate(self.code.op):
            spec = OPCODES.get(op)
            if self.code.rd[pc] and spec is not None and spec.refuses_rd:
                self._error("btmm-rd-nonzero", f"the rd field must be 0, it is {self.code.rd[pc]}", pc)
        return not self.found

    def _executed(self) -> None:
        decoded = decode_program(self.code.words, self.target)
        for number in read_at_reset(self.code):
            pc = _first_read(self.code, number)
            self._warn(Quirk(pc, "unwritten-f", f"it reads f{number}, which nothing has written"))
        try:
            tree = loop_tree(self.code)
            self._watchdog(tree)
            impossible = self._impossible(decoded)
            program = self._lifted(tree, impossible)
            violations = list(islice(self._violations(program), MOST_FINDINGS))
        except (PlenaError, Undecided):
            self._concrete(run_concretely(self.code, decoded, self.target, self.preloaded))
            return
        unwritten = list(islice(unwritten_reads(program, self.preloaded), MOST_FINDINGS))
        if self._hang_on_loads(program, {pc for pc, *_ in violations} | {read.pc for read in unwritten}):
            # Of a number from INT SRAM only bounds are known here: they may hold more than what is ever loaded.
            result = run_concretely(self.code, decoded, self.target, self.preloaded)
            if result.status not in (ends.UNKNOWN, ends.EXHAUSTED):
                self._concrete(result)
                return
        for pc, check, message in violations:
            self._error(check.code, message, pc, self._operand(pc, check))
        for read in unwritten:
            self._warn(Quirk(read.pc, read.code, read.message))
        for quirk in islice(operand_quirks(program), MOST_FINDINGS):
            self._warn(quirk)

    def _hang_on_loads(self, program: LiftedProgram, found: set[int]) -> bool:
        """Whether an operand of one of these instructions was computed from a number in INT SRAM."""
        if not found or _LOAD not in self.code.op:
            return False
        loaded = {item[2] for item in program.instructions() if self.code.op[item[0]] == _LOAD}
        return any(
            isinstance(number, Linear) and any(index in loaded for index, _ in number.terms)
            for item in program.instructions()
            if item[0] in found
            for number in item[1:]
        )

    def run_affine(self, program: LiftedProgram) -> list[Finding]:
        """The errors of a program in affine form: what its addresses decide, and loops that are too long already."""
        with without_collection():
            decoded = decode_program(self.code.words, self.target)
            self._impossible(decoded)
            self._long_loops(program.body)
            for pc, check, message in islice(self._violations(program, decided=False), MOST_FINDINGS):
                self._error(check.code, message, pc, self._operand(pc, check))
            self._reads_below_zero(program)
        return self.found

    def _reads_below_zero(self, program: LiftedProgram) -> None:
        """Offsets of HBM reads that IR has and no register can: the machine would read far behind the tensor."""
        for item in program.instructions():
            shape = layout(self.code.op[item[0]])
            if shape.spec.transfer is not None and shape.spec.transfer.is_load:
                off, *_ = item[shape.hbm_side]
                lowest = program.range(off)[0]
                if lowest < 0:
                    self._error("hbm-read-range", below_zero(off, lowest), item[0], "off")

    def _long_loops(self, items: list[LiftedItem]) -> int:
        """The instructions that items execute at least."""
        total = 0
        for item in items:
            if not isinstance(item, LiftedLoop):
                total += 1
                continue
            length = self._long_loops(item.body) + 1
            if length > self.target.max_loop_instructions:
                self._too_long(length, item.pc)
            total += 1 + item.trips * length
        return total

    def _impossible(self, decoded: DecodedProgram) -> frozenset[int]:
        """Reports the instructions that abort whatever their operands."""
        positions = np.flatnonzero(decoded.rows[:, 0] == Kernel.ABORT).tolist()
        for pc in positions[:MOST_FINDINGS]:
            self._abort(decoded, pc, int(decoded.rows[pc, 6]))
        return frozenset(positions)

    def _abort(self, decoded: DecodedProgram, pc: int, abort: int) -> None:
        facts = tuple(int(fact) for fact in decoded.rows[pc, 1:3])
        error = aborts.abort_error(abort, (*facts, 0), pc, decoded.mnemonic(pc))
        self._error(error.abort_class, error.reason, pc)

    def _watchdog(self, tree: FlatLoop) -> None:
        limit = self.target.max_loop_instructions
        for loop in tree.walk():
            length = loop.iteration_length()
            if loop is not tree and length > limit:
                self._too_long(length, loop.start)

    def _too_long(self, length: int, pc: int) -> None:
        limit = self.target.max_loop_instructions
        message = f"one iteration runs {length} instructions, MAX_LOOP_INSTRUCTIONS is {limit}"
        self._error("loop-watchdog", message, pc)

    def _lifted(self, tree: FlatLoop, skipped: frozenset[int]) -> LiftedProgram:
        run = SymbolicRun(self.code, tree, self.target, skipped)
        return Resolver(run, self.preloaded, strict=False, keep_forwarded=True).program()

    def _violations(self, program: LiftedProgram, decided: bool = True) -> Iterator[tuple[int, Check, str]]:
        """The demands that fail; with `decided` Undecided is raised where linear reasoning cannot tell."""
        code, bounds, steps = self.code, program.bounds, program.steps
        table = check_table(self.target)
        stores: dict[tuple[int, int], StoreShape | None] = {}
        for item in program.instructions():
            pc = item[0]
            op, flags = code.op[pc], code.flags[pc]
            if (op, flags) not in stores:
                stores[op, flags] = store_of(self.target, layout(op).spec, flags)
            store = stores[op, flags]
            failed: set[int] = set()
            for check in table.of(op, flags):
                if check.number in failed and isinstance(item[1 + check.number], int):
                    continue
                try:
                    problem = violation(check, item[1:], bounds, steps, store)
                except Undecided:
                    if decided:
                        raise
                    problem = Violation(check, "where it ends up cannot be told: it leaves 0 .. 2^32")
                if problem is not None:
                    failed.add(check.number)
                    yield pc, check, problem.message

    def _operand(self, pc: int, check: Check) -> str:
        return layout(self.code.op[pc]).addresses[check.number]

    def _concrete(self, result: ConcreteResult) -> None:
        """What a run of the integer part shows instead of all errors so far; only the first can be known then."""
        self.found = [f for f in self.found if not f.is_error]
        self.seen = {(f.index, f.code, f.operand) for f in self.found}
        pc, check = result.pc, result.check
        match result.status:
            case ends.ABORTED:
                self._abort(decode_program(self.code.words, self.target), pc, result.abort)
            case ends.WATCHDOG:
                limit = self.target.max_loop_instructions
                self._error(
                    "loop-watchdog", f"one iteration runs more than MAX_LOOP_INSTRUCTIONS = {limit}", pc
                )
            case ends.END_UNMATCHED:
                self._error("loop-end-unmatched", f"no open loop counts in gp{self.code.rd[pc]}", pc)
            case ends.BREAK_NO_LOOP:
                self._error("break-no-loop", "no loop is open", pc)
            case ends.FAILED_CHECK:
                assert check is not None
                self._error(check.code, f"{result.value} is not allowed", pc, self._operand(pc, check))
            case ends.UNKNOWN:
                message = "what happens hangs on a number from INT SRAM that is not known: declare what the host loads"
                self._error("undeclared-number", message, pc)
            case ends.EXHAUSTED:
                self._error("undecided", "the program runs too long to be checked", pc)
            case _:
                pass
        for at, (cells, cell) in result.unwritten.items():
            what, code = NAMES[cells]
            self._warn(Quirk(at, code, f"it reads {what} {cell}, which nothing has written"))


def _first_read(code: FlatProgram, number: int) -> int:
    """The first instruction that reads an f register."""
    for pc, op in enumerate(code.op):
        spec = OPCODES.get(op)
        if spec is None or (spec.free_if_f0 and not code.rd[pc]):
            continue
        for slot in spec.slots:
            if slot.kind is Kind.F and Mode.READ in slot.mode and code.number(pc, slot.field) == number:
                return pc
    return 0
