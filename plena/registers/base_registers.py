"""Which HBM base register holds which base address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.loop.nests import largest_value
from plena.errors import CompileError

WORD_BITS = 32


@dataclass
class _Span:
    """From the first to the last top-level operation that needs a base, and how often it is needed."""

    base: Linear
    first: int
    last: int
    uses: int = 1


@dataclass
class _Register:
    spans: list[_Span] = field(default_factory=list[_Span])

    def is_free(self, span: _Span) -> bool:
        return all(span.last < other.first or other.last < span.first for other in self.spans)

    @property
    def uses(self) -> int:
        return sum(span.uses for span in self.spans)


def assign_bases(
    needs: Sequence[tuple[Operation, Linear]], block: Block, registers: int
) -> dict[Linear, int]:
    """Numbers 0 .. registers - 1 for the distinct bases of a program.

    Bases needed in disjoint parts of the outermost block share a register; when registers run out, so do the least
    used bases.
    """
    positions = {op: position for position, op in enumerate(block.ops)}
    spans: dict[Linear, _Span] = {}
    for op, base in needs:
        outermost = op
        while outermost.parent_block() is not block:
            parent = outermost.parent_op()
            assert parent is not None
            outermost = parent
        position = positions[outermost]
        span = spans.get(base)
        if span is None:
            spans[base] = _Span(base, position, position)
        else:
            span.last = position
            span.uses += 1
    files = [_Register() for _ in range(registers)]
    for span in sorted(spans.values(), key=lambda s: (s.first, s.last)):
        register = next((r for r in files if r.is_free(span)), None)
        if register is None:
            register = min(files, key=lambda r: r.uses)
        register.spans.append(span)
    return {span.base: number for number, r in enumerate(files) for span in r.spans}


def split_words(base: Linear) -> tuple[int, Linear]:
    """A base address as (upper word, lower word).

    Raises:
        CompileError: the base crosses a multiple of 2^32 while the loops around it run.
    """
    upper = base.constant >> WORD_BITS
    lower = base + (-(upper << WORD_BITS))
    bounds: dict[SSAValue, tuple[int, int]] = {v: (0, largest_value(v)) for v, _ in base.terms}
    if all(isinstance(v.owner, Block) for v, _ in base.terms):
        low, high = lower.range(bounds)
        if low < 0 or high >= 1 << WORD_BITS:
            raise CompileError(
                f"an HBM base address runs over a multiple of 2^32 (from {low} to {high} above "
                f"{upper << WORD_BITS})",
                "set-state",
                "place the tensor within one 4 GiB segment, or move the loop's step into the offset",
            )
    return upper, lower
