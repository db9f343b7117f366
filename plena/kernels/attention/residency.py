"""What of keys and values is held in matrix SRAM at a time."""

from __future__ import annotations

from dataclasses import dataclass

from plena.errors import CompileError
from plena.kernels.attention.shape import Tiling
from plena.kernels.context import KernelContext


@dataclass(frozen=True)
class Residency:
    """`keys` and `values` are tiles held at a time, without the spare ones that a prefetch fills beyond them.

    `resident`: all tiles of a head stay. Otherwise they are loaded for every query block, keys `key_blocks` column
    blocks of one row of tiles at a time; `shared` says that keys and values take the same place one after the other.
    """

    resident: bool
    shared: bool
    key_blocks: int
    keys: int
    values: int

    @staticmethod
    def of(tiling: Tiling, ctx: KernelContext, *, whole: int, column: int) -> Residency:
        """The most that fits: `whole` tiles of a head's values, else `column` tiles of them at a time.

        Raises:
            CompileError: matrix SRAM cannot hold even that.
        """
        spare, available = ctx.target.m_prefetch_tiles - 1, ctx.free_tiles
        every_key = tiling.key_tiles * tiling.head_blocks
        if whole and every_key + whole + 2 * spare <= available:
            return Residency(True, False, tiling.head_blocks, every_key, whole)
        if tiling.head_blocks + column + 2 * spare <= available:
            return Residency(False, False, tiling.head_blocks, tiling.head_blocks, column)
        fitting = [n for n in range(1, tiling.head_blocks + 1) if tiling.head_blocks % n == 0]
        fitting = [n for n in fitting if max(n, column) + spare <= available]
        if not fitting:
            raise CompileError(
                f"matrix SRAM holds {available} free tiles, {column + spare} are needed at a time",
                where="attention",
                hint='use attention="online" or a target with more matrix SRAM',
            )
        return Residency(False, True, fitting[-1], fitting[-1], column)


def rows_fit(tiling: Tiling, ctx: KernelContext) -> bool:
    """Whether the values of all keys fit next to nothing else: what a reduction over whole rows needs."""
    return tiling.key_tiles + ctx.target.m_prefetch_tiles - 1 <= ctx.free_tiles
