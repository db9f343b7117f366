"""How far the machine's number formats may take a module's results, found by PyTorch alone.

The module is run as it is, and again some times with every number rounded as the machine may round it: inputs,
parameters, what is computed from parameters alone and the operands of products to the target's block formats, every
other result to bf16. Each run rounds on another grid, a function of the number, so equal numbers stay equal and larger
ones do not become smaller. Nothing of the compiler is asked: what it believes about the program cannot hide an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from plena.checking.plain_torch import plain_torch
from plena.machine.number_formats import Mx, NumberFormat
from plena.machine.target import Target

FORMATS = ("HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE", "HBM_V_ACT_TYPE", "HBM_V_KV_TYPE")

PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "convolution", "_scaled_dot_product", "mv", "addmv", "dot")
MOVES = (
    "cat",
    "clone",
    "permute",
    "transpose",
    "slice",
    "repeat",
    "index",
    "select",
    "constant_pad",
    "stack",
    "t.default",
)

FEW, MANY = 4, 48
"""Roundings, and roundings of a result that looks wrong after few."""

BF16 = 2.0**-8

NOTHING = 1e-20
"""What a share of 0 may leave of a number."""


class Wrong(AssertionError):
    """A program's result that no rounding explains."""


@dataclass
class Expected:
    """A module's results, and what they become under some roundings.

    Attributes:
        exact: as PyTorch computes them.
        rounded: one list of results per rounding.
    """

    module: nn.Module
    args: Sequence[Any]
    target: Target

    def __post_init__(self) -> None:
        self.exact = [leaf for leaf in leaves(self.module, {}, self.args) if isinstance(leaf, Tensor)]
        self.rounded: list[list[Tensor]] = []

    def require(self, results: Sequence[Tensor]) -> None:
        """Raises Wrong unless roundings explain every result."""
        if len(results) != len(self.exact):
            raise Wrong(f"{len(results)} results, PyTorch has {len(self.exact)}")
        for index, (result, exact) in enumerate(zip(results, self.exact, strict=True)):
            if result.shape != exact.shape:
                raise Wrong(f"output {index}: shape {list(result.shape)}, PyTorch has {list(exact.shape)}")
            if result.dtype != exact.dtype:
                raise Wrong(f"output {index}: {result.dtype}, PyTorch has {exact.dtype}")
        self._round(FEW)
        if self._complaint(results) is not None:
            self._round(MANY)
            if (complaint := self._complaint(results)) is not None:
                raise Wrong(complaint)

    def _round(self, count: int) -> None:
        for seed in range(len(self.rounded), count):
            self.rounded.append(rounded_results(self.module, self.args, self.target, seed))

    def _complaint(self, results: Sequence[Tensor]) -> str | None:
        for index, (result, exact) in enumerate(zip(results, self.exact, strict=True)):
            others = torch.stack([r[index].double() for r in self.rounded])
            complaint = unexplained(result.double(), exact.double(), others)
            if complaint is not None:
                return f"output {index}: {complaint}"
        return None


def unexplained(result: Tensor, exact: Tensor, rounded: Tensor) -> str | None:
    """What is wrong with a result, by element, by row and altogether; None if roundings explain it.

    Args:
        rounded: [roundings, *shape].
    """
    while result.ndim > 1 and result.shape[-1] == 1:  # A row of one element has nothing beside it.
        result, exact, rounded = (x.squeeze(-1) for x in (result, exact, rounded))
    stable = (rounded.isfinite() == exact.isfinite()).all(0) & (rounded.isnan() == exact.isnan()).all(0)
    for name, of in (("NaN", torch.isnan), ("infinity", torch.isposinf), ("-infinity", torch.isneginf)):
        wrong = (of(result) != of(exact)) & stable
        if wrong.any():
            here, there = int((of(result) & wrong).sum()), int((of(exact) & wrong).sum())
            return f"{name} in {here} places where PyTorch has none, none in {there} of {exact.numel()} where it has"
    usable = stable & exact.isfinite() & result.isfinite()
    if not usable.any():
        return None
    error = torch.where(usable, result - exact, 0.0).abs()
    moved = torch.where(usable, (rounded - exact).abs(), 0.0)
    size = torch.where(usable, exact, 0.0).abs()
    spread = moved.square().mean(0).sqrt()
    in_row, row_size, row_error = (_of_row(x) for x in (spread, size, error))
    bound = 6 * spread + 2 * moved.amax(0) + 3 * in_row + 2 * BF16 * size + BF16 * row_size + NOTHING
    # A large bias that is returned was rounded as it is, not shifted.
    bound = bound + torch.where(exact <= -64, 0.13 * size, 0.0)
    spread = torch.where(exact <= -64, 0.13 * size, spread)
    in_row = _of_row(spread)
    if (error > bound).any():
        worst = int((error - bound).flatten().argmax())
        return (
            f"element {worst} is {result.flatten()[worst]:.6g}, PyTorch has {exact.flatten()[worst]:.6g}, "
            f"explained {bound.flatten()[worst]:.2g}"
        )
    row_bound = 3 * in_row + _of_row(moved.amax(0)) + 2 * BF16 * row_size + 0.5 * _of_all(spread) + NOTHING
    if result.ndim and result.shape[-1] > 1 and (row_error > row_bound).any():
        worst = int((row_error - row_bound).flatten().argmax())
        return f"a row is off by {row_error.flatten()[worst]:.3g}, explained {row_bound.flatten()[worst]:.3g}"
    # Results of few elements scatter, and one run may round in the coarsest of the formats: that run as a whole.
    run = max(_of_all(x) for x in moved)
    whole, whole_bound = (
        _of_all(error),
        max(2.5 * _of_all(spread), 1.25 * run) + 2 * BF16 * _of_all(size) + NOTHING,
    )
    if result.numel() > 1 and whole > whole_bound:
        return f"off by {whole:.3g} altogether, explained {whole_bound:.3g}"
    return None


