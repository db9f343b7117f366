"""Codes of scalar values: bf16 and the small floats and integers of HBM types (plena_isa.md section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

F32: TypeAlias = NDArray[np.float32]
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]
I32: TypeAlias = NDArray[np.int32]
Codes: TypeAlias = NDArray[np.unsignedinteger]
"""Codes as uint8 or uint16, whichever holds them."""

EPS = np.float32(1e-9)
"""What both encoders add before a logarithm."""


@dataclass(frozen=True)
class Fp:
    """A floating-point scalar: optional sign bit, exponent and mantissa widths in bits."""

    sign: bool
    exponent: int
    mantissa: int

    @property
    def width(self) -> int:
        """Bits of one value."""
        return int(self.sign) + self.exponent + self.mantissa

    @property
    def bias(self) -> int:
        """Exponent bias, ``2^(exponent-1) - 1``."""
        return (1 << (self.exponent - 1)) - 1


@dataclass(frozen=True)
class Int:
    """An integer scalar of ``width`` bits; loads unsigned, stores truncating (section 2.2)."""

    width: int


Scalar: TypeAlias = Fp | Int

BF16 = Fp(sign=True, exponent=8, mantissa=7)
FP16 = Fp(sign=True, exponent=5, mantissa=10)
E4M3 = Fp(sign=True, exponent=4, mantissa=3)
E8M0 = Fp(sign=False, exponent=8, mantissa=0)


def bf16_bits(x: ArrayLike) -> U16:
    """Round to bfloat16 as a VRAM write does (section 2.2); any shape, returns the 16-bit codes.

    Ties to even, overflow to infinity, subnormals and both zeros kept. The mantissa of a NaN is rounded too:
    when that carries out, the NaN becomes an infinity.
    """
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    if nan.any():
        sign = (bits[nan] >> np.uint32(16)) & np.uint32(0x8000)
        rounded[nan] = sign | np.uint32(0x7F80) | (rounded[nan] & np.uint32(0x7F))
    return rounded.astype(np.uint16).reshape(np.shape(x))


def bf16_from_bits(bits: ArrayLike) -> F32:
    """The float32 values of bfloat16 codes; any shape."""
    wide = np.asarray(bits, dtype=np.uint16).astype(np.uint32) << np.uint32(16)
    return wide.view(np.float32)


def bf16_round(x: ArrayLike) -> F32:
    """Float32 values rounded to bfloat16 precision as by a VRAM write (section 2.2)."""
    return bf16_from_bits(bf16_bits(x))


BF16_MAX = (2.0 - 2.0**-7) * 2.0**127
"""The largest finite bfloat16 number; float32 has larger ones, which round to infinity."""


def within_bf16(x: F32) -> F32:
    """The numbers with finite ones beyond `BF16_MAX` limited to it: what a model means as finite stays that."""
    beyond = np.abs(x) > np.float32(BF16_MAX)
    if not beyond.any():
        return x
    return np.where(beyond & np.isfinite(x), np.copysign(np.float32(BF16_MAX), x), x)


def scalar_bf16_round(x: ArrayLike) -> F32:
    """Float32 values rounded to bfloat16 as the scalar unit does (section 2.3), FP SRAM preloads among them.

    Differs from `bf16_round` in NaN alone: it keeps the upper 16 bits, made quiet.
    """
    rounded = bf16_round(x)
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32).reshape(rounded.shape)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    quiet = (bits & np.uint32(0xFFFF0000)) | np.uint32(0x00400000)
    return np.where(nan, quiet, rounded.view(np.uint32)).view(np.float32)


@lru_cache(maxsize=1)
def _binade_ends() -> U32:
    """By biased exponent: the mantissa from which the binary32 logarithm rounds up to the next integer."""
    steps = np.arange(1, 129)
    exponents = np.arange(256)[:, None] - 127
    exact = exponents + 1 + np.log1p(-steps / 2.0**24) / np.log(2.0)
    reached = exact.astype(np.float32) >= (exponents + 1).astype(np.float32)
    return (np.uint32(1 << 23) - reached.sum(axis=1).astype(np.uint32)).astype(np.uint32)


def floor_log2(x: F32) -> I32:
    """``floor(log2(x))``, the logarithm rounded to binary32, of normal positive ``x``; infinity gives 128."""
    bits = x.view(np.uint32)
    biased = bits >> np.uint32(23)
    carry = (bits & np.uint32(0x7FFFFF)) >= _binade_ends()[biased]
    return biased.astype(np.int32) - 127 + carry


def encode_scaled(y: F32, fp: Fp, machine: bool) -> U16:
    """Element codes of values already divided by their block scale: section 2.5's encoder for any width.

    Args:
        y: float32 values, any shape. What the division made zero has code 0 like zero itself.
        machine: the encoder of H_STORE_V; otherwise the one of the staging tools, which drops the sign of
            what rounds to zero.
    """
    nan = np.isnan(y)
    a = np.abs(np.where(nan, np.float32(1), y))
    low, high = -fp.bias, (1 << fp.exponent) - 2 - fp.bias
    last = (1 << fp.mantissa) - 1
    r = floor_log2(a + EPS)
    exponent = np.clip(r, low, high)
    fraction = np.ldexp(a, -exponent)
    with np.errstate(over="ignore", invalid="ignore"):
        q = np.where(exponent == low, fraction, fraction - np.float32(1)) * np.float32(1 << fp.mantissa)
        quarters = np.floor(q * np.float32(4)) / np.float32(4)
        n = np.rint(quarters)
        if machine:
            n = np.where(q < 0, quarters - np.floor(quarters) == np.float32(0.75), n)
    n = np.where(r > high, last, np.clip(n, 0, last)).astype(np.uint16)
    codes = ((exponent + fp.bias).astype(np.uint16) << np.uint16(fp.mantissa)) | n
    if fp.sign:
        negative = (y < 0) & ((codes != 0) | machine)
        codes |= negative.astype(np.uint16) << np.uint16(fp.exponent + fp.mantissa)
    codes[y == 0] = 0
    return codes


@lru_cache(maxsize=32)
def code_table(fp: Fp, machine: bool) -> U16:
    """Element codes by the bf16 bits of the scaled value, ``uint16[65536]``; see ``table_index``."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    table = encode_scaled(bf16_from_bits(bits), fp, machine)
    table.setflags(write=False)
    return table


