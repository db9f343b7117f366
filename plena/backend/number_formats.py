"""Number formats of the machine: bf16 and the HBM types (isa/plena_isa.md section 2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from plena.errors import SettingsError

Table: TypeAlias = dict[str, "str | int | bool | Table"]
"""A type of the settings file: ``{"format": "Mx", "block": 8, "ELEM": {...}, "SCALE": {...}}``."""


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

    def table(self) -> Table:
        """The settings-file form."""
        return {"type": "Fp", "sign": self.sign, "exponent": self.exponent, "mantissa": self.mantissa}


@dataclass(frozen=True)
class Int:
    """An integer scalar of ``width`` bits; loads unsigned, stores truncating (section 2.2)."""

    width: int

    def table(self) -> Table:
        """The settings-file form."""
        return {"type": "Int", "width": self.width}


Scalar: TypeAlias = Fp | Int

BF16 = Fp(sign=True, exponent=8, mantissa=7)
FP16 = Fp(sign=True, exponent=5, mantissa=10)
E4M3 = Fp(sign=True, exponent=4, mantissa=3)
E8M0 = Fp(sign=False, exponent=8, mantissa=0)


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
        if not isinstance(sign, bool | int):
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
    """The type of a tensor in HBM or of a memory: ``Plain`` or ``Mx``."""

    @property
    @abstractmethod
    def element(self) -> Scalar:
        """Type of one element code."""

    @property
    @abstractmethod
    def ratio(self) -> int:
        """Element bytes per scale byte (section 5.1); 1 for Plain."""

    @abstractmethod
    def table(self) -> Table:
        """The settings-file form."""

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
        scale_type = scalar_from_table(scale, f"{where}.SCALE")
        if not isinstance(scale_type, Fp):
            raise SettingsError('a block scale must be of `type = "Fp"`', f"{where}.SCALE")
        return Mx(block, scalar_from_table(elem, f"{where}.ELEM"), scale_type)


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
        return {"format": "Plain", "DATA_TYPE": self.data_type.table()}


@dataclass(frozen=True)
class Mx(NumberFormat):
    """Element codes plus one shared scale code per ``block`` consecutive elements of a row (section 2.4)."""

    block: int
    elem: Scalar
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
            "ELEM": self.elem.table(),
            "SCALE": self.scale.table(),
        }


PLAIN_BF16 = Plain(BF16)
MX_E4M3 = Mx(8, E4M3, E8M0)
