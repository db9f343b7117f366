"""Both area models against the values that the public programs gave, and against synthesis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import plena
from plena.errors import CompileError, SettingsError
from plena.machine.silicon import model_a
from plena.machine.silicon.area import area_of
from plena.machine.silicon.machine import Shape
from plena.machine.silicon.precision import Element, Precision
from plena.machine.silicon.sram import memory_area
from plena.machine.target import Target

CHECKS: dict[str, Any] = json.loads((Path(__file__).parent / "check_values.json").read_text(encoding="utf-8"))


def shape_of(mlen: int, blen: int) -> Shape:
    """The depths that the models take where nothing is said."""
    return Shape(mlen, mlen, blen, blen, max(32, 2 * mlen), 256 + 1, 32, 512)


def element(name: str) -> Element:
    if name.startswith("MXINT"):
        return Element(0, int(name.removeprefix("MXINT")))
    digits = name.removeprefix("MXFP_E")
    return Element(int(digits[0]), int(digits[2]))


def described(row: list[Any]) -> tuple[Shape, Precision]:
    mlen, blen, *formats = row[:5]
    return shape_of(mlen, blen), Precision(element(formats[0]), element(formats[1]), element(formats[2]))


@pytest.mark.parametrize("row", CHECKS["A"]["rows"], ids=lambda row: f"{row[0]}x{row[1]} {row[2]}")
def test_model_a(row: list[Any]) -> None:
    shape, precision = described(row)
    array, reference, memory, total = row[5:9]
    parts = model_a.parts(shape, precision)
    assert model_a.array(shape, precision) == pytest.approx(array, rel=1e-9)
    assert parts["matrix"] == pytest.approx(reference, rel=1e-9)
    assert sum(parts.values()) - parts["matrix"] == pytest.approx(memory, rel=1e-9)
    assert area_of(shape, precision, "A").mm2 * 1e6 == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("number", range(len(CHECKS["B"]["rows"])))
def test_model_b(number: int) -> None:
    row, units = CHECKS["B"]["rows"][number], CHECKS["B"]["breakdown"][number]
    shape, precision = described(row)
    total, _, _, low, high, in_domain = row[5:11]
    area = area_of(shape, precision, "B")
    assert area.mm2 * 1e6 == pytest.approx(total, rel=1e-9)
    assert area.low is not None and area.high is not None
    assert (area.low * 1e6, area.high * 1e6) == (pytest.approx(low, rel=1e-6), pytest.approx(high, rel=1e-6))
    assert area.extrapolated is not in_domain
    named = {"matrix": "MatrixMachine", "vector": "VectorMachine", "top": "FullChipTopResidual"}
    for ours, theirs in named.items():
        assert area.parts[ours] * 1e6 == pytest.approx(units[theirs], rel=1e-9)


def test_model_a_is_as_close_to_synthesis_as_its_source() -> None:
    """Mean error in per cent over all rows that it was fitted to."""
    for rows, floating, most in ((CHECKS["dc_mxint"], False, 1.7), (CHECKS["dc_mxfp"], True, 1.4)):
        errors = []
        for row in rows["rows"]:
            values = dict(zip(rows["columns"], row, strict=True))
            if floating:
                top = Element(values["T_EXP"], values["T_MANT"])
                left = Element(values["L_EXP"], values["L_MANT"])
            else:
                top, left = Element(0, values["T_BITS"]), Element(0, values["L_BITS"])
            try:
                precision = Precision(left, top, top)
            except SettingsError:
                continue
            shape = shape_of(values["MLEN"], values["BLEN"])
            found = model_a.array(shape, precision)
            errors.append(abs(found - values["area_um2"]) / values["area_um2"])
        assert len(errors) >= 15 and 100 * sum(errors) / len(errors) <= most


def test_every_macro_is_a_memory_of_its_own_size() -> None:
    for _, depth, width, _, macro, _ in CHECKS["macros"]:
        assert memory_area(depth, width) <= macro
        assert memory_area(depth, width, ports=2) == 2 * memory_area(depth, width)


def test_a_machine() -> None:
    small = plena.area(Target(), matrix_rows=128, vector_rows=257)
    assert small.model == "B" and small.mm2 == pytest.approx(sum(small.parts.values()))
    assert small.extrapolated and "outside of what was synthesised" in str(small)
    assert plena.area(Target()).mm2 > 1000 * small.mm2  # 512 MiB of vector SRAM
    assert plena.area(Target(), "A", matrix_rows=128, vector_rows=257).mm2 < small.mm2
    wider = Target().with_settings({"BLEN": 8})
    assert plena.area(wider, matrix_rows=128, vector_rows=257).parts["matrix"] > small.parts["matrix"]


def test_what_the_models_do_not_know() -> None:
    with pytest.raises(CompileError, match="must be A or B"):
        plena.area(Target(), "C")  # type: ignore[arg-type]
    plain = {"format": "Plain", "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7}}
    with pytest.raises(SettingsError, match=r"no area is known for .* in HBM_V_KV_TYPE"):
        plena.area(Target().with_settings({"HBM_V_KV_TYPE": plain}))
    with pytest.raises(SettingsError, match="E3M4 weights"):
        Precision(Element(4, 3), Element(4, 3), Element(3, 4))
    with pytest.raises(SettingsError, match="mix integers and floating point"):
        Precision(Element(0, 4), Element(4, 3), Element(4, 3))


def test_what_is_no_machine_is_refused() -> None:
    with pytest.raises(CompileError, match=r"must be a plena\.Target, not str.*program\.target"):
        plena.area("shipped")  # type: ignore[arg-type]
    with pytest.raises(CompileError, match="vector_rows must not be negative, it is -1"):
        plena.area(vector_rows=-1)
