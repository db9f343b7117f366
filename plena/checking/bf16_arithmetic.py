"""What rounding to bf16 between operators alone does to a module: how far a right program may be from its reference.

The quantised reference computes in float32. A machine that computes in bf16 differs from it by little, unless the
module magnifies roundings: differences of nearly equal numbers, norms of rows that are nearly constant. How much, torch
says: the module runs some times more, the result of every operator rounded, each time on another grid. Operators that a
program computes in steps (norms, softmax, attention) are taken apart by torch's own decompositions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

GRIDS = (1.0, 1.19, 1.41, 1.68)
"""Factors before the rounding: 1 is the machine's own grid."""

_STEPWISE = frozenset(
    [
        "native_layer_norm",
        "native_group_norm",
        "native_batch_norm",
        "_native_batch_norm_legit_no_training",
        "_fused_rms_norm",
        "_softmax",
        "_log_softmax",
        "_scaled_dot_product_flash_attention_for_cpu",
        "addmm",
        "baddbmm",
        "var",
        "var_mean",
        "std",
        "logsumexp",
    ]
)


class Bf16Arithmetic(TorchDispatchMode):
    """Rounds the floating results of operators to bf16, on a grid of its own for each `grid`."""

    def __init__(self, grid: float) -> None:
        super().__init__()
        self._grid = grid

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        steps = _steps(func)
        if steps is not None:
            with self:
                return steps(*args, **(kwargs or {}))
        return pytree.tree_map(self._rounded, func(*args, **(kwargs or {})))

    def _rounded(self, x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or not x.is_floating_point():
            return x
        moved = (x * self._grid).bfloat16().to(x.dtype) / self._grid
        return torch.where(moved.isfinite(), moved, x)


def _steps(func: Any) -> Callable[..., Any] | None:
    """torch's decomposition of an operator that a program computes in steps."""
    from torch._decomp import decomposition_table

    return decomposition_table.get(func) if func.overloadpacket.__name__ in _STEPWISE else None
