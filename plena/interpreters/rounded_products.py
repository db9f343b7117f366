"""Running a tensor-level module with those operands rounded that the machine rounds on their way to matrix SRAM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls

from plena.dialects import plena
from plena.interpreters.plena import PlenaFunctions
from plena.interpreters.tensor_level import interpreter_of

if TYPE_CHECKING:
    import torch


@register_impls
@dataclass
class RoundedProducts(InterpreterFunctions):
    """Products of two computed tensors; `rounded` rounds one to its HBM format, blocks along the last axis."""

    exact: PlenaFunctions
    rounded: Callable[[torch.Tensor], torch.Tensor]

    @impl(plena.AttentionOp)
    def attention(self, interpreter: Interpreter, op: plena.AttentionOp, args: PythonValues) -> PythonValues:
        heads = op.kv_heads.value.data
        key, value = (self._per_head(x, heads) for x in args[1:3])
        return self.exact.attention(interpreter, op, (args[0], key, value, *args[3:])).values

    @impl(plena.MatmulOp)
    def matmul(self, interpreter: Interpreter, op: plena.MatmulOp, args: PythonValues) -> PythonValues:
        heads = op.head_counts[1] if op.wide_rhs is not None else 1
        return self.exact.matmul(interpreter, op, (args[0], self._per_head(args[1], heads))).values

    def _per_head(self, x: torch.Tensor, heads: int) -> torch.Tensor:
        return self.rounded(x.reshape(x.shape[0], heads, -1)).reshape(x.shape)


def rounding_interpreter(
    module: ModuleOp,
    tensors: Mapping[str, torch.Tensor],
    rounded: Callable[[torch.Tensor], torch.Tensor],
    staged: Mapping[str, torch.Tensor],
) -> Interpreter:
    """An interpreter of the tensor level whose products have rounded operands, experts `staged` parameters."""
    interpreter = interpreter_of(module, tensors, staged=staged)
    interpreter.register_implementations(RoundedProducts(PlenaFunctions(tensors), rounded), override=True)
    return interpreter
