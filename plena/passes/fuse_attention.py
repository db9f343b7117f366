"""`fuse-attention`: attention in any spelling becomes `plena.attention`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, ModuleOp, SymbolRefAttr
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)

from plena.dialects import aten, plena
from plena.dialects.aten import full_value
from plena.dialects.plena import BandAttr
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.tensor.attention_hiding import Hiding, Masks, Unclear
from plena.tensor.attention_masks import (
    Added,
    Allowed,
    Fill,
    Hides,
    Opaque,
    Sight,
    Term,
    additive_terms,
    boolean_terms,
    hiding,
)
from plena.tensor.attention_scores import Attention, Scores, match_attention
from plena.tensor.emission import Emitter
from plena.tensor.joined_masks import MaskJoiner, absorbs, is_uneven, rounds
from plena.tensor.layout_maps import Atom, LayoutMap
from plena.tensor.rewriting import rewrite
from plena.tensor.staged_tests import emit_test
from plena.tensor.tracing import Trace, trace
from plena.tensor.written_attention import is_computed, write_attention


@dataclass(frozen=True)
class Heads:
    """How the leading axes of the scores are samples and heads."""

    batch: int
    heads: int


@dataclass(frozen=True)
class HeadedTrace:
    """A query, key or value as a view with axes [batch, heads, rows, features], repeated heads left out."""

    trace: Trace
    layout: LayoutMap
    heads: int


def _heads_of(shape: tuple[int, ...], operands: list[Trace]) -> Heads:
    """Samples and heads of scores [..., S, T]; one leading axis is cut where the operands need least
    moving."""
    leading = shape[:-2]
    if len(leading) == 1:
        total = leading[0]
        cuts = [Heads(total // heads, heads) for heads in range(1, total + 1) if total % heads == 0]
        return min(cuts, key=lambda cut: (_movement(operands, cut), cut.heads))
    return Heads(leading[0], prod(leading[1:])) if leading else Heads(1, 1)


def _movement(operands: list[Trace], cut: Heads) -> tuple[int, int]:
    """How far operands are from [rows, heads * features]: rows that would be cut or joined, then factors."""
    joined = sum(not _keeps_rows(t, cut) for t in operands)
    return joined, sum(_factor_count(t, cut) for t in operands)


def _keeps_rows(traced: Trace, cut: Heads) -> bool:
    """Whether the base has rows of all heads; an argument with axes of samples and heads is arranged by the
    host."""
    base = shape_of(traced.base)
    columns = base[-1]
    if len(base) >= 4 and isinstance(traced.base, BlockArgument):
        return base[0] == cut.batch
    return columns == cut.heads * traced.layout.shape[-1]


def _factor_count(traced: Trace, cut: Heads) -> int:
    *_, rows, features = traced.layout.shape
    layout = traced.layout.reshaped((cut.batch, cut.heads, rows, features))
    if layout is None:
        return len(traced.layout.atoms) + 8
    return len(layout.permuted((0, 2, 1, 3)).simplified().atoms)


def _headed(traced: Trace, leading: tuple[int, ...], cut: Heads) -> HeadedTrace | None:
    """The view with repeated heads left out, None where something else than heads is repeated."""
    *_, rows, features = traced.layout.shape
    layout = _broadcast(traced.layout, leading)
    layout = None if layout is None else layout.reshaped((cut.batch, cut.heads, rows, features))
    if layout is None:
        return None
    batch, heads, *rest = layout.axes
    kept = list(heads)
    while kept and kept[-1].source < 0:
        kept.pop()
    layout = LayoutMap(layout.factors, (batch, tuple(kept), *rest))
    if layout.repeats:
        return None
    return HeadedTrace(traced, layout, prod(atom.size for atom in kept))


def _broadcast(layout: LayoutMap, leading: tuple[int, ...]) -> LayoutMap | None:
    """The view [..., rows, features] with the leading axes of the scores, cut differently or repeated."""
    *own, rows, features = layout.shape
    shape = (*leading, rows, features)
    return layout.reshaped(shape) if prod(own) == prod(leading) else layout.expanded(shape)


@dataclass
class AttentionBuilder:
    """Emits one plena.attention for recognised scores."""

    emitter: Emitter
    scores: Scores
    cut: Heads
    empty: str
    """What its softmax makes of rows of minus infinity, "zero" or "nan"."""

    def build(self, query: Trace, key: Trace, value: Trace) -> SSAValue:
        """The attention [batch*S, heads*E] of traced operands [..., S or T, features]."""
        self._join_masks()
        q, k, v = (self._headed(t) for t in (query, key, value))
        if k.heads != v.heads or self.cut.heads % k.heads != 0 or q.heads != self.cut.heads:
            q, k, v = (self._all_heads(t) for t in (q, k, v))
        band, bias, padding = self._masks()
        hiding = self._hiding()
        scale = self.scores.scale * query.scale * key.scale
        attention = plena.AttentionOp(
            *(self._rows(t) for t in (q, k, v)),
            batch=self.cut.batch,
            heads=self.cut.heads,
            kv_heads=k.heads,
            scale=scale,
            softcap=self.scores.softcap,
            band=band,
            bias=bias,
            key_padding=padding,
            sinks=self._sinks(),
            fill=hiding.fill,
            masked=hiding.masked,
            empty=hiding.empty,
            moderate=hiding.moderate and bias is not None and isinstance(element_type_of(bias), Float32Type),
        )
        return self._scaled(self.emitter.add(attention), value.scale)

    def _scaled(self, result: SSAValue, scale: float) -> SSAValue:
        return result if scale == 1.0 else self.emitter.add(plena.MulScalarOp(result, scale))

    def _headed(self, traced: Trace) -> HeadedTrace:
        leading = self.scores.shape[:-2]
        found = _headed(traced, leading, self.cut)
        return found if found is not None else self._repeated(traced)

    def _repeated(self, traced: Trace) -> HeadedTrace:
        """A view that repeats more than heads, copied out."""
        *_, rows, features = traced.layout.shape
        shape = (*self.scores.shape[:-2], rows, features)
        layout = _broadcast(traced.layout, shape[:-2])
        assert layout is not None
        copied = repeated_view(self.emitter, traced.base, layout, shape)
        found = _headed(Trace(copied, LayoutMap.of(shape), traced.scale), shape[:-2], self.cut)
        assert found is not None
        return found

    def _all_heads(self, headed: HeadedTrace) -> HeadedTrace:
        """The operand with as many heads as there are query heads."""
        return headed if headed.heads == self.cut.heads else self._repeated(headed.trace)

    def _rows(self, headed: HeadedTrace) -> SSAValue:
        layout = headed.layout.permuted((0, 2, 1, 3))
        batch, rows, heads, features = layout.shape
        return self.emitter.view(headed.trace.base, layout, (batch * rows, heads * features))

    def _sinks(self) -> SSAValue | None:
        """One score per head, whatever it is broadcast over."""
        if self.scores.sinks is None:
            return None
        traced = trace(self.scores.sinks)
        shape = (self.cut.batch, self.cut.heads, self.scores.shape[-2], 1)
        layout = traced.layout.reshaped(shape)
        one_per_head = layout is not None and all(
            atom.source < 0 for axis in (layout.axes[0], layout.axes[2]) for atom in axis
        )
        if layout is None or not one_per_head:
            raise refusal(
                self.emitter.anchor,
                f"attention sinks of shape {shape_of(self.scores.sinks)} differ between queries",
                "Give one sink for each head: a parameter of shape [1, heads, 1, 1].",
            )
        per_head = LayoutMap(layout.factors, (layout.axes[1],))
        return repeated_view(self.emitter, traced.base, per_head, (self.cut.heads,))

    # Masks.

    def _join_masks(self) -> None:
        """Masks that the host computes are joined, where there are more than an attention takes."""
        terms = self._joined(self.emitter.add)
        self.scores = replace(self.scores, terms=terms)

    def _joined(self, emit: Callable[[plena.HostOp], SSAValue]) -> tuple[Term, ...]:
        joiner = MaskJoiner(self.scores.shape, _arguments(self.emitter.anchor), emit, self._is_padding)
        terms = joiner.joined(self.scores.terms)
        return tuple(terms if self._is_clear(terms) else joiner.summed(terms))

    def _is_clear(self, terms: Sequence[Term]) -> bool:
        """Whether masks are no more than an attention takes, and say what becomes of queries that see no key."""
        if len(self._sorted(terms)[1]) > 1:
            return False
        try:
            self._masks_of(terms).hiding(self.scores.sinks is not None)
        except Unclear:
            return False
        return True

    def _masks(self) -> tuple[BandAttr | None, SSAValue | None, SSAValue | None]:
        band, biases, padding = self._sorted(self.scores.terms)
        if len(biases) > 1:
            shapes = " and ".join(str(list(shape_of(term.base))) for term in biases)
            raise refusal(
                self.emitter.anchor,
                f"it has {len(biases)} masks or biases that are neither causal, windowed nor one of keys, {shapes}",
                "Combine them into one tensor that is an input, a buffer or a function of constants. A model that "
                "makes a mask out of position_ids makes none if it gets attention_mask, too, or no position_ids.",
            )
        bias = self._bias(biases[0]) if biases else None
        return band, bias, None if padding is None else self._padding(padding)

    def _sorted(self, terms: Sequence[Term]) -> tuple[BandAttr | None, list[Allowed | Added], Allowed | None]:
        """The band, the first mask that is one of keys, and what is neither."""
        band: BandAttr | None = None
        biases: list[Allowed | Added] = []
        padding: Allowed | None = None
        for term in terms:
            match term.mask if isinstance(term, Hides) else term:
                case BandAttr() as found:
                    band = found if band is None else band.intersect(found)
                case Allowed() as mask if padding is None and self._is_padding(mask):
                    padding = mask
                case Allowed() | Added() as mask:
                    biases.append(mask)
        return band, biases, padding

    @property
    def has_kernel(self) -> bool:
        """Whether the masks are what kernels take: at most one bias, which the host stages; others are for a product
        of the scores, a sum and a softmax."""
        made: list[plena.HostOp] = []

        def only_made(op: plena.HostOp) -> SSAValue:
            made.append(op)
            return op.result

        terms = self._joined(only_made)
        _, biases, _ = self._sorted(terms)
        is_clear = self._is_clear(terms)
        computed = [is_computed(bias.base) for bias in biases]
        for op in made:
            op.drop_all_references()
        if not is_clear:  # Written out it is right, but where float32 would leave whole numbers of scores.
            return any(isinstance(term, Hides) and rounds(term.fill) for term in terms)
        if all(isinstance(term, Allowed) for term in biases):
            return True
        beside = any(isinstance(term, Hides) and _is_beside(term.fill) for term in self.scores.terms)
        if beside and any(isinstance(b, Added) and is_uneven(b) for b in biases):
            return False  # Biases as large as the number would be seen beside it.
        return computed == [False]

    def _hiding(self) -> Hiding:
        try:
            return self._masks_of(self.scores.terms).hiding(self.scores.sinks is not None)
        except Unclear:
            numbers = sorted({term.fill.number for term in self.scores.terms if isinstance(term, Hides)})
            raise refusal(
                self.emitter.anchor,
                f"masks of attention scores {self.scores.shape} hide keys by {', '.join(f'{n:g}' for n in numbers)}: "
                "queries without any other key would depend on how these add up",
                "Hide keys by -inf, or combine the masks and hide once by torch.finfo(torch.float32).min.",
            ) from None

    def _masks_of(self, terms: Sequence[Term]) -> Masks:
        queries, keys = self.scores.shape[-2:]
        return Masks(terms, queries, keys, self.empty)

    def _axes(self, term: Allowed | Added) -> LayoutMap:
        batch, heads = self.cut.batch, self.cut.heads
        layout = term.layout.reshaped((batch, heads, *self.scores.shape[-2:]))
        if layout is None:
            shape = term.layout.shape
            raise refusal(
                self.emitter.anchor,
                f"a mask of shape {list(shape)} does not separate samples and heads",
                "Give it as [batch, heads, queries, keys], with 1 where it is the same for all.",
            )
        return layout

    def _is_padding(self, term: Allowed) -> bool:
        """Whether the mask is one of keys: the same for all heads and queries."""
        _, heads, queries, _ = self._axes(term).axes
        return all(atom.source < 0 for atom in (*heads, *queries))

    def _padding(self, term: Allowed) -> SSAValue:
        batch, _, _, keys = self._axes(term).axes
        layout = LayoutMap(self._axes(term).factors, (batch, keys))
        return self._mask_view(term, layout, (self.cut.batch, self.scores.shape[-1]))

    def _bias(self, term: Allowed | Added) -> SSAValue:
        """The mask with axes [b, h, s, T], each of them whole or 1."""
        layout = self._axes(term)
        shape = (self.cut.batch, self.cut.heads, *self.scores.shape[-2:])
        axes, sizes = list(layout.axes), list(shape)
        for i in range(3):
            if all(atom.source < 0 for atom in axes[i]):
                axes[i], sizes[i] = (), 1
        return self._mask_view(term, LayoutMap(layout.factors, tuple(axes)), tuple(sizes))

    def _mask_view(self, term: Allowed | Added, layout: LayoutMap, shape: tuple[int, ...]) -> SSAValue:
        owner = term.base.owner
        base = term.base
        if isinstance(owner, aten.ConstantOp | aten.ParameterOp):
            symbol: SymbolRefAttr = owner.symbol
            base = self.emitter.add(
                plena.ParameterOp(symbol, shape_of(term.base), element_type_of(term.base))
            )
        if isinstance(owner, aten.FullOp):
            value, shape_of_it = full_value(base), shape_of(base)
            assert value is not None
            uniform = plena.FullAttr(value, shape_of_it)
            base = self.emitter.add(plena.ParameterOp(uniform, shape_of_it, element_type_of(base)))
        for test in term.tests if isinstance(term, Allowed) else ():
            base = emit_test(self.emitter, base, test)
        return repeated_view(self.emitter, base, layout, shape)


def _is_beside(fill: Fill) -> bool:
    """Whether a number that takes the place of scores is one that biases may be as large as."""
    return not fill.adds and not absorbs(fill)


def _arguments(op: Operation) -> Sequence[SSAValue]:
    """Those of the function that an operation is in."""
    block = op.parent_block()
    return () if block is None else block.args


def repeated_view(emitter: Emitter, base: SSAValue, layout: LayoutMap, shape: tuple[int, ...]) -> SSAValue:
    """A view that may repeat: the axes in order, then the repetition, then the shape."""
    if not layout.repeats:
        return emitter.view(base, layout, shape)
    kept = LayoutMap(layout.factors, (tuple(atom for atom in layout.atoms if atom.source >= 0),))
    ones = tuple(atom.size if atom.source >= 0 else 1 for atom in layout.atoms)
    full = tuple(atom.size for atom in layout.atoms)
    moved = emitter.view(base, kept, ones)
    return emitter.reshape(emitter.add(plena.ExpandOp(moved, full)), shape)


def _transposed(traced: Trace) -> Trace:
    rank = len(traced.layout.axes)
    dims = (*range(rank - 2), rank - 1, rank - 2)
    return Trace(traced.base, traced.layout.permuted(dims), traced.scale)


def _fuse(rewriter: PatternRewriter, op: Operation, attention: Attention, key: Trace) -> None:
    """Replace `op`, whose result is the attention's [..., S, E], if there is a kernel for its masks."""
    scores = attention.scores
    query, value = trace(scores.query, scales=True), trace(attention.value, scales=True)
    cut = _heads_of(scores.shape, [query, key, value])
    emitter = Emitter(rewriter, op)
    builder = AttentionBuilder(emitter, scores, cut, attention.empty)
    if not builder.has_kernel:
        return
    result = builder.build(query, key, value)
    rows, features = scores.shape[-2], shape_of(attention.value)[-1]
    per_head = LayoutMap.of((cut.batch, rows, cut.heads, features)).permuted((0, 2, 1, 3))
    emitter.replace(emitter.view(result, per_head, shape_of(op.results[0])))


