"""Number formats of the machine: bf16 and the HBM types Plain and Mx (plena_isa.md section 2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plena.errors import PlenaError, SettingsError
from plena.machine.choices import Staging
from plena.machine.mx_blocks import block_codes, block_scales, closest_block_codes, nearest_block_codes
from plena.machine.scalar_codes import (
    BF16,
    E4M3,
    E8M0,
    F32,
    FP16,
    Codes,
    Fp,
    Int,
    Scalar,
    bf16_bits,
    bf16_from_bits,
    bf16_round,
    decode_table,
    encode_int,
    encode_nearest,
)

__all__ = [
    "BF16",
    "E4M3",
    "E8M0",
    "FP16",
    "MX_E4M3",
    "PLAIN_BF16",
    "Fp",
    "Int",
    "Mx",
    "NumberFormat",
    "Plain",
    "Scalar",
    "Table",
    "bf16_bits",
    "bf16_from_bits",
    "bf16_round",
    "scalar_from_table",
    "scalar_table",
]

Bytes: TypeAlias = NDArray[np.uint8]

Table: TypeAlias = dict[str, "str | int | bool | Table"]
"""A type of the settings file: ``{"format": "Mx", "block": 8, "ELEM": {...}, "SCALE": {...}}``."""


def scalar_table(scalar: Scalar) -> Table:
    """The settings-file form of a scalar type."""
    if isinstance(scalar, Int):
        return {"type": "Int", "width": scalar.width}
    return {
        "type": "Fp",
        "sign": scalar.sign,
        "exponent": scalar.exponent,
        "mantissa": scalar.mantissa,
    }


def scalar_from_table(table: Mapping[str, object], where: str) -> Scalar:
    """Read a scalar type of the settings file.

    Raises:
        SettingsError: naming ``where`` and the missing or malformed key.
    """
    kind = table.get("type")
    if kind == "Int":
        return Int(_width(table, "width", where, low=1))
    if kind == "Fp":
        sign = table.get("sign")
        if not isinstance(sign, int):
            raise SettingsError(f"`sign` must be true or false, not {sign!r}", where)
        exponent = _width(table, "exponent", where, low=1, high=8)
        return Fp(bool(sign), exponent, _width(table, "mantissa", where, low=0, high=23))
    raise SettingsError(f'`type` must be "Fp" or "Int", not {kind!r}', where)


def _width(table: Mapping[str, object], key: str, where: str, low: int, high: int = 64) -> int:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingsError(f"`{key}` must be an integer, not {value!r}", where)
    if not low <= value <= high:
        raise SettingsError(f"`{key}` must lie in {low}..{high}, not {value}", where)
    return value


class NumberFormat(ABC):
    """The type of a tensor in HBM or of a memory: ``Plain`` or ``Mx``.

    There are three encoders. ``encode(machine=False)`` is that of the public staging tools, which build HBM images
    from float32 tensors; ``encode(machine=True)`` is H_STORE_V, whose input is rounded to bf16 first because it
    comes from VRAM; ``encode_nearest`` rounds to the nearest code, which a host may do and the machine cannot.
    """

    @property
    @abstractmethod
    def element(self) -> Scalar:
        """Type of one element code."""

    @property
    @abstractmethod
    def ratio(self) -> int:
        """Element bytes per scale byte (section 5.1); 1 for Plain."""

    @property
    def element_bits(self) -> int:
        """Bits of one element code."""
        return self.element.width

    def element_bytes(self, count: int) -> int:
        """Bytes of ``count`` element codes."""
        return count * self.element_bits // 8

    def scale_bytes(self, count: int) -> int:
        """Bytes of the scale codes that belong to ``count`` elements; 0 for Plain."""
        del count
        return 0

    @abstractmethod
    def table(self) -> Table:
        """The settings-file form."""

    @abstractmethod
    def encode(self, x: ArrayLike, machine: bool = False) -> tuple[Bytes, Bytes]:
        """Codes of a tensor ``x[..., C]``, blocks along the last axis.

        Returns:
            element bytes ``[..., C * element_bits / 8]`` and scale bytes ``[..., scale_bytes(C)]``, little
            endian, as they lie in HBM.

        Raises:
            PlenaError: C is not a multiple of the block, or codes are not of 8 or 16 bits.
        """

    @abstractmethod
    def encode_nearest(self, x: ArrayLike) -> tuple[Bytes, Bytes]:
        """As ``encode``, every element the nearest code of its block's scale, ties to even."""

    def encode_closest(self, x: ArrayLike) -> tuple[Bytes, Bytes]:
        """As ``encode_nearest``, with the scale of each block that loses least."""
        return self.encode_nearest(x)

    def stage(self, x: ArrayLike, staging: Staging) -> tuple[Bytes, Bytes]:
        """The codes that a host stages; values and errors as of ``encode``."""
        match staging:
            case "public":
                return self.encode(x)
            case "nearest":
                return self.encode_nearest(x)
            case "calibrated":
                return self.encode_closest(x)

    @abstractmethod
    def decode(self, elements: Bytes, scales: Bytes | None = None) -> F32:
        """Float32 values ``[..., C]`` of element bytes and scale bytes as ``encode`` returns them."""

    def quantize(self, x: ArrayLike, machine: bool = False) -> F32:
        """The values that remain of ``x[..., C]`` after an encode and decode round trip."""
        return self.decode(*self.encode(x, machine))

    def staged(self, x: ArrayLike, staging: Staging) -> F32:
        """The values that remain of ``x[..., C]`` after a host has staged it."""
        return self.decode(*self.stage(x, staging))

    @staticmethod
    def from_table(table: Mapping[str, object], where: str = "number format") -> NumberFormat:
        """Read a type of the settings file; the presence of the sub-tables decides, not ``format``.

        Raises:
            SettingsError: naming ``where`` and the missing or malformed key.
        """
        data_type = table.get("DATA_TYPE")
        if isinstance(data_type, Mapping):
            return Plain(scalar_from_table(data_type, f"{where}.DATA_TYPE"))
        elem, scale = table.get("ELEM"), table.get("SCALE")
        if not isinstance(elem, Mapping) or not isinstance(scale, Mapping):
            raise SettingsError("needs either `DATA_TYPE` or both `ELEM` and `SCALE`", where)
        block = _width(table, "block", where, low=1, high=1 << 20)
        elem_type = scalar_from_table(elem, f"{where}.ELEM")
        scale_type = scalar_from_table(scale, f"{where}.SCALE")
        if not isinstance(elem_type, Fp) or not isinstance(scale_type, Fp):
            raise SettingsError('elements and scales of a block must be of `type = "Fp"`', where)
        return Mx(block, elem_type, scale_type)


