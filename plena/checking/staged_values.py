"""Inputs, parameters and constants as the machine sees them after staging."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from plena.dialects.plena.staging import symbols_of
from plena.dialects.plena_isa.transfer import ACTIVATIONS, WEIGHTS
from plena.host.image import quantized
from plena.host.mask_steps import SWALLOWING, Biases, Hidden, Relative
from plena.host.staged_data import StagedData, staged_tensor

if TYPE_CHECKING:
    from xdsl.ir import Attribute

    from plena.dialects.plena import staging
    from plena.host.layout import Source, TensorPlacement
    from plena.program.data import ProgramData

FORMATS = WEIGHTS, ACTIVATIONS
"""Those of what the matrix unit and the vector unit read."""

Offset: TypeAlias = tuple[str, torch.Tensor]
"""The symbol of a matrix and what its products lack: a staged vector `matrix @ v` is rounded by itself."""


def is_bias(placement: TensorPlacement) -> bool:
    """Whether a tensor is staged for a softmax: relative to the highest of each row."""
    return any(isinstance(step, Relative | Biases | Hidden) for step in placement.view)


def only(program: ProgramData, *, biases: bool) -> ProgramData:
    """The program with those placements alone that are biases of a softmax, or that are none."""
    return replace(program, placements=tuple(p for p in program.placements if is_bias(p) == biases))


def _axis(placement: TensorPlacement, shape: tuple[int, ...]) -> int:
    """The axis of a tensor along which a placement is relative to the highest."""
    numbers = np.arange(prod(shape)).reshape(shape)
    for step in placement.view:
        if isinstance(step, Relative | Biases | Hidden):
            return axis_along(numbers, step.dim if isinstance(step, Relative) else -1, shape)
        if not step.reads_numbers:  # others change the elements, not where they lie
            numbers = step.apply(numbers)
    raise ValueError("it is no bias")


def axis_along(numbers: npt.NDArray[Any], dim: int, shape: tuple[int, ...]) -> int:
    """The axis of a tensor along which neighbours along `dim` of a view of it lie; -1 if it repeats along it.

    Args:
        numbers: those of the elements in row-major order, in that view.
        shape: of the tensor.
    """
    first = np.moveaxis(numbers, dim, 0).reshape(numbers.shape[dim], -1)[:2, 0]
    places = np.unravel_index(first.astype(int), shape)
    return next((n for n, along in enumerate(places) if along[0] != along[-1]), -1)


def staged_apart(
    program: ProgramData, expressions: Mapping[str, Attribute], shapes: Mapping[Source, tuple[int, ...]]
) -> dict[Source, dict[int, ProgramData]]:
    """The tensors that are staged as biases of a softmax and otherwise, too, or as biases along several axes.

    Args:
        expressions: of staging, by their symbols.
        shapes: of the tensors that count.

    Returns:
        By tensor and axis, the program with those placements alone that are biases along it.
    """
    biases: dict[Source, dict[int, list[TensorPlacement]]] = {}
    for placement in only(program, biases=True).placements:
        source = placement.source
        if placement.memory == "hbm" and source in shapes:
            axis = _axis(placement, shapes[source])
            biases.setdefault(source, {}).setdefault(axis, []).append(placement)
    others = {p.source for p in only(program, biases=False).placements if p.memory == "hbm"}
    read = {
        s for other in others if other.symbol in expressions for s in symbols_of(expressions[other.symbol])
    }
    return {
        source: {axis: replace(program, placements=tuple(found)) for axis, found in axes.items()}
        for source, axes in biases.items()
        if len(axes) > 1 or source in others or source.symbol in read
    }


def read_by_host(program: ProgramData) -> set[int]:
    """The real inputs of which the host computes biases, without rounding them, and which others read as well."""
    read = {index for value in program.host_values.values.values() for index in value.real_inputs}
    return read & {placement.source.index for placement in program.placements_of("input")}


def quantized_inputs(
    program: ProgramData, inputs: Sequence[torch.Tensor], formats: Collection[str] | None = None
) -> list[torch.Tensor]:
    """The inputs as the machine sees them: those parts that are staged to HBM are rounded.

    Args:
        formats: names of those in which they are staged; any by default.
    """
    seen = [x.detach().float() if x.is_floating_point() else x for x in inputs]
    placements = tuple(p for p in program.placements_of("input") if formats is None or p.format in formats)
    doubled = {_part(placement) for placement in placements if placement.residual}
    for placement in placements:
        index = placement.source.index
        if index >= len(inputs):
            continue  # A counter, which no format rounds.
        if placement.memory == "hbm" and not placement.residual and inputs[index].is_floating_point():
            before = inputs[index].detach().float()
            after = rounded(program, placement, before, with_rest=_part(placement) in doubled)
            seen[index] = torch.where(_differ(after, before), after, seen[index])
    return seen


def staged_for_products(program: ProgramData) -> set[int]:
    """The inputs that are staged twice: for the matrix unit as a product's second operand, and as activations."""
    found = [{p.source.index for p in program.placements_of("input") if p.format in kind} for kind in FORMATS]
    return set.intersection(*found)


def _part(placement: TensorPlacement) -> tuple[object, ...]:
    """Which part of which tensor is staged, and how."""
    return placement.source, placement.view, placement.shape, placement.format