def _of_row(x: Tensor) -> Tensor:
    return x.square().mean(-1, keepdim=True).sqrt() if x.ndim else x


def _of_all(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def leaves(module: nn.Module, state: dict[str, Tensor], args: Sequence[Any]) -> list[Any]:
    """What a module returns in evaluation mode, flat."""
    module.eval()
    with plain_torch():
        outputs = torch.func.functional_call(module, state, tuple(args)) if state else module(*args)
    return pytree.tree_leaves(outputs)


def rounded_results(module: nn.Module, args: Sequence[Any], target: Target, seed: int) -> list[Tensor]:
    """A module's results when all numbers are rounded on grids that depend on `seed`."""
    mode = Rounding([target.precision[name] for name in FORMATS], seed)
    state = {name: mode.parameter(tensor) for name, tensor in module.state_dict(keep_vars=True).items()}
    moved = pytree.tree_map(lambda x: mode.store(x) if isinstance(x, Tensor) else x, tuple(args))
    with mode:
        results = leaves(module, state, moved)
    return [leaf for leaf in results if isinstance(leaf, Tensor)]


class Rounding(TorchDispatchMode):
    """Rounds the results of operators as a machine with some number formats may."""

    def __init__(self, formats: Sequence[NumberFormat], seed: int) -> None:
        super().__init__()
        random = np.random.default_rng(seed)
        self._formats = [formats[n] for n in random.permutation(len(formats))]
        # Every fourth time on the machine's own grid.
        self._shift, self._fine = (float(x) for x in random.uniform(1, 2, 2)) if seed % 4 else (1.0, 1.0)
        self._moves = bool(seed % 2)
        self._known: set[int] = set()
        self._kept: list[Tensor] = []
        self._random = random

    def parameter(self, x: Tensor) -> Tensor:
        """A parameter or buffer as staged."""
        return self._remember(self.store(x.detach()))

    def store(self, x: Tensor) -> Tensor:
        """Numbers as they come back from HBM, blocks along the last axis."""
        if not x.is_floating_point() or not x.numel():
            return x
        finite = torch.where(x.isfinite(), x, 0.0).detach()
        base = _base(finite)
        kind = self._formats[int(self._random.integers(len(self._formats)))]
        return torch.where(x.isfinite(), stored((finite - base) * self._shift, kind) / self._shift + base, x)

    def compute(self, x: Tensor) -> Tensor:
        """Numbers as they come from the vector unit."""
        moved = (x * self._fine).bfloat16().to(x.dtype) / self._fine
        return torch.where(moved.isfinite(), moved, x)

    def _remember(self, x: Tensor) -> Tensor:
        self._known.add(id(x))
        self._kept.append(x)
        return x

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.name().removeprefix("aten::")
        given = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        known = all(id(x) in self._known for x in given)
        if name.startswith(PRODUCTS):
            first = 1 if name.startswith(("addmm", "baddbmm", "addmv")) else 0
            args = tuple(
                self.store(x)
                if first <= n < first + 3 and isinstance(x, Tensor) and id(x) not in self._known
                else x
                for n, x in enumerate(args)
            )
        if name == "native_layer_norm":
            return self._layer_norm(*args)
        result = func(*args, **(kwargs or {}))
        return pytree.tree_map(lambda x: self._result(name, given, known, x), result)

    def _layer_norm(
        self, x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Step by step, as a machine of bf16 numbers has to: a mean that is rounded leaves its error in every element.

        What is computed of the rows is rounded here, so that their mean is not what one rounding of each would leave.
        """
        dims = list(range(x.ndim - len(shape), x.ndim))
        mean = self.compute(x.mean(dims, keepdim=True))
        deviation = self.compute(x - mean)
        scale = self.compute((deviation.square().mean(dims, keepdim=True) + eps).rsqrt())
        result = self.compute(deviation * scale)
        result = result if weight is None else self.compute(result * weight)
        return result if bias is None else self.compute(result + bias), mean, scale

    def _result(self, name: str, given: list[Tensor], known: bool, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if x.is_floating_point() and name.endswith("_") is False:
            if name.startswith(MOVES):
                x = self.store(x) if self._moves and not known else x
            elif not (name.startswith(("add", "sub", "rsub")) and any(_is_bias(g) for g in given)):
                x = self.compute(x)
                x = self.store(x) if known and not name.startswith(("view", "expand", "unsqueeze")) else x
        return self._remember(x) if known else x


def _base(x: Tensor) -> Tensor | float:
    """The largest number of each row of biases: a row may be shifted before it is rounded."""
    return x.amax(-1, keepdim=True) if x.ndim and _is_bias(x) else 0.0


def _is_bias(x: Tensor) -> bool:
    """Whether numbers look like what is added to scores: none is positive, some are large."""
    if not x.is_floating_point() or not x.numel():
        return False
    low, high = (float(n) for n in x.aminmax())
    return low <= -64 and high <= 0


def stored(x: Tensor, kind: NumberFormat) -> Tensor:
    """What remains after a store to HBM and a load, blocks along the last axis."""
    array = np.atleast_1d(x.detach().float().numpy())
    block = kind.block if isinstance(kind, Mx) else 1
    padded = np.pad(array, [*[(0, 0)] * (array.ndim - 1), (0, -array.shape[-1] % block)])
    with np.errstate(all="ignore"):
        kept = kind.quantize(padded, machine=True)[..., : array.shape[-1]]
    return torch.from_numpy(np.ascontiguousarray(kept)).reshape(x.shape).to(x.dtype)
