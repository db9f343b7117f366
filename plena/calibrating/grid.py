"""The numbers that the elements of a weight may become, their scales fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from plena.machine.mx_blocks import closest_exponents
from plena.machine.number_formats import Mx, NumberFormat
from plena.machine.scalar_codes import F32, I32, Fp, decode_table, nearest_table

WIDEST_MANTISSA = 6
"""Bits; finer elements lose nothing that is worth a calibration."""

Exponents: TypeAlias = NDArray[np.int32]


def is_coarse(number_format: NumberFormat) -> bool:
    """Whether rounding to a format loses enough to be worth a calibration."""
    return isinstance(number_format, Mx) and number_format.elem.mantissa <= WIDEST_MANTISSA


@dataclass(frozen=True)
class Grid:
    """Numbers of a weight [N, K] in an MX format; every `block` inputs of a row share a power of two."""

    number_format: Mx

    def exponents(self, weight: F32) -> I32:
        """The exponent of the scale of every element, int32[N, K], with which the nearest numbers lose least."""
        rows, columns = weight.shape
        block = self.number_format.block
        padded = np.pad(weight, [(0, 0), (0, -columns % block)])
        found = closest_exponents(
            padded.reshape(-1), block, self.number_format.elem, self.number_format.scale
        )
        return np.repeat(found.reshape(rows, -1), block, axis=1)[:, :columns]

    def nearest(self, values: F32, exponents: I32) -> F32:
        """The nearest numbers of values whose scales have these exponents, ties to even."""
        with np.errstate(under="ignore", over="ignore"):
            scaled = np.ascontiguousarray(np.ldexp(values, -exponents))
            bits = scaled.view(np.uint32)
            lower = (bits & np.uint32(0xFFFF)) != 0
            found = _values(self.number_format.elem)[((bits >> np.uint32(16)) << np.uint32(1)) | lower]
            return np.ldexp(found, exponents)


@lru_cache(maxsize=8)
def _values(elem: Fp) -> F32:
    """The nearest number by the upper 16 bits of a float32 and whether lower bits are set."""
    return decode_table(elem)[nearest_table(elem)]
