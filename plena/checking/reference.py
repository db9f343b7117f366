"""What a program's results are compared with.

* The *machine reference* computes what the program computes, in its order and with its roundings. It is the
  interpreter of the tile level; the compiler attaches it to the program.
* The *quantised reference* is the user's module in float32 on the parameters and inputs that the machine sees
  (MX-rounded as staged), with keys and values rounded as they pass through HBM on their way to matrix SRAM.
* The *float reference* is the user's module in float32 on the original inputs.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from plena.checking.comparison import CheckReport, Comparison, Thresholds
from plena.dialects.plena import AttentionOp, LinearOp, ProjectionsOp
from plena.errors import PlenaError
from plena.host.image import quantized
from plena.host.staged_data import StagedData, data_of_module
from plena.interpreters.rounded_products import evaluate_rounded
from plena.machine.number_formats import Mx, NumberFormat

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.ir import Attribute

    from plena.dialects.plena import staging
    from plena.program.program import Program, Reference

KEY_VALUE_TYPE = "HBM_M_KV_TYPE"
"""The format in which keys and values lie in HBM."""


def check_program(
    program: Program, inputs: Sequence[torch.Tensor], module: torch.nn.Module | None = None
) -> CheckReport:
    """Run a program and compare it with every reference that there is; see ``Program.check``.

    Raises:
        PlenaError: there is none.
    """
    floating, rounded = program.float_reference, program.quantized_reference
    if module is not None:
        floating = floating or float_reference(module)
        rounded = rounded or quantized_reference(program, module)
    machine = program.machine_reference
    if floating is None and rounded is None and machine is None:
        raise PlenaError(
            "there is nothing to compare with", "check", "Give the module: program.check(*inputs, module=m)."
        )
    results = as_tensors(program.run(*inputs))
    wanted = [
        None if reference is None else as_tensors(reference(*inputs))
        for reference in (machine, rounded, floating)
    ]
    compared = [None if w is None else Comparison.of(results, w, program.thresholds) for w in wanted]
    formats = None
    if wanted[1] is not None and wanted[2] is not None:
        formats = Comparison.of(wanted[1], wanted[2], program.thresholds)
    return CheckReport(*compared, thresholds=program.thresholds, formats=formats)


def as_tensors(outputs: Any) -> tuple[torch.Tensor, ...]:
    """The tensors of whatever a module returns, in the order of torch.export."""
    return tuple(leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor))


def float_reference(module: torch.nn.Module) -> Reference:
    """The module in float32."""

    def reference(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return _call(module, _float_state(module), inputs)

    return reference


def quantized_reference(
    program: Program,
    module: torch.nn.Module,
    tensor_level: ModuleOp | None = None,
) -> Reference:
    """The module in float32 on what the machine sees.

    Calls of scaled_dot_product_attention get rounded keys and values. A module that writes attention by hand has
    none; then ``tensor_level`` (IR with ``plena.attention``, its tensors from ``program.data``) is executed
    instead, with the operands of its products rounded.
    """

    def reference(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen = quantized_inputs(program, inputs)
        data = staged_data(program, module)
        tensors = quantized_tensors(program, data)
        rounding = _RoundKeysAndValues(program.target.precision[KEY_VALUE_TYPE])
        with rounding:
            outputs = _call(module, {**_float_state(module), **_aliased(module, tensors)}, seen)
        if tensor_level is None or rounding.calls >= _products(tensor_level):
            return outputs
        return evaluate_rounded(tensor_level, {**data.tensors, **tensors}, seen, rounding.round)

    return reference


def staged_data(program: Program, module: torch.nn.Module) -> StagedData:
    """The parameters of a program: its own, or of a program from a folder those of its module."""
    if isinstance(program.data, StagedData):
        return program.data
    return data_of_module(module, {p.source.symbol for p in program.placements_of("data")})


def quantized_inputs(program: Program, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The inputs as the machine sees them: those parts that are staged to HBM are rounded."""
    seen = [x.detach().float() if x.is_floating_point() else x for x in inputs]
    for placement in program.placements_of("input"):
        index = placement.source.index
        if placement.memory == "hbm" and inputs[index].is_floating_point():
            before = inputs[index].detach().float().numpy()
            after = quantized(placement, before, program.target)
            seen[index] = torch.from_numpy(np.where(after != before, after, seen[index].numpy()))
    return seen


def quantized_tensors(program: Program, data: StagedData) -> dict[str, torch.Tensor]:
    """The parameters and constants that are staged to HBM, as the machine sees them.

    Of an expression such as a weight times a gain, the weight is chosen such that the expression has the rounded
    value.
    """
    seen: dict[str, torch.Tensor] = {}
    placements = tuple(program.placements_of("data"))
    exact = {placement.source.symbol for placement in placements if placement.residual}
    for placement in placements:
        if placement.memory != "hbm" or placement.source.symbol in exact:
            continue
        symbol = placement.source.symbol
        if symbol not in data.expressions:
            continue
        overlaid = StagedData(data.expressions, ChainMap(seen, dict(data.tensors)))
        tensor = data(symbol)
        if not tensor.is_floating_point():
            continue
        before = tensor.numpy()
        after = quantized(placement, before, program.target)
        values = np.where(after != before, after, overlaid(symbol).numpy())
        distribute(data.expressions[symbol], torch.from_numpy(values), data.tensors, seen)
    return seen


