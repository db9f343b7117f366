"""Operators that torch has no, or no good, decomposition for, in operators that the importer knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch.nn import functional as F

from plena.frontend.inverse_functions import INVERSE_FUNCTIONS

_LEAST = 2.0**-126
"""The least normal number of float32 and bfloat16: nothing beside any other one."""


def _own_steps(overload: Any, *args: Any) -> Tensor:
    """What torch itself makes of an operator: to call it would come back here."""
    return overload._op_dk(DispatchKey.CompositeImplicitAutograd, *args)


def _pad(self: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """aten.pad. Circular: both ends of an axis go on with its other end; `pad` begins with the last axis.

    torch writes into memory that it has not set, which would be loaded first.
    """
    if mode != "circular" or any(n < 0 for n in pad):
        return _own_steps(torch.ops.aten.pad.default, self, pad, mode, value)
    for axis, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True), 1):
        size = self.shape[-axis]
        ends = self.narrow(-axis, size - before, before), self.narrow(-axis, 0, after)
        self = torch.cat([ends[0], self, ends[1]], -axis) if before or after else self
    return self


def _diagonal(self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Every (columns + 1)th element of the matrix's rows behind each other."""
    matrices = self.movedim((dim1, dim2), (-2, -1))
    rows, columns = matrices.shape[-2:]
    count = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    start = offset if offset >= 0 else -offset * columns
    stop = start + max(0, (count - 1) * (columns + 1) + 1)
    return matrices.flatten(-2)[..., start : stop : columns + 1]


def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x^T W y for each matrix W of `weight` [outputs, features of x, features of y]."""
    outputs, first, second = weight.shape
    products = F.linear(input2, weight.reshape(outputs * first, second))
    found = (products.unflatten(-1, (outputs, first)) * input1.unsqueeze(-2)).sum(-1)
    return found if bias is None else found + bias


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """Distances [..., rows of x1, rows of x2], from differences: |x|^2 - 2 x y + |y|^2 would leave few bits of them."""
    return torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def _power_of_number(self: float, exponent: Tensor) -> Any:
    """A positive number to the power of a tensor."""
    return (exponent * math.log(self)).exp() if self > 0 else NotImplemented


def _exp2(self: Tensor) -> Tensor:
    return (self * math.log(2)).exp()


def _hypot(self: Tensor, other: Tensor) -> Tensor:
    return (self * self + other * other).sqrt()


def _polar(abs: Tensor, angle: Tensor) -> Tensor:
    """Rotary embeddings of Llama 4 and DeepSeek-V2 are of length 1; the angle is of positions, and so the host's."""
    return torch.complex(abs * angle.cos(), abs * angle.sin())


def _kl_div(self: Tensor, target: Tensor, reduction: int = 1, *, log_target: bool = False) -> Tensor:
    """target (log target - self), 0 where target is 0; `reduction`: 0 none, 1 mean, 2 sum."""
    entropy = target.exp() * target if log_target else target * (target + _LEAST).log()
    found = entropy - (target.exp() if log_target else target) * self
    return (lambda x: x, torch.mean, torch.sum)[reduction](found)


def _logaddexp(self: Tensor, other: Tensor) -> Tensor:
    return torch.maximum(self, other) + F.softplus(-(self - other).abs())


def _pooled(pool: Callable[..., Tensor], x: Tensor, *sizes: Sequence[int], **settings: bool) -> Tensor:
    """A pooling of three axes as one of the last two and one of the first one.

    Sizes are kernel, stride, padding and dilation of the axes, the last one where pooling has it.
    """
    depth, (height, width) = x.shape[-3], x.shape[-2:]
    flat = pool(x.reshape(-1, 1, height, width), *(size[1:] for size in sizes), **settings)
    height, width = flat.shape[-2:]
    first = [(size[0], own) for size, own in zip(sizes, (1, 1, 0, 1), strict=False)]
    stacked = pool(flat.reshape(-1, 1, depth, height * width), *first, **settings)
    return stacked.reshape(*x.shape[:-3], stacked.shape[-2], height, width)


def _three(size: Sequence[int], otherwise: Sequence[int] | None = None) -> Sequence[int]:
    """A size for each axis, which one number stands for, or none for the kernel's."""
    size = size or otherwise or ()
    return size if len(size) == 3 else list(size) * 3


def _avg_pool3d(
    self: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean over windows of three axes: what counts in a window is a product of what counts along axes."""
    if divisor_override is not None:
        return NotImplemented
    sizes = _three(kernel_size), _three(stride, kernel_size), _three(padding)
    return _pooled(F.avg_pool2d, self, *sizes, ceil_mode=ceil_mode, count_include_pad=count_include_pad)


def _max_pool3d(
    self: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Tensor:
    """The maximum over windows of three axes."""
    sizes = _three(kernel_size), _three(stride, kernel_size), _three(padding), _three(dilation)
    return _pooled(F.max_pool2d, self, *sizes, ceil_mode=ceil_mode)


def _product(self: Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    """Halves of an axis times each other until one is left: few roundings for each factor."""
    if self.ndim == 0 or not self.is_floating_point():
        return NotImplemented
    found, left = (self if dtype is None else self.to(dtype)).movedim(dim, 0), []
    if found.shape[0] == 0:
        return NotImplemented
    while (count := found.shape[0]) > 1:
        left.extend([found[-1:]] if count % 2 else [])
        found = found[: count // 2] * found[count // 2 : count - count % 2]
    for last in reversed(left):
        found = found * last
    return found.movedim(0, dim) if keepdim else found[0]


def _product_of_all(self: Tensor, *, dtype: torch.dtype | None = None) -> Any:
    return _product(self.reshape(-1), 0, dtype=dtype)


def _running_product(self: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """Each element times those a power of two before it, so that log2(n) products reach all."""
    if self.ndim == 0 or not self.is_floating_point():
        return NotImplemented
    found, step = (self if dtype is None else self.to(dtype)).movedim(dim, 0), 1
    while step < found.shape[0]:
        found = torch.cat([found[:step], found[step:] * found[:-step]])
        step *= 2
    return found.movedim(0, dim)


def _addmv(self: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = mat @ vec * alpha
    return product if beta == 0 else product + self * beta


def _lerp(self: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    return self + weight * (end - self)


def _dist(self: Tensor, other: Tensor, p: float = 2) -> Tensor:
    return torch.linalg.vector_norm(self - other, p)


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.pad.default: _pad,
    torch.ops.aten.diagonal.default: _diagonal,
    torch.ops.aten.bilinear.default: _bilinear,
    torch.ops.aten.cdist.default: _cdist,
    torch.ops.aten.pow.Scalar: _power_of_number,
    torch.ops.aten.exp2.default: _exp2,
    torch.ops.aten.hypot.default: _hypot,
    torch.ops.aten.polar.default: _polar,
    torch.ops.aten.kl_div.default: _kl_div,
    torch.ops.aten.logaddexp.default: _logaddexp,
    torch.ops.aten.avg_pool3d.default: _avg_pool3d,
    torch.ops.aten.max_pool3d.default: _max_pool3d,
    torch.ops.aten.prod.dim_int: _product,
    torch.ops.aten.prod.default: _product_of_all,
    torch.ops.aten.cumprod.default: _running_product,
    torch.ops.aten.addmv.default: _addmv,
    torch.ops.aten.lerp.Tensor: _lerp,
    torch.ops.aten.dist.default: _dist,
    torch.ops.aten.narrow_copy.default: torch.narrow,
    **INVERSE_FUNCTIONS,
}
"""Functions by overload."""
