"""bf16 and MX against the literal pseudocode of plena_isa.md section 2."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from plena.errors import PlenaError
from plena.machine.mx_blocks import block_codes
from plena.machine.number_formats import (
    BF16,
    E4M3,
    E8M0,
    FP16,
    MX_E4M3,
    PLAIN_BF16,
    Fp,
    Int,
    Mx,
    NumberFormat,
    Plain,
    bf16_bits,
    bf16_from_bits,
    bf16_round,
)
from plena.machine.scalar_codes import decode_table, floor_log2

f32 = np.float32
EPS = f32(1e-9)

ELEMENTS = [E4M3, Fp(True, 5, 2), Fp(True, 3, 4), Fp(True, 2, 5), Fp(True, 5, 10), Fp(True, 8, 7)]
ALL_BF16 = bf16_from_bits(np.arange(1 << 16, dtype=np.uint16))

# --- the pseudocode, one value at a time -------------------------------------------------------------


def literal_floor_log2(x: np.float32) -> int:
    return 128 if np.isinf(x) else math.floor(f32(math.log2(float(x))))


def literal_element(v: np.float32, fp: Fp, machine: bool) -> int:
    """`e4m3_encode` in its general form, with the remark about a negative q."""
    if v == 0:
        return 0
    if np.isnan(v):
        return fp.bias << fp.mantissa
    low, high = -fp.bias, 2**fp.exponent - 2 - fp.bias
    a = abs(v)
    r = literal_floor_log2(f32(a + EPS))
    exponent = min(max(r, low), high)
    scaled = f32(np.ldexp(a, -exponent))
    q = f32((scaled if exponent == low else f32(scaled - f32(1))) * f32(2**fp.mantissa))
    if np.isinf(q):
        n = 2**fp.mantissa - 1
    else:
        quarters = math.floor(float(q) * 4) / 4
        n = round(quarters)
        if machine and q < 0:
            n = int(quarters - math.floor(quarters) == 0.75)
        n = min(max(n, 0), 2**fp.mantissa - 1)
    if r > high:
        n = 2**fp.mantissa - 1
    magnitude = (exponent + fp.bias) << fp.mantissa | n
    sign = int(v < 0) if machine or magnitude else 0
    return sign << (fp.exponent + fp.mantissa) | magnitude


def literal_block(x: NDArray[np.float32], fp: Fp, machine: bool) -> tuple[list[int], int]:
    m = max((abs(v) for v in x if not np.isnan(v)), default=f32(0))
    if m == 0:
        return [0] * len(x), 0 if machine else 97
    k = min(max(literal_floor_log2(f32(m + EPS)), -127), 127)
    with np.errstate(under="ignore"):
        return [literal_element(f32(np.ldexp(v, -k)), fp, machine) for v in x], k + 127


def literal_decode(code: int, fp: Fp) -> float:
    sign = -1.0 if fp.sign and code >> (fp.exponent + fp.mantissa) & 1 else 1.0
    e = code >> fp.mantissa & (2**fp.exponent - 1)
    m = code & (2**fp.mantissa - 1)
    if e == 2**fp.exponent - 1:
        return sign * math.inf if m == 0 else math.nan
    if e == 0:
        return sign * m / 2**fp.mantissa * 2.0 ** (-126 if fp.exponent == 8 else -fp.bias)
    return sign * (1 + m / 2**fp.mantissa) * 2.0 ** (e - fp.bias)


# --- strategies ---------------------------------------------------------------------------------------

any_f32 = st.floats(width=32)
near_powers = st.builds(
    lambda e, steps, sign: sign * np.ldexp(f32(1) - f32(steps) * f32(2.0**-24), e),
    st.integers(-40, 127),
    st.integers(-3, 60),
    st.sampled_from([-1.0, 1.0]),
)
clustered = st.builds(
    lambda e, m, s: s * np.ldexp(m, e), st.integers(-12, 2), st.floats(1, 2, width=32), near_powers
)
values = st.one_of(any_f32, near_powers, clustered, st.just(0.0), st.just(-0.0))


@st.composite
def blocks(draw: st.DrawFn) -> NDArray[np.float32]:
    size = draw(st.sampled_from([8, 16, 32]))
    with np.errstate(over="ignore"):
        return np.array(draw(st.lists(values, min_size=size, max_size=size)), np.float32)


# --- bf16 ---------------------------------------------------------------------------------------------


def test_bf16_values_are_kept() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    np.testing.assert_array_equal(bf16_bits(ALL_BF16), bits)
    assert bf16_round(ALL_BF16.reshape(256, 256)).shape == (256, 256)


@given(st.integers(0, 0xFFFFFFFF))
@example(0x7FFFFFFF)
@example(0xFF808000)
@example(0x7F7FFFFF)
@example(0x3F808000)
@example(0x3F818000)
def test_bf16_rounding(bits: int) -> None:
    (rounded,) = bf16_bits(np.array([bits], np.uint32).view(np.float32))
    upper, lower = bits >> 16, bits & 0xFFFF
    up = lower > 0x8000 or (lower == 0x8000 and upper & 1)
    if bits & 0x7FFFFFFF > 0x7F800000:
        assert rounded == (upper & 0x8000 | 0x7F80 | ((upper & 0x7F) + up) & 0x7F)
    else:
        assert rounded == upper + up


def test_scalars_and_lists_round() -> None:
    assert bf16_bits(1.0) == 0x3F80
    assert bf16_bits([[1.0, -2.0]]).tolist() == [[0x3F80, 0xC000]]


# --- MX -----------------------------------------------------------------------------------------------


def test_check_values_of_the_reference() -> None:
    x = [1.0, 1.0625, 1.0859375, 1.1875, 1.328125, 1.875, 1.95, -1.0, -1.1875, 0.0, 0.01, 2.0**-10, -0.0001]
    codes = [0x38, 0x38, 0x38, 0x3A, 0x3A, 0x3F, 0x3F, 0xB8, 0xBA, 0x00, 0x07, 0x01, 0x80]
    assert [literal_element(f32(v), E4M3, True) for v in x] == codes
    assert literal_element(f32(300), E4M3, True) == 0x77
    elements, scales = MX_E4M3.encode([0.5, 1, 2, 4, 0, 0, 0, 0])
    assert elements.tolist() == [0x20, 0x28, 0x30, 0x38, 0, 0, 0, 0]
    assert scales.tolist() == [0x81]


@given(blocks(), st.sampled_from(ELEMENTS))
def test_staging_encoder(x: NDArray[np.float32], elem: Fp) -> None:
    codes, scales = block_codes(x, len(x), elem, E8M0, machine=False)
    expected, scale = literal_block(x, elem, machine=False)
    assert scales.tolist() == [scale]
    assert codes.tolist() == expected


@given(blocks(), st.sampled_from(ELEMENTS))
def test_machine_encoder(x: NDArray[np.float32], elem: Fp) -> None:
    x = bf16_round(x)
    codes, scales = block_codes(x, len(x), elem, E8M0, machine=True)
    expected, scale = literal_block(x, elem, machine=True)
    assert scales.tolist() == [scale]
    assert codes.tolist() == expected


@pytest.mark.parametrize("machine", [False, True])
def test_every_bf16_beside_a_one(machine: bool) -> None:
    finite = ALL_BF16[np.abs(ALL_BF16) < 2]
    x = np.ones((finite.size, 8), np.float32)
    x[:, 3] = finite
    elements, scales = MX_E4M3.encode(x, machine)
    assert (scales == 127).all()
    assert elements[:, 3].tolist() == [literal_element(v, E4M3, machine) for v in finite]


@pytest.mark.parametrize("elem", ELEMENTS)
def test_decoding(elem: Fp) -> None:
    expected = [literal_decode(code, elem) for code in range(1 << elem.width)]
    np.testing.assert_array_equal(decode_table(elem), np.array(expected, np.float32))


def test_scales_decode() -> None:
    scales = decode_table(E8M0)
    assert scales[0] == 0
    assert np.isinf(scales[255])
    np.testing.assert_array_equal(scales[1:255], np.ldexp(1.0, np.arange(-126, 128)))


@given(blocks())
def test_the_encoders_agree_in_value(x: NDArray[np.float32]) -> None:
    """Section 2.5: on what VRAM can hold, staging and machine codes decode to equal values."""
    x = bf16_round(np.nan_to_num(x, posinf=1.0, neginf=-1.0))
    mx = Mx(len(x), E4M3, E8M0)
    np.testing.assert_array_equal(mx.quantize(x), mx.quantize(x, machine=True))


@given(blocks())
def test_quantizing_twice_changes_nothing_more(x: NDArray[np.float32]) -> None:
    """Away from EPS: next to 1e-9 the second scale can be finer than the first."""
    x = np.clip(np.nan_to_num(x), -1e37, 1e37)
    x[0] = max(abs(x[0]), f32(1e-6))
    once = MX_E4M3.quantize(x, machine=True)
    np.testing.assert_array_equal(MX_E4M3.quantize(once, machine=True), once)


@given(blocks())
def test_quantizing_error_is_bounded(x: NDArray[np.float32]) -> None:
    """A quarter dropped, then half a unit of an eighth: under |x| / 8. Where codes are subnormal, nine units of
    2^-10: everything up to 2^-6 saturates at 7 * 2^-10."""
    x = bf16_round(np.clip(np.nan_to_num(x), -1e37, 1e37))
    mx = Mx(len(x), E4M3, E8M0)
    _, scales = mx.encode(x, machine=True)
    unit = 2.0 ** (int(scales[0]) - 127 - 10)
    allowed = np.maximum(np.abs(x.astype(np.float64)) / 8, 9 * unit)
    assert (np.abs(mx.quantize(x, machine=True).astype(np.float64) - x) <= allowed).all()


@given(blocks(), st.sampled_from(ELEMENTS))
def test_nearest_staging_takes_the_nearest_code(x: NDArray[np.float32], elem: Fp) -> None:
    """No code of the block's scale is closer, and the scale leaves the largest element in range."""
    x = np.clip(np.nan_to_num(x), -1e37, 1e37)
    mx = Mx(len(x), elem, E8M0)
    elements, scales = mx.encode_nearest(x)
    found = mx.decode(elements, scales).astype(np.float64)
    values = decode_table(elem)[np.isfinite(decode_table(elem))].astype(np.float64) * 2.0 ** (
        int(scales[0]) - 127
    )
    closest = np.abs(values[:, None] - x).min(axis=0)
    np.testing.assert_array_equal(np.abs(found - x), closest)
    assert 0 < scales[0] < 255


