"""Running a module of the tensor level (`aten`, `plena` or a mixture) on torch tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import Interpreter
from xdsl.interpreters.func import FuncFunctions

from plena.interpreters.aten import AtenFunctions
from plena.interpreters.plena import PlenaFunctions

if TYPE_CHECKING:
    import torch


def evaluate(
    module: ModuleOp, tensors: Mapping[str, torch.Tensor], inputs: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """What func.func @main computes.

    Floating-point inputs are converted to float32, integers to int64; results are float32, int64 or bool.
    """
    import torch

    values = [
        x.float() if x.is_floating_point() else x.long() if x.dtype != torch.bool else x for x in inputs
    ]
    interpreter = Interpreter(module)
    interpreter.register_implementations(FuncFunctions())
    interpreter.register_implementations(AtenFunctions(tensors))
    interpreter.register_implementations(PlenaFunctions(tensors))
    main = next(op for op in module.ops if isinstance(op, func.FuncOp) and op.sym_name.data == "main")
    with torch.no_grad():
        return interpreter.call_op(main, tuple(values))
