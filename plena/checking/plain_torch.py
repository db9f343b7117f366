"""torch with those of its shortcuts switched off that compute something else than the operators they replace.

Every reference is run so. What torch 2.13 does without: its inference path through `nn.MultiheadAttention` and
`nn.TransformerEncoderLayer` takes a floating mask as boolean and gives NaN for queries that see no key, its fused
attention on the CPU gives NaN below a scale of zero, and its vectorised exact GELU gives NaN for infinity
(docs/surprises.md). Modules are exported on the other paths.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def plain_torch() -> Generator[None]:
    """No gradients, no fast paths; the state of before comes back."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), _Plain():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


class _Plain(TorchFunctionMode):
    """Attention with a scale of zero or less, or of NaN or infinity, goes through products; GELU keeps infinity."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _ATTENTION and (_is_unscaled(kwargs.get("scale")) or not _finite(args, kwargs)):
            with sdpa_kernel(SDPBackend.MATH):
                return _by_rows(func(*args, **kwargs))
        result = func(*args, **kwargs)
        if func in _GELU and isinstance(result, torch.Tensor):
            x: Any = args[0] if args else kwargs.get("input", kwargs.get("self"))
            return torch.where(x == torch.inf, x, result)
        return result


def _by_rows(result: torch.Tensor) -> torch.Tensor:
    """Heads of a row side by side, as the fused kernels leave them: exported graphs view them so."""
    return result if result.ndim < 4 else result.transpose(-3, -2).contiguous().transpose(-3, -2)


def _is_unscaled(scale: object) -> bool:
    return isinstance(scale, int | float) and scale <= 0


def _finite(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether query, key and value are: the fused kernels make 0 of a query that is NaN, or whose scores are."""
    given = [*args[:3], *(kwargs[name] for name in ("query", "key", "value") if name in kwargs)]
    return all(bool(x.isfinite().all()) for x in given if isinstance(x, torch.Tensor))


_GELU = (torch.nn.functional.gelu, torch.ops.aten.gelu.default)

_ATTENTION = (
    torch.nn.functional.scaled_dot_product_attention,
    torch.ops.aten.scaled_dot_product_attention.default,
)
