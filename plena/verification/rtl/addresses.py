"""Rules about addresses: what is known of them before a run, over all iterations."""

from __future__ import annotations

from collections.abc import Iterator

from plena.dialects.plena_isa import InstructionSpec, Memory
from plena.dialects.plena_isa.control import CSetScaleRegOp, CSetStrideRegOp
from plena.lifting.records import layout
from plena.lifting.tree import Number, range_of
from plena.machine.constants import INT_LIMIT
from plena.verification.affine_checks import residues, weighted_sum
from plena.verification.rtl.flow import walk
from plena.verification.rtl.rules import Breach, Evidence, rule
from plena.verification.rtl.view import (
    PREFETCH_M,
    PREFETCH_V,
    SHIFT,
    RtlView,
    products,
    vector_ops,
    write_outs,
)

_SET_SCALE, _SET_STRIDE = CSetScaleRegOp.SPEC.opcode, CSetStrideRegOp.SPEC.opcode
_SCALE_RATIO = 8


def _is_multiple(view: RtlView, number: Number, modulus: int) -> bool:
    assert view.program is not None
    return residues(number, modulus, view.bounds(), view.program.steps) == {0}


def _largest(view: RtlView, number: Number) -> int:
    return range_of(number, view.bounds())[1]


@rule("R15", Evidence.CODE, "matrix SRAM: whole tiles and blocks of columns, within its rows")
def matrix_addresses(view: RtlView) -> Iterator[Breach]:
    target, rows = view.target, view.build.matrix_rows
    for op, name, modulus, count in (
        (PREFETCH_M, "dst", target.tile, target.mlen),
        *((op, "mat", target.blen * target.mlen, 1) for op in sorted(products())),
    ):
        for pc in view.at({op}):
            number = view.number(pc, name)
            if number is None:
                continue
            if not _is_multiple(view, number, modulus):
                yield Breach(pc, f"the address is not a multiple of {modulus}", name)
            if _largest(view, number) // target.mlen + count > rows:
                yield Breach(pc, f"it goes behind row {rows - 1} of matrix SRAM and wraps", name)


@rule("R16", Evidence.DERIVED, "vector SRAM: whole rows, within its rows")
def vector_addresses(view: RtlView) -> Iterator[Breach]:
    target, last = view.target, view.build.vector_rows
    for pc in view.where(lambda spec: spec.may_touch(Memory.VECTOR)):
        spec = view.spec(pc)
        for touch in spec.touches or ():
            if touch.memory is not Memory.VECTOR or touch.address is None:
                continue
            number = view.number(pc, touch.address)
            if number is None:
                continue
            is_write_out = spec.opcode in write_outs()
            if not is_write_out and not _is_multiple(view, number, target.vlen):
                yield Breach(
                    pc, f"the address is not a multiple of {target.vlen}: low bits are dropped", touch.address
                )
            rows = _rows(view, spec.opcode)
            if _largest(view, number) // target.vlen + rows > last:
                yield Breach(pc, f"it goes behind row {last - 1} of vector SRAM and wraps", touch.address)


def _rows(view: RtlView, op: int) -> int:
    if op in products() or op in write_outs():
        return view.target.blen
    return view.build.prefetch_v_rows if op == PREFETCH_V else 1


@rule("R17", Evidence.CODE, "write-outs to lanes of one block")
def write_out_lanes(view: RtlView) -> Iterator[Breach]:
    vlen, blen = view.target.vlen, view.target.blen
    for pc in view.at(write_outs()):
        number = view.number(pc, "dst")
        if number is None or view.program is None:
            continue
        lanes = residues(number, vlen, view.bounds(), view.program.steps)
        bad = next((lane for lane in sorted(lanes) if lane % blen or lane > vlen - blen), None)
        if bad is not None:
            yield Breach(pc, f"results from lane {bad} on are lost or shifted out", "dst")


@rule("R18", Evidence.CODE, "FP SRAM and INT SRAM: within their words")
def scalar_addresses(view: RtlView) -> Iterator[Breach]:
    sizes = {Memory.FP: view.build.fp_words, Memory.INT: view.build.int_words}
    for pc in view.where(lambda spec: spec.may_touch(*sizes)):
        for touch in view.spec(pc).touches or ():
            if touch.memory not in sizes or touch.address is None:
                continue
            number = view.number(pc, touch.address)
            if number is not None and _largest(view, number) >= sizes[touch.memory]:
                what = f"{_largest(view, number)} wraps: there are {sizes[touch.memory]} words"
                yield Breach(pc, what, touch.address)


