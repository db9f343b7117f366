"""Which number formats HBM transfers can move (plena_isa.md sections 2.2 and 5)."""

from __future__ import annotations

from plena.machine.number_formats import Mx, NumberFormat, Plain
from plena.machine.scalar_codes import BF16, Fp, Scalar


def refused_width(number_format: NumberFormat) -> int:
    """The width in bits that keeps a type from being transferred at all; 0 if it can be."""
    scalars: list[Scalar] = [number_format.element]
    if isinstance(number_format, Mx):
        scalars.append(number_format.scale)
    return next((s.width for s in scalars if s.width not in (8, 16)), 0)


def can_store(number_format: NumberFormat) -> bool:
    """False for the Plain floats whose store conversion is wrong on the machine (section 2.2)."""
    return not (isinstance(number_format, Plain) and isinstance(number_format.data_type, Fp)) or (
        number_format.data_type == BF16
    )
