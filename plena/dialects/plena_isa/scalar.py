"""Scalar unit instructions: bf16 and 32-bit integer registers, FP SRAM, INT SRAM (plena_isa.md section 3.6)."""

from __future__ import annotations

from plena.dialects.plena_isa.demands import Caution
from plena.dialects.plena_isa.instruction import Instruction, instruction
from plena.dialects.plena_isa.on_rtl import BY_CODE, VERIFIED, wrong
from plena.dialects.plena_isa.sizes import VLEN
from plena.dialects.plena_isa.spec import Cost, Field, Integer, Memory, Mode, Slot, f, gp, immediate
from plena.dialects.plena_isa.touches import Touch, reads_words, writes_rows, writes_words

_REGISTERS_ONLY: tuple[Touch, ...] = ()

_FP_BINARY: tuple[Slot, ...] = (f("dst", Field.RD, Mode.WRITE), f("a", Field.RS1), f("b", Field.RS2))
_FP_UNARY: tuple[Slot, ...] = (f("dst", Field.RD, Mode.WRITE), f("a", Field.RS1))


@instruction("S_ADD_FP", 0x17, Cost.S_FP, *_FP_BINARY, free_if_f0=True, touches=_REGISTERS_ONLY, rtl=VERIFIED)
class SAddFPOp(Instruction):
    """f[dst] = f[a] + f[b]."""


@instruction("S_SUB_FP", 0x18, Cost.S_FP, *_FP_BINARY, free_if_f0=True, touches=_REGISTERS_ONLY, rtl=BY_CODE)
class SSubFPOp(Instruction):
    """f[dst] = f[a] - f[b]."""


@instruction("S_MAX_FP", 0x19, Cost.S_FP, *_FP_BINARY, free_if_f0=True, touches=_REGISTERS_ONLY, rtl=VERIFIED)
class SMaxFPOp(Instruction):
    """f[dst] = f[b] if f[b] > f[a] else f[a]."""


@instruction("S_MUL_FP", 0x1A, Cost.S_FP, *_FP_BINARY, free_if_f0=True, touches=_REGISTERS_ONLY, rtl=VERIFIED)
class SMulFPOp(Instruction):
    """f[dst] = f[a] * f[b]."""


@instruction("S_EXP_FP", 0x1B, Cost.S_EXP, *_FP_UNARY, free_if_f0=True, touches=_REGISTERS_ONLY, rtl=BY_CODE)
class SExpFPOp(Instruction):
    """f[dst] = exp(clamp(f[a], -88, 88))."""


@instruction(
    "S_RECI_FP", 0x1C, Cost.S_RECI, *_FP_UNARY, free_if_f0=True, touches=_REGISTERS_ONLY, rtl=VERIFIED
)
class SReciFPOp(Instruction):
    """f[dst] = 1 / f[a]."""


@instruction(
    "S_SQRT_FP", 0x1D, Cost.S_SQRT, *_FP_UNARY, free_if_f0=True, touches=_REGISTERS_ONLY, rtl=VERIFIED
)
class SSqrtFPOp(Instruction):
    """f[dst] = sqrt(f[a])."""


@instruction(
    "S_LD_FP",
    0x1E,
    Cost.ONE,
    f("dst", Field.RD, Mode.WRITE),
    gp("base", Field.RS1),
    immediate(Field.IMM18, offsets="base"),
    touches=(reads_words(Memory.FP, "base"),),
    cautions=(
        Caution(
            "writes-f0", "it writes f0, which programs take for zero", "dst", lambda fields: not fields["dst"]
        ),
    ),
    rtl=VERIFIED,
)
class SLdFPOp(Instruction):
    """f[dst] = FP[base + imm]."""


@instruction(
    "S_ST_FP",
    0x1F,
    Cost.ONE,
    f("src", Field.RD),
    gp("base", Field.RS1),
    immediate(Field.IMM18, offsets="base"),
    touches=(writes_words(Memory.FP, "base"),),
    rtl=VERIFIED,
)
class SStFPOp(Instruction):
    """FP[base + imm] = f[src]."""


