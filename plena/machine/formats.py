"""Which number format each class of tensors has in HBM: weights, keys and values, activations.

The machine has four HBM types and one selecting bit for every transfer (plena_isa.md sections 1.2 and 5.1): weights are
one, keys and values are one of the matrix side and one of the vector side, which a store and the load that follows it
share, activations are one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from plena.errors import SettingsError
from plena.machine.number_formats import MX_E4M3, PLAIN_BF16, Mx, NumberFormat, Plain
from plena.machine.scalar_codes import BF16, E8M0, Fp, Scalar

CLASSES: dict[str, tuple[str, ...]] = {
    "weights": ("HBM_M_WEIGHT_TYPE",),
    "keys_values": ("HBM_M_KV_TYPE", "HBM_V_KV_TYPE"),
    "activations": ("HBM_V_ACT_TYPE",),
}
"""Class of tensors -> the settings of its HBM types."""

CLASS_OF: dict[str, str] = {key: name for name, keys in CLASSES.items() for key in keys}
"""Setting of an HBM type -> class of tensors."""

BLOCKS = (8, 16, 32)
"""Elements that may share a scale."""

FormatLike: TypeAlias = "NumberFormat | str"
FormatsLike: TypeAlias = "Formats | str"

_FLOAT = re.compile(r"e(\d+)m(\d+)")
_MX = re.compile(r"(e\d+m\d+)(?:/(\d+))?(?::(e\d+m\d+))?")
_WHERE = "formats"
_HINT = (
    'Write "bf16", or an MX type as "e4m3", "e3m4/16" (blocks of 16) or "e3m4/16:e5m3" (scales of five bits of '
    "exponent and three of mantissa)."
)


@dataclass(frozen=True, init=False)
class Formats:
    """The number format of every class of tensors in HBM.

    Args:
        weights: matrices of linear layers.
        keys_values: keys, values and other right-hand sides of products that the program computes.
        activations: inputs, embedding tables, gains, biases, masks and whatever else is loaded to vector memory.

    Each is a `NumberFormat`, or text: "bf16", "e4m3", "e3m4/16", "e3m4/16:e5m3".

    Raises:
        SettingsError: a format that the machine cannot hold.
    """

    weights: NumberFormat
    keys_values: NumberFormat
    activations: NumberFormat

    def __init__(
        self,
        weights: FormatLike = MX_E4M3,
        keys_values: FormatLike = MX_E4M3,
        activations: FormatLike = MX_E4M3,
    ) -> None:
        for name, given in (
            ("weights", weights),
            ("keys_values", keys_values),
            ("activations", activations),
        ):
            object.__setattr__(self, name, _legal(name, given))

    @staticmethod
    def of(value: FormatsLike) -> Formats:
        """A preset by its name, classes as "weights=e3m4,keys_values=bf16", or formats as they are.

        Raises:
            SettingsError: no preset of that name, an unknown class, a format that the machine cannot hold.
        """
        if isinstance(value, Formats):
            return value
        if value in PRESETS:
            return PRESETS[value]
        if not isinstance(value, str) or "=" not in value:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SettingsError(
                f"there are no formats {value!r}",
                _WHERE,
                f"Use {', '.join(PRESETS)}, plena.Formats(weights=, keys_values=, activations=), or on the command "
                "line weights=e3m4,keys_values=bf16.",
            )
        given: dict[str, str] = {}
        for part in value.split(","):
            name, _, text = part.partition("=")
            class_types(name.strip(), text.strip())
            given[name.strip()] = text.strip()
        return Formats(**given)

    @staticmethod
    def of_types(types: Mapping[str, NumberFormat]) -> Formats:
        """The formats that the settings of the HBM types amount to.

        Raises:
            SettingsError: keys and values have two types, or a type is none that the machine can hold.
        """
        keys_values = CLASSES["keys_values"]
        if len({types[key] for key in keys_values}) > 1:
            raise SettingsError(
                f"{' and '.join(keys_values)} differ, keys and values have two types",
                _WHERE,
                "Set them alike.",
            )
        return Formats(**{name: types[keys[0]] for name, keys in CLASSES.items()})

    @property
    def types(self) -> dict[str, NumberFormat]:
        """By the settings of the HBM types."""
        return {key: number_format for name, number_format in self.items() for key in CLASSES[name]}

    def items(self) -> tuple[tuple[str, NumberFormat], ...]:
        """Class and format, in the order of `CLASSES`."""
        return tuple((name, getattr(self, name)) for name in CLASSES)

    def __str__(self) -> str:
        return ",".join(f"{name}={format_text(number_format)}" for name, number_format in self.items())

    def __repr__(self) -> str:
        parts = (f'{name}="{format_text(number_format)}"' for name, number_format in self.items())
        return f"Formats({', '.join(parts)})"


def class_types(name: str, text: str) -> dict[str, NumberFormat]:
    """The settings of the HBM types of one class of tensors with a format.

    Raises:
        SettingsError: there is no such class, or a format that the machine cannot hold.
    """
    if name not in CLASSES:
        raise SettingsError(f"there is no class {name!r}", _WHERE, f"The classes are {', '.join(CLASSES)}.")
    return dict.fromkeys(CLASSES[name], _legal(name, text))


def format_text(number_format: NumberFormat) -> str:
    """A format as `format_named` reads it."""
    if not isinstance(number_format, Mx):
        return "bf16" if number_format == PLAIN_BF16 else str(number_format)
    block = "" if number_format.block == MX_E4M3.block else f"/{number_format.block}"
    scale = "" if number_format.scale == E8M0 else f":{_scalar_text(number_format.scale)}"
    return f"{_scalar_text(number_format.elem)}{block}{scale}"


def format_named(text: str, where: str = _WHERE) -> NumberFormat:
    """The format of a text: "bf16", "e4m3", "e3m4/16", "e3m4/16:e5m3".

    Raises:
        SettingsError: it is none.
    """
    if text == "bf16":
        return PLAIN_BF16
    found = _MX.fullmatch(text)
    if found is None:
        raise SettingsError(f"{text!r} is no number format", where, _HINT)
    element, block, scale = found.groups()
    return Mx(
        MX_E4M3.block if block is None else int(block),
        _float(element, True),
        E8M0 if scale is None else _float(scale, False),
    )


def bytes_per_element(number_format: NumberFormat) -> float:
    """Bytes of HBM that an element takes with its share of the scale."""
    if not isinstance(number_format, Mx):
        return number_format.element_bits / 8
    return number_format.element_bits / 8 + number_format.scale.width / 8 / number_format.block


def _float(text: str, sign: bool) -> Fp:
    found = _FLOAT.fullmatch(text)
    assert found is not None
    return Fp(sign, int(found[1]), int(found[2]))


def _scalar_text(scalar: Scalar) -> str:
    return f"e{scalar.exponent}m{scalar.mantissa}" if isinstance(scalar, Fp) else f"int{scalar.width}"


def _legal(name: str, given: FormatLike) -> NumberFormat:
    """A format that the machine loads, stores and decodes.

    Raises:
        SettingsError: it does not.
    """
    where = f"{_WHERE}, {name}"
    number_format = format_named(given, where) if isinstance(given, str) else given
    problem = _problem(number_format)
    if problem:
        raise SettingsError(problem, where, _HINT)
    return number_format


def _problem(number_format: object) -> str:
    """Why the machine cannot hold tensors in a format; "" if it can."""
    match number_format:
        case Plain():
            if number_format.data_type == BF16:
                return ""
            return (
                f"Plain {_scalar_text(number_format.data_type)}: of Plain types the machine stores bf16 alone"
            )
        case Mx(block, elem, scale):
            if elem.width == 4:
                return "elements of 4 bits: the machine aborts when it loads them, and stores garbage"
            if elem.width not in (8, 16) or not elem.sign:
                return f"elements of {elem.width} bits: the machine takes a sign and 7 or 15 bits behind it"
            if not 2 <= elem.exponent <= 8:
                return f"elements of {elem.exponent} bits of exponent: they must be 2 to 8"
            if scale.width not in (8, 16) or scale.sign or not 2 <= scale.exponent <= 8:
                return f"scales e{scale.exponent}m{scale.mantissa}: the machine takes 8 or 16 bits without a sign"
            if block not in BLOCKS:
                return f"blocks of {block}: a scale must serve {', '.join(map(str, BLOCKS[:-1]))} or {BLOCKS[-1]}"
            return ""
        case _:
            return f"a {type(number_format).__name__} is no number format"


PRESETS: Mapping[str, Formats] = {
    "shipped": Formats(),
    "e3m4": Formats(weights="e3m4"),
    "mixed": Formats(weights="e3m4", keys_values="bf16", activations="bf16"),
    "bf16": Formats(weights="bf16", keys_values="bf16", activations="bf16"),
}
"""Formats by name; "e3m4" moves as many bytes as "shipped"."""