@rule(
    "R19",
    Evidence.DERIVED,
    "HBM: starts and pitches at whole rows, offsets at whole blocks, within the image",
)
def hbm_addresses(view: RtlView) -> Iterator[Breach]:
    target, block = view.target, view.build.block
    row, scale_row = target.mlen, max(1, target.mlen // _SCALE_RATIO)
    image = view.preloaded.size("hbm") if "hbm" in view.preloaded.spans else None
    for pc in view.where(lambda spec: spec.transfer is not None):
        spec, item = view.spec(pc), view.items.get(pc)
        if item is None or view.program is None:
            continue
        shape = layout(spec.opcode)
        off, high, low, scale, stride = item[shape.hbm_side]
        base = weighted_sum([(high, INT_LIMIT), (low, 1)])
        start = weighted_sum([(base, 1), (off, 1)])
        is_strided = shape.uses_stride(view.code.flags[pc])
        checked: list[tuple[str, Number, int, str]] = [
            ("the start", start, row, "off"),
            ("the offset", off, block, "off"),
            ("the start of the scales", weighted_sum([(base, 1), (scale, 1)]), scale_row, "base"),
        ]
        if is_strided:
            checked.append(("the stride register", stride, row, "rstride"))
        for what, number, modulus, operand in checked:
            if not _is_multiple(view, number, modulus):
                yield Breach(pc, f"{what} is not a multiple of {modulus}", operand)
        rows = target.mlen if spec.opcode == PREFETCH_M else view.build.prefetch_v_rows
        pitch = stride if is_strided else row
        if image is not None and isinstance(pitch, int):
            reached = _largest(view, start) + (rows - 1) * pitch + row
            if reached > image:
                yield Breach(pc, f"it reaches byte {reached} of an image of {image}", "off")


@rule("R20", Evidence.DERIVED, "scale and stride registers set before the transfers that use them")
def sticky_registers(view: RtlView) -> Iterator[Breach]:
    found: set[tuple[int, str]] = set()

    def step(pc: int, state: tuple[bool, bool]) -> tuple[bool, bool]:
        scale, stride = state
        spec = view.spec(pc)
        if spec.transfer is not None:
            if not scale:
                found.add((pc, "the scale register"))
            if layout(spec.opcode).uses_stride(view.code.flags[pc]) and not stride:
                found.add((pc, "the stride register"))
        return scale or spec.opcode == _SET_SCALE, stride or spec.opcode == _SET_STRIDE

    walk(view, (False, False), step)
    for pc, name in sorted(found):
        yield Breach(pc, f"{name} is 0 at reset and nothing has set it")


@rule("R33", Evidence.DERIVED, "shifts by less than a row, not onto the register of their amount")
def shifts(view: RtlView) -> Iterator[Breach]:
    for pc in view.at({SHIFT}):
        amount = view.number(pc, "amount")
        if amount is not None and _largest(view, amount) >= view.target.vlen:
            yield Breach(
                pc, f"a shift by {_largest(view, amount)} is taken modulo {view.target.vlen}", "amount"
            )
        if view.code.rd[pc] == view.code.rs2[pc]:
            yield Breach(pc, "the result would go to the row that the amount names", "dst")


def _adds_registers(spec: InstructionSpec) -> bool:
    """Whether an instruction computes a gp register from two others."""
    return spec.writes_gp and not spec.touches and sum(slot.is_address for slot in spec.slots) > 1


@rule("R30", Evidence.DERIVED, "pointers of vector instructions are advanced by S_ADDI_INT", warns=True)
def pointers(view: RtlView) -> Iterator[Breach]:
    used = {r for pc in view.at(vector_ops()) for r in view.sources(pc).values() if r}
    for pc in view.where(_adds_registers):
        if view.code.rd[pc] in used:
            yield Breach(
                pc, f"gp{view.code.rd[pc]} names rows of vector instructions, which may read it late", "dst"
            )
