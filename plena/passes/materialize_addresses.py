"""`materialize-addresses`: address expressions become register contents, updated by as few instructions as possible."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import IndexType, ModuleOp
from xdsl.ir import Block as IRBlock
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp, ForOp, YieldOp
from plena.dialects.plena_isa import (
    OP_OF_MNEMONIC,
    GPRegister,
    Instruction,
    RegisterOp,
    build,
    is_zero_cell,
)
from plena.dialects.plena_isa.instruction import integer
from plena.errors import CompileError
from plena.machine.choices import Machine
from plena.machine.constants import GP_REGISTERS
from plena.registers.addressing.belady.tables import ZERO
from plena.registers.addressing.extract import program_of
from plena.registers.addressing.plan import Action, BlockPlan, LoopActions, UseActions
from plena.registers.addressing.planner import plan_program
from plena.registers.addressing.program import Block, Program
from plena.registers.spill_region import SpillMemory, place_regions, reserve


@dataclass(frozen=True)
class MaterializeAddresses(ModulePass):
    """Turns every `index` operand into a register cell, and an immediate where the instruction has one.

    A register holds an exact value of a linear expression; making another value costs one instruction if a
    register holds a smaller one with the same variable part. Which values stay is decided by Belady's rule within
    a block and by search over what a loop carries from one iteration to the next (plena/registers/addressing).
    Uses at most `registers` cells at a time, loop counters included; for the `machine` rtl not the immediate of M_MM_WO,
    which is ignored there. To `share_bases` two neighbouring tiles have one address and offsets that reach over both
    where an instruction adds two registers (M_BTMV).

    Before::

        builtin.module {
          %z = plena_isa.register : !plena_isa.gp<gp0>
          loop.for %i = 0 to 16 {
            %w = loop.affine 0 + 256 * %i
            %d = loop.affine 8192 + 4 * %i
            %x = loop.affine 4096
            plena_isa.m_mm mat(%w) vec(%x)
            plena_isa.m_mm_wo dst(%d) stride(%z : !plena_isa.gp<gp0>)
          }
        }

    After::

        builtin.module {
          %0 = plena_isa.register : !plena_isa.gp
          %1 = plena_isa.register : !plena_isa.gp
          %2 = plena_isa.register : !plena_isa.gp
          %3 = plena_isa.register : !plena_isa.gp
          %z = plena_isa.register : !plena_isa.gp<gp0>
          plena_isa.s_addi_int dst(%0 : !plena_isa.gp) a(%z : !plena_isa.gp<gp0>)
          plena_isa.s_addi_int dst(%1 : !plena_isa.gp) a(%0 : !plena_isa.gp) imm = 4096
          plena_isa.s_addi_int dst(%2 : !plena_isa.gp) a(%0 : !plena_isa.gp) imm = 8192
          loop.for %i = 0 to 16 counter(%3 : !plena_isa.gp) {
            plena_isa.m_mm mat(%0 : !plena_isa.gp) vec(%1 : !plena_isa.gp)
            plena_isa.m_mm_wo dst(%2 : !plena_isa.gp) stride(%z : !plena_isa.gp<gp0>)
            plena_isa.s_addi_int dst(%0 : !plena_isa.gp) a(%0 : !plena_isa.gp) imm = 256
            plena_isa.s_addi_int dst(%2 : !plena_isa.gp) a(%2 : !plena_isa.gp) imm = 4
          }
        }
    """

    name = "materialize-addresses"
    registers: int = GP_REGISTERS - 1
    machine: Machine = "emulator"
    share_bases: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if is_materialized(op):
            return
        if not 1 <= self.registers < GP_REGISTERS:
            raise CompileError(f"registers must be 1 to {GP_REGISTERS - 1}, got {self.registers}", self.name)
        program = program_of(op, self.machine, share_bases=self.share_bases)
        plan = plan_program(program, self.registers)
        place_regions(op, self.machine)
        _Emitter(op, self.registers, plan).run(program)


def is_materialized(module: ModuleOp) -> bool:
    """Whether a module is in the register form already.

    Raises:
        CompileError: it is a mixture of both forms, whose registers this pass cannot know to be free.
    """
    affine = register = False
    for op in module.walk():
        if isinstance(op, ForOp):
            register = register or op.counter is not None
            affine = affine or op.counter is None
        elif isinstance(op, Instruction):
            affine = affine or any(isinstance(v.type, IndexType) for v in op.operands)
            register = register or any(
                isinstance(v.type, GPRegister) and not is_zero_cell(v) for v in op.operands
            )
    if affine and register:
        raise CompileError(
            "the program mixes address expressions and integer registers",
            "materialize-addresses",
            "lift it to the affine form first",
        )
    return register


class _Emitter:
    """Rewrites a module by its plan. Tracks of a plan become virtual cells, one per register in use."""

    def __init__(self, module: ModuleOp, registers: int, plan: BlockPlan) -> None:
        self.module = module
        self.plan = plan
        self.declarations: list[Operation] = []
        self.zero = self._zero()
        self.cells: list[SSAValue | None] = [None] * registers
        self.dead: list[Operation] = []
        self.base = reserve(module, SpillMemory.INT, plan.depth)

    def run(self, program: Program) -> None:
        """Rewrites the module in place."""
        block = self.module.body.block
        identity = {track: track for track in range(len(self.cells))}
        self._block(block, program.block, self.plan, identity, self.base)
        for affine in [op for op in self.module.walk(reverse=True) if isinstance(op, AffineOp)]:
            affine.detach()
            affine.erase(safe_erase=False)
        # The last first: a load may use the number that an earlier one has loaded.
        for op in reversed(self.dead):
            op.detach()
            op.erase()
        first = block.first_op
        if first is None:
            block.add_ops(self.declarations)
        else:
            block.insert_ops_before(self.declarations, first)

    def _zero(self) -> SSAValue:
        zero = GPRegister.from_index(0)
        for op in self.module.body.block.ops:
            if isinstance(op, RegisterOp) and op.cell.type == zero:
                return op.cell
        return self._declare(zero)

    def _declare(self, register: GPRegister) -> SSAValue:
        op = RegisterOp(register)
        self.declarations.append(op)
        return op.cell

    def cell(self, track: int) -> SSAValue:
        """The cell of a register number; the zero register for ZERO."""
        if track == ZERO:
            return self.zero
        cell = self.cells[track]
        if cell is None:
            cell = self.cells[track] = self._declare(GPRegister.unallocated())
        return cell

    def _block(self, ir: IRBlock, block: Block, plan: BlockPlan, tracks: dict[int, int], frame: int) -> None:
        """Rewrites one block; `tracks` maps the plan's tracks to registers, `frame` is its first spill word."""
        waiting: list[Operation] = []
        for node, code in zip(block.nodes, plan.code, strict=True):
            waiting.extend(self._action(a, tracks, frame, plan.frame) for a in code.actions)
            op = node.key
            if op is None:
                continue
            assert isinstance(op, Operation)
            ir.insert_ops_before(waiting, op)
            waiting.clear()
            if isinstance(code, LoopActions):
                assert isinstance(op, ForOp)
                inner = {track: tracks[outer] for track, outer in code.tracks.items()}
                op.operands = (self.cell(tracks[code.counter]),)
                self._block(op.body.block, code.plan.loop.body, code.plan.body, inner, frame + plan.frame)
            else:
                assert isinstance(op, Instruction)
                self._bind(op, code, tracks)
        waiting.extend(self._action(a, tracks, frame, plan.frame) for a in plan.tail)
        last = ir.last_op
        if isinstance(last, YieldOp):
            ir.insert_ops_before(waiting, last)
        else:
            ir.add_ops(waiting)

    def _bind(self, op: Instruction, code: UseActions, tracks: dict[int, int]) -> None:
        """Puts registers and immediates into an instruction; one with a result gets a destination instead."""
        bound = {b.slot: (self.cell(tracks.get(b.track, ZERO)), b.offset) for b in code.bindings}
        if code.result is not None:
            values: dict[str, SSAValue | int] = {name: cell for name, (cell, _) in bound.items()}
            values["dst"] = self.cell(tracks[code.result])
            replacement = type(op).named(values, dict(op.attributes))
            block = op.parent_block()
            assert block is not None
            block.insert_op_before(replacement, op)
            self.dead.append(op)
            positions: list[str] = []
            op = replacement
        else:
            positions = [slot.name for slot, _ in op.named_operands()]
        for position, name in enumerate(positions):
            if name in bound:
                op.operands[position] = bound[name][0]
        for slot in op.SPEC.slots:
            if slot.offsets in bound:
                op.properties[slot.name] = integer(bound[slot.offsets][1])

    def _action(self, action: Action, tracks: dict[int, int], frame: int, own: int) -> Instruction:
        """The instruction of an action."""
        dst = self.cell(tracks.get(action.dst, ZERO))
        match action.mnemonic:
            case "S_LUI_INT":
                return build("S_LUI_INT", dst=dst, imm=action.imm)
            case "S_LD_INT":
                return build("S_LD_INT", dst=dst, base=self.zero, imm=frame + action.imm)
            case "S_ST_INT":
                word = frame + action.imm + (own if action.b == 1 else 0)
                return build("S_ST_INT", src=dst, base=self.zero, imm=word)
            case "S_ADDI_INT":
                return build("S_ADDI_INT", dst=dst, a=self.cell(tracks.get(action.a, ZERO)), imm=action.imm)
            case mnemonic:
                a, b = (self.cell(tracks.get(t, ZERO)) for t in (action.a, action.b))
                return OP_OF_MNEMONIC[mnemonic].named({"dst": dst, "a": a, "b": b})
