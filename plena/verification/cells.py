"""Warnings about reads of cells that nothing wrote and the host did not load.

A loop outside all others counts as a whole: a read in it is fine if anything in the loop or before it writes the
cell. That never warns about a cell which is written before it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from plena.dialects.loop import Linear
from plena.dialects.plena_isa import Field
from plena.lifting.preloaded import Preloaded
from plena.lifting.ranges import exact
from plena.lifting.records import layout
from plena.lifting.tree import LiftedInstruction, LiftedLoop, LiftedProgram, Number
from plena.lifting.values import Sum, add, linear, scale
from plena.machine.constants import INT_LIMIT
from plena.verification.accesses import ANYWHERE, NAMES, CellAccess, Cells, Memories, cell_accesses
from plena.verification.affine_checks import weighted_sum
from plena.verification.footprints import CellSet, Interval, IntervalSet, cells, footprint

_MEMORY_OF = {"vector": Cells.VECTOR, "matrix": Cells.MATRIX, "fp": Cells.FP, "int": Cells.INT}


@dataclass(frozen=True)
class UnwrittenRead:
    """An instruction that reads a cell which holds its reset value."""

    pc: int
    code: str
    message: str


def unwritten_reads(program: LiftedProgram, preloaded: Preloaded) -> Iterator[UnwrittenRead]:
    """Reads of cells that are never written before, in program order, one per instruction and memory."""
    yield from _Walk(program, preloaded).run()


class Footprints:
    """The cells and HBM bytes that the instructions of a lifted program touch."""

    def __init__(self, program: LiftedProgram) -> None:
        self.program, self.code, self.target = program, program.code, program.target
        self.units = Memories.of(self.target).units
        self._accesses: dict[tuple[int, int], tuple[CellAccess, ...]] = {}

    def accesses_of(self, pc: int) -> tuple[CellAccess, ...]:
        """What the instruction at a position reads and writes, HBM apart."""
        key = (self.code.op[pc], self.code.flags[pc])
        accesses = self._accesses.get(key)
        if accesses is None:
            accesses = self._accesses[key] = cell_accesses(self.target, *key)
        return accesses

    def pieces(self, access: CellAccess, item: LiftedInstruction) -> list[Interval] | None:
        """The cells of an access over all iterations; None for any cells."""
        if access.number == ANYWHERE:
            return None
        number = item[1 + access.number]
        unit, bounds = self.units[access.cells], self.program.bounds
        if access.stride < 0:
            return cells(number, unit, access.count, bounds)
        found: list[Interval] = []
        stride = item[1 + access.stride]
        for row in range(access.count):
            at = exact(add(_value(number), scale(_value(stride), row * unit)), bounds)
            pieces = cells(at, unit, 1, bounds) if at is not None else None
            if pieces is None:
                return None
            found += pieces
        return found

    def hbm_pieces(self, item: LiftedInstruction) -> list[list[Interval] | None]:
        """The element bytes and the scale bytes of a transfer; None for any bytes."""
        pc = item[0]
        code, target = self.code, self.target
        shape = layout(code.op[pc])
        transfer = shape.spec.transfer
        assert transfer is not None
        off, high, low, scales, stride = item[shape.hbm_side]
        number_format = transfer.number_format(target, code.number(pc, Field.FUNCT1))
        rows = transfer.rows(target)
        pitch = stride if shape.uses_stride(code.flags[pc]) else target.vlen
        if not isinstance(pitch, int) or not rows:
            return [None]
        bounds = [*self.program.bounds, (0, rows - 1)]
        row = Linear(0, ((len(bounds) - 1, 1),)) if rows > 1 else 0
        start = weighted_sum([(off, 1), (high, INT_LIMIT), (low, 1)])
        elements = weighted_sum([(start, 1), (row, pitch)])
        found = [footprint(elements, number_format.element_bytes(target.vlen), bounds)]
        scale_bytes, ratio = number_format.scale_bytes(target.vlen), number_format.ratio
        if scale_bytes:
            is_plain = pitch % ratio == 0 and _divides(off, ratio)
            if not is_plain:
                return [*found, None]
            parts = [
                (_divided(off, ratio), 1),
                (high, INT_LIMIT),
                (low, 1),
                (scales, 1),
                (row, pitch // ratio),
            ]
            found.append(footprint(weighted_sum(parts), scale_bytes, bounds))
        return found


class _Walk:
    def __init__(self, program: LiftedProgram, preloaded: Preloaded) -> None:
        self.program, self.code = program, program.code
        self.footprints = Footprints(program)
        memories = Memories.of(program.target)
        self.written = [CellSet(size) for size in memories.sizes]
        for name, which in _MEMORY_OF.items():
            unit = memories.units[which]
            spans = preloaded.of_memory(name)
            self.written[which].add([(s.start // unit, -(-s.stop // unit)) for s in spans])
        self.hbm: IntervalSet | None = None
        if "hbm" in preloaded.spans:
            self.hbm = IntervalSet([(s.start, s.stop) for s in preloaded.of_memory("hbm")])
        self.seen: set[tuple[int, str]] = set()

    def run(self) -> Iterator[UnwrittenRead]:
        for item in self.program.body:
            if isinstance(item, LiftedLoop):
                for inner in _flat(item):
                    self._write(inner)
                for inner in _flat(item):
                    yield from self._read(inner)
            else:
                yield from self._read(item)
                self._write(item)

    def _write(self, item: LiftedInstruction) -> None:
        pc = item[0]
        shape = layout(self.code.op[pc])
        for access in self.footprints.accesses_of(pc):
            if access.is_write:
                self.written[access.cells].add(self.footprints.pieces(access, item))
        if self.hbm is None:
            return
        if shape.unknown:
            self.hbm.add(None)
        if shape.spec.transfer is not None and not shape.spec.transfer.is_load:
            for pieces in self.footprints.hbm_pieces(item):
                self.hbm.add(pieces)

    def _read(self, item: LiftedInstruction) -> Iterator[UnwrittenRead]:
        pc = item[0]
        transfer = layout(self.code.op[pc]).spec.transfer
        for access in self.footprints.accesses_of(pc):
            if access.is_write:
                continue
            missing = self.written[access.cells].first_missing(self.footprints.pieces(access, item))
            what, code = NAMES[access.cells]
            if missing is not None and (pc, code) not in self.seen:
                self.seen.add((pc, code))
                yield UnwrittenRead(pc, code, f"it reads {what} {missing}, which nothing has written")
        is_load = transfer is not None and transfer.is_load
        if is_load and self.hbm is not None and (pc, "unwritten-hbm") not in self.seen:
            for pieces in self.footprints.hbm_pieces(item):
                missing = self.hbm.first_missing(pieces)
                if missing is not None:
                    self.seen.add((pc, "unwritten-hbm"))
                    yield UnwrittenRead(
                        pc, "unwritten-hbm", f"it reads HBM byte {missing}, which nothing has written"
                    )
                    return


def _flat(loop: LiftedLoop) -> Iterator[LiftedInstruction]:
    for item in loop.body:
        if isinstance(item, LiftedLoop):
            yield from _flat(item)
        else:
            yield item


def _value(number: Number) -> int | Sum:
    return number if isinstance(number, int) else linear(number.constant, number.terms)


def _divides(number: Number, divisor: int) -> bool:
    if isinstance(number, int):
        return number % divisor == 0
    return number.constant % divisor == 0 and all(c % divisor == 0 for _, c in number.terms)


def _divided(number: Number, divisor: int) -> Number:
    if isinstance(number, int):
        return number // divisor
    return Linear(number.constant // divisor, tuple((i, c // divisor) for i, c in number.terms))
