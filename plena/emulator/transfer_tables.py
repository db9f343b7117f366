"""The four HBM types of a target as lookup tables for the DMA kernels."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plena.dialects.plena_isa.transfer import ACTIVATIONS, WEIGHTS
from plena.machine.mx_blocks import scale_exponents
from plena.machine.number_formats import Mx, NumberFormat, Plain
from plena.machine.scalar_codes import Fp, Int, bf16_from_bits, code_table, decode_table
from plena.machine.target import Target
from plena.machine.transferable import can_store, refused_width

M_WEIGHT, M_KV, V_ACT, V_KV = 0, 1, 2, 3
"""Positions of the types in every table: the precision flag is the offset within each pair."""

TYPE_KEYS = (*WEIGHTS, *ACTIVATIONS)

BLOCK, ELEMENT_BYTES, SCALE_BYTES, RATIO = 0, 1, 2, 3
"""Columns of ``TransferTables.layout``; block, scale bytes and ratio are 0, 0 and 1 for Plain."""


class TransferTables(NamedTuple):
    """Tables indexed by type, then code or bf16 bits.

    ``layout[4, 4]``; ``element[4, 65536]`` float32 of an element code; ``factor[4, 65536]`` float32 of a scale
    code; ``code[4, 65536]`` element code of a (scaled) bf16 value; ``scale_code[4, 32768]`` and
    ``inverse[4, 32768]`` scale code and ``2^-k`` of a block by the bf16 bits of its largest magnitude.
    """

    layout: NDArray[np.int64]
    element: NDArray[np.float32]
    factor: NDArray[np.float32]
    code: NDArray[np.uint16]
    scale_code: NDArray[np.uint16]
    inverse: NDArray[np.float32]


def transfer_tables(target: Target) -> TransferTables:
    """The tables of a target's four HBM types."""
    return _tables(tuple(target.precision[key] for key in TYPE_KEYS))


@lru_cache(maxsize=8)
def _tables(formats: tuple[NumberFormat, ...]) -> TransferTables:
    count = len(formats)
    tables = TransferTables(
        layout=np.zeros((count, 4), np.int64),
        element=np.zeros((count, 1 << 16), np.float32),
        factor=np.ones((count, 1 << 16), np.float32),
        code=np.zeros((count, 1 << 16), np.uint16),
        scale_code=np.zeros((count, 1 << 15), np.uint16),
        inverse=np.ones((count, 1 << 15), np.float32),
    )
    for index, number_format in enumerate(formats):
        if refused_width(number_format):
            continue
        if isinstance(number_format, Mx):
            _fill_mx(tables, index, number_format)
        elif isinstance(number_format, Plain):
            _fill_plain(tables, index, number_format)
    return tables


def _fill_mx(tables: TransferTables, index: int, mx: Mx) -> None:
    tables.layout[index] = (mx.block, mx.elem.width // 8, mx.scale.width // 8, mx.ratio)
    tables.element[index, : 1 << mx.elem.width] = decode_table(mx.elem)
    tables.factor[index, : 1 << mx.scale.width] = decode_table(mx.scale)
    tables.code[index] = code_table(mx.elem, machine=True)
    maxima = bf16_from_bits(np.arange(0x7F81, dtype=np.uint16))
    exponents = scale_exponents(maxima, mx.scale)
    tables.scale_code[index, : maxima.size] = (exponents + mx.scale.bias) << mx.scale.mantissa
    tables.scale_code[index, 0] = 0
    tables.inverse[index, : maxima.size] = np.ldexp(np.float32(1), -exponents)


def _fill_plain(tables: TransferTables, index: int, plain: Plain) -> None:
    scalar = plain.data_type
    tables.layout[index] = (0, scalar.width // 8, 0, 1)
    tables.element[index, : 1 << scalar.width] = decode_table(scalar)
    if can_store(plain):
        values = bf16_from_bits(np.arange(1 << 16, dtype=np.uint16))
        codes, _ = plain.encode(values, machine=True)
        dtype = "<u2" if isinstance(scalar, Fp) or scalar == Int(16) else np.uint8
        tables.code[index] = codes.view(dtype)
