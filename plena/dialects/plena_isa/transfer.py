"""HBM transfers (plena_isa.md section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.dialects.builtin import IndexType

from plena.dialects.loop import Linear, linear_of
from plena.dialects.plena_isa.demands import (
    Demand,
    DemandKind,
    Facts,
    Requirement,
    aligned,
    requires,
    rows_in_range,
    whole_tiles,
)
from plena.dialects.plena_isa.instruction import Access, Instruction, instruction
from plena.dialects.plena_isa.on_rtl import VERIFIED, wrong
from plena.dialects.plena_isa.registers import PlenaRegister
from plena.dialects.plena_isa.sizes import (
    M_PREFETCH_TILES,
    MLEN,
    ONE,
    TILE,
    V_PREFETCH_ROWS,
    V_WRITEBACK_ROWS,
    VLEN,
    Fields,
)
from plena.dialects.plena_isa.spec import STICKY, Cost, Field, Memory, Mode, Sense, Slot, a, flag, gp
from plena.dialects.plena_isa.touches import Touch, Transfer, reads_rows, state, writes_rows

if TYPE_CHECKING:
    from plena.machine.target import Target

WEIGHTS = ("HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE")
ACTIVATIONS = ("HBM_V_ACT_TYPE", "HBM_V_KV_TYPE")
"""The HBM types that the precision flag chooses from (plena_isa.md section 5.1)."""

_STICKY = ("scale", "stride")
_STATE = (state(Memory.SCALE), state(Memory.STRIDE, when=STICKY["stride"].flag))


class TransferInstruction(Instruction):
    """Moves rows between HBM and an SRAM.

    Affine form: `base` may be an `index` (HBM byte address) instead of an a cell, and `scale` and `stride` are `index`
    operands until `set-state` turns them into C_SET_* instructions.
    """

    @property
    def transfer(self) -> Transfer:
        """Its HBM side."""
        declared = self.SPEC.transfer
        assert declared is not None
        return declared

    def accesses(self, target: Target) -> tuple[Access, ...] | None:
        """The SRAM side and the sticky state, then the element bytes and the scale bytes in HBM.

        Any bytes of HBM while an address hangs on an a cell or the row pitch is not a known number.
        """
        declared = super().accesses(target)
        assert declared is not None
        scales = self._scale_access(target)
        elements = self._element_access(target)
        return (*declared, elements) if scales is None else (*declared, elements, scales)

    @property
    def _hbm_mode(self) -> Mode:
        return Mode.READ if self.transfer.is_load else Mode.WRITE

    def _pitch(self, target: Target) -> Linear | None:
        """Bytes from row to row, None while STRIDE says and its content is not known."""
        if not self.SPEC.by_name["rstride"].canonical(self.number("rstride")):
            return Linear(target.vlen)
        stride = self.operand_named("stride")
        return None if stride is None else linear_of(stride)

    def _element_access(self, target: Target) -> Access:
        base, pitch = self.operand_named("base"), self._pitch(target)
        assert base is not None
        if not isinstance(base.type, IndexType) or pitch is None or not pitch.is_constant:
            return Access(Memory.HBM, self._hbm_mode)
        number_format = self.transfer.number_format(target, self.number("precision"))
        row_bytes = target.vlen * number_format.element_bits // 8
        start = linear_of(base) + self.address("off")
        return Access(
            Memory.HBM, self._hbm_mode, start, self.transfer.rows(target), row_bytes, pitch.constant
        )

    def _scale_access(self, target: Target) -> Access | None:
        """The scale bytes, None when its type has none (plena_isa.md section 5.1)."""
        number_format = self.transfer.number_format(target, self.number("precision"))
        row_bytes, ratio = number_format.scale_bytes(target.vlen), number_format.ratio
        if not row_bytes:
            return None
        base, scale = self.operand_named("base"), self.operand_named("scale")
        assert base is not None
        offset, pitch = self.address("off"), self._pitch(target)
        if (
            isinstance(base.type, PlenaRegister)
            or scale is None
            or pitch is None
            or not pitch.is_constant
            or any(n % ratio for n in (pitch.constant, offset.constant, *(c for _, c in offset.terms)))
        ):
            return Access(Memory.HBM, self._hbm_mode)
        start = linear_of(base) + linear_of(scale)
        start += Linear(offset.constant // ratio, tuple((v, c // ratio) for v, c in offset.terms))
        rows = self.transfer.rows(target)
        return Access(Memory.HBM, self._hbm_mode, start, rows, row_bytes, pitch.constant // ratio)


def _slots(sram: str) -> tuple[Slot, ...]:
    return (
        gp(sram, Field.RD),
        gp("off", Field.RS1),
        a("base", Field.RS2),
        flag("rstride", Field.RS3, sense=Sense.ONE),
        flag("precision", Field.FUNCT1),
    )


def _movable(formats: tuple[str, str]) -> Requirement:
    """Elements and scales of the chosen type have 8 or 16 bits."""

    def problem(target: Target, fields: Fields) -> Facts | None:
        from plena.machine.transferable import refused_width

        width = refused_width(target.precision[formats[fields["precision"] != 0]])
        return (width,) if width else None

    return Requirement("elem-width", "codes of 8 or 16 bits", problem)


def _is_storable(target: Target, fields: Fields) -> bool:
    from plena.machine.transferable import can_store

    return can_store(target.precision[ACTIVATIONS[fields["precision"] != 0]])


@instruction(
    "H_PREFETCH_M",
    0x28,
    Cost.HBM,
    *_slots("dst"),
    sticky=_STICKY,
    touches=(Touch(Memory.MATRIX, Mode.WRITE, "dst", width=M_PREFETCH_TILES * TILE), *_STATE),
    demands=whole_tiles("dst", M_PREFETCH_TILES),
    requirements=(_movable(WEIGHTS),),
    transfer=Transfer(WEIGHTS, M_PREFETCH_TILES * MLEN, is_load=True),
    rtl=VERIFIED,
)
class HPrefetchMOp(TransferInstruction):
    """Matrix tiles from dst on = HBM rows at base + off; prefetch amount / MLEN tiles."""


@instruction(
    "H_PREFETCH_V",
    0x29,
    Cost.HBM,
    *_slots("dst"),
    sticky=_STICKY,
    touches=(writes_rows("dst", V_PREFETCH_ROWS), *_STATE),
    demands=(aligned("dst", VLEN, "unaligned-vram"), rows_in_range("dst", ONE)),
    requirements=(
        _movable(ACTIVATIONS),
        requires(
            "prefetch-amount-zero", "HBM_V_Prefetch_Amount > 0", lambda t, _: t.hbm_v_prefetch_amount != 0
        ),
    ),
    transfer=Transfer(ACTIVATIONS, V_PREFETCH_ROWS, is_load=True),
    rtl=VERIFIED,
)
class HPrefetchVOp(TransferInstruction):
    """Vector rows from dst on = HBM rows at base + off; always HBM_V_Prefetch_Amount rows."""


@instruction(
    "H_STORE_V",
    0x2A,
    Cost.HBM,
    *_slots("src"),
    sticky=_STICKY,
    touches=(reads_rows("src", V_WRITEBACK_ROWS), *_STATE),
    demands=(Demand(DemandKind.STORE, "hbm-write-range", "off", rows=V_WRITEBACK_ROWS),),
    requirements=(
        _movable(ACTIVATIONS),
        requires("store-type", "an Mx type, integers or bf16", _is_storable),
    ),
    transfer=Transfer(ACTIVATIONS, V_WRITEBACK_ROWS, is_load=False),
    rtl=wrong("codes of another format, scales that do not change"),
)
class HStoreVOp(TransferInstruction):
    """HBM rows at base + off = vector rows from src on, quantised; always HBM_V_Writeback_Amount rows."""
