"""Matrix unit instructions (plena_isa.md section 3.4)."""

from __future__ import annotations

from plena.dialects.plena_isa.demands import Caution, Requirement, aligned, in_row_of_tile, requires
from plena.dialects.plena_isa.instruction import Instruction, instruction
from plena.dialects.plena_isa.on_rtl import VERIFIED, VERIFIED_WITHOUT_IMMEDIATE, hangs, own
from plena.dialects.plena_isa.sizes import BLEN, BROADCAST, HLEN, MLEN, ONE, TILE, Size
from plena.dialects.plena_isa.spec import Cost, Field, Memory, Mode, Slot, gp, immediate, zero
from plena.dialects.plena_isa.touches import Touch, accumulates, clears, reads_block, reads_rows, writes_rows

_MAT_VEC = (zero(), gp("mat", Field.RS1), gp("vec", Field.RS2))
_VEC_MAT = (zero(), gp("vec", Field.RS1), gp("mat", Field.RS2))
_BROADCAST_MAT_VEC = (zero(refused=True), *_MAT_VEC[1:])

_SHAPE = Requirement(
    "broadcast-shape",
    "BROADCAST_AMOUNT * HLEN = MLEN",
    lambda t, _: None if t.broadcast_amount * t.hlen == t.mlen else (t.broadcast_amount * t.hlen, t.mlen),
)
_HLEN_NOT_ONE = requires("broadcast-hlen-one", "HLEN > 1", lambda t, _: t.hlen != 1)

_MISPLACED = Caution(
    "write-out-immediate",
    "the public assembler puts this immediate 4 bits too low",
    "imm",
    lambda fields: fields["imm"] != 0,
)


def _products(accumulator: Memory, width: Size, rows: Size = ONE) -> tuple[Touch, ...]:
    """Vector rows against part of a tile, accumulated."""
    return (reads_block("mat", width), reads_rows("vec", rows), accumulates(accumulator))


_TILE_PRODUCT = _products(Memory.ACC_MM, BLEN * MLEN, BLEN)
_BLOCK_OF_COLUMNS = (aligned("mat", BLEN * MLEN, "mram-offset"),)


@instruction(
    "M_MM", 0x01, Cost.TILE_PRODUCT, *_MAT_VEC, touches=_TILE_PRODUCT, demands=_BLOCK_OF_COLUMNS, rtl=VERIFIED
)
class MMMOp(Instruction):
    """ACC_MM += V[vec : BLEN rows] @ M[tile of mat][:, c : c+BLEN], c = in-tile offset / MLEN."""


@instruction(
    "M_TMM",
    0x02,
    Cost.TILE_PRODUCT,
    *_VEC_MAT,
    touches=_TILE_PRODUCT,
    demands=_BLOCK_OF_COLUMNS,
    rtl=own("rs1 is the matrix address, rs2 the vector address"),
)
class MTMMOp(Instruction):
    """ACC_MM += V[vec : BLEN rows] @ M[tile of mat][r : r+BLEN, :].T, r = in-tile offset / MLEN."""


_BROADCAST_PRODUCT = _products(Memory.ACC_BMM, HLEN, MLEN)
_SLICE_OF_HEAD = (in_row_of_tile("mat"), aligned("mat", HLEN, "mram-offset"))


@instruction(
    "M_BMM",
    0x03,
    Cost.BROADCAST_PRODUCT,
    *_BROADCAST_MAT_VEC,
    touches=_BROADCAST_PRODUCT,
    demands=_SLICE_OF_HEAD,
    requirements=(_SHAPE, _HLEN_NOT_ONE),
    rtl=own("heads of BLEN lanes, BLEN rows of results, no factor 0.25"),
)
class MBMMOp(Instruction):
    """ACC_BMM[b] += 0.25 * V[vec : MLEN rows][:, b::BROADCAST] @ M[tile][off : off+HLEN, :]."""


@instruction(
    "M_BTMM",
    0x04,
    Cost.BROADCAST_PRODUCT,
    *_BROADCAST_MAT_VEC,
    touches=_BROADCAST_PRODUCT,
    demands=_SLICE_OF_HEAD,
    requirements=(_SHAPE, _HLEN_NOT_ONE),
    rtl=own("heads of BLEN lanes, BLEN rows of results, no factor 0.25"),
)
class MBTMMOp(Instruction):
    """ACC_BMM[b] += 0.25 * V[vec : MLEN rows][:, b*HLEN : (b+1)*HLEN] @ M[tile][:, off : off+HLEN].T."""


