"""What a machine takes of silicon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from plena.errors import CompileError
from plena.machine.silicon import model_a, model_b
from plena.machine.silicon.machine import Shape
from plena.machine.silicon.precision import Precision
from plena.machine.target import Target

AreaModel: TypeAlias = Literal["A", "B"]

_MILLION = 1e6
"""um^2 in a mm^2."""


@dataclass(frozen=True)
class Area:
    """Square millimetres by one model.

    Attributes:
        model: A has the matrix array and memories, B all units.
        mm2: all of it.
        parts: by unit and memory; they add up to it.
        low, high: quantiles of 10 % and 90 % where the model has them.
        extrapolated: whether the matrix unit lies outside of what was synthesised: MLEN 16 to 64, BLEN 4 to 16.
    """

    model: AreaModel
    mm2: float
    parts: Mapping[str, float]
    low: float | None
    high: float | None
    extrapolated: bool

    def __str__(self) -> str:
        spread = "" if self.low is None else f" ({self.low:.4f} to {self.high:.4f})"
        where = ", outside of what was synthesised" if self.extrapolated else ""
        return f"{self.mm2:.4f} mm²{spread} by model {self.model}{where}"


def area(
    target: Target | None = None,
    model: AreaModel = "B",
    *,
    matrix_rows: int | None = None,
    vector_rows: int | None = None,
) -> Area:
    """The silicon area of a machine, by the calibration of two public models (7 nm cells, ASAP7 memories).

    Args:
        target: by default the shipped machine, whose 512 MiB of vector SRAM say nothing about a chip.
        model: "A" the matrix array at a reference corner and the memories, "B" all units.
        matrix_rows, vector_rows: count the memories as if they had so many rows, as a program's memory map reaches.

    Raises:
        CompileError: there is no such model, the target is none, or a number of rows is negative.
        SettingsError: a format that the models have no row for.
    """
    if model not in get_args(AreaModel):
        raise CompileError(f"the area model must be A or B, not {model!r}", "area")
    if target is not None and not isinstance(target, Target):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise CompileError(
            f"the target must be a plena.Target, not {type(target).__name__}", "area", "Give program.target."
        )
    for name, rows in (("matrix_rows", matrix_rows), ("vector_rows", vector_rows)):
        if rows is not None and rows < 0:
            raise CompileError(f"{name} must not be negative, it is {rows}", "area")
    target = target or Target()
    return area_of(Shape.of(target, matrix_rows, vector_rows), Precision.of(target), model)


def area_of(shape: Shape, precision: Precision, model: AreaModel) -> Area:
    """The same of dimensions and formats, integers in blocks among them."""
    parts = (model_a if model == "A" else model_b).parts(shape, precision)
    total = sum(parts.values())
    low = high = None
    if model == "B":
        below, above = model_b.spread(shape, precision)
        low, high = (total + below) / _MILLION, (total + above) / _MILLION
    return Area(
        model,
        total / _MILLION,
        {name: value / _MILLION for name, value in parts.items()},
        low,
        high,
        not model_b.is_in_domain(shape, precision),
    )
