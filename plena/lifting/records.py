"""What the symbolic run leaves of an instruction.

A record is the tuple (pc, value, value, ...): the values of an instruction's address slots in slot order, immediates
added, then those of the sticky state it uses (`RecordLayout`). An S_LD_INT ends with the symbol of its number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from plena.dialects.derived import derived, derived_of_targets
from plena.dialects.plena_isa import (
    INSTRUCTIONS,
    OPCODES,
    Field,
    InstructionSpec,
    Integer,
    Memory,
    Mode,
    Slot,
)
from plena.dialects.plena_isa.sizes import Size
from plena.dialects.plena_isa.spec import STICKY
from plena.dialects.plena_isa.touches import Touch
from plena.lifting.values import Value
from plena.machine.constants import INT_LIMIT
from plena.machine.number_formats import Mx
from plena.machine.target import Target

Record = tuple[int, *tuple[Value, ...]]

FORWARDED = -1
"""In place of the symbol of an S_LD_INT whose number is known."""


@dataclass(frozen=True)
class RecordLayout:
    """What a record of one opcode holds.

    Attributes:
        addresses: the names of the address slots, in order.
        fields: where their registers are in the word.
        offset: the position of the address that the immediate is added to, -1 without.
        transfer: it ends with high and low half of the HBM base, scale and stride.
        mask: the flag slot with which it ends with the lane mask; None: it never does.
        sum: positions of an address that is added to another and then 0, and of that other; None without.
        pitch: position of the row pitch whose register gp0 stands for 1, and the rows; None without.
        int_write: position of the address and the touch of INT SRAM words that get numbers nobody follows.
        result: it writes a gp register with a number that nobody follows.
        unknown: what it touches is not declared.
        state: names in `STICKY` of the registers that it may set to what nobody follows.
    """

    spec: InstructionSpec
    addresses: tuple[str, ...]
    fields: tuple[Field, ...]
    offset: int
    transfer: bool
    mask: Slot | None
    sum: tuple[int, int] | None
    pitch: tuple[int, Size] | None
    int_write: tuple[int, Touch] | None
    result: bool
    unknown: bool
    state: tuple[str, ...]

    @cached_property
    def is_plain(self) -> bool:
        """Whether a record is the operands, the HBM side or the mask, and nothing else changes."""
        return not (self.sum or self.pitch or self.int_write or self.result or self.unknown or self.state)

    def uses_stride(self, flags: int) -> bool:
        """Whether STRIDE is the row pitch of a transfer with certain flag bits."""
        slot = self.spec.by_name[STICKY["stride"].flag or ""]
        return bool(slot.canonical(slot.field.extract(flags)))

    @cached_property
    def hbm_side(self) -> slice:
        """Where a record of a transfer has its offset, high and low half of the base, scale and stride."""
        position = 1 + self.addresses.index("off")
        return slice(position, position + 5)

    def int_words(self, target: Target, flags: int) -> int:
        """Words of INT SRAM that `int_write` covers for certain flag bits."""
        assert self.int_write is not None
        return self.int_write[1].width(target, self.spec.fields_of(flags))

    def int_numbers(self, target: Target, flags: int) -> tuple[int, int]:
        """Bounds of the numbers that `int_write` leaves."""
        assert self.int_write is not None
        below = self.int_write[1].below
        limit = INT_LIMIT if below is None else below(target, self.spec.fields_of(flags))
        return 0, max(0, limit - 1)


@derived
def layout(op: int) -> RecordLayout:
    """The record layout of an opcode."""
    spec = OPCODES[op]
    slots = [s for s in spec.slots if s.is_address]
    names = [s.name for s in slots]
    offset = next((names.index(s.offsets) for s in spec.slots if s.offsets in names), -1)
    mask = STICKY["v_mask"].flag if "v_mask" in spec.sticky else None
    added = next((s for s in slots if s.adds_to is not None), None)
    touches = spec.touches or ()
    strided = next((t for t in touches if t.stride is not None), None)
    written = [
        t for t in touches if t.memory is Memory.INT and Mode.WRITE in t.mode and t.address is not None
    ]
    follows = spec.integer is not None
    return RecordLayout(
        spec,
        tuple(names),
        tuple(s.field for s in slots),
        offset,
        spec.transfer is not None,
        spec.by_name[mask] if mask is not None else None,
        None if added is None else (names.index(added.name), names.index(added.adds_to or "")),
        None if strided is None else (names.index(strided.stride or ""), strided.rows),
        None if follows or not written else (names.index(written[0].address or ""), written[0]),
        spec.writes_gp and not follows,
        spec.touches is None,
        ()
        if follows
        else tuple(name for name, register in STICKY.items() if spec.may_write(register.memory)),
    )


@derived_of_targets(32)
def transfers_with_scales(target: Target) -> dict[tuple[int, bool], bool]:
    """Whether a transfer has a scale plane, by opcode and precision flag (plena_isa.md section 5.2)."""
    return {
        (spec.opcode, flag): isinstance(spec.transfer.number_format(target, flag), Mx)
        for spec in INSTRUCTIONS.values()
        if spec.transfer is not None
        for flag in (False, True)
    }


@derived
def opcodes_doing(*what: Integer) -> frozenset[int]:
    """The opcodes that do something to the integer state."""
    return frozenset(spec.opcode for spec in INSTRUCTIONS.values() if spec.integer in what)


@derived
def other_int_users() -> frozenset[int]:
    """The opcodes that write numbers to INT SRAM which nobody follows, that read it, or that may touch anything."""
    return frozenset(
        op
        for op, spec in OPCODES.items()
        if spec.may_touch(Memory.INT) and spec.integer not in (Integer.LOAD, Integer.STORE)
    )


def opcode_doing(what: Integer) -> int:
    """The opcode that does something to the integer state."""
    (op,) = opcodes_doing(what)
    return op