@given(blocks())
def test_nearest_staging_error_is_half_a_unit(x: NDArray[np.float32]) -> None:
    """|x| / 16 however close to a power of two; thirteen binades below the largest element, half a subnormal step."""
    x = np.clip(np.nan_to_num(x), -1e37, 1e37)
    x[np.abs(x) < 1e-30] = 0
    seen = Mx(len(x), E4M3, E8M0).staged(x, "nearest").astype(np.float64)
    largest = float(np.abs(x).max())
    assert (np.abs(seen - x) <= np.maximum(np.abs(x.astype(np.float64)) / 16, largest * 2.0**-13)).all()


def test_nearest_staging_ties_carries_and_keeps_what_is_exact() -> None:
    x = np.array([[1.0625, 1.1875, 1.95, 1.0859375, -1.0625, 0, -1e-9, 2.0]], np.float32)
    seen = MX_E4M3.staged(x, "nearest")
    assert seen.tolist() == [[1.0, 1.25, 2.0, 1.125, -1.0, 0.0, 0.0, 2.0]]
    assert not np.signbit(seen[0, 6]), "what vanishes has no sign"
    assert MX_E4M3.staged(x, "public").tolist() == [[1.0, 1.25, 1.875, 1.0, -1.0, 0.0, 0.0, 2.0]]
    np.testing.assert_array_equal(MX_E4M3.staged(seen, "nearest"), seen)