def distribute(
    expression: Attribute,
    values: torch.Tensor,
    tensors: Mapping[str, torch.Tensor],
    into: dict[str, torch.Tensor],
) -> None:
    """Choose parameters so that a staging expression has given values; leave alone what none can be chosen for."""
    from xdsl.dialects.builtin import SymbolRefAttr

    from plena.dialects.plena import staging
    from plena.host.expressions import materialize

    def value(operand: Attribute) -> torch.Tensor:
        return materialize(operand, ChainMap(into, dict(tensors)))

    match expression:
        case SymbolRefAttr():
            into[expression.string_value()] = values
        case staging.ReshapeAttr():
            distribute(expression.operand, values.reshape(value(expression.operand).shape), tensors, into)
        case staging.RearrangeAttr():
            factors, order = expression.factors.get_values(), expression.order.get_values()
            permuted = values.reshape([factors[axis] for axis in order])
            shape = value(expression.operand).shape
            restored = permuted.permute(np.argsort(order).tolist()).reshape(shape)
            distribute(expression.operand, restored, tensors, into)
        case staging.SliceAttr():
            whole = value(expression.operand).clone()
            start, stop, step = (a.value.data for a in (expression.start, expression.stop, expression.step))
            whole[(*[slice(None)] * expression.axis.value.data, slice(start, stop, step))] = values
            distribute(expression.operand, whole, tensors, into)
        case staging.ConcatAttr():
            axis = expression.axis.value.data
            sizes = [value(operand).shape[axis] for operand in expression.operands]
            for operand, part in zip(expression.operands, values.split(sizes, axis), strict=True):
                distribute(operand, part, tensors, into)
        case staging.ExpandAttr():
            shape = value(expression.operand).shape
            first = values[(0,) * (values.ndim - len(shape))]
            kept = first[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]
            distribute(expression.operand, kept, tensors, into)
        case staging.SumAttr():
            lhs, rhs = _larger_first(expression, value)
            distribute(lhs, values - value(rhs), tensors, into)
        case staging.ProductAttr():
            lhs, rhs = _larger_first(expression, value)
            factor, weight = value(rhs), value(lhs)
            quotient = torch.where(factor == 0, weight, values / torch.where(factor == 0, 1.0, factor))
            distribute(lhs, quotient, tensors, into)
        case _:
            pass


def _larger_first(
    expression: staging.SumAttr | staging.ProductAttr, value: Callable[[Attribute], torch.Tensor]
) -> tuple[Attribute, Attribute]:
    """The operands of an expression, the one with more elements first."""
    lhs, rhs = expression.lhs, expression.rhs
    return (rhs, lhs) if prod(value(rhs).shape) > prod(value(lhs).shape) else (lhs, rhs)


class _RoundKeysAndValues(TorchFunctionMode):
    """Rounds the keys and values of scaled_dot_product_attention to their HBM format, blocks along the head."""

    def __init__(self, number_format: NumberFormat) -> None:
        super().__init__()
        self._format = number_format
        self.calls = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if "scaled_dot_product_attention" in getattr(func, "__name__", str(func)):
            self.calls += 1
            given = list(args)
            for position, name in ((1, "key"), (2, "value")):
                if position < len(given):
                    given[position] = self.round(given[position])
                elif name in kwargs:
                    kwargs[name] = self.round(kwargs[name])
            args = tuple(given)
        return func(*args, **kwargs)

    def round(self, x: torch.Tensor) -> torch.Tensor:
        return round_stored(x, self._format)


def round_stored(x: torch.Tensor, number_format: NumberFormat) -> torch.Tensor:
    """The values that remain after a store to HBM and a load, blocks along the last axis."""
    array = x.detach().float().numpy()
    block = number_format.block if isinstance(number_format, Mx) else 1
    padded = np.pad(array, [*[(0, 0)] * (array.ndim - 1), (0, -array.shape[-1] % block)])
    rounded = number_format.quantize(padded, machine=True)[..., : array.shape[-1]]
    return torch.from_numpy(np.ascontiguousarray(rounded)).to(x.dtype)


def _call(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], inputs: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """The outputs of a module in evaluation mode with other parameters."""
    values = [x.detach().float() if x.is_floating_point() else x for x in inputs]
    training = {child: child.training for child in module.modules()}
    try:
        for child in training:
            child.training = False
        with torch.no_grad():
            outputs = torch.func.functional_call(module, dict(state), tuple(values), tie_weights=False)
    finally:
        for child, mode in training.items():
            child.training = mode
    return as_tensors(outputs)


def _float_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: tensor.detach().float() if tensor.is_floating_point() else tensor
        for name, tensor in _named(module)
    }


def _named(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]


def _aliased(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The rounded tensors under every name that the module has for them: tied weights share storage."""
    names = dict(_named(module))
    storage = {_location(names[name]): tensor for name, tensor in tensors.items() if name in names}
    return {name: storage[_location(t)] for name, t in names.items() if _location(t) in storage}


def _location(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def thresholds_for(tensor_level: ModuleOp) -> Thresholds:
    """What ``check`` should demand of a program: attention alone by its keys, models by their layers."""
    attentions = [op for op in tensor_level.walk() if isinstance(op, AttentionOp)]
    if not attentions:
        return Thresholds()
    if any(isinstance(op, LinearOp | ProjectionsOp) for op in tensor_level.walk()):
        return Thresholds.for_layers(len(attentions))
    return Thresholds.for_attention(max(op.key_length for op in attentions))


def _products(tensor_level: ModuleOp) -> int:
    """Products of two computed tensors."""
    return sum(op.name in ("plena.attention", "plena.matmul") for op in tensor_level.walk())
