"""Rules about results that are still under way, on any path."""

from __future__ import annotations

from collections.abc import Iterator

from plena.dialects.plena_isa import Memory
from plena.verification.rtl.flow import walk
from plena.verification.rtl.rules import Breach, Evidence, rule
from plena.verification.rtl.view import (
    ADD_IMMEDIATE,
    LOAD_FP,
    MAX_FP,
    PREFETCH_M,
    PREFETCH_V,
    STORE_FP,
    RtlView,
    computes_fp,
    of_two_rows,
    overlap,
    products,
    reductions,
    vector_ops,
    with_scalar,
    write_outs,
)

_NONE = -1
_FENCE = 2
"""S_ADDI_INT that wait for the vector unit: the second is certain to see an instruction before the first."""


@rule(
    "R21",
    Evidence.DERIVED,
    "one group of products at a time, without vector instructions until its write-out",
)
def one_group(view: RtlView) -> Iterator[Breach]:
    found: set[tuple[int, str]] = set()

    def step(pc: int, group: Memory | None) -> Memory | None:
        op = view.code.op[pc]
        if op in products():
            mine = _accumulator(view, pc)
            if group is not None and group is not mine:
                found.add((pc, "another group of products is open, and one write-out clears all"))
            return mine
        if op in write_outs():
            if group is not None and group is not _accumulator(view, pc):
                found.add((pc, "it clears the group of products that is open"))
            return None
        if group is not None and op in vector_ops():
            found.add((pc, "a vector instruction between products and their write-out may be lost"))
        return group

    walk(view, None, step)
    for pc, message in sorted(found):
        yield Breach(pc, message)


def _accumulator(view: RtlView, pc: int) -> Memory:
    accumulators = (Memory.ACC_MM, Memory.ACC_V, Memory.ACC_BMM, Memory.ACC_BMV)
    return next(m for m in accumulators if view.spec(pc).may_touch(m))


@rule("R22", Evidence.CODE, "another H_PREFETCH_M between a tile's prefetch and the products that read it")
def prefetched_tiles(view: RtlView) -> Iterator[Breach]:
    found: dict[int, int] = {}

    def step(pc: int, last: int) -> int:
        op = view.code.op[pc]
        if op == PREFETCH_M:
            return pc
        if last != _NONE and op in products() and overlap(view.tiles(pc, "mat"), view.tiles(last, "dst")):
            found.setdefault(pc, last)
        return last

    walk(view, _NONE, step)
    for pc, last in sorted(found.items()):
        yield Breach(
            pc,
            f"nothing says that the tile of {view.code.where(last)} has arrived: "
            "write an H_PREFETCH_M to another tile between",
            "mat",
        )


@rule("R23", Evidence.DERIVED, "no H_PREFETCH_M to a tile that an open group of products reads")
def overwritten_tiles(view: RtlView) -> Iterator[Breach]:
    found: set[int] = set()

    def step(pc: int, group: frozenset[int]) -> frozenset[int]:
        op = view.code.op[pc]
        if op in products():
            return group | {pc}
        if op in write_outs():
            return frozenset()
        if op == PREFETCH_M:
            tiles = view.tiles(pc, "dst")
            if any(overlap(tiles, view.tiles(product, "mat")) for product in group):
                found.add(pc)
        return group

    walk(view, frozenset[int](), step)
    for pc in sorted(found):
        yield Breach(pc, "products that are not written out yet read this tile", "dst")


@rule("R25", Evidence.DERIVED, "a fence between scalar floating-point results and S_LD_FP or S_ST_FP")
def scalar_results(view: RtlView) -> Iterator[Breach]:
    found: set[int] = set()

    def step(pc: int, pending: bool) -> bool:
        op = view.code.op[pc]
        if op in computes_fp():
            return True
        if op in with_scalar() or op in reductions() or (op == MAX_FP and not view.code.rd[pc]):
            return False
        if pending and op in (LOAD_FP, STORE_FP):
            found.add(pc)
        return pending

    walk(view, False, step)
    for pc in sorted(found):
        yield Breach(pc, "a result is under way to the f registers: write S_MAX_FP f0, f0, f0 before it")


@rule(
    "R26", Evidence.DERIVED, "two S_ADDI_INT between vector results and products or prefetches of their rows"
)
def vector_results(view: RtlView) -> Iterator[Breach]:
    found: dict[int, str] = {}

    def step(pc: int, state: tuple[int, int]) -> tuple[int, int]:
        last, fences = state
        op = view.code.op[pc]
        if op in vector_ops():
            return pc, 0
        if op == ADD_IMMEDIATE:
            return (last, fences + 1) if fences + 1 < _FENCE and last != _NONE else (_NONE, 0)
        if last != _NONE and op in products():
            found[pc] = "products"
        if last != _NONE and op == PREFETCH_V and _writes_rows_of(view, last, pc):
            found[pc] = "the transfer"
        return state

    walk(view, (_NONE, 0), step)
    for pc, what in sorted(found.items()):
        yield Breach(
            pc, f"{what} do not wait for the vector unit: write two S_ADDI_INT gp0, gp0, 0 before it"
        )


def _writes_rows_of(view: RtlView, vector_op: int, prefetch: int) -> bool:
    """Whether a vector instruction may write a row that a prefetch writes."""
    if "dst" not in view.spec(vector_op).by_name:
        return False
    rows = view.rows(prefetch, "dst", view.build.prefetch_v_rows)
    return overlap(rows, view.rows(vector_op, "dst", 1))


@rule("R29", Evidence.DERIVED, "write-outs soon after their last product", warns=True)
def late_write_outs(view: RtlView) -> Iterator[Breach]:
    most, found = view.build.settle_scalars, set[int]()

    def step(pc: int, waited: int) -> int:
        op = view.code.op[pc]
        if op in products():
            return 0
        if op in write_outs():
            if waited > most:
                found.add(pc)
            return _NONE
        if waited == _NONE:
            return _NONE
        return most + 1 if view.spec(pc).transfer is not None else min(waited + 1, most + 1)

    walk(view, _NONE, step)
    for pc in sorted(found):
        yield Breach(pc, f"more than {most} instructions or a transfer stand behind its last product")


@rule("R32", Evidence.DOCUMENT, "in place, or with a scalar: the first vector instruction behind a write-out")
def first_vector_op(view: RtlView) -> Iterator[Breach]:
    found: set[int] = set()

    def step(pc: int, first: bool) -> bool:
        op = view.code.op[pc]
        if op in write_outs():
            return True
        if op not in vector_ops():
            return first
        if first and op in of_two_rows() and view.code.rd[pc] not in (view.code.rs1[pc], view.code.rs2[pc]):
            found.add(pc)
        return False

    walk(view, False, step)
    for pc in sorted(found):
        yield Breach(pc, "its result may go to row 0: begin with one in place", "dst")


@rule("R37", Evidence.DERIVED, "no H_PREFETCH_M inside an open group of products", warns=True)
def waiting_groups(view: RtlView) -> Iterator[Breach]:
    found: set[int] = set()

    def step(pc: int, is_open: bool) -> bool:
        op = view.code.op[pc]
        if is_open and op == PREFETCH_M:
            found.add(pc)
        return op in products() or (is_open and op not in write_outs())

    walk(view, False, step)
    for pc in sorted(found):
        yield Breach(pc, "an idle gap in a group of products is not proven right")