def test_nearest_staging_is_closer_on_the_whole() -> None:
    x = np.random.default_rng(0).standard_normal((1 << 12, 8)).astype(np.float32)
    public, nearest = (MX_E4M3.staged(x, how) - x for how in ("public", "nearest"))
    assert (nearest**2).sum() < 0.72 * (public**2).sum()
    assert abs(float((nearest * x).sum())) < 0.1 * abs(float((public * x).sum())), "public staging shrinks"


def test_nearest_staging_of_what_is_not_finite() -> None:
    seen = MX_E4M3.staged([np.nan, np.inf, -np.inf, 1, 0, 0, 0, 0], "nearest")
    assert np.isnan(seen[0]) and seen[1] == np.inf and seen[2] == -np.inf


def test_rows_and_blocks_keep_their_places() -> None:
    x = np.random.default_rng(0).standard_normal((3, 5, 64)).astype(np.float32)
    for block in (8, 16, 32):
        mx = Mx(block, E4M3, E8M0)
        elements, scales = mx.encode(x)
        assert elements.shape == (3, 5, 64)
        assert scales.shape == (3, 5, 64 // block)
        one, its_scale = mx.encode(x[1, 2, block : 2 * block])
        np.testing.assert_array_equal(one, elements[1, 2, block : 2 * block])
        np.testing.assert_array_equal(its_scale, scales[1, 2, 1:2])
        np.testing.assert_allclose(mx.decode(elements, scales), x, atol=0.3)


def test_chunks_do_not_show() -> None:
    x = np.random.default_rng(1).standard_normal(1 << 18).astype(np.float32)
    elements, scales = MX_E4M3.encode(x)
    for start in (0, 1 << 16, (1 << 18) - 64):
        part, its_scales = MX_E4M3.encode(x[start : start + 64])
        np.testing.assert_array_equal(elements[start : start + 64], part)
        np.testing.assert_array_equal(scales[start // 8 : start // 8 + 8], its_scales)


def test_sixteen_bit_elements_are_little_endian() -> None:
    mx = Mx(8, FP16, E8M0)
    x = np.array([1.0, -1.5, 0.25, 0, 0, 0, 0, 1.75], np.float32)
    elements, scales = mx.encode(x)
    assert elements.shape == (16,)
    assert elements[:4].tolist() == [0x00, 0x3C, 0x00, 0xBE]
    np.testing.assert_array_equal(mx.decode(elements, scales), x)
    assert (mx.element_bytes(64), mx.scale_bytes(64), mx.ratio) == (128, 8, 16)


def test_floor_log2_next_to_powers_of_two() -> None:
    bits = (np.arange(97, 254, dtype=np.uint32)[:, None] << 23) + np.arange((1 << 23) - 70, (1 << 23) + 2)
    x = bits.astype(np.uint32).view(np.float32)
    expected = np.floor(np.log2(x.astype(np.float64)).astype(np.float32))
    np.testing.assert_array_equal(floor_log2(x), expected)


# --- Plain --------------------------------------------------------------------------------------------


def test_plain_bf16() -> None:
    x = np.array([1.0, -0.0, 3.14159, np.inf], np.float32)
    elements, scales = PLAIN_BF16.encode(x)
    assert scales.size == 0
    np.testing.assert_array_equal(elements.view("<u2"), bf16_bits(x))
    np.testing.assert_array_equal(PLAIN_BF16.quantize(x), bf16_round(x))


@pytest.mark.parametrize("width", [8, 16])
def test_plain_int_truncates_and_loads_unsigned(width: int) -> None:
    plain = Plain(Int(width))
    x = np.array([0.9, 1.9, -1.9, 100.0, np.nan, 3e9, -3e9], np.float32)
    mask = (1 << width) - 1
    expected = [0, 1, -1 & mask, 100, 0, 0x7FFFFFFF & mask, -(1 << 31) & mask]
    np.testing.assert_array_equal(plain.quantize(x, machine=True)[:3], expected[:3])
    assert plain.encode(x)[0].view(f"<u{width // 8}").tolist() == expected


@given(
    st.lists(any_f32, min_size=1, max_size=20), st.sampled_from([FP16, E4M3, Fp(True, 5, 2), Fp(False, 4, 4)])
)
def test_plain_floats_stage_to_the_nearest_value(x: list[float], fp: Fp) -> None:
    table = decode_table(fp)
    finite = table[np.isfinite(table)].astype(np.float64)
    array = np.array(x, np.float32)
    quantized = Plain(fp).quantize(array)
    for value, result in zip(array, quantized, strict=True):
        wanted = abs(float(value)) if not fp.sign else float(value)
        if np.isfinite(wanted):
            assert abs(float(result) - wanted) == np.abs(finite - wanted).min()
        elif np.isnan(wanted):
            assert np.isnan(result)
        else:
            assert result == wanted


def test_plain_floats_keep_their_own_values() -> None:
    for fp in (FP16, E4M3, BF16):
        table = decode_table(fp)
        table = table[np.isfinite(table)]
        np.testing.assert_array_equal(Plain(fp).quantize(table), table)


# --- errors and settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number_format", "length", "text"),
    [
        (MX_E4M3, 12, "whole number of blocks of 8"),
        (Mx(8, Fp(True, 2, 1), E8M0), 8, "4 bits"),
        (Mx(8, E4M3, Fp(False, 4, 0)), 8, "4 bits"),
        (Plain(Int(32)), 8, "32 bits"),
    ],
)
def test_what_cannot_be_encoded(number_format: NumberFormat, length: int, text: str) -> None:
    with pytest.raises(PlenaError, match=text):
        number_format.encode(np.ones(length, np.float32))


def test_decoding_needs_scales() -> None:
    with pytest.raises(PlenaError, match="without its scales"):
        MX_E4M3.decode(np.zeros(8, np.uint8))


def test_tables_round_trip() -> None:
    for number_format in (MX_E4M3, PLAIN_BF16, Plain(Int(32)), Mx(32, Fp(True, 5, 2), E8M0)):
        assert NumberFormat.from_table(number_format.table()) == number_format
