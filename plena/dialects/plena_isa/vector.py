"""Vector unit instructions (plena_isa.md section 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from plena.dialects.plena_isa.demands import Caution, requires
from plena.dialects.plena_isa.instruction import Instruction, instruction
from plena.dialects.plena_isa.on_rtl import BY_CODE, VERIFIED, wrong
from plena.dialects.plena_isa.sizes import Fields, Size
from plena.dialects.plena_isa.spec import Cost, Field, Memory, Mode, Sense, Slot, f, flag, gp
from plena.dialects.plena_isa.touches import Touch, reads_rows, state, writes_rows, writes_words
from plena.errors import PlenaError

if TYPE_CHECKING:
    from plena.dialects.plena_isa.instruction import Access
    from plena.machine.target import Target

_MASK = flag("mask", Field.RS3)
_MASK_AS_IMMEDIATE = flag("mask", Field.RS3, upstream=Field.IMM18)
_MASK_DROPPED = flag("mask", Field.RS3, upstream_drops=True)

VectorT = TypeVar("VectorT", bound=Instruction)


def vector(
    mnemonic: str, opcode: int, cost: Cost, *slots: Slot, **more: Any
) -> Callable[[type[VectorT]], type[VectorT]]:
    """Declares an instruction on whole rows: it reads those that `a` and `b` name and writes `dst`, under the lane
    mask if it has the flag `mask`."""
    rows = [s.name for s in slots if s.is_address and s.name in ("a", "b")]
    touches: list[Touch] = [reads_rows(name) for name in rows]
    if any(s.name == "dst" for s in slots):
        touches.append(writes_rows("dst"))
    is_masked = any(s.name == "mask" for s in slots)
    if is_masked:
        touches.append(state(Memory.V_MASK, when="mask"))
    sticky = ("v_mask",) if is_masked else ()
    return instruction(mnemonic, opcode, cost, *slots, touches=tuple(touches), sticky=sticky, **more)


def _rows(*names: str) -> tuple[Slot, ...]:
    fields = (Field.RD, Field.RS1, Field.RS2)
    return tuple(gp(name, field) for name, field in zip(names, fields, strict=False))


def _masked(code: str, message: str) -> tuple[Caution]:
    return (Caution(code, message, "mask", lambda fields: fields["mask"] != 0),)


def _masked_reduction(message: str) -> tuple[Caution]:
    def applies(fields: Fields) -> bool:
        return fields["mask"] != 0 and fields["acc"] != 0

    return (Caution("masked-reduction", message, "mask", applies),)


@vector("V_ADD_VV", 0x0D, Cost.V_ADD, *_rows("dst", "a", "b"), _MASK, rtl=VERIFIED)
class VAddVVOp(Instruction):
    """V[dst] = V[a] + V[b]."""


@vector("V_ADD_VF", 0x0E, Cost.V_ADD, *_rows("dst", "a"), f("b", Field.RS2), _MASK, rtl=VERIFIED)
class VAddVFOp(Instruction):
    """V[dst] = V[a] + f[b]."""


@vector("V_SUB_VV", 0x0F, Cost.V_ADD, *_rows("dst", "a", "b"), _MASK, rtl=BY_CODE)
class VSubVVOp(Instruction):
    """V[dst] = V[a] - V[b]."""


@vector(
    "V_SUB_VF",
    0x10,
    Cost.V_ADD,
    *_rows("dst", "a"),
    f("b", Field.RS2),
    _MASK,
    flag("order", Field.FUNCT1),
    rtl=VERIFIED,
)
class VSubVFOp(Instruction):
    """V[dst] = V[a] - f[b]; order != 0 negates the difference."""


@vector("V_MUL_VV", 0x11, Cost.V_MUL, *_rows("dst", "a", "b"), _MASK, rtl=VERIFIED)
class VMulVVOp(Instruction):
    """V[dst] = V[a] * V[b]."""


@vector("V_MUL_VF", 0x12, Cost.V_MUL, *_rows("dst", "a"), f("b", Field.RS2), _MASK, rtl=VERIFIED)
class VMulVFOp(Instruction):
    """V[dst] = V[a] * f[b]."""


@vector(
    "V_EXP_V",
    0x13,
    Cost.V_EXP,
    *_rows("dst", "a"),
    _MASK_AS_IMMEDIATE,
    cautions=_masked("misplaced-mask", "the public assembler loses this mask; unselected lanes are clamped"),
    rtl=VERIFIED,
)
class VExpVOp(Instruction):
    """V[dst] = exp(clamp(V[a], -88, 88))."""


@vector(
    "V_RECI_V",
    0x14,
    Cost.V_RECI,
    *_rows("dst", "a"),
    _MASK_AS_IMMEDIATE,
    cautions=_masked("misplaced-mask", "the public assembler loses this mask"),
    rtl=VERIFIED,
)
class VReciVOp(Instruction):
    """V[dst] = 1 / V[a]."""


@vector(
    "V_RED_SUM",
    0x15,
    Cost.V_SUM,
    f("acc", Field.RD, Mode.UPDATE),
    gp("a", Field.RS1),
    _MASK_DROPPED,
    free_if_f0=True,
    cautions=_masked_reduction("the masked sum multiplies the sums of selected heads by HLEN"),
    rtl=VERIFIED,
)
class VRedSumOp(Instruction):
    """f[acc] += sum of V[a]; it accumulates, so clear acc first. The masked form is defective."""


@vector(
    "V_RED_MAX",
    0x16,
    Cost.V_RED_MAX,
    f("acc", Field.RD, Mode.UPDATE),
    gp("a", Field.RS1),
    _MASK_AS_IMMEDIATE,
    free_if_f0=True,
    cautions=_masked_reduction("the mask has no effect on the maximum"),
    rtl=VERIFIED,
)
class VRedMaxOp(Instruction):
    """f[acc] = max(f[acc], maximum of V[a]); the mask has no effect."""


@vector(
    "V_PS_V",
    0x31,
    Cost.NEVER,
    *_rows("dst", "a", "b"),
    executable=False,
    rtl=wrong("the adder is slower than the scan"),
)
class VPsVOp(Instruction):
    """Prefix sum: assembles, but no emulator executes it."""


@vector("V_SHFT_V", 0x32, Cost.V_MUL, *_rows("dst", "a", "amount"), rtl=BY_CODE)
class VShftVOp(Instruction):
    """V[dst][i] = V[a][i - amount], zero below: a shift toward higher lanes."""


@vector("V_MAX_VF", 0x35, Cost.V_MAX, *_rows("dst", "a"), f("b", Field.RS2), _MASK)
class VMaxVFOp(Instruction):
    """V[dst] = maximum(V[a], f[b])."""


@vector("V_MIN_VF", 0x36, Cost.V_MAX, *_rows("dst", "a"), f("b", Field.RS2), _MASK)
class VMinVFOp(Instruction):
    """V[dst] = minimum(V[a], f[b])."""


TOPK_SHAPES: dict[int, tuple[int, int]] = {0: (32, 4), 1: (128, 8)}
"""(experts, chosen) by V_TOPK policy."""

_NONE = (0, 0)


def _shapes(place: int) -> str:
    return " or ".join(str(shape[place]) for shape in TOPK_SHAPES.values())


EXPERTS = Size(_shapes(0), lambda _, fields: TOPK_SHAPES.get(fields["policy"], _NONE)[0])
CHOSEN = Size(_shapes(1), lambda _, fields: TOPK_SHAPES.get(fields["policy"], _NONE)[1])
_EXPERT_ROWS = Size(
    f"({EXPERTS.text}) / VLEN", lambda target, fields: -(-EXPERTS(target, fields) // target.vlen)
)


@instruction(
    "V_TOPK",
    0x37,
    Cost.TOPK,
    gp("fp_base", Field.RD),
    gp("logits", Field.RS1),
    gp("int_base", Field.RS2),
    flag("policy", Field.RS3, sense=Sense.NUMBER),
    touches=(
        reads_rows("logits", _EXPERT_ROWS),
        writes_words(Memory.INT, "int_base", CHOSEN, below=EXPERTS),
        writes_words(Memory.FP, "fp_base", CHOSEN),
    ),
    requirements=(
        requires(
            "topk-policy",
            f"policy is {' or '.join(map(str, TOPK_SHAPES))}",
            lambda _, fields: fields["policy"] in TOPK_SHAPES,
            "policy",
        ),
    ),
    work=EXPERTS,
)
class VTopkOp(Instruction):
    """The K largest of E logits: softmax weights to FP SRAM, ids to INT SRAM. The policy says how many E and K are."""

    def accesses(self, target: Target) -> tuple[Access, ...] | None:
        """As declared.

        Raises:
            PlenaError: there is no such policy.
        """
        policy = self.number("policy")
        if policy not in TOPK_SHAPES:
            raise PlenaError(
                f"V_TOPK knows no policy {policy}", str(self), f"It is {' or '.join(map(str, TOPK_SHAPES))}."
            )
        return super().accesses(target)
