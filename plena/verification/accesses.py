"""Which cells an instruction reads and writes, in coarse units: vector rows, matrix tiles, words.

Partial writes of a row count as writes of the row. HBM is handled apart (`plena.verify.cells`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.lifting.records import layout
from plena.machine.target import Target


class Cells(IntEnum):
    """The memories that are tracked cell by cell."""

    VECTOR = 0
    MATRIX = 1
    FP = 2
    INT = 3


NAMES = {
    Cells.VECTOR: ("vector row", "unwritten-vector"),
    Cells.MATRIX: ("matrix tile", "unwritten-matrix"),
    Cells.FP: ("FP SRAM word", "unwritten-fp"),
    Cells.INT: ("INT SRAM word", "unwritten-int"),
}
"""What a cell is called, and the code of the warning about reading one that nothing wrote."""


@dataclass(frozen=True, slots=True)
class CellAccess:
    """`count` cells from `number // unit` on; `stride` is the number that spaces them, -1 for adjacent ones."""

    cells: Cells
    is_write: bool
    number: int
    count: int = 1
    stride: int = -1


@dataclass(frozen=True)
class Memories:
    """Sizes in cells and the addresses that one cell spans."""

    sizes: tuple[int, ...]
    units: tuple[int, ...]

    @staticmethod
    def of(target: Target) -> Memories:
        return Memories(
            (target.vector_sram_size, target.matrix_tiles, target.fp_sram_size, target.int_sram_size),
            (target.vlen, target.tile, 1, 1),
        )


@lru_cache(maxsize=1024)
def cell_accesses(target: Target, op: int, rs3: int) -> tuple[CellAccess, ...]:
    """The accesses of an opcode, reads before writes; `rs3` is the policy of V_TOPK."""
    shape = layout(op)
    at = {name: position for position, name in enumerate(shape.addresses)}
    rows, tiles, fp, ints = Cells.VECTOR, Cells.MATRIX, Cells.FP, Cells.INT
    match shape.spec.mnemonic:
        case "M_MM" | "M_TMM" | "M_MV" | "M_TMV" | "M_BMM" | "M_BTMM" | "M_BTMV" as mnemonic:
            count = target.blen if mnemonic in ("M_MM", "M_TMM") else 1
            count = target.mlen if mnemonic in ("M_BMM", "M_BTMM") else count
            return (CellAccess(tiles, False, at["mat"]), CellAccess(rows, False, at["vec"], count))
        case "M_MM_WO":
            return (CellAccess(rows, True, at["dst"], target.blen, at["stride"]),)
        case "M_MV_WO":
            return (CellAccess(rows, True, at["dst"]),)
        case "M_BMM_WO":
            return (CellAccess(rows, True, at["dst"], target.broadcast_amount * target.mlen),)
        case "M_BMV_WO":
            return (CellAccess(rows, True, at["dst"], target.broadcast_amount),)
        case "S_LD_FP":
            return (CellAccess(fp, False, at["base"]),)
        case "S_ST_FP":
            return (CellAccess(fp, True, at["base"]),)
        case "S_LD_INT":
            return (CellAccess(ints, False, at["base"]),)
        case "S_ST_INT":
            return (CellAccess(ints, True, at["base"]),)
        case "S_MAP_V_FP":
            return (CellAccess(fp, False, at["base"], target.vlen), CellAccess(rows, True, at["dst"]))
        case "V_TOPK":
            experts, kept = TOPK_SHAPES.get(rs3, (1, 1))
            return (
                CellAccess(rows, False, at["logits"], -(-experts // target.vlen)),
                CellAccess(ints, True, at["int_base"], kept),
                CellAccess(fp, True, at["fp_base"], kept),
            )
        case "H_PREFETCH_M":
            return (CellAccess(tiles, True, at["dst"], target.m_prefetch_tiles),)
        case "H_PREFETCH_V":
            return (CellAccess(rows, True, at["dst"], target.hbm_v_prefetch_amount),)
        case "H_STORE_V":
            return (CellAccess(rows, False, at["src"], target.hbm_v_writeback_amount),)
        case mnemonic if mnemonic.startswith("V_"):
            reads = [CellAccess(rows, False, at[name]) for name in ("a", "b") if name in at]
            return (*reads, *([CellAccess(rows, True, at["dst"])] if "dst" in at else []))
        case _:
            return ()
