"""HBM transfers (plena_isa.md section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.dialects.builtin import IndexType

from plena.dialects.loop import Linear, linear_of
from plena.dialects.plena_isa.instruction import Access, Instruction, instruction
from plena.dialects.plena_isa.spec import Cost, Field, Memory, Mode, a, flag, gp

if TYPE_CHECKING:
    from plena.machine.number_formats import NumberFormat
    from plena.machine.target import Target

_FLAGS = (flag("rstride", Field.RS3), flag("precision", Field.FUNCT1))
_STICKY = ("scale", "stride")


class TransferInstruction(Instruction):
    """Moves rows between HBM and an SRAM.

    Affine form: `base` may be an `index` (HBM byte address) instead of an a cell, and `scale` and `stride` are `index`
    operands until `set-state` turns them into C_SET_* instructions.
    """

    def number_format(self, target: Target) -> NumberFormat:
        """The HBM type that the precision flag selects."""
        raise NotImplementedError

    def sram_access(self, target: Target) -> Access:
        """The SRAM side."""
        raise NotImplementedError

    def hbm_address(self) -> Linear | None:
        """First element byte in HBM (affine form); None while it hangs on an a cell that is not a known constant."""
        base = self.operand_named("base")
        assert base is not None
        if not isinstance(base.type, IndexType):
            return None
        return linear_of(base) + self.address("off")

    def accesses(self, target: Target) -> tuple[Access, ...]:
        sram = self.sram_access(target)
        mode = Mode.WRITE if sram.mode is Mode.READ else Mode.READ
        address = self.hbm_address()
        stride = self.operand_named("stride")
        touched = [sram, Access(Memory.SCALE, Mode.READ)]
        if self.number("rstride") == 1:
            touched.append(Access(Memory.STRIDE, Mode.READ))
        pitch = linear_of(stride) if stride is not None else None
        row_bytes = target.vlen * self.number_format(target).element_bits // 8
        rows = sram.rows * sram.width // target.vlen
        if self.number("rstride") != 1:
            pitch = Linear(target.vlen)
        if address is None or pitch is None or not pitch.is_constant:
            touched.append(Access(Memory.HBM, mode, None))
        else:
            touched.append(Access(Memory.HBM, mode, address, rows, row_bytes, pitch.constant))
        return tuple(touched)


def _slots(sram: str) -> tuple:
    return (gp(sram, Field.RD), gp("off", Field.RS1), a("base", Field.RS2), *_FLAGS)


@instruction("H_PREFETCH_M", 0x28, Cost.HBM, *_slots("dst"), sticky=_STICKY)
class HPrefetchMOp(TransferInstruction):
    """Matrix tiles from dst on = HBM rows at base + off; prefetch amount / MLEN tiles."""

    def number_format(self, target: Target) -> NumberFormat:
        return target.precision["HBM_M_KV_TYPE" if self.number("precision") else "HBM_M_WEIGHT_TYPE"]

    def sram_access(self, target: Target) -> Access:
        return Access(
            Memory.MATRIX, Mode.WRITE, self.address("dst"), width=target.m_prefetch_tiles * target.tile
        )


@instruction("H_PREFETCH_V", 0x29, Cost.HBM, *_slots("dst"), sticky=_STICKY)
class HPrefetchVOp(TransferInstruction):
    """Vector rows from dst on = HBM rows at base + off; always HBM_V_Prefetch_Amount rows."""

    def number_format(self, target: Target) -> NumberFormat:
        return target.precision["HBM_V_KV_TYPE" if self.number("precision") else "HBM_V_ACT_TYPE"]

    def sram_access(self, target: Target) -> Access:
        rows = target.hbm_v_prefetch_amount
        return Access(Memory.VECTOR, Mode.WRITE, self.address("dst"), rows, target.vlen, target.vlen)


@instruction("H_STORE_V", 0x2A, Cost.HBM, *_slots("src"), sticky=_STICKY)
class HStoreVOp(TransferInstruction):
    """HBM rows at base + off = vector rows from src on, quantised; always HBM_V_Writeback_Amount rows."""

    def number_format(self, target: Target) -> NumberFormat:
        return target.precision["HBM_V_KV_TYPE" if self.number("precision") else "HBM_V_ACT_TYPE"]

    def sram_access(self, target: Target) -> Access:
        rows = target.hbm_v_writeback_amount
        return Access(Memory.VECTOR, Mode.READ, self.address("src"), rows, target.vlen, target.vlen)