class FuseScaledDotProductAttention(RewritePattern):
    """aten.scaled_dot_product_attention, whose heads are the axis before queries and features."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.ScaledDotProductAttentionOp, rewriter: PatternRewriter) -> None:
        q, k = shape_of(op.query), shape_of(op.key)
        shape = (*shape_of(op.result)[:-1], k[-2])
        terms: list[Term] = []
        if op.is_causal.value.data:
            terms.append(Hides(BandAttr(None, 0), Fill(float("-inf"), op.result)))
        if op.attn_mask is not None:
            terms += self._mask_terms(op, op.attn_mask, shape)
        scale = q[-1] ** -0.5 if op.scale is None else op.scale.value.data
        key, value = trace(op.key, scales=True), trace(op.value, scales=True)
        scores = Scores(op.query, op.key, shape, scale, terms=tuple(terms))
        emitter = Emitter(rewriter, op)
        query = trace(op.query, scales=True)
        if op.enable_gqa.value.data:
            key, value = (_grouped(t, q[-3]) for t in (key, value))
        cut = _heads_of(shape, [query, key, value])
        attention = AttentionBuilder(emitter, scores, cut, "zero")
        real = op.attn_mask is not None and isinstance(element_type_of(op.attn_mask), Float32Type)
        if op.attn_mask is not None and real and not op.is_causal.value.data and not attention.has_kernel:
            emitter.replace(write_attention(emitter, op, op.attn_mask, scale))
            return
        result = attention.build(query, key, value)
        per_head = LayoutMap.of((cut.batch, shape[-2], cut.heads, shape_of(op.value)[-1]))
        emitter.replace(emitter.view(result, per_head.permuted((0, 2, 1, 3)), shape_of(op.result)))

    def _mask_terms(
        self, op: aten.ScaledDotProductAttentionOp, mask: SSAValue, shape: tuple[int, ...]
    ) -> list[Term]:
        sight = Sight().before(lambda layout: layout.expanded(shape))
        real = isinstance(element_type_of(mask), Float32Type)
        try:
            if real:
                return additive_terms(mask, sight)
            return hiding(boolean_terms(mask, sight), Fill(float("-inf"), op.result))
        except Opaque:
            raise refusal(
                op,
                f"the mask of shape {list(shape_of(mask))} is built in a way the compiler cannot follow",
                "Give the mask as an input, or build it of comparisons, and, or, not and masked_fill alone.",
            ) from None


def _grouped(traced: Trace, heads: int) -> Trace:
    """A key or value of fewer heads with each head repeated for its group of query heads."""
    batch, kv_heads, *rest = traced.layout.axes
    group = heads // prod(atom.size for atom in kv_heads)
    repeated = (*kv_heads, Atom(group, -1)) if group > 1 else kv_heads
    return Trace(traced.base, LayoutMap(traced.layout.factors, (batch, repeated, *rest)), traced.scale)


class FuseWrittenAttention(RewritePattern):
    """softmax(query @ key^T ...) @ value, written out."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.MatmulOp, rewriter: PatternRewriter) -> None:
        attention = match_attention(op)
        if attention is not None:
            key = _transposed(trace(attention.scores.key_transposed, scales=True))
            _fuse(rewriter, op, attention, key)


