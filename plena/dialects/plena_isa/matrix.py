"""Matrix unit instructions (plena_isa.md section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plena.dialects.loop import Linear
from plena.dialects.plena_isa.instruction import Access, Instruction, instruction
from plena.dialects.plena_isa.spec import Cost, Field, Memory, Mode, gp, immediate, zero

if TYPE_CHECKING:
    from plena.machine.target import Target


def _rows(address: Linear, mode: Mode, rows: int, target: Target, pitch: int | None = None) -> Access:
    """Whole vector rows starting at `address`."""
    return Access(Memory.VECTOR, mode, address, rows, target.mlen, target.mlen if pitch is None else pitch)


class _TileProduct(Instruction):
    """BLEN vector rows against a BLEN-wide block of a tile, accumulated in ACC_MM."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        block = target.blen * target.mlen
        return (
            Access(Memory.MATRIX, Mode.READ, self.address("mat"), width=block),
            _rows(self.address("vec"), Mode.READ, target.blen, target),
            Access(Memory.ACC_MM, Mode.UPDATE),
        )


@instruction("M_MM", 0x01, Cost.SYSTOLIC_MLEN, zero(), gp("mat", Field.RS1), gp("vec", Field.RS2))
class MMMOp(_TileProduct):
    """ACC_MM += V[vec : BLEN rows] @ M[tile of mat][:, c : c+BLEN], c = in-tile offset / MLEN."""


@instruction("M_TMM", 0x02, Cost.SYSTOLIC_MLEN, zero(), gp("vec", Field.RS1), gp("mat", Field.RS2))
class MTMMOp(_TileProduct):
    """ACC_MM += V[vec : BLEN rows] @ M[tile of mat][r : r+BLEN, :].T, r = in-tile offset / MLEN."""


class _BroadcastProduct(Instruction):
    """MLEN vector rows, cut into BROADCAST lane groups, against one HLEN slice of a tile."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (
            Access(Memory.MATRIX, Mode.READ, self.address("mat"), width=target.hlen),
            _rows(self.address("vec"), Mode.READ, target.mlen, target),
            Access(Memory.ACC_BMM, Mode.UPDATE),
        )


@instruction("M_BMM", 0x03, Cost.SYSTOLIC_MLEN, zero(), gp("mat", Field.RS1), gp("vec", Field.RS2))
class MBMMOp(_BroadcastProduct):
    """ACC_BMM[b] += 0.25 * V[vec : MLEN rows][:, b::BROADCAST] @ M[tile][off : off+HLEN, :]."""


@instruction("M_BTMM", 0x04, Cost.SYSTOLIC_MLEN, zero(), gp("mat", Field.RS1), gp("vec", Field.RS2))
class MBTMMOp(_BroadcastProduct):
    """ACC_BMM[b] += 0.25 * V[vec : MLEN rows][:, b*HLEN : (b+1)*HLEN] @ M[tile][:, off : off+HLEN].T."""


@instruction(
    "M_BMM_WO",
    0x05,
    Cost.ONE,
    gp("dst", Field.RD),
    immediate(Field.IMM18, offsets="dst", upstream=Field.IMM22),
)
class MBMMWOOp(Instruction):
    """V[dst + imm : BROADCAST*MLEN rows] = bf16(ACC_BMM); ACC_BMM = 0."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (
            Access(Memory.ACC_BMM, Mode.UPDATE),
            _rows(self.address("dst"), Mode.WRITE, target.broadcast_amount * target.mlen, target),
        )


