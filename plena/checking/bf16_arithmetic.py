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

MORE_GRIDS = (1.04, 1.09, 1.14, 1.24, 1.3, 1.35, 1.48, 1.54, 1.61, 1.76, 1.83, 1.92)
"""Where few roundings do not explain a result: of a hundred rows one may have what only one in ten roundings does."""

LARGE = -64.0
"""A number that hides a score rather than changing it is at most this."""

_SUMS = frozenset(["add", "sub", "rsub"])

MOVES = frozenset(
    [
        "view", "_unsafe_view", "reshape", "alias", "detach", "expand", "permute", "transpose", "t", "squeeze",
        "unsqueeze", "slice", "select", "split", "split_with_sizes", "clone", "copy", "to", "_to_copy",
        "contiguous", "cat", "stack", "amax", "amin", "histc",
    ]
)  # fmt: skip
"""What is rounded already, or is not rounded yet because a program shifts it; counts."""

_TOTALS = frozenset(["sum", "mean"])
"""Sums over axes: what cancels out is rounded on the way."""

_STEPWISE = frozenset(
    [
        "native_layer_norm", "native_group_norm", "native_batch_norm", "_native_batch_norm_legit_no_training",
        "_fused_rms_norm", "_softmax", "_log_softmax", "_scaled_dot_product_flash_attention_for_cpu", "addmm",
        "baddbmm", "var", "var_mean", "std", "logsumexp",
    ]
)  # fmt: skip


_COMPOSITE = frozenset(["_scaled_dot_product_attention_math"])
"""The same, of torch's own steps in C++."""


class Bf16Arithmetic(TorchDispatchMode):
    """Rounds the floating results of operators to bf16, on a grid of its own for each `grid`.

    Args:
        lanes: numbers of a row that are added at once.
    """

    def __init__(self, grid: float, lanes: int) -> None:
        super().__init__()
        self._grid = grid
        self._lanes = lanes

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
        name = func.overloadpacket.__name__
        if name in _TOTALS and args[0].is_floating_point():
            return self._total(args[0], *args[1:], mean=name == "mean", **(kwargs or {}))
        if name == "div" and not kwargs and isinstance(args[1], torch.Tensor) and args[1].is_floating_point():
            return self._rounded(args[0] * self._rounded(args[1].reciprocal()))
        result = func(*args, **(kwargs or {}))
        if name in MOVES or (name in _SUMS and any(_is_bias(x) for x in args)):
            return result
        return pytree.tree_map(self._rounded, result)

    def _total(
        self,
        x: torch.Tensor,
        dim: int | Sequence[int] | None = None,
        keepdim: bool = False,
        *,
        mean: bool = False,
        dtype: torch.dtype | None = None,
    ) -> torch.Tensor:
        """`lanes` numbers of a row at once, as the machine adds them, then rows to rows: each sum is rounded."""
        dims = [dim] if isinstance(dim, int) else list(dim or range(x.ndim))
        reduced = {d % x.ndim for d in dims} if x.ndim else set[int]()
        count = 1
        total = x if dtype is None else x.to(dtype)
        for d in sorted(reduced, reverse=True):
            count *= x.shape[d]
            if d == x.ndim - 1:
                padded = torch.nn.functional.pad(total, (0, -total.shape[d] % self._lanes))
                total = self._rounded(padded.unflatten(d, (-1, self._lanes)).sum(-1))
            while (size := total.shape[d]) > 1:
                halves = total.narrow(d, 0, size // 2) + total.narrow(d, size - size // 2, size // 2)
                middle = total.narrow(d, size // 2, size % 2)
                total = torch.cat([self._rounded(halves), middle], d)
        if mean:
            total = self._rounded(total / count)
        return total if keepdim else total.squeeze(sorted(reduced))

    def _rounded(self, x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or not x.is_floating_point():
            return x
        moved = (x * self._grid).bfloat16().to(x.dtype) / self._grid
        return torch.where(moved.isfinite(), moved, x)


def _is_bias(x: Any) -> bool:
    """Whether numbers look like what hides scores: none is positive, some are large. A program shifts them by row."""
    if isinstance(x, int | float):
        return x <= LARGE
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or not x.numel():
        return False
    low, high = (float(n) for n in x.aminmax())
    return low <= LARGE and high <= 0


def _steps(func: Any) -> Callable[..., Any] | None:
    """torch's decomposition of an operator that a program computes in steps."""
    from torch._decomp import decomposition_table

    name = func.overloadpacket.__name__
    if name in _COMPOSITE:
        return func.decompose
    return decomposition_table.get(func) if name in _STEPWISE else None
