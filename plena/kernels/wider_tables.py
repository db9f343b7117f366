"""Joining staged tensors before they are staged."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, Operation

from plena.dialects.plena import ConcatAttr, FullAttr
from plena.dialects.refusals import refusal
from plena.host.layout import Source
from plena.host.staged_data import symbol_of
from plena.host.values import build
from plena.host.values.graph import HostValue
from plena.host.view import Expand, Pad, Permute, Reshape, Slice, Step
from plena.kernels.context import KernelContext
from plena.kernels.tensors import HostTensor


def continued(ctx: KernelContext, op: Operation, tensor: HostTensor, width: int, value: float) -> HostTensor:
    """A tensor [rows, columns] with its rows continued by a number up to `width` columns.

    Raises:
        CompileError: it is no parameter as it is, so that its rows can only be continued by 0.
    """
    rows, columns = tensor.shape
    if value == 0.0:
        return tensor.through(Pad(1, 0, width - columns))
    if tensor.source.kind == "host" and not tensor.stack:
        moved = moved_by(ctx.host_value_of(tensor.source), tensor.view)
        shape = (rows, width)
        settings = {"dim": 1, "before": 0, "after": width - columns, "value": value}
        return ctx.host_value(HostValue.of("pad", (moved,), moved.dtype, shape, **settings))
    parts = [_expression(ctx, source) for source in _sources(tensor)]
    shape = (rows, width)
    sources: list[Source] = []
    for part in parts:
        if not isinstance(part, Attribute) or tensor.view:
            raise refusal(
                op,
                "a table from outside is narrower than what it applies to",
                "Give the table in full width: pad cos with ones and sin with zeros.",
            )
        sources.append(_named(ctx, ConcatAttr([part, FullAttr(value, (rows, width - columns))], 1)))
    return HostTensor(sources[0], shape, stack=tuple(sources) if tensor.stack else ())


def moved_by(value: HostValue, view: Sequence[Step]) -> HostValue:
    """A host value after the steps of a view that only move elements."""
    for step in view:
        match step:
            case Reshape():
                value = build.reshape(value, step.shape)
            case Permute():
                value = build.permute(value, step.dims)
            case Expand():
                value = build.expand(value, step.shape)
            case Slice():
                value = build.sliced(value, step.dim, step.start, step.stop, step.step)
            case Pad():
                shape = step.result_shape(value.shape)
                settings = {"dim": step.dim, "before": step.before, "after": step.after, "value": 0}
                value = HostValue.of("pad", (value,), value.dtype, shape, **settings)
            case _:
                raise AssertionError(step)
    return value


def _sources(tensor: HostTensor) -> tuple[Source, ...]:
    return tensor.stack or (tensor.source,)


def _expression(ctx: KernelContext, source: Source) -> object:
    return ctx.data.get(source.symbol) if source.kind == "data" else None


def _named(ctx: KernelContext, expression: Attribute) -> Source:
    symbol = symbol_of(expression)
    ctx.data[symbol] = expression
    return Source("data", symbol=symbol)
