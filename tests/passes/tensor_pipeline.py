"""Running the passes of the tensor level on an imported module, comparing values after every one of them."""

from __future__ import annotations

from typing import Any

import torch
from xdsl.context import Context
from xdsl.dialects import func
from xdsl.ir import Operation

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.frontend import ImportedProgram, import_module
from plena.passes.pipelines import TENSOR_PIPELINE
from plena.universe import load_pass


def references(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """What the module returns, as a tuple."""
    with torch.no_grad():
        result: Any = module.eval()(*inputs)
    return result if isinstance(result, tuple) else (result,)


def close(
    program: ImportedProgram, inputs: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]
) -> None:
    """Raise unless the program computes the expected values to 1e-4."""
    for got, want in zip(program.evaluate(*inputs), expected, strict=True):
        torch.testing.assert_close(got, want.float(), atol=1e-4, rtol=1e-4)


def lowered(module: torch.nn.Module, *inputs: torch.Tensor) -> ImportedProgram:
    """The module at the plena level; it verifies and computes the same after every pass."""
    expected = references(module, inputs)
    program = import_module(module, inputs)
    program.module.verify()
    close(program, inputs, expected)
    for name in TENSOR_PIPELINE:
        load_pass(name)().apply(Context(), program.module)
        program.module.verify()
        close(program, inputs, expected)
    check_contract(program)
    return program


def operations(program: ImportedProgram) -> list[Operation]:
    """The ops of @main."""
    main = next(op for op in program.module.ops if isinstance(op, func.FuncOp))
    return list(main.body.block.ops)


def only(program: ImportedProgram, kind: type[Any]) -> Any:
    """The one op of a kind."""
    found = [op for op in operations(program) if isinstance(op, kind)]
    assert len(found) == 1, f"{len(found)} ops of {kind.name} in\n{program.module}"
    return found[0]


def names(program: ImportedProgram) -> list[str]:
    """The kernels in order, without parameters and the end."""
    skipped = ("plena.parameter", "func.return")
    return [op.name for op in operations(program) if op.name not in skipped]


_LAYOUT = (plena.ReshapeOp, plena.RearrangeOp, plena.ExpandOp, plena.CastOp, plena.StagedTestOp, plena.HostOp)


def check_contract(program: ImportedProgram) -> None:
    """docs/tensor_level.md: plena ops only; kernels compute on matrices."""
    for op in operations(program):
        if isinstance(op, func.ReturnOp):
            continue
        assert isinstance(op, plena.PlenaOp), op
        if isinstance(op, (*_LAYOUT, plena.ParameterOp)):
            continue
        for result in op.results:
            assert len(shape_of(result)) == 2, f"{op.name} computes {shape_of(result)}"