@dataclass(frozen=True)
class FuseAttention(ModulePass):
    """Replaces scaled-dot-product attention, as an operator or written out, by `plena.attention`.

    Views, permutations and repeated key heads around it are absorbed; constant causal and windowed masks
    become bands, masks of keys `key_padding`, other masks `bias`.

    Before::

        builtin.module {
          func.func @main(%x: tensor<2x16x64xf32>, %k: tensor<2x2x16x16xf32>) -> tensor<2x16x64xf32> {
            %0 = aten.view %x : (tensor<2x16x64xf32>) -> tensor<2x16x4x16xf32>
            %1 = aten.permute %0 {dims = array<i64: 0, 2, 1, 3>} : (tensor<2x16x4x16xf32>) -> tensor<2x4x16x16xf32>
            %2 = aten.view %k : (tensor<2x2x16x16xf32>) -> tensor<2x2x1x16x16xf32>
            %3 = aten.expand %2 : (tensor<2x2x1x16x16xf32>) -> tensor<2x2x2x16x16xf32>
            %4 = aten.view %3 : (tensor<2x2x2x16x16xf32>) -> tensor<2x4x16x16xf32>
            %5 = aten.scaled_dot_product_attention %1, %4, %4 {is_causal = true} : (tensor<2x4x16x16xf32>, tensor<2x4x16x16xf32>, tensor<2x4x16x16xf32>) -> tensor<2x4x16x16xf32>
            %6 = aten.permute %5 {dims = array<i64: 0, 2, 1, 3>} : (tensor<2x4x16x16xf32>) -> tensor<2x16x4x16xf32>
            %7 = aten.view %6 : (tensor<2x16x4x16xf32>) -> tensor<2x16x64xf32>
            func.return %7 : tensor<2x16x64xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<2x16x64xf32>, %k: tensor<2x2x16x16xf32>) -> tensor<2x16x64xf32> {
            %0 = plena.reshape %x : (tensor<2x16x64xf32>) -> tensor<32x64xf32>
            %1 = plena.rearrange %k {factors = array<i64: 2, 2, 16, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<2x2x16x16xf32>) -> tensor<32x32xf32>
            %2 = plena.rearrange %k {factors = array<i64: 2, 2, 16, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<2x2x16x16xf32>) -> tensor<32x32xf32>
            %3 = plena.attention %0, %1, %2 : tensor<32x64xf32>, tensor<32x32xf32>, tensor<32x32xf32> {batch = 2 : i64, heads = 4 : i64, kv_heads = 2 : i64, scale = 2.500000e-01 : f64, band = #plena.band<* to 0>} -> tensor<32x64xf32>
            %4 = plena.rearrange %3 {factors = array<i64: 2, 16, 4, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<32x64xf32>) -> tensor<2x4x16x16xf32>
            %5 = aten.permute %4 {dims = array<i64: 0, 2, 1, 3>} : (tensor<2x4x16x16xf32>) -> tensor<2x16x4x16xf32>
            %6 = aten.view %5 : (tensor<2x16x4x16xf32>) -> tensor<2x16x64xf32>
            func.return %6 : tensor<2x16x64xf32>
          }
        }
    """

    name = "fuse-attention"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite(op, [FuseScaledDotProductAttention(), FuseWrittenAttention()])
