"""Every refusal of a tensor operation goes through plena.refusals, so that it names operator, shapes and line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from xdsl.dialects.builtin import StringAttr

import plena
from plena.dialects import aten
from plena.dialects.plena import Plena
from plena.dialects.plena.base import real
from plena.dialects.refusals import BlamedOn, CompilerBug, OperatorError, refusal
from plena.errors import CompileError
from plena.kernels.builder import TileBuilder
from plena.kernels.context import KERNELS, KernelContext, kernel_for, lower_operation
from plena.kernels.schedule import Schedule
from plena.machine.target import Target
from plena.passes.convert_aten_to_plena import CONVERSIONS
from tests.hunt.odd_modules import M

ROOT = Path(plena.__file__).parent
LEVELS = ("frontend", "kernels", "tensor_rewrites")
PASSES = (
    "convert_aten_to_plena",
    "fuse_attention",
    "fuse_elementwise",
    "fuse_gates",
    "fuse_norms",
    "fuse_rotary",
)
OF_THE_MODEL = {"example_inputs", "mutations", "export", "program", "backend", "weights", "element_types"}
"""Files whose errors are about inputs, parameters or the model as a whole."""


def files() -> list[Path]:
    found = [path for level in LEVELS for path in (ROOT / level).glob("*.py")]
    return sorted([*found, *(ROOT / "passes" / f"{name}.py" for name in PASSES)])


def calls(path: Path, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


def test_every_refusal_says_why_and_what_to_write_instead() -> None:
    count = 0
    for path in files():
        for call in calls(path, "refusal"):
            count += 1
            assert len(call.args) == 3, f"{path.name}:{call.lineno}"
            hint = ast.unparse(call.args[2])
            assert len(hint) > 20 or hint.isupper() or "INSTEAD" in hint.upper(), f"{path.name}:{call.lineno}"
    assert count > 25


def test_errors_that_are_not_about_an_operator_say_where_and_what_to_do() -> None:
    for path in files():
        for call in calls(path, "CompileError"):
            place = f"{path.name}:{call.lineno}"
            if path.stem in OF_THE_MODEL:
                continue
            hints = [*call.args[2:], *(k for k in call.keywords if k.arg == "hint")]
            assert hints, f"{place} raises a CompileError without a hint: use plena.dialects.refusals.refusal"


def _operation() -> aten.ReluOp:
    source = aten.FullOp.build(properties={}, result_types=[real(2, 3)])
    attributes = {"plena.source": StringAttr("model.py:7"), "plena.module": StringAttr("layers.0")}
    return aten.ReluOp.build(operands=[source.results[0]], result_types=[real(2, 3)], attributes=attributes)


def test_a_refusal_names_operator_shapes_and_line() -> None:
    error = refusal(_operation(), "it is blue", "Paint it.")
    expected = "no kernel for aten.relu.default on ([2, 3] f32) -> ([2, 3] f32): it is blue. Paint it."
    assert str(error) == f"model.py:7 (layers.0): {expected}"


def test_whatever_is_raised_at_an_operator_names_it() -> None:
    with (
        pytest.raises(
            OperatorError, match=r"model\.py:7 .*aten\.relu\.default on .*too small\. Buy more"
        ) as caught,
        BlamedOn(_operation()),
    ):
        raise CompileError("too small", hint="Buy more.")
    assert not isinstance(caught.value, CompilerBug)
    with (
        pytest.raises(CompilerBug, match=r"model\.py:7 .*aten\.relu.*KeyError.*report"),
        BlamedOn(_operation()),
    ):
        raise KeyError("x")


def test_every_kernel_and_conversion_is_blamed() -> None:
    """Whatever a kernel raises says at which operation, because they all run through one function."""
    op = next(op for op in Plena.operations if op.name == "plena.add")
    lhs, rhs = (aten.FullOp.build(properties={}, result_types=[real(2, 3)]).results[0] for _ in range(2))
    operation = op.build(operands=[lhs, rhs], result_types=[real(2, 3)])
    before = dict(KERNELS)
    try:
        kernel_for(op)(lambda op, ctx: ctx.locations.clear() or ctx.panel(op.operands[0]))
        with pytest.raises(CompilerBug, match=r"plena\.add on \(\[2, 3\] f32, \[2, 3\] f32\)"):
            lower_operation(operation, KernelContext(TileBuilder(Target()), Schedule()))
    finally:
        KERNELS.clear()
        KERNELS.update(before)


@pytest.mark.parametrize(
    ("module", "inputs", "match"),
    [
        (M(lambda _, x: torch.rand(2, 3)), [(2, 3)], r"aten\.rand\.default on \(\) -> \(\[2, 3\] f32\)"),
        (M(lambda _, x: x.cosh()), [(2, 3)], r"aten\.cosh\.default on \(\[2, 3\] f32\)"),
    ],
)
def test_refusals_have_a_line_of_the_model(module: M, inputs: list[tuple[int, ...]], match: str) -> None:
    with pytest.raises(OperatorError, match=rf"\w+\.py:\d+: no kernel for {match}"):
        plena.compile(module, tuple(torch.randn(shape) for shape in inputs))


def test_operators_without_a_conversion_are_refused_too() -> None:
    assert aten.OperatorOp not in CONVERSIONS
