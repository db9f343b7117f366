"""Running a module of the tensor level (`aten`, `plena` or a mixture) on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import Interpreter, InterpreterFunctions
from xdsl.interpreters.func import FuncFunctions

from plena.interpreters.aten import AtenFunctions
from plena.interpreters.plena import PlenaFunctions
from plena.interpreters.states import States

if TYPE_CHECKING:
    import torch


MEANINGS: list[Callable[[], InterpreterFunctions]] = []
"""Makes the functions of operations that are declared outside of `plena.dialects` (docs/new_operator.md)."""


def interpreter_of(
    module: ModuleOp,
    tensors: Mapping[str, torch.Tensor],
    states: States | None = None,
    staged: Mapping[str, torch.Tensor] | None = None,
) -> Interpreter:
    """An interpreter that knows every operation of the tensor level; `staged` as of PlenaFunctions."""
    interpreter = Interpreter(module)
    states = States() if states is None else states
    kernels = PlenaFunctions(tensors, states, staged or {})
    for functions in (FuncFunctions(), AtenFunctions(tensors, states), kernels):
        interpreter.register_implementations(functions)
    for extension in MEANINGS:
        interpreter.register_implementations(extension())
    return interpreter


def evaluate(
    module: ModuleOp,
    tensors: Mapping[str, torch.Tensor],
    inputs: Sequence[torch.Tensor],
    states: States | None = None,
) -> tuple[torch.Tensor, ...]:
    """What func.func @main computes; `states` then has what it leaves.

    Floating-point inputs are converted to float32, integers to int64; results are float32, int64 or bool.
    """
    import torch

    values = [
        x.float() if x.is_floating_point() else x.long() if x.dtype != torch.bool else x for x in inputs
    ]
    interpreter = interpreter_of(module, tensors, states)
    main = next(op for op in module.ops if isinstance(op, func.FuncOp) and op.sym_name.data == "main")
    with torch.no_grad():
        return interpreter.call_op(main, tuple(values))
