"""Vector unit instructions (plena_isa.md section 3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plena.dialects.plena_isa.instruction import Access, Instruction, instruction
from plena.dialects.plena_isa.spec import Cost, Field, Memory, Mode, Slot, f, flag, gp
from plena.errors import PlenaError

if TYPE_CHECKING:
    from plena.machine.target import Target

_MASK = flag("mask", Field.RS3)
_MASK_AS_IMMEDIATE = flag("mask", Field.RS3, upstream=Field.IMM18)
_MASK_DROPPED = flag("mask", Field.RS3, upstream_drops=True)
_STICKY = ("v_mask",)


class VectorInstruction(Instruction):
    """Reads whole rows named by its read-only address slots and, unless it reduces, writes the row `dst`."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        touched: list[Access] = []
        for slot in self.SPEC.slots:
            if slot.is_address and slot.name != "amount":
                mode = Mode.WRITE if slot.name == "dst" else Mode.READ
                touched.append(
                    Access(Memory.VECTOR, mode, self.address(slot.name), 1, target.vlen, target.vlen)
                )
        if any(s.name == "mask" for s in self.SPEC.slots) and self.number("mask"):
            touched.append(Access(Memory.V_MASK, Mode.READ))
        return tuple(touched)


def _rows(*names: str) -> tuple[Slot, ...]:
    fields = (Field.RD, Field.RS1, Field.RS2)
    return tuple(gp(name, field) for name, field in zip(names, fields, strict=False))


@instruction("V_ADD_VV", 0x0D, Cost.V_ADD, *_rows("dst", "a", "b"), _MASK, sticky=_STICKY)
class VAddVVOp(VectorInstruction):
    """V[dst] = V[a] + V[b]."""


@instruction("V_ADD_VF", 0x0E, Cost.V_ADD, *_rows("dst", "a"), f("b", Field.RS2), _MASK, sticky=_STICKY)
class VAddVFOp(VectorInstruction):
    """V[dst] = V[a] + f[b]."""


@instruction("V_SUB_VV", 0x0F, Cost.V_ADD, *_rows("dst", "a", "b"), _MASK, sticky=_STICKY)
class VSubVVOp(VectorInstruction):
    """V[dst] = V[a] - V[b]."""


@instruction(
    "V_SUB_VF",
    0x10,
    Cost.V_ADD,
    *_rows("dst", "a"),
    f("b", Field.RS2),
    _MASK,
    flag("order", Field.FUNCT1),
    sticky=_STICKY,
)
class VSubVFOp(VectorInstruction):
    """V[dst] = V[a] - f[b]; order != 0 negates the difference."""


@instruction("V_MUL_VV", 0x11, Cost.V_MUL, *_rows("dst", "a", "b"), _MASK, sticky=_STICKY)
class VMulVVOp(VectorInstruction):
    """V[dst] = V[a] * V[b]."""


@instruction("V_MUL_VF", 0x12, Cost.V_MUL, *_rows("dst", "a"), f("b", Field.RS2), _MASK, sticky=_STICKY)
class VMulVFOp(VectorInstruction):
    """V[dst] = V[a] * f[b]."""


@instruction("V_EXP_V", 0x13, Cost.V_EXP, *_rows("dst", "a"), _MASK_AS_IMMEDIATE, sticky=_STICKY)
class VExpVOp(VectorInstruction):
    """V[dst] = exp(clamp(V[a], -88, 88))."""


@instruction("V_RECI_V", 0x14, Cost.V_RECI, *_rows("dst", "a"), _MASK_AS_IMMEDIATE, sticky=_STICKY)
class VReciVOp(VectorInstruction):
    """V[dst] = 1 / V[a]."""


@instruction(
    "V_RED_SUM",
    0x15,
    Cost.V_SUM,
    f("acc", Field.RD, Mode.UPDATE),
    gp("a", Field.RS1),
    _MASK_DROPPED,
    sticky=_STICKY,
    free_if_f0=True,
)
class VRedSumOp(VectorInstruction):
    """f[acc] += sum of V[a]; it accumulates, so clear acc first. The masked form is defective."""


@instruction(
    "V_RED_MAX",
    0x16,
    Cost.V_MAX,
    f("acc", Field.RD, Mode.UPDATE),
    gp("a", Field.RS1),
    _MASK_AS_IMMEDIATE,
    sticky=_STICKY,
    free_if_f0=True,
)
class VRedMaxOp(VectorInstruction):
    """f[acc] = max(f[acc], maximum of V[a]); the mask has no effect."""


@instruction(
    "V_PS_V",
    0x31,
    Cost.NEVER,
    *_rows("dst", "a", "b"),
    executable=False,
)
class VPsVOp(VectorInstruction):
    """Prefix sum: assembles, but no emulator executes it."""


@instruction("V_SHFT_V", 0x32, Cost.V_MUL, *_rows("dst", "a", "amount"))
class VShftVOp(VectorInstruction):
    """V[dst][i] = V[a][i - amount], zero below: a shift toward higher lanes."""


@instruction("V_MAX_VF", 0x35, Cost.V_MAX, *_rows("dst", "a"), f("b", Field.RS2), _MASK, sticky=_STICKY)
class VMaxVFOp(VectorInstruction):
    """V[dst] = maximum(V[a], f[b])."""


@instruction("V_MIN_VF", 0x36, Cost.V_MAX, *_rows("dst", "a"), f("b", Field.RS2), _MASK, sticky=_STICKY)
class VMinVFOp(VectorInstruction):
    """V[dst] = minimum(V[a], f[b])."""


@instruction(
    "V_TOPK",
    0x37,
    Cost.TOPK,
    gp("fp_base", Field.RD),
    gp("logits", Field.RS1),
    gp("int_base", Field.RS2),
    flag("policy", Field.RS3),
)
class VTopkOp(Instruction):
    """The K largest of E logits: softmax weights to FP SRAM, ids to INT SRAM. Policy 0: E, K = 32, 4; 1: 128, 8."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        policy = self.number("policy")
        if policy not in TOPK_SHAPES:
            raise PlenaError(f"V_TOPK knows no policy {policy}", str(self), "It is 0 or 1.")
        experts, k = TOPK_SHAPES[policy]
        rows = -(-experts // target.vlen)
        return (
            Access(Memory.VECTOR, Mode.READ, self.address("logits"), rows, target.vlen, target.vlen),
            Access(Memory.FP, Mode.WRITE, self.address("fp_base"), width=k),
            Access(Memory.INT, Mode.WRITE, self.address("int_base"), width=k),
        )


TOPK_SHAPES: dict[int, tuple[int, int]] = {0: (32, 4), 1: (128, 8)}
"""(experts, chosen) by V_TOPK policy."""
