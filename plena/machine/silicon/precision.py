"""Number formats as area models see them: bits of exponent and mantissa, or of integers."""

from __future__ import annotations

from dataclasses import dataclass

from plena.errors import SettingsError
from plena.machine.number_formats import Mx, NumberFormat, Plain
from plena.machine.scalar_codes import Fp
from plena.machine.target import Target


@dataclass(frozen=True)
class Element:
    """An element of a block: an integer of `mantissa` bits where `exponent` is 0."""

    exponent: int
    mantissa: int

    @property
    def width(self) -> int:
        """Bits."""
        return 1 + self.exponent + self.mantissa if self.exponent else self.mantissa

    @property
    def name(self) -> str:
        """As the models' tables name it."""
        return f"E{self.exponent}M{self.mantissa}" if self.exponent else f"MXINT{self.mantissa}"


LEGAL = {
    "activations and keys and values": ("MXINT2", "MXINT4", "MXINT8", "E1M2", "E2M1", "E4M3", "E5M2"),
    "weights": ("MXINT4", "MXINT8", "E1M2", "E2M1", "E4M3", "E5M2"),
}


@dataclass(frozen=True)
class Precision:
    """The formats of a machine.

    Attributes:
        activation, keys_values, weight: elements in HBM.
        float_exponent, float_mantissa: of the numbers in vector SRAM.
        scale: bits of a block's scale.
        integer: bits of a word of INT SRAM.

    Raises:
        SettingsError: integers beside floating point, or a format that the models have no row for.
    """

    activation: Element
    keys_values: Element
    weight: Element
    float_exponent: int = 5
    float_mantissa: int = 6
    scale: int = 8
    integer: int = 32

    def __post_init__(self) -> None:
        elements = {
            "activations": (self.activation, LEGAL["activations and keys and values"]),
            "keys and values": (self.keys_values, LEGAL["activations and keys and values"]),
            "weights": (self.weight, LEGAL["weights"]),
        }
        if len({e.exponent == 0 for e, _ in elements.values()}) > 1:
            raise SettingsError("the formats mix integers and floating point", "area", "Take one kind.")
        for what, (element, legal) in elements.items():
            if element.name not in legal:
                raise SettingsError(
                    f"no area is known for {element.name} {what}", "area", f"Known are {', '.join(legal)}."
                )

    @staticmethod
    def of(target: Target) -> Precision:
        """The formats of a machine's settings.

        Raises:
            SettingsError: a format that is no block format, or that the models have no row for.
        """
        number = target.precision["VECTOR_SRAM_TYPE"].element
        if not isinstance(number, Fp):
            raise SettingsError("no area is known for integers in vector SRAM", "VECTOR_SRAM_TYPE")
        keys_values = [_element(target, key) for key in ("HBM_M_KV_TYPE", "HBM_V_KV_TYPE")]
        return Precision(
            _element(target, "HBM_V_ACT_TYPE"),
            max(keys_values, key=lambda element: element.width),
            _element(target, "HBM_M_WEIGHT_TYPE"),
            number.exponent,
            number.mantissa,
        )

    @property
    def is_integer(self) -> bool:
        """Whether products are of integers."""
        return self.weight.exponent == 0

    @property
    def float_width(self) -> int:
        """Bits of a number in vector SRAM."""
        return 1 + self.float_exponent + self.float_mantissa

    @property
    def left(self) -> Element:
        """What comes from the left side of the matrix unit."""
        return self.activation

    @property
    def top(self) -> Element:
        """What comes from its top: wide enough for keys, values and weights, exponent and mantissa apart."""
        return Element(
            max(self.keys_values.exponent, self.weight.exponent),
            max(self.keys_values.mantissa, self.weight.mantissa),
        )


def _element(target: Target, key: str) -> Element:
    number_format: NumberFormat = target.precision[key]
    element = number_format.element
    if isinstance(number_format, Mx) and isinstance(element, Fp):
        return Element(element.exponent, element.mantissa)
    assert isinstance(number_format, Plain | Mx)
    raise SettingsError(
        f"no area is known for {number_format} in {key}", "area", "The models know block formats."
    )