@instruction(
    "M_MM_WO",
    0x06,
    Cost.ONE,
    gp("dst", Field.RD),
    gp("stride", Field.RS1),
    immediate(Field.IMM18, offsets="dst"),
)
class MMMWOOp(Instruction):
    """V[dst + imm : BLEN rows, BLEN lanes] = bf16(ACC_MM); ACC_MM = 0. Row pitch: stride rows, gp0 means 1."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        stride = self.stride_rows
        rows = target.blen
        if stride is None:
            everything = Linear(0)
            write = Access(
                Memory.VECTOR, Mode.UPDATE, everything, target.vector_sram_size, target.vlen, target.vlen
            )
        else:
            write = Access(
                Memory.VECTOR, Mode.WRITE, self.address("dst"), rows, target.blen, stride * target.mlen
            )
        return (Access(Memory.ACC_MM, Mode.UPDATE), write)

    @property
    def stride_rows(self) -> int | None:
        """Row pitch in rows when it is known: the zero register means 1."""
        from plena.dialects.loop import linear_of
        from plena.dialects.plena_isa.registers import GPRegister

        stride = self.operand_named("stride")
        assert stride is not None
        if isinstance(stride.type, GPRegister):
            return 1 if stride.type.is_zero else None
        expression = linear_of(stride)
        return expression.constant if expression.is_constant else None


class _RowProduct(Instruction):
    """One vector row against a BLEN-wide block of a tile, accumulated in ACC_V."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (
            Access(Memory.MATRIX, Mode.READ, self.address("mat"), width=target.blen),
            _rows(self.address("vec"), Mode.READ, 1, target),
            Access(Memory.ACC_V, Mode.UPDATE),
        )


@instruction("M_MV", 0x07, Cost.MLEN, zero(), gp("mat", Field.RS1), gp("vec", Field.RS2))
class MMVOp(_RowProduct):
    """ACC_V += V[vec] @ M[tile][:, off : off+BLEN]; the offset is in elements here."""


@instruction("M_TMV", 0x08, Cost.MLEN, zero(), gp("mat", Field.RS1), gp("vec", Field.RS2))
class MTMVOp(_RowProduct):
    """ACC_V += V[vec] @ M[mat][0 : BLEN, :].T; mat must be a tile base."""


@instruction(
    "M_BMV", 0x09, Cost.SYSTOLIC_ONE, gp("off", Field.RD), gp("mat", Field.RS1), gp("vec", Field.RS2)
)
class MBMVOp(Instruction):
    """Aborts on the machine: its result has one axis too many for the accumulator."""


@instruction(
    "M_BTMV", 0x0A, Cost.SYSTOLIC_ONE, gp("off", Field.RD), gp("mat", Field.RS1), gp("vec", Field.RS2)
)
class MBTMVOp(Instruction):
    """ACC_BMV[b] += 0.25 * V[vec][b*HLEN : (b+1)*HLEN] @ M[tile][:, o : o+HLEN].T at address mat + off."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (
            Access(Memory.MATRIX, Mode.READ, self.address("mat") + self.address("off"), width=target.hlen),
            _rows(self.address("vec"), Mode.READ, 1, target),
            Access(Memory.ACC_BMV, Mode.UPDATE),
        )


@instruction(
    "M_MV_WO",
    0x0B,
    Cost.ONE,
    gp("dst", Field.RD),
    immediate(Field.IMM18, offsets="dst", upstream=Field.IMM22),
)
class MMVWOOp(Instruction):
    """V[dst + imm : BLEN lanes] = bf16(ACC_V); ACC_V = 0."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (
            Access(Memory.ACC_V, Mode.UPDATE),
            Access(Memory.VECTOR, Mode.WRITE, self.address("dst"), width=target.blen),
        )


@instruction(
    "M_BMV_WO",
    0x0C,
    Cost.ONE,
    gp("dst", Field.RD),
    immediate(Field.IMM18, offsets="dst", upstream=Field.IMM22),
)
class MBMVWOOp(Instruction):
    """V[dst + imm : BROADCAST rows] = bf16(ACC_BMV); ACC_BMV = 0."""

    def accesses(self, target: Target) -> tuple[Access, ...]:
        return (
            Access(Memory.ACC_BMV, Mode.UPDATE),
            _rows(self.address("dst"), Mode.WRITE, target.broadcast_amount, target),
        )
