"""Reshapes and rearrangements: free on what the host stages, data movement on what the program computes."""

from __future__ import annotations

from dataclasses import replace

from xdsl.ir import Operation, SSAValue

from plena.dialects.plena import (
    BitOp,
    CastOp,
    CompareOp,
    ExpandOp,
    HostOp,
    ParameterOp,
    RearrangeOp,
    RelativeOp,
    ReshapeOp,
)
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import shape_of
from plena.host.layout import Source
from plena.host.mask_steps import relative
from plena.host.staged_data import symbol_of
from plena.host.values.attributes import value_of
from plena.host.view import Bits, Compare, Expand, Permute, Reshape, Step
from plena.kernels.arithmetic import takes_number
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.rearrangement import expand_computed, rearrange_computed
from plena.kernels.tensors import HostTensor, Scalars


@kernel_for(ParameterOp)
def lower_parameter(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, ParameterOp)
    symbol = symbol_of(op.value)
    ctx.data[symbol] = op.value
    ctx.set(op.result, HostTensor(Source("data", symbol=symbol), shape_of(op.result)))


@kernel_for(HostOp)
def lower_host(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, HostOp)
    inputs = [ctx.staged(operand) for operand in op.inputs]
    numbers = {n: tensor.source.index for n, tensor in enumerate(inputs) if tensor is not None}
    ctx.set(op.result, ctx.host_value(value_of(op.value).with_inputs(numbers)))


_Layout = ReshapeOp | ExpandOp | RearrangeOp


def _steps(op: _Layout) -> tuple[Step, ...]:
    """What the host does to a staged tensor in an operation's place."""
    shape = shape_of(op.result)
    match op:
        case RearrangeOp():
            return Reshape(op.factors.get_values()), Permute(op.order.get_values()), Reshape(shape)
        case ExpandOp():
            return (Expand(shape),)
        case ReshapeOp():
            return (Reshape(shape),)


@kernel_for(RearrangeOp)
def lower_rearrange(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, RearrangeOp)
    tensor = ctx.host(op.input)
    if tensor is None:
        rearrange_computed(op, ctx)
        return
    ctx.set(op.result, tensor.through(*_steps(op)))


@kernel_for(ReshapeOp, ExpandOp)
def lower_reshape(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, ReshapeOp | ExpandOp)
    tensor = ctx.host(op.input)
    if tensor is None:
        number = ctx.locations[op.input]
        if isinstance(number, Scalars) and number.is_one and takes_number(op.result):
            ctx.set(op.result, number)
        elif isinstance(op, ReshapeOp):
            rearrange_computed(op, ctx)
        else:
            expand_computed(op, ctx)
        return
    ctx.set(op.result, tensor.through(*_steps(op)))


@kernel_for(RelativeOp)
def lower_relative(op: Operation, ctx: KernelContext) -> None:
    """Whatever else has read the tensor and had it loaded, the host stages it once more.

    What may lie far apart keeps bf16's precision: an error of a score is one of its exponential.
    """
    assert isinstance(op, RelativeOp)
    tensor = _staged(ctx, op.input).through(relative(*op.step))
    is_near = op.part is not None and op.part.data == "near"
    ctx.set(op.result, replace(tensor, precise=is_near or tensor.precise))


def _staged(ctx: KernelContext, value: SSAValue) -> HostTensor:
    tensor = ctx.staged(value)
    if tensor is not None:
        return tensor
    op = value.owner
    if not isinstance(op, _Layout):
        raise ValueError("only what the host stages can be relative to the highest of its row")
    return _staged(ctx, op.input).through(*_steps(op))


@kernel_for(CastOp)
def lower_cast(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, CastOp)
    ctx.set(op.result, ctx.locations[op.input])


@kernel_for(CompareOp, BitOp)
def lower_test(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, CompareOp | BitOp)
    tensor = ctx.host(op.input)
    if tensor is None:
        raise refusal(
            op,
            "the mask is computed",
            "Give the mask as an input of the model, or compute it when the module is built.",
        )
    step = Compare(op.predicate.data, op.value.value.data) if isinstance(op, CompareOp) else Bits()
    ctx.set(op.result, tensor.through(step))
