"""What a node stands for that depends on the chosen experts: numbers, ids, orders of them.

A routing chooses k of E experts for each of T tokens. In the model slot j of token t is expert ids[t, j]; which expert
has which slot is nobody's business but the model's, so nothing here has slots: a number of slot (t, j) is column
ids[t, j] of a tensor [T, E], and a row of pair (t, j) is what expert ids[t, j] computes for token t.

Pairs lie `split` [*tokens, k, ...], `flat` [T * k, ...], or `sorted` by expert [T * k, ...]; with one slot for each
token flat pairs are [*tokens, ...].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal, Self

import torch
from xdsl.builder import Builder
from xdsl.ir import Block, BlockArgument, SSAValue
from xdsl.rewriter import InsertPoint

from plena.errors import CompileError

Lie = Literal["split", "flat", "sorted"]


@dataclass(eq=False)
class Routing:
    """A choice of `chosen` of `experts` experts for each of `tokens` tokens.

    Attributes:
        mask: [T, E], 1 where an expert is chosen for a token, else 0.
        scores: [T, E] of which the largest are chosen; None of a choice that is made of several, or by the host.
        block: what experts compute, on one expert; arguments are those of the plena.experts to come.
        arguments: the block's arguments by role (rows, columns, stacked) and the value that they are made of.
        alone: masked values by the value.
        without: tensors [T, E] that are far below all others where an expert is chosen.
        counts: [T, E], how often an expert is chosen for a token; None if at most once.
    """

    tokens: int
    experts: int
    chosen: int
    mask: SSAValue
    scores: SSAValue | None = None
    block: Block = field(default_factory=Block)
    arguments: dict[tuple[str, SSAValue], BlockArgument] = field(
        default_factory=dict[tuple[str, SSAValue], BlockArgument]
    )
    alone: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])
    without: set[SSAValue] = field(default_factory=set[SSAValue])
    counts: SSAValue | None = None

    def __post_init__(self) -> None:
        self.builder = Builder(InsertPoint.at_end(self.block))

    @property
    def total(self) -> SSAValue:
        """What a number of an expert is multiplied by where it is summed up over slots."""
        return self.mask if self.counts is None else self.counts

    def require_distinct(self) -> None:
        """Raises CompileError if an expert may be chosen more than once for a token."""
        if self.counts is not None:
            raise CompileError(
                "ids that the host computes may name an expert twice for a token, and it is no sum over slots",
                None,
                "Weight what the chosen experts compute by their scores, and sum it up.",
            )

    @property
    def is_of_all(self) -> bool:
        """Whether every expert is chosen once for every token."""
        return self.chosen == self.experts and self.counts is None

    def discard(self) -> None:
        """Drop the block, and with it its uses of other values."""
        for op in reversed(list(self.block.ops)):
            op.detach()
            op.erase(safe_erase=False)


@dataclass(frozen=True, eq=False)
class Routed:
    """A value by pair of token and slot.

    Attributes:
        lead: the axes of the tokens where pairs are split, or flat with one slot for each token.
        rest: the axes behind those of the pairs.
    """

    routing: Routing
    lie: Lie
    lead: tuple[int, ...]
    rest: tuple[int, ...]

    @property
    def axis(self) -> int:
        """The axis of slots, or the last one of pairs."""
        if self.lie == "split":
            return len(self.lead)
        return len(self.lead) - 1 if self.is_single else 0

    @property
    def is_single(self) -> bool:
        """Whether there is one slot for each token, in the order of tokens: then slots are nothing apart."""
        return self.routing.chosen == 1 and self.lie != "sorted"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the model sees."""
        pairs = (*self.lead, self.routing.chosen)
        if self.is_single and self.lie == "flat":
            return (*self.lead, *self.rest)
        return (*pairs, *self.rest) if self.lie == "split" else (prod(pairs), *self.rest)

    def lying_as(self, other: Routed) -> Self:
        """The same value; if each token has one slot, with pairs as those of `other` where that is a name alone."""
        axes = other.shape[: other.axis + 1]
        if not self.is_single or not other.is_single or self.shape[: len(axes)] != axes:
            return self
        return replace(self, lie=other.lie, lead=other.lead, rest=self.shape[len(axes) :])

    def split(self) -> Self:
        """The same value; if each token has one slot and the last axis is 1, that is the axis of slots."""
        if not self.is_single or self.shape[-1] != 1:
            return self
        return replace(self, lie="split", lead=self.shape[:-1], rest=())

    def viewed(self, shape: tuple[int, ...]) -> Routed | None:
        """The value under another shape; None if pairs are not apart from the rest there."""
        total, slots, size = self.routing.tokens * self.routing.chosen, self.routing.chosen, prod(self.rest)

        def flat() -> Routed | None:
            if shape[:1] != (total,):
                return None
            lead = shape[:1] if self.is_single else self.lead
            return replace(self, lie="flat" if self.lie == "split" else self.lie, lead=lead, rest=shape[1:])

        def single() -> Routed | None:
            for rank in range(1, len(shape) + 1):
                if self.is_single and prod(shape[:rank]) == total and prod(shape[rank:]) == size:
                    return replace(self, lie="flat", lead=shape[:rank], rest=shape[rank:])
            return None

        def split() -> Routed | None:
            for rank in range(len(shape)):
                lead = shape[:rank]
                if prod(lead) == total // slots and shape[rank] == slots and prod(shape[rank + 1 :]) == size:
                    return replace(self, lie="split", lead=lead, rest=shape[rank + 1 :])
            return None

        if self.lie == "sorted":
            return flat()
        order: list[Callable[[], Routed | None]] = [flat, single, split]
        if self.lie == "split" and slots == 1:
            order.reverse()
        return next((found for found in (candidate() for candidate in order) if found is not None), None)