@instruction(
    "S_MAP_V_FP",
    0x20,
    Cost.TWO_VLEN,
    gp("dst", Field.RD),
    gp("base", Field.RS1),
    immediate(Field.IMM18, offsets="base"),
    touches=(reads_words(Memory.FP, "base", VLEN), writes_rows("dst")),
    rtl=wrong("it overwrites row 0 of vector SRAM"),
)
class SMapVFPOp(Instruction):
    """V[dst] = FP[base + imm : VLEN words]."""


_INT_BINARY: tuple[Slot, ...] = (gp("dst", Field.RD, Mode.WRITE), gp("a", Field.RS1), gp("b", Field.RS2))


@instruction(
    "S_ADD_INT", 0x21, Cost.S_INT, *_INT_BINARY, touches=_REGISTERS_ONLY, integer=Integer.ADD, rtl=BY_CODE
)
class SAddIntOp(Instruction):
    """gp[dst] = gp[a] + gp[b], modulo 2^32."""


@instruction(
    "S_ADDI_INT",
    0x22,
    Cost.S_INT,
    gp("dst", Field.RD, Mode.WRITE),
    gp("a", Field.RS1),
    immediate(Field.IMM18, offsets="a"),
    touches=_REGISTERS_ONLY,
    integer=Integer.ADD_IMMEDIATE,
    rtl=VERIFIED,
)
class SAddiIntOp(Instruction):
    """gp[dst] = gp[a] + imm; the immediate is unsigned."""


@instruction(
    "S_SUB_INT",
    0x23,
    Cost.S_INT,
    *_INT_BINARY,
    touches=_REGISTERS_ONLY,
    integer=Integer.SUBTRACT,
    rtl=BY_CODE,
)
class SSubIntOp(Instruction):
    """gp[dst] = gp[a] - gp[b], modulo 2^32."""


@instruction(
    "S_MUL_INT",
    0x24,
    Cost.S_INT,
    *_INT_BINARY,
    touches=_REGISTERS_ONLY,
    integer=Integer.MULTIPLY,
    rtl=wrong("the product reaches the destination of the next instruction"),
)
class SMulIntOp(Instruction):
    """gp[dst] = gp[a] * gp[b], modulo 2^32."""


LUI_BITS = 20
"""Bits of the immediate of S_LUI_INT that reach the register."""


@instruction(
    "S_LUI_INT",
    0x25,
    Cost.S_INT,
    gp("dst", Field.RD, Mode.WRITE),
    immediate(Field.IMM22),
    touches=_REGISTERS_ONLY,
    integer=Integer.LOAD_UPPER,
    cautions=(
        Caution(
            "lost-bits",
            f"only {LUI_BITS} bits of the immediate reach the register",
            "imm",
            lambda fields: fields["imm"] >> LUI_BITS != 0,
        ),
    ),
    rtl=wrong("it shifts by 4, not by 12"),
)
class SLuiIntOp(Instruction):
    """gp[dst] = imm << 12, modulo 2^32."""


@instruction(
    "S_LD_INT",
    0x26,
    Cost.S_INT,
    gp("dst", Field.RD, Mode.WRITE, optional=True),
    gp("base", Field.RS1),
    immediate(Field.IMM18, offsets="base"),
    touches=(reads_words(Memory.INT, "base"),),
    integer=Integer.LOAD,
    result=True,
    rtl=BY_CODE,
)
class SLdIntOp(Instruction):
    """gp[dst] = INT[base + imm]; in the affine form the loaded number is an `index` result, a run-time symbol."""


@instruction(
    "S_ST_INT",
    0x27,
    Cost.S_INT,
    gp("src", Field.RD),
    gp("base", Field.RS1),
    immediate(Field.IMM18, offsets="base"),
    touches=(writes_words(Memory.INT, "base"),),
    integer=Integer.STORE,
    rtl=BY_CODE,
)
class SStIntOp(Instruction):
    """INT[base + imm] = gp[src]."""
