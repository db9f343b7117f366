"""Loop nests of Y[64, N] = X[64, K] W in the affine form, in the orders and unrollings that a lowering can choose.

Both memories start at 0: X (column-block major) in vector SRAM, the K tiles of one output column block in matrix SRAM.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block

from plena.dialects.loop import ForOp, Linear
from plena.dialects.plena_isa import Instruction
from plena.instructions.instruction_builder import InstructionBuilder
from plena.machine.target import Target

TILE, STEP, LANES, COLUMN_BLOCKS, BLOCKS, ROWS = 4096, 256, 4, 22, 16, 64


@dataclass(frozen=True)
class Figures:
    """Static instructions and cycles of the pipelined profile."""

    static: int
    cycles: int

    def utilization(self, k: int) -> float:
        """Useful multiply-accumulates per BLEN * MLEN of them that a cycle could do."""
        return ROWS * 64 * COLUMN_BLOCKS * k / (256 * self.cycles)


def figures(block: Block) -> Figures:
    """Counts a block: M_MM costs BLEN = 4 cycles, everything else 1; a loop its START once, its END each time."""
    static = cycles = 0
    for op in block.ops:
        if isinstance(op, ForOp):
            inner = figures(op.body.block)
            static += inner.static + 2
            cycles += 1 + op.trips * (inner.cycles + 1)
        elif isinstance(op, Instruction):
            static += 1
            cycles += 4 if op.SPEC.mnemonic in ("M_MM", "M_TMM") else 1
    return Figures(static, cycles)


class Nest:
    """Emits the parts of the nests."""

    def __init__(self, k: int) -> None:
        self.builder = InstructionBuilder(Target())
        self.tiles = k // 64

    def prefetch(self, block: Linear, tiles: int, first: int = 0, unroll: int = 1) -> None:
        """Loads `tiles` consecutive weight tiles from `block` (in tiles) on."""
        with self.builder.loop(tiles // unroll) as t:
            for u in range(unroll):
                tile = t * unroll + u
                self.builder.emit(
                    "H_PREFETCH_M", dst=first + tile * TILE, off=(block + tile) * TILE, base=self.builder.a0
                )

    def product(self, mat: Linear, vec: Linear, dst: Linear, descending: bool = False) -> None:
        """One output tile: the reduction over K, and its write-out."""
        order = range(self.tiles - 1, -1, -1) if descending else range(self.tiles)
        for q in order:
            self.builder.emit("M_MM", mat=mat + q * TILE, vec=vec + q * TILE)
        self.builder.emit("M_MM_WO", dst=dst, stride=self.builder.gp0)


def single(k: int, rows: int = 1, columns: int = 1, order: str = "jr", prefetch: int = 1) -> ModuleOp:
    """Column blocks n, then column sub-blocks j and row blocks r in this order, unrolled by `columns` and `rows`."""
    nest = Nest(k)
    builder, out = nest.builder, nest.tiles * TILE
    with builder.loop(COLUMN_BLOCKS) as n:
        nest.prefetch(n * nest.tiles, nest.tiles, unroll=prefetch)

        def inner(j: Linear, r: Linear) -> None:
            for c in range(columns):
                for b in range(rows):
                    column, row = j * columns + c, r * rows + b
                    nest.product(column * STEP, row * STEP, out + n * TILE + row * STEP + column * LANES)

        if order == "jr":
            with builder.loop(BLOCKS // columns) as j, builder.loop(BLOCKS // rows) as r:
                inner(j, r)
        else:
            with builder.loop(BLOCKS // rows) as r, builder.loop(BLOCKS // columns) as j:
                inner(j, r)
    return builder.finish()


def dual(k: int, rows: int = 1, zigzag: bool = True, prefetch: int = 1) -> ModuleOp:
    """Two column blocks and two copies of X: register a (j, q) is the matrix address of one product and the vector
    address of another, b (r, q) the other way round."""
    nest = Nest(k)
    builder, second = nest.builder, nest.tiles * TILE
    out = 2 * second
    with builder.loop(COLUMN_BLOCKS // 2) as n:
        nest.prefetch(n * (2 * nest.tiles), 2 * nest.tiles, unroll=prefetch)
        with builder.loop(BLOCKS) as j, builder.loop(BLOCKS // rows) as r:
            for b in range(rows):
                row = r * rows + b
                a, x = j * STEP, second + row * STEP
                nest.product(a, x, out + n * (2 * TILE) + row * STEP + j * LANES)
                nest.product(x, a, out + TILE + n * (2 * TILE) + j * STEP + row * LANES, descending=zigzag)
    return builder.finish()