def rounded(
    program: ProgramData, placement: TensorPlacement, tensor: torch.Tensor, *, with_rest: bool = False
) -> torch.Tensor:
    """What the machine sees of a float32 tensor through one placement; the rest of the tensor is left alone.

    Infinities keep their value: the program means the original. So do biases beside which float32 has no scores.
    With `with_rest` what the format loses is staged, too, in the same format: two parts of four bits hold a bf16
    number, two of three bits do not.
    """
    before = tensor.numpy()
    with np.errstate(invalid="ignore", over="ignore"):
        after = quantized(placement, before, program.target, with_rest=with_rest)
    kept = ~np.isfinite(before)
    if is_bias(placement):
        kept |= np.abs(before) > SWALLOWING
    return torch.from_numpy(np.where(kept, before, after).astype(np.float32))


def rounded_expressions(program: ProgramData, data: StagedData) -> dict[str, torch.Tensor]:
    """The values of staging expressions in HBM by their symbol."""
    seen: dict[str, torch.Tensor] = {}
    placements = tuple(program.placements_of("data"))
    doubled = {placement.source.symbol for placement in placements if placement.residual}
    for placement in placements:
        symbol = placement.source.symbol
        if placement.memory != "hbm" or placement.residual or symbol not in data.expressions:
            continue
        tensor = data(symbol)
        if not tensor.is_floating_point():
            continue
        before = seen.get(symbol, tensor)
        staged = staged_tensor(data, placement).float()
        after = rounded(program, placement, staged, with_rest=symbol in doubled)
        seen[symbol] = torch.where(_differ(after, tensor), after, before)
    return seen


def _differ(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a != b) & ~(a.isnan() & b.isnan())


@dataclass
class Choice:
    """Values of symbols for which expressions have given values.

    Attributes:
        tensors: the values of those symbols that an expression says something about.
        offsets: what no symbol can say.
        conflicts: symbols for which no one value serves all expressions.
    """

    tensors: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    offsets: list[Offset] = field(default_factory=list["Offset"])
    conflicts: set[str] = field(default_factory=set[str])


def choose(
    expressions: Mapping[str, Attribute],
    values: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
) -> Choice:
    """Choose the symbols of expressions such that each has its value.

    Args:
        expressions: by a name of their own.
        values: of the expressions, by the same name.
        tensors: of the symbols before rounding.
    """
    from plena.dialects.plena.staging import symbols_of
    from plena.host.expressions import materialize

    choice = Choice()
    order = sorted(values, key=lambda name: "#plena.matvec" in str(expressions[name]))
    for name in order:
        distribute(expressions[name], values[name], tensors, choice.tensors, choice.offsets)
    overlaid = {**tensors, **choice.tensors}
    offset = {symbol for symbol, _ in choice.offsets}
    for name in order:
        symbols = set(symbols_of(expressions[name]))
        wanted, found = values[name], materialize(expressions[name], overlaid)
        with_offset = bool(symbols & offset) and "#plena.matvec" in str(expressions[name])
        if with_offset or not torch.allclose(found, wanted, rtol=1e-5, atol=_atol(wanted), equal_nan=True):
            choice.conflicts |= symbols
    return choice


def _atol(wanted: torch.Tensor) -> float:
    finite = wanted[wanted.isfinite()]
    return 1e-6 * float(finite.abs().max()) if finite.numel() else 0.0


def distribute(
    expression: Attribute,
    values: torch.Tensor,
    tensors: Mapping[str, torch.Tensor],
    into: dict[str, torch.Tensor],
    offsets: list[Offset] | None = None,
) -> None:
    """Choose parameters so that a staging expression has given values; leave alone what none can be chosen for.

    Args:
        expression: over the symbols of `tensors`.
        values: what it shall be.
        tensors: the values before; those `into` count more.
        into: gets the chosen values.
        offsets: gets what products with a matrix lack.
    """
    from xdsl.dialects.builtin import SymbolRefAttr

    from plena.dialects.plena import staging
    from plena.host.expressions import materialize, moved_back

    def value(operand: Attribute) -> torch.Tensor:
        return materialize(operand, {**tensors, **into})

    def into_operand(operand: Attribute, part: torch.Tensor) -> None:
        distribute(operand, part, tensors, into, offsets)

    match expression:
        case SymbolRefAttr():
            into[expression.string_value()] = values
        case staging.ViewAttr():
            into_operand(expression.operand, moved_back(expression, values, value(expression.operand)))
        case staging.ConcatAttr():
            axis = expression.axis.value.data
            sizes = [value(operand).shape[axis] for operand in expression.operands]
            for operand, part in zip(expression.operands, values.split(sizes, axis), strict=True):
                into_operand(operand, part)
        case staging.SumAttr():
            lhs, rhs = _chosen_first(expression, value)
            into_operand(lhs, values - value(rhs))
        case staging.ProductAttr():
            lhs, rhs = _chosen_first(expression, value)
            factor, weight = value(rhs), value(lhs)
            quotient = torch.where(factor == 0, weight, values / torch.where(factor == 0, 1.0, factor))
            into_operand(lhs, quotient)
        case staging.MatvecAttr():
            lacking = values - value(expression)
            if offsets is not None and isinstance(expression.matrix, SymbolRefAttr) and lacking.any():
                offsets.append((expression.matrix.string_value(), lacking))
        case _:
            pass


def _chosen_first(
    expression: staging.SumAttr | staging.ProductAttr, value: Callable[[Attribute], torch.Tensor]
) -> tuple[Attribute, Attribute]:
    """The operands of an expression, first the one that is chosen: not a number or a product, and the larger one."""
    lhs, rhs = expression.lhs, expression.rhs

    def rank(operand: Attribute) -> tuple[bool, int]:
        from plena.dialects.plena import staging

        return not isinstance(operand, staging.MatvecAttr | staging.FullAttr), prod(value(operand).shape)

    return (rhs, lhs) if rank(rhs) > rank(lhs) else (lhs, rhs)