@dataclass(frozen=True, eq=False)
class Slots(Routed):
    """Numbers: `dense` [T, E] has those of all experts; `rest` are ones.

    `only`: zero, but for the slots that have this expert. Without `dense` they are 1.
    """

    dense: SSAValue | None = None
    only: int | None = None


@dataclass(frozen=True, eq=False)
class Ids(Routed):
    """The numbers of the chosen experts."""


@dataclass(frozen=True, eq=False)
class Across:
    """The number of the largest of each row along axis `dim`, which keeps size 1; as `ids` along the last axis."""

    ids: Ids
    dim: int


@dataclass(frozen=True, eq=False)
class OneHot(Routed):
    """Along the last axis of `rest`, E: `dense` of the pair where its expert is, 1 without, and 0 elsewhere."""

    dense: SSAValue | None = None


@dataclass(frozen=True, eq=False)
class Tensors(Routed):
    """A tensor [*rest] for each pair, one of the `count` in `value` [count, *rest]."""

    value: SSAValue

    @property
    def count(self) -> int:
        """The first axis of the value."""
        return self.routing.tokens

    @property
    def builder(self) -> Builder | None:
        """Puts ops where the value is; None where the model's are."""
        return self.routing.builder


@dataclass(frozen=True, eq=False)
class Rows(Tensors):
    """What one expert computes for its token: `value` [T, *rest] in the routing's block."""


@dataclass(frozen=True, eq=False)
class Picked(Tensors):
    """A parameter of the pair's expert: number e of `value` [E, *rest]."""

    @property
    def count(self) -> int:
        return self.routing.experts

    @property
    def builder(self) -> None:
        return None


@dataclass(frozen=True, eq=False)
class Tokens(Routed):
    """The number of each pair's token."""


@dataclass(frozen=True, eq=False)
class Order(Routed):
    """The place among flat pairs of each pair sorted by expert."""


@dataclass(frozen=True, eq=False)
class Inverse(Routed):
    """The place among pairs sorted by expert of each flat pair."""


@dataclass(frozen=True, eq=False)
class Counts:
    """How many pairs each expert has; `ends` if of all experts up to it."""

    routing: Routing
    ends: bool = False


@dataclass(frozen=True, eq=False)
class Marks:
    """Integers in the model's own axes, mostly zeros and ones: whole real numbers `value` where torch has integers or
    truths."""

    value: SSAValue


@dataclass(frozen=True, eq=False)
class Ranked:
    """All numbers [T, E] in descending order, or their columns: the first k of them are a choice of k."""

    lead: tuple[int, ...]
    scores: SSAValue
    ids: bool


OfRouting = Routed | Counts | Ranked | Marks | Across
"""Every kind of them."""


def instead_of(*values: Any) -> str:
    """What to write instead of values that nothing but experts can be computed with."""
    if not any(isinstance(value, Picked) for value in values):
        return ""
    return (
        " Rows of a table by the number of the largest are a product: "
        "`F.one_hot(scores.argmax(-1), len(table)).float() @ table`."
    )


def number_of(value: Any) -> float | None:
    """The number that a value is, or that all elements of a constant are; None of others."""
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, torch.Tensor) or value.numel() == 0:
        return None
    first = value.flatten()[0]
    return float(first) if bool((value == first).all()) else None