@dataclass(frozen=True)
class Plain(NumberFormat):
    """One code per element, no scales."""

    data_type: Scalar

    @property
    def element(self) -> Scalar:
        return self.data_type

    @property
    def ratio(self) -> int:
        return 1

    def table(self) -> Table:
        return {"format": "Plain", "DATA_TYPE": scalar_table(self.data_type)}

    def encode(self, x: ArrayLike, machine: bool = False) -> tuple[Bytes, Bytes]:
        values = np.ascontiguousarray(x, dtype=np.float32)
        _require_bytes(self.data_type)
        if machine:
            values = bf16_round(values)
        if self.data_type == BF16:
            codes = bf16_bits(values)
        elif isinstance(self.data_type, Int):
            codes = encode_int(values, self.data_type.width)
        else:
            codes = encode_nearest(values, self.data_type)
        return _to_bytes(codes, self.data_type.width), np.zeros((*codes.shape[:-1], 0), np.uint8)

    def encode_nearest(self, x: ArrayLike) -> tuple[Bytes, Bytes]:
        return self.encode(x)

    def decode(self, elements: Bytes, scales: Bytes | None = None) -> F32:
        del scales
        _require_bytes(self.data_type)
        return decode_table(self.data_type)[_from_bytes(elements, self.data_type.width)]


