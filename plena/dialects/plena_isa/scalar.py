"""Scalar unit instructions: bf16 and 32-bit integer registers, FP SRAM, INT SRAM (plena_isa.md section 3.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plena.dialects.plena_isa.instruction import Access, Instruction, instruction
from plena.dialects.plena_isa.spec import Cost, Field, Memory, Mode, Slot, f, gp, immediate

if TYPE_CHECKING:
    from plena.machine.target import Target


_FP_BINARY: tuple[Slot, ...] = (f("dst", Field.RD, Mode.WRITE), f("a", Field.RS1), f("b", Field.RS2))
_FP_UNARY: tuple[Slot, ...] = (f("dst", Field.RD, Mode.WRITE), f("a", Field.RS1))


@instruction("S_ADD_FP", 0x17, Cost.S_FP, *_FP_BINARY, free_if_f0=True)
class SAddFPOp(Instruction):
    """f[dst] = f[a] + f[b]."""


@instruction("S_SUB_FP", 0x18, Cost.S_FP, *_FP_BINARY, free_if_f0=True)
class SSubFPOp(Instruction):
    """f[dst] = f[a] - f[b]."""


@instruction("S_MAX_FP", 0x19, Cost.S_FP, *_FP_BINARY, free_if_f0=True)
class SMaxFPOp(Instruction):
    """f[dst] = f[b] if f[b] > f[a] else f[a]."""


@instruction("S_MUL_FP", 0x1A, Cost.S_FP, *_FP_BINARY, free_if_f0=True)
class SMulFPOp(Instruction):
    """f[dst] = f[a] * f[b]."""


@instruction("S_EXP_FP", 0x1B, Cost.S_EXP, *_FP_UNARY, free_if_f0=True)
class SExpFPOp(Instruction):
    """f[dst] = exp(clamp(f[a], -88, 88))."""


@instruction("S_RECI_FP", 0x1C, Cost.S_RECI, *_FP_UNARY, free_if_f0=True)
class SReciFPOp(Instruction):
    """f[dst] = 1 / f[a]."""


@instruction("S_SQRT_FP", 0x1D, Cost.S_SQRT, *_FP_UNARY, free_if_f0=True)
class SSqrtFPOp(Instruction):
    """f[dst] = sqrt(f[a])."""


@instruction(
    "S_LD_FP",
    0x1E,
    Cost.ONE,
    f("dst", Field.RD, Mode.WRITE),
    gp("base", Field.RS1),
    immediate(Field.IMM18, offsets="base"),
)
class SLdFPOp(Instruction):
    """f[dst] = FP[base + imm]."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (Access(Memory.FP, Mode.READ, self.address("base")),)


@instruction(
    "S_ST_FP",
    0x1F,
    Cost.ONE,
    f("src", Field.RD),
    gp("base", Field.RS1),
    immediate(Field.IMM18, offsets="base"),
)
class SStFPOp(Instruction):
    """FP[base + imm] = f[src]."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (Access(Memory.FP, Mode.WRITE, self.address("base")),)


@instruction(
    "S_MAP_V_FP",
    0x20,
    Cost.TWO_VLEN,
    gp("dst", Field.RD),
    gp("base", Field.RS1),
    immediate(Field.IMM18, offsets="base"),
)
class SMapVFPOp(Instruction):
    """V[dst] = FP[base + imm : VLEN words]."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (
            Access(Memory.FP, Mode.READ, self.address("base"), width=target.vlen),
            Access(Memory.VECTOR, Mode.WRITE, self.address("dst"), 1, target.vlen, target.vlen),
        )


_INT_BINARY: tuple[Slot, ...] = (gp("dst", Field.RD, Mode.WRITE), gp("a", Field.RS1), gp("b", Field.RS2))


@instruction("S_ADD_INT", 0x21, Cost.S_INT, *_INT_BINARY)
class SAddIntOp(Instruction):
    """gp[dst] = gp[a] + gp[b], modulo 2^32."""


@instruction(
    "S_ADDI_INT",
    0x22,
    Cost.S_INT,
    gp("dst", Field.RD, Mode.WRITE),
    gp("a", Field.RS1),
    immediate(Field.IMM18, offsets="a"),
)
class SAddiIntOp(Instruction):
    """gp[dst] = gp[a] + imm; the immediate is unsigned."""


@instruction("S_SUB_INT", 0x23, Cost.S_INT, *_INT_BINARY)
class SSubIntOp(Instruction):
    """gp[dst] = gp[a] - gp[b], modulo 2^32."""


@instruction("S_MUL_INT", 0x24, Cost.S_INT, *_INT_BINARY)
class SMulIntOp(Instruction):
    """gp[dst] = gp[a] * gp[b], modulo 2^32."""


@instruction("S_LUI_INT", 0x25, Cost.S_INT, gp("dst", Field.RD, Mode.WRITE), immediate(Field.IMM22))
class SLuiIntOp(Instruction):
    """gp[dst] = imm << 12, modulo 2^32."""


@instruction(
    "S_LD_INT",
    0x26,
    Cost.S_INT,
    gp("dst", Field.RD, Mode.WRITE, optional=True),
    gp("base", Field.RS1),
    immediate(Field.IMM18, offsets="base"),
    result=True,
)
class SLdIntOp(Instruction):
    """gp[dst] = INT[base + imm]; in the affine form the loaded number is an `index` result, a run-time symbol."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (Access(Memory.INT, Mode.READ, self.address("base")),)


@instruction(
    "S_ST_INT",
    0x27,
    Cost.S_INT,
    gp("src", Field.RD),
    gp("base", Field.RS1),
    immediate(Field.IMM18, offsets="base"),
)
class SStIntOp(Instruction):
    """INT[base + imm] = gp[src]."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (Access(Memory.INT, Mode.WRITE, self.address("base")),)
