"""Joining staged tensors, so that one transfer brings them in."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, Operation

from plena.backend.layout import Source
from plena.backend.view import Pad, Reshape
from plena.dialects.plena import ConcatAttr, FullAttr
from plena.kernels.context import KernelContext, unsupported
from plena.kernels.tensors import HostTensor
from plena.staged_data import symbol_of


def vectors_together(ctx: KernelContext, tensors: Sequence[HostTensor]) -> list[HostTensor]:
    """Vectors [N] as the rows of few matrices [count, N]: one if all are parameters, else one for each."""
    length = tensors[0].shape[0]
    joinable = all(isinstance(_expression(ctx, source), Attribute) for t in tensors for source in _sources(t))
    same = len({len(t.stack) for t in tensors}) == 1 and not any(t.view for t in tensors)
    if len(tensors) == 1 or not joinable or not same:
        return [tensor.through(Reshape((1, length))) for tensor in tensors]
    together = zip(*(_sources(tensor) for tensor in tensors), strict=True)
    sources = tuple(_joined(ctx, group) for group in together)
    shape = (len(tensors) * length,)
    whole = HostTensor(sources[0], shape, (), shape, stack=sources if tensors[0].stack else ())
    return [whole.through(Reshape((len(tensors), length)))]


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
            raise unsupported(op, "a run-time table that is narrower than what it applies to has no kernel")
        sources.append(_named(ctx, ConcatAttr([part, FullAttr(value, (rows, width - columns))], 1)))
    return HostTensor(sources[0], shape, (), shape, stack=tuple(sources) if tensor.stack else ())


def _sources(tensor: HostTensor) -> tuple[Source, ...]:
    return tensor.stack or (tensor.source,)


def _expression(ctx: KernelContext, source: Source) -> object:
    return ctx.data.get(source.symbol) if source.kind == "data" else None


def _joined(ctx: KernelContext, sources: Sequence[Source]) -> Source:
    """The source that is some parameters one behind the other."""
    parts = [part for part in (ctx.data[source.symbol] for source in sources) if isinstance(part, Attribute)]
    return _named(ctx, ConcatAttr(parts, 0))


def _named(ctx: KernelContext, expression: Attribute) -> Source:
    symbol = symbol_of(expression)
    ctx.data[symbol] = expression
    return Source("data", symbol=symbol)