@dataclass(frozen=True)
class Mx(NumberFormat):
    """Element codes plus one shared scale code per ``block`` consecutive elements of a row (section 2.4)."""

    block: int
    elem: Fp
    scale: Fp

    @property
    def element(self) -> Scalar:
        return self.elem

    @property
    def ratio(self) -> int:
        return self.element_bits * self.block // self.scale.width

    def scale_bytes(self, count: int) -> int:
        return count // self.block * self.scale.width // 8

    def table(self) -> Table:
        return {
            "format": "Mx",
            "block": self.block,
            "ELEM": scalar_table(self.elem),
            "SCALE": scalar_table(self.scale),
        }

    def encode(self, x: ArrayLike, machine: bool = False) -> tuple[Bytes, Bytes]:
        values = self._blocks_of(x)
        if machine:
            values = bf16_round(values)
        codes = block_codes(values.reshape(-1), self.block, self.elem, self.scale, machine)
        return self._as_bytes(*codes, values.shape)

    def encode_nearest(self, x: ArrayLike) -> tuple[Bytes, Bytes]:
        values = self._blocks_of(x)
        codes = nearest_block_codes(values.reshape(-1), self.block, self.elem, self.scale)
        return self._as_bytes(*codes, values.shape)

    def encode_closest(self, x: ArrayLike) -> tuple[Bytes, Bytes]:
        values = self._blocks_of(x)
        codes = closest_block_codes(values.reshape(-1), self.block, self.elem, self.scale)
        return self._as_bytes(*codes, values.shape)

    def stage(self, x: ArrayLike, staging: Staging) -> tuple[Bytes, Bytes]:
        """As the encoder, which has no minus zero: y / -0.0 is minus what y / 0.0 is."""
        elements, scales = super().stage(x, staging)
        values = np.asarray(x, dtype=np.float32)
        negative = (values == 0) & np.signbit(values)
        if self.elem.sign and negative.any():
            codes = _from_bytes(elements, self.elem.width).copy()
            codes[negative] |= 1 << (self.elem.width - 1)
            elements = _to_bytes(codes, self.elem.width)
        return elements, scales

    def _blocks_of(self, x: ArrayLike) -> F32:
        values = np.ascontiguousarray(x, dtype=np.float32)
        self._require_blocks(values.shape[-1] if values.ndim else 0)
        return values

    def _as_bytes(self, codes: Codes, scales: Codes, shape: tuple[int, ...]) -> tuple[Bytes, Bytes]:
        return (
            _to_bytes(codes.reshape(shape), self.elem.width),
            _to_bytes(scales.reshape(*shape[:-1], -1), self.scale.width),
        )

    def decode(self, elements: Bytes, scales: Bytes | None = None) -> F32:
        if scales is None:
            raise PlenaError("a block format cannot be decoded without its scales", "Mx.decode")
        _require_bytes(self.elem)
        _require_bytes(self.scale)
        values = decode_table(self.elem)[_from_bytes(elements, self.elem.width)]
        self._require_blocks(values.shape[-1])
        factors = block_scales(_from_bytes(scales, self.scale.width), self.scale)
        with np.errstate(invalid="ignore", over="ignore"):
            blocks = values.reshape(*factors.shape, self.block) * factors[..., None]
        return blocks.reshape(values.shape)

    def _require_blocks(self, length: int) -> None:
        _require_bytes(self.elem)
        _require_bytes(self.scale)
        if length % self.block:
            raise PlenaError(
                f"a row of {length} elements is not a whole number of blocks of {self.block}",
                "number format",
                "Pad the last dimension.",
            )


def _require_bytes(scalar: Scalar) -> None:
    if scalar.width not in (8, 16):
        raise PlenaError(
            f"codes of {scalar.width} bits cannot be read or written",
            "number format",
            "The machine handles codes of 8 and 16 bits (plena_isa.md section 2.5).",
        )


def _to_bytes(codes: Codes, width: int) -> Bytes:
    if width == 8:
        return codes.astype(np.uint8, copy=False)
    return np.ascontiguousarray(codes.astype("<u2", copy=False)).view(np.uint8)


def _from_bytes(data: Bytes, width: int) -> Codes:
    return data if width == 8 else np.ascontiguousarray(data).view("<u2")


PLAIN_BF16 = Plain(BF16)
MX_E4M3 = Mx(8, E4M3, E8M0)
