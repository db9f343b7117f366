"""Choices as the changes they ask for: what a pass option can say, without what they cost and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from plena.errors import CompileError
from plena.loops.selection.choices import Choice, Kind

_TEXT = re.compile(r"(\d+) (?:(keep|expand)|(unroll) (\d+)|(jam) (\d+)x(\d+)( interchanged)?)( flat)?")


@dataclass(frozen=True)
class LoopChange:
    """What is done to one loop.

    Args:
        loop: its pre-order number in the module before any change.
        kind: as of `Choice`.
        factor, inner_factor, interchange: as of `Choice`.
        flat: loops inside are expanded first (those of the inner loop of a jammed nest always are).
    """

    loop: int
    kind: Kind
    factor: int = 1
    inner_factor: int = 1
    interchange: bool = False
    flat: bool = False

    def __str__(self) -> str:
        match self.kind:
            case "unroll":
                what = f"unroll {self.factor}"
            case "jam":
                swapped = " interchanged" if self.interchange else ""
                what = f"jam {self.factor}x{self.inner_factor}{swapped}"
            case _:
                what = self.kind
        return f"{self.loop} {what}" + (" flat" if self.flat else "")

    @staticmethod
    def parse(text: str) -> LoopChange:
        """Inverse of `str`.

        Raises:
            CompileError: not such a text, or a factor of 0.
        """
        found = _TEXT.fullmatch(text)
        if found is None or "0" in (found[4], found[6], found[7]):
            raise CompileError(
                f"{text!r} is no change of a loop",
                hint="Write `3 expand`, `3 unroll 4`, `3 jam 2x4`, `3 jam 2x4 interchanged` or `3 keep flat`; "
                "3 is the loop's pre-order number, flat expands the loops inside.",
            )
        loop, flat = int(found[1]), found[9] is not None
        if found[3]:
            return LoopChange(loop, "unroll", int(found[4]), flat=flat)
        if found[5]:
            return LoopChange(loop, "jam", int(found[6]), int(found[7]), found[8] is not None, flat)
        return LoopChange(loop, "expand" if found[2] == "expand" else "keep", flat=flat)


def changes_of(choices: Iterable[Choice]) -> Iterator[LoopChange]:
    """The changes that choices ask for, in the order to make them: inner loops first."""
    for choice in choices:
        yield from changes_of(choice.children)
        flat = choice.flat and choice.kind != "jam" and bool(choice.loop.loops)
        if choice.kind == "jam":
            factors = choice.factor, choice.inner_factor
            yield LoopChange(choice.loop.number, "jam", *factors, choice.interchange)
        elif choice.kind == "unroll":
            yield LoopChange(choice.loop.number, "unroll", choice.factor, flat=flat)
        elif choice.kind == "expand" or flat:
            yield LoopChange(choice.loop.number, choice.kind, flat=flat)
