"""Recognition of attention scores: query @ key^T, scaled, capped, masked, in whatever order a model writes
it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.aten import full_value
from plena.dialects.plena import BandAttr
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.attention_masks import (
    Fill,
    Hides,
    Opaque,
    Sight,
    Term,
    additive_terms,
    boolean_terms,
    hiding,
    masking_number,
    negated_terms,
    together,
)
from plena.tensor.tracing import trace


@dataclass(frozen=True)
class Scores:
    """What the softmax of an attention sees.

    Attributes:
        query: [..., S, D]; key: [..., T, D] as `key_transposed` [..., D, T].
        shape: of the scores, with leading axes that multiply to batch * heads.
        scale: factor of query @ key^T, applied before the cap.
        softcap: c of c * tanh(scores / c).
        terms: masks, on `shape`.
        sinks: per-head scores [..., H, ...] that join the softmax.
    """

    query: SSAValue
    key_transposed: SSAValue
    shape: tuple[int, ...]
    scale: float = 1.0
    softcap: float | None = None
    terms: tuple[Term, ...] = ()
    sinks: SSAValue | None = None


def match_scores(value: SSAValue, sight: Sight | None = None) -> Scores | None:
    """The scores that a value is, None if it is something else.

    The walk goes from the softmax's input up to the product; `sight` is the way back down, which masks found
    on it are seen through.
    """
    try:
        return _match(value, sight or Sight())
    except Opaque:
        return None


def _match(value: SSAValue, sight: Sight) -> Scores | None:
    op = value.owner
    match op:
        case aten.MatmulOp():
            return Scores(op.input, op.other, shape_of(value))
        case aten.ViewOp() | aten.PermuteOp():
            traced, shape = trace(value), shape_of(value)
            if not traced.layout.simplified().is_reshape:
                return None
            inner = _match(traced.base, sight.before(lambda layout: layout.reshaped(shape)))
            return None if inner is None else _reshaped(inner, shape)
        case aten.AddOp():
            return _masked_by_sum(op, sight)
        case aten.WhereOp() if (number := masking_number(op.other)) is not None:
            inner = _match(op.input, sight) if shape_of(op.input) == shape_of(value) else None
            tests = boolean_terms(op.condition, sight.broadcast(op.condition, value))
            return _with_terms(inner, hiding(tests, Fill(number, value, adds=False, covers=True)))
        case aten.WhereOp() if (number := masking_number(op.input)) is not None:
            inner = _match(op.other, sight) if shape_of(op.other) == shape_of(value) else None
            tests = negated_terms(op.condition, sight.broadcast(op.condition, value))
            fill = Fill(number, value, adds=False, covers=True)
            return None if tests is None else _with_terms(inner, hiding(tests, fill))
        case aten.MulOp() | aten.DivOp():
            return _capped(op, sight) or _scaled(op, sight)
        case _:
            return None


def _reshaped(scores: Scores, shape: tuple[int, ...]) -> Scores | None:
    """Scores whose leading axes are cut differently; the shape with more of them says more about the
    heads."""
    if scores.shape[-2:] != shape[-2:]:
        return None
    return replace(scores, shape=max(scores.shape, shape, key=len))


def _masked_by_sum(op: aten.AddOp, sight: Sight) -> Scores | None:
    for scores, mask in ((op.input, op.other), (op.other, op.input)):
        if shape_of(scores) != shape_of(op.result):
            continue
        inner = _match(scores, sight)
        if inner is not None:
            added = additive_terms(mask, sight.broadcast(mask, op.result))
            return replace(inner, terms=tuple(together([*inner.terms], added)))
    return None


def _with_terms(scores: Scores | None, terms: list[Term]) -> Scores | None:
    return None if scores is None else replace(scores, terms=(*scores.terms, *terms))


def _scaled(op: aten.MulOp | aten.DivOp, sight: Sight) -> Scores | None:
    """A factor after a cap would be one of the capped scores, and after an added mask one of the mask too."""
    pairs = [(op.input, op.other)] + ([(op.other, op.input)] if isinstance(op, aten.MulOp) else [])
    for value, number in pairs:
        factor = full_value(number)
        if factor is None or factor == 0 or shape_of(value) != shape_of(op.result):
            continue
        inner = _match(value, sight)
        if inner is None or inner.softcap is not None or (factor < 0 and inner.terms):
            return None
        if not all(isinstance(term, Hides) and isinstance(term.mask, BandAttr) for term in inner.terms):
            return None
        factor = 1 / factor if isinstance(op, aten.DivOp) else factor
        return replace(inner, scale=inner.scale * factor, terms=tuple(_times(inner.terms, factor)))
    return None


def _times(terms: tuple[Term, ...], factor: float) -> Iterator[Term]:
    """Terms after scores and masks were multiplied by a positive number."""
    for term in terms:
        assert isinstance(term, Hides)
        yield replace(term, fill=replace(term.fill, number=term.fill.number * factor))


def _capped(op: aten.MulOp | aten.DivOp, sight: Sight) -> Scores | None:
    """cap * tanh(scores / cap)."""
    if isinstance(op, aten.DivOp):
        return None
    for value, number in ((op.input, op.other), (op.other, op.input)):
        cap, tanh = full_value(number), value.owner
        if cap is None or not isinstance(tanh, aten.TanhOp):
            continue
        inner = _match(tanh.input, sight)
        if inner is None or inner.softcap is not None or inner.terms:
            return None
        return replace(inner, scale=inner.scale * cap, softcap=cap)
    return None


@dataclass(frozen=True)
class Attention:
    """softmax(scores) @ value; `empty` is what the softmax makes of minus infinity alone, "zero" or "nan"."""

    scores: Scores
    value: SSAValue
    empty: str


def match_attention(product: aten.MatmulOp) -> Attention | None:
    """The attention that ends in this product, None if it is another product."""
    weights = _unviewed(product.input)
    sliced = weights.owner if isinstance(weights.owner, aten.SliceOp) else None
    softmax = (weights if sliced is None else sliced.input).owner
    if not isinstance(softmax, aten.SoftmaxOp) or softmax.dim.value.data != len(shape_of(softmax.result)) - 1:
        return None
    scores = _without_maximum(softmax.input)
    matched = match_scores(scores) if sliced is None else _match_with_sinks(scores, sliced)
    if matched is None or matched.shape[-2:] != shape_of(product.input)[-2:]:
        return None
    return Attention(matched, product.other, "nan" if softmax.safe is None else "zero")


def _unviewed(value: SSAValue) -> SSAValue:
    """The value that this one is under another shape, if that keeps the last two axes."""
    traced = trace(value)
    same = shape_of(traced.base)[-2:] == shape_of(value)[-2:]
    return traced.base if same and traced.layout.simplified().is_reshape else value


def _without_maximum(value: SSAValue) -> SSAValue:
    """x for x - max(x), a difference that softmax does not see."""
    op = value.owner
    if isinstance(op, aten.SubOp) and isinstance(op.other.owner, aten.AmaxOp):
        maximum = op.other.owner
        if maximum.input == op.input and maximum.dim.get_values() == (len(shape_of(value)) - 1,):
            return op.input
    return value


def _match_with_sinks(joined: SSAValue, sliced: aten.SliceOp) -> Scores | None:
    """cat([scores, sinks]), one column of sinks, which `sliced` takes off again after the softmax."""
    cat = joined.owner
    last = len(shape_of(joined)) - 1
    if not isinstance(cat, aten.CatOp) or len(cat.tensors) != 2 or cat.dim.value.data != last:
        return None
    keys = shape_of(cat.tensors[0])[-1]
    if shape_of(cat.tensors[1])[-1] != 1 or sliced.bounds != (last, 0, keys, 1):
        return None
    matched = match_scores(cat.tensors[0])
    return None if matched is None else replace(matched, sinks=cat.tensors[1])
