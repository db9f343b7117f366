"""Dimensions that area models see."""

from __future__ import annotations

from dataclasses import dataclass

from plena.machine.target import Target


@dataclass(frozen=True)
class Shape:
    """Dimensions of a machine; depths of memories in rows and words, `block` elements of a scale."""

    mlen: int
    vlen: int
    blen: int
    block: int
    matrix_depth: int
    vector_depth: int
    int_depth: int
    fp_depth: int

    @staticmethod
    def of(target: Target, matrix_rows: int | None = None, vector_rows: int | None = None) -> Shape:
        """The dimensions in a machine's settings, memories cut to so many rows."""
        return Shape(
            target.mlen,
            target.vlen,
            target.blen,
            target.blen,
            target.matrix_sram_size if matrix_rows is None else matrix_rows,
            target.vector_sram_size if vector_rows is None else vector_rows,
            target.int_sram_size,
            target.fp_sram_size,
        )