def table_index(y: F32) -> U16:
    """Index into ``code_table``: the bf16 bits of scaled bf16 values.

    Scaling can push a bf16 value below the smallest bf16 subnormal; all that lies there but zero has the code
    of that subnormal.
    """
    bits = y.view(np.uint32)
    top = (bits >> np.uint32(16)).astype(np.uint16)
    vanishing = ((top & np.uint16(0x7FFF)) == 0) & (bits << np.uint32(1) != 0)
    return top | vanishing


@lru_cache(maxsize=32)
def nearest_table(fp: Fp) -> U16:
    """Codes of the nearest values, ties to even, by the upper 16 bits of a float32 and whether lower bits are set.

    ``uint16[131072]``; exact for mantissas of at most 6 bits, whose midpoints have no lower bits. What becomes zero
    has no sign, as staged by the public tools.
    """
    prefixes = np.arange(1 << 17, dtype=np.uint32)
    values = (
        ((prefixes >> np.uint32(1)) << np.uint32(16)) | ((prefixes & np.uint32(1)) << np.uint32(15))
    ).view(np.float32)
    table = encode_nearest(values, fp)
    table[decode_table(fp)[table] == 0] = 0
    table.setflags(write=False)
    return table


@lru_cache(maxsize=32)
def decode_table(scalar: Scalar) -> F32:
    """Float32 value of every code of a type of at most 16 bits (sections 2.2 and 2.4)."""
    codes = np.arange(1 << scalar.width, dtype=np.uint32)
    if isinstance(scalar, Int):
        table = codes.astype(np.float32)
    else:
        m = (codes & np.uint32((1 << scalar.mantissa) - 1)).astype(np.float32) / np.float32(
            1 << scalar.mantissa
        )
        e = ((codes >> np.uint32(scalar.mantissa)) & np.uint32((1 << scalar.exponent) - 1)).astype(np.int32)
        smallest = -126 if scalar.exponent == 8 else -scalar.bias
        special = e == (1 << scalar.exponent) - 1
        normal = np.ldexp(np.float32(1) + m, np.where(special, 0, e - scalar.bias))
        table = np.where(e == 0, np.ldexp(m, smallest), normal)
        sign = (codes >> np.uint32(scalar.width - 1)) if scalar.sign else np.zeros_like(codes)
        # Infinities and NaNs by their bits: a NaN keeps its mantissa, which arithmetic would make quiet.
        mantissa = (codes & np.uint32((1 << scalar.mantissa) - 1)) << np.uint32(23 - scalar.mantissa)
        bits = np.where(special, np.uint32(0x7F800000) | mantissa, table.astype(np.float32).view(np.uint32))
        table = (bits | sign << np.uint32(31)).astype(np.uint32).view(np.float32)
    table.setflags(write=False)
    return table


def encode_int(x: F32, width: int) -> U16:
    """Truncate toward zero, saturate to int32 (NaN gives 0), keep the low ``width`` bits (section 2.2)."""
    finite = np.nan_to_num(x, nan=0.0, posinf=2.0**31, neginf=-(2.0**31)).astype(np.float64)
    limited = np.clip(np.trunc(finite), -(2.0**31), 2.0**31 - 1).astype(np.int64)
    return (limited & ((1 << width) - 1)).astype(np.uint16)


@lru_cache(maxsize=32)
def _ordered_codes(fp: Fp) -> tuple[NDArray[np.float64], U16]:
    with np.errstate(invalid="ignore"):  # signalling NaN
        table = decode_table(fp).astype(np.float64)
    magnitudes = table[: 1 << (fp.exponent + fp.mantissa)]
    finite = np.flatnonzero(np.isfinite(magnitudes))
    return magnitudes[finite], finite.astype(np.uint16)


def encode_nearest(x: F32, fp: Fp) -> U16:
    """Codes of the nearest values, ties to the even code, finite overflow to the largest (Plain staging)."""
    values, codes = _ordered_codes(fp)
    a = np.abs(np.where(np.isnan(x), 0, x)).astype(np.float64)
    upper = np.clip(np.searchsorted(values, a), 1, len(values) - 1)
    below, above = a - values[upper - 1], values[upper] - a
    take_upper = (above < below) | ((above == below) & (codes[upper] % 2 == 0))
    result = codes[np.where(take_upper, upper, upper - 1)]
    all_ones = np.uint16(((1 << fp.exponent) - 1) << fp.mantissa)
    result = np.where(np.isinf(x), all_ones, result)
    result = np.where(np.isnan(x), all_ones | np.uint16(fp.mantissa > 0), result).astype(np.uint16)
    if fp.sign:
        result |= np.signbit(x).astype(np.uint16) << np.uint16(fp.exponent + fp.mantissa)
    return result