@instruction(
    "M_BMM_WO",
    0x05,
    Cost.WRITE_OUT,
    gp("dst", Field.RD),
    immediate(Field.IMM18, offsets="dst", upstream=Field.IMM22),
    touches=(clears(Memory.ACC_BMM), writes_rows("dst", BROADCAST * MLEN)),
    demands=(aligned("dst", MLEN, "wo-lane"),),
    cautions=(_MISPLACED,),
    rtl=own("BLEN rows for each head, the immediate is ignored"),
)
class MBMMWOOp(Instruction):
    """V[dst + imm : BROADCAST*MLEN rows] = bf16(ACC_BMM); ACC_BMM = 0."""


@instruction(
    "M_MM_WO",
    0x06,
    Cost.WRITE_OUT,
    gp("dst", Field.RD),
    gp("stride", Field.RS1, gp0_means=1),
    immediate(Field.IMM18, offsets="dst"),
    touches=(
        clears(Memory.ACC_MM),
        Touch(Memory.VECTOR, Mode.WRITE, "dst", BLEN, BLEN, stride="stride"),
    ),
    demands=(aligned("dst", BLEN, "wo-lane"),),
    rtl=VERIFIED_WITHOUT_IMMEDIATE,
)
class MMMWOOp(Instruction):
    """V[dst + imm : BLEN rows, BLEN lanes] = bf16(ACC_MM); ACC_MM = 0. Row pitch: stride rows, gp0 means 1."""


_ROW_PRODUCT = _products(Memory.ACC_V, BLEN)


@instruction(
    "M_MV",
    0x07,
    Cost.ROW_PRODUCT,
    *_MAT_VEC,
    touches=_ROW_PRODUCT,
    demands=(aligned("mat", BLEN, "mram-offset"), in_row_of_tile("mat")),
    rtl=hangs("the matrix unit waits for ever"),
)
class MMVOp(Instruction):
    """ACC_V += V[vec] @ M[tile][:, off : off+BLEN]; the offset is in elements here."""


@instruction(
    "M_TMV",
    0x08,
    Cost.ROW_PRODUCT,
    *_MAT_VEC,
    touches=_ROW_PRODUCT,
    demands=(aligned("mat", TILE, "mram-offset"),),
    cautions=(
        Caution(
            "first-row-block", "M_TMV only reaches the first BLEN rows of a tile; M_TMM is the usable form"
        ),
    ),
)
class MTMVOp(Instruction):
    """ACC_V += V[vec] @ M[mat][0 : BLEN, :].T; mat must be a tile base."""


_OFF_MAT_VEC: tuple[Slot, ...] = (
    gp("off", Field.RD, adds_to="mat"),
    gp("mat", Field.RS1),
    gp("vec", Field.RS2),
)


@instruction(
    "M_BMV",
    0x09,
    Cost.BROADCAST_ROW_PRODUCT,
    *_OFF_MAT_VEC,
    touches=_products(Memory.ACC_BMM, HLEN),
    requirements=(requires("m-bmv", "another instruction: M_BTMV", lambda _, __: False),),
)
class MBMVOp(Instruction):
    """Aborts on the machine: its result has one axis too many for the accumulator."""


@instruction(
    "M_BTMV",
    0x0A,
    Cost.BROADCAST_ROW_PRODUCT,
    *_OFF_MAT_VEC,
    touches=_products(Memory.ACC_BMV, HLEN),
    demands=_SLICE_OF_HEAD,
    requirements=(_SHAPE,),
)
class MBTMVOp(Instruction):
    """ACC_BMV[b] += 0.25 * V[vec][b*HLEN : (b+1)*HLEN] @ M[tile][:, o : o+HLEN].T at address mat + off."""


@instruction(
    "M_MV_WO",
    0x0B,
    Cost.ROW_WRITE_OUT,
    gp("dst", Field.RD),
    immediate(Field.IMM18, offsets="dst", upstream=Field.IMM22),
    touches=(clears(Memory.ACC_V), Touch(Memory.VECTOR, Mode.WRITE, "dst", width=BLEN)),
    demands=(aligned("dst", BLEN, "wo-lane"),),
    cautions=(_MISPLACED,),
    rtl=hangs("the matrix unit waits for ever"),
)
class MMVWOOp(Instruction):
    """V[dst + imm : BLEN lanes] = bf16(ACC_V); ACC_V = 0."""


@instruction(
    "M_BMV_WO",
    0x0C,
    Cost.ROW_WRITE_OUT,
    gp("dst", Field.RD),
    immediate(Field.IMM18, offsets="dst", upstream=Field.IMM22),
    touches=(clears(Memory.ACC_BMV), writes_rows("dst", BROADCAST)),
    demands=(aligned("dst", MLEN, "wo-lane"),),
    cautions=(_MISPLACED,),
)
class MBMVWOOp(Instruction):
    """V[dst + imm : BROADCAST rows] = bf16(ACC_BMV); ACC_BMV = 0."""
