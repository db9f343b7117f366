"""Joining staged tensors, so that one transfer brings them in."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute

from plena.backend.layout import Source
from plena.backend.view import Reshape
from plena.dialects.plena import ConcatAttr
from plena.kernels.context import KernelContext
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


def _sources(tensor: HostTensor) -> tuple[Source, ...]:
    return tensor.stack or (tensor.source,)


def _expression(ctx: KernelContext, source: Source) -> object:
    return ctx.data.get(source.symbol) if source.kind == "data" else None


def _joined(ctx: KernelContext, sources: Sequence[Source]) -> Source:
    """The source that is some parameters one behind the other."""
    parts = [part for part in (ctx.data[source.symbol] for source in sources) if isinstance(part, Attribute)]
    expression = ConcatAttr(parts, 0)
    symbol = symbol_of(expression)
    ctx.data[symbol] = expression
    return Source("data", symbol=symbol)
