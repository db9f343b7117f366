"""Encoding tensors to MX blocks, in chunks that stay in cache (plena_isa.md section 2.5).

There are two roundings: that of the machine and the public staging tools (`block_codes`), and to the nearest code
(`nearest_block_codes`), which only a host can choose.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from plena.machine.scalar_codes import (
    EPS,
    F32,
    I32,
    U32,
    Codes,
    Fp,
    code_table,
    decode_table,
    encode_nearest,
    encode_scaled,
    floor_log2,
    nearest_table,
    table_index,
)

_CHUNK = 1 << 16
"""Elements encoded at a time: the temporaries of a chunk fit in the second-level cache."""

_TABLE_MANTISSA = 5
"""Widest element mantissa that a bf16 prefix decides: two more bits take part in the rounding."""

_NEAREST_MANTISSA = 6
"""Widest element mantissa whose midpoints the upper 16 bits of a float32 hold."""


def block_codes(x: F32, block: int, elem: Fp, scale: Fp, machine: bool) -> tuple[Codes, Codes]:
    """Element codes ``[n]`` and scale codes ``[n / block]`` of a flat float32 array of whole blocks.

    Codes of at most 8 bits come as uint8, wider ones as uint16.
    """
    elem_dtype = np.uint8 if elem.width <= 8 else np.uint16
    codes = np.empty(x.size, elem_dtype)
    scales = np.empty(x.size // block, np.uint8 if scale.width <= 8 else np.uint16)
    by_table = machine or (elem.mantissa <= _TABLE_MANTISSA and elem.exponent < 8)
    table = code_table(elem, machine).astype(elem_dtype)
    step = max(1, _CHUNK // block) * block
    for start in range(0, x.size, step):
        part = x[start : start + step]
        maxima = _block_maxima(part, block)
        exponents = scale_exponents(maxima, scale)
        scale_code = ((exponents + scale.bias) << scale.mantissa).astype(scales.dtype)
        if machine:
            scale_code[maxima == 0] = 0
        scales[start // block : start // block + scale_code.size] = scale_code
        with np.errstate(under="ignore", invalid="ignore"):
            scaled = (part.reshape(-1, block) * _inverse_powers()[exponents + 127][:, None]).reshape(-1)
        if machine:
            code = table[table_index(scaled)]
        elif by_table:
            code = _by_prefix(scaled, table, elem)
        else:
            code = encode_scaled(scaled, elem, machine).astype(elem_dtype)
        empty = maxima == 0
        if empty.any():
            code.reshape(-1, block)[empty] = 0
        codes[start : start + step] = code
    return codes, scales


def nearest_block_codes(x: F32, block: int, elem: Fp, scale: Fp, spare: int = 1) -> tuple[Codes, Codes]:
    """As `block_codes`, every element the nearest code, ties to even.

    The scale puts the largest magnitude of a block into the last binade but one (`spare` binades are left): rounding
    up never leaves the range, and as much as possible is left below. The power of two makes no other difference:
    elements are floating-point.
    """
    elem_dtype = np.uint8 if elem.width <= 8 else np.uint16
    codes = np.empty(x.size, elem_dtype)
    scales = np.empty(x.size // block, np.uint8 if scale.width <= 8 else np.uint16)
    table = nearest_table(elem).astype(elem_dtype) if elem.mantissa <= _NEAREST_MANTISSA else None
    headroom = (1 << elem.exponent) - 2 - spare - elem.bias
    limit = (1 << (scale.exponent - 1)) - 1
    step = max(1, _CHUNK // block) * block
    for start in range(0, x.size, step):
        part = x[start : start + step]
        # Scale code 0 is the factor 0.
        exponents = np.clip(np.frexp(_block_maxima(part, block))[1] - 1 - headroom, 1 - limit, limit)
        scale_code = ((exponents + scale.bias) << scale.mantissa).astype(scales.dtype)
        scales[start // block : start // block + scale_code.size] = scale_code
        with np.errstate(under="ignore", invalid="ignore", over="ignore"):
            scaled = (part.reshape(-1, block) * _inverse_powers()[exponents + 127][:, None]).reshape(-1)
        if table is None:
            codes[start : start + step] = encode_nearest(scaled, elem)
            continue
        bits: U32 = scaled.view(np.uint32)
        lower = (bits & np.uint32(0xFFFF)) != 0
        codes[start : start + step] = table[((bits >> np.uint32(16)) << np.uint32(1)) | lower]
    return codes, scales


def closest_block_codes(x: F32, block: int, elem: Fp, scale: Fp) -> tuple[Codes, Codes]:
    """As `nearest_block_codes`, with the last binade in use where that loses less.

    Numbers that already are codes times a power of two stay what they are.
    """
    codes, scales = nearest_block_codes(x, block, elem, scale)
    full_codes, full_scales = nearest_block_codes(x, block, elem, scale, spare=0)
    values = x.reshape(-1, block)
    better = _lost(values, full_codes, full_scales, elem, scale) < _lost(values, codes, scales, elem, scale)
    codes.reshape(-1, block)[better] = full_codes.reshape(-1, block)[better]
    return codes, np.where(better, full_scales, scales)


def closest_exponents(x: F32, block: int, elem: Fp, scale: Fp) -> I32:
    """The exponents of the scales that `closest_block_codes` chooses."""
    return (closest_block_codes(x, block, elem, scale)[1] >> scale.mantissa).astype(np.int32) - scale.bias


def _lost(values: F32, codes: Codes, scales: Codes, elem: Fp, scale: Fp) -> F32:
    """What codes lose of each block, in squares; infinite where anything is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        seen = decode_table(elem)[codes].reshape(values.shape) * block_scales(scales, scale)[:, None]
        lost = np.square((seen - values).astype(np.float64)).sum(axis=1)
    return np.nan_to_num(lost, nan=np.inf).astype(np.float32)


def scale_exponents(maxima: F32, scale: Fp) -> I32:
    """``k`` of each block from its largest magnitude; blocks of zeros get that of EPS alone."""
    limit = (1 << (scale.exponent - 1)) - 1
    return np.clip(floor_log2(maxima + EPS), -limit, limit)


def block_scales(codes: Codes, scale: Fp) -> F32:
    """Float32 factors of scale codes; code 0 of E8M0 is 0.0, code 255 infinity (section 2.4)."""
    return decode_table(scale)[codes]


def _by_prefix(scaled: F32, table: Codes, elem: Fp) -> Codes:
    """Codes from the upper 16 bits; values next to a power of two, whose logarithm may round up, exactly."""
    bits: U32 = scaled.view(np.uint32)
    code = table[bits >> np.uint32(16)]
    edge = np.flatnonzero((bits & np.uint32(0x7FFF80)) == np.uint32(0x7FFF80))
    if edge.size:
        code[edge] = encode_scaled(scaled[edge], elem, machine=False)
    return code


def _block_maxima(x: F32, block: int) -> F32:
    """Largest magnitude of each block, NaN lanes ignored."""
    bits = x.view(np.uint32) & np.uint32(0x7FFFFFFF)
    if bits.size and bits.max() > 0x7F800000:
        bits[bits > 0x7F800000] = 0
    while block > 1 and block % 2 == 0:
        bits = np.maximum(bits[0::2], bits[1::2])
        block //= 2
    if block > 1:
        bits = bits.reshape(-1, block).max(axis=1)
    return bits.view(np.float32)


@lru_cache(maxsize=1)
def _inverse_powers() -> F32:
    """``2^-k`` for k = -127 .. 127."""
    return np.ldexp(np.float32(1), np.arange(127, -128, -1))
