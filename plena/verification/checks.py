"""What the machine demands of the operands of each instruction, as data (plena_isa.md sections 3.4 to 3.8, 5).

One table serves the check of affine operands and the concrete run. `numbers` are those of a record (`layout`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.lifting.records import layout
from plena.machine.target import Target


class CheckKind(IntEnum):
    """The forms a demand takes; x is the number it is about."""

    ALIGNED = 0
    """x is a multiple of `modulus`."""
    BELOW = 1
    """x < `limit`."""
    RESIDUE_BELOW = 2
    """x % `modulus` < `limit`."""
    STRIDED_ROWS = 3
    """`rows` rows, the next number times `modulus` apart from the row of x on, lie below `limit`."""
    STORE = 4
    """The HBM rows of H_STORE_V, element bytes and scale bytes, lie inside HBM."""


@dataclass(frozen=True, slots=True)
class Check:
    """One demand on one number of an instruction."""

    kind: CheckKind
    code: str
    number: int
    modulus: int = 1
    limit: int = 0
    rows: int = 1


class CheckTable:
    """The demands of every instruction for one target, in the order in which the machine makes them."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._checks: dict[tuple[int, int], tuple[Check, ...]] = {}

    def of(self, op: int, rs3: int) -> tuple[Check, ...]:
        """The demands of an opcode; `rs3` is the policy of V_TOPK."""
        key = (op, rs3)
        checks = self._checks.get(key)
        if checks is None:
            checks = self._checks[key] = tuple(self._make(op, rs3))
        return checks

    def _rows(self, number: int, rows: int = 1) -> list[Check]:
        t = self.target
        return [
            Check(CheckKind.ALIGNED, "unaligned-vram", number, t.vlen),
            Check(CheckKind.BELOW, "vram-range", number, limit=(t.vector_sram_size - rows) * t.vlen + 1),
        ]

    def _tile(self, number: int) -> Check:
        return Check(CheckKind.BELOW, "mram-range", number, limit=self.target.matrix_tiles * self.target.tile)

    def _make(self, op: int, rs3: int) -> list[Check]:
        t = self.target
        shape = layout(op)
        mnemonic = shape.spec.mnemonic
        at = {name: position for position, name in enumerate(shape.addresses)}
        offset, aligned = "mram-offset", CheckKind.ALIGNED
        match mnemonic:
            case "M_MM" | "M_TMM":
                block = Check(aligned, offset, at["mat"], t.blen * t.mlen)
                return [block, self._tile(at["mat"]), *self._rows(at["vec"], t.blen)]
            case "M_MV" | "M_TMV":
                checks = [Check(aligned, offset, at["mat"], t.blen)]
                checks.append(Check(CheckKind.RESIDUE_BELOW, offset, at["mat"], t.tile, t.mlen))
                if mnemonic == "M_TMV":
                    checks = [Check(aligned, offset, at["mat"], t.tile)]
                return [*checks, self._tile(at["mat"]), *self._rows(at["vec"])]
            case "M_BMM" | "M_BTMM" | "M_BTMV":
                return [
                    Check(CheckKind.RESIDUE_BELOW, offset, at["mat"], t.tile, t.mlen),
                    Check(aligned, offset, at["mat"], t.hlen),
                    self._tile(at["mat"]),
                    *self._rows(at["vec"], 1 if mnemonic == "M_BTMV" else t.mlen),
                ]
            case "M_MM_WO":
                lane = Check(aligned, "wo-lane", at["dst"], t.blen)
                end = t.vector_sram_size * t.vlen
                return [lane, Check(CheckKind.STRIDED_ROWS, "vram-range", at["dst"], t.mlen, end, t.blen)]
            case "M_MV_WO":
                end = t.vector_sram_size * t.vlen
                return [
                    Check(aligned, "wo-lane", at["dst"], t.blen),
                    Check(CheckKind.BELOW, "vram-range", at["dst"], limit=end),
                ]
            case "M_BMM_WO" | "M_BMV_WO":
                rows_each = t.mlen if mnemonic == "M_BMM_WO" else 1
                in_range = self._rows(at["dst"], t.broadcast_amount * rows_each)[1]
                return [Check(aligned, "wo-lane", at["dst"], t.mlen), in_range]
            case "S_LD_FP" | "S_ST_FP":
                return [Check(CheckKind.BELOW, "fp-sram-range", at["base"], limit=t.fp_sram_size)]
            case "S_LD_INT" | "S_ST_INT":
                return [Check(CheckKind.BELOW, "int-sram-range", at["base"], limit=t.int_sram_size)]
            case "S_MAP_V_FP":
                window = Check(
                    CheckKind.BELOW, "fp-sram-range", at["base"], limit=t.fp_sram_size - t.vlen + 1
                )
                return [window, *self._rows(at["dst"])]
            case "V_TOPK":
                experts, kept = TOPK_SHAPES.get(rs3, (1, 1))
                return [
                    *self._rows(at["logits"], -(-experts // t.vlen)),
                    Check(
                        CheckKind.BELOW, "int-sram-range", at["int_base"], limit=t.int_sram_size - kept + 1
                    ),
                    Check(CheckKind.BELOW, "fp-sram-range", at["fp_base"], limit=t.fp_sram_size - kept + 1),
                ]
            case "H_PREFETCH_M":
                limit = (t.matrix_tiles - t.m_prefetch_tiles) * t.tile + 1
                return [
                    Check(aligned, "mram-unaligned", at["dst"], t.tile),
                    Check(CheckKind.BELOW, "mram-range", at["dst"], limit=limit),
                ]
            case "H_PREFETCH_V":
                return self._rows(at["dst"])
            case "H_STORE_V":
                if not t.hbm_v_writeback_amount:
                    return []
                store = Check(CheckKind.STORE, "hbm-write-range", at["off"])
                return [*self._rows(at["src"], t.hbm_v_writeback_amount), store]
            case _:
                rows = [name for name in shape.addresses if name != "amount"]
                ordered = [*(n for n in rows if n != "dst"), *(n for n in rows if n == "dst")]
                is_vector = mnemonic.startswith("V_")
                return [check for name in ordered for check in self._rows(at[name])] if is_vector else []


@lru_cache(maxsize=8)
def check_table(target: Target) -> CheckTable:
    """The demands for a target."""
    return CheckTable(target)
