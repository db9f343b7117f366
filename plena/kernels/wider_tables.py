"""Joining staged tensors before they are staged."""

from __future__ import annotations

from xdsl.ir import Attribute, Operation

from plena.dialects.plena import ConcatAttr, FullAttr
from plena.dialects.refusals import refusal
from plena.host.layout import Source
from plena.host.staged_data import symbol_of
from plena.host.view import Pad
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
    return HostTensor(sources[0], shape, (), shape, stack=tuple(sources) if tensor.stack else ())


def _sources(tensor: HostTensor) -> tuple[Source, ...]:
    return tensor.stack or (tensor.source,)


def _expression(ctx: KernelContext, source: Source) -> object:
    return ctx.data.get(source.symbol) if source.kind == "data" else None


def _named(ctx: KernelContext, expression: Attribute) -> Source:
    symbol = symbol_of(expression)
    ctx.data[symbol] = expression
    return Source("data", symbol=symbol)
