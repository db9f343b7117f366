"""What the symbolic run leaves of an instruction.

A record is the tuple (pc, value, value, ...): the values of an instruction's address slots in slot order, immediates
added, then those of the sticky state it uses (`RecordLayout`). An S_LD_INT ends with the symbol of its number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from plena.dialects.plena_isa import OPCODES, Field, InstructionSpec
from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.lifting.code import opcode
from plena.lifting.values import Value
from plena.machine.number_formats import Mx
from plena.machine.target import Target

Record = tuple[int, *tuple[Value, ...]]

FORWARDED = -1
"""In place of the symbol of an S_LD_INT whose number is known."""

TOPK_WORDS = {policy: kept for policy, (_, kept) in TOPK_SHAPES.items()}
"""Words that V_TOPK writes to each scalar memory, by policy."""


@dataclass(frozen=True)
class RecordLayout:
    """What a record of one opcode holds.

    Attributes:
        addresses: the names of the address slots, in order.
        fields: where their registers are in the word.
        offset: the position of the address that the immediate is added to, -1 without.
        transfer: it ends with high and low half of the HBM base, scale and stride.
        mask: it ends with the lane mask if the mask flag (rs3) is set.
    """

    spec: InstructionSpec
    addresses: tuple[str, ...]
    fields: tuple[Field, ...]
    offset: int
    transfer: bool
    mask: bool


@cache
def layout(op: int) -> RecordLayout:
    """The record layout of an opcode."""
    spec = OPCODES[op]
    slots = [s for s in spec.slots if s.is_address]
    names = [s.name for s in slots]
    offset = next((names.index(s.offsets) for s in spec.slots if s.offsets in names), -1)
    return RecordLayout(
        spec,
        tuple(names),
        tuple(s.field for s in slots),
        offset,
        "scale" in spec.sticky,
        "v_mask" in spec.sticky,
    )


HBM_TYPES = {
    opcode("H_PREFETCH_M"): ("HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE"),
    opcode("H_PREFETCH_V"): ("HBM_V_ACT_TYPE", "HBM_V_KV_TYPE"),
    opcode("H_STORE_V"): ("HBM_V_ACT_TYPE", "HBM_V_KV_TYPE"),
}
"""The types that the precision flag chooses from, by opcode (plena_isa.md section 5.1)."""


def transfers_with_scales(target: Target) -> dict[tuple[int, bool], bool]:
    """Whether a transfer has a scale plane, by opcode and precision flag (plena_isa.md section 5.2)."""
    return {
        (op, bool(flag)): isinstance(target.precision[key], Mx)
        for op, keys in HBM_TYPES.items()
        for flag, key in enumerate(keys)
    }
