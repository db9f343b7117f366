"""A program with all its loops expanded, and the comparison of the two: what rolling gains and costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from plena.assembly import encode
from plena.assembly.stream import stream_from_module
from plena.errors import PlenaError
from plena.passes.emission import EMISSION
from plena.program.data import ProgramData
from plena.statistics.counts import Count
from plena.statistics.statistics import Statistics

Data = TypeVar("Data", bound=ProgramData)


MOST_EXPANDED = 2_000_000
"""Instructions up to which a program is expanded."""


@dataclass(frozen=True)
class Row:
    """One line of the comparison: a kernel step, or "sum"."""

    name: str
    rolled: Count
    expanded: Count
    rolled_loops: int
    expanded_loops: int


def expanded(program: Data) -> Data:
    """The same program without loops: lifted, fully unrolled, allocated again.

    Raises:
        PlenaError: it would be longer than 2,000,000 instructions, or cannot be lifted.
    """
    from plena.driver import context, run_pipeline
    from plena.lifting import lift_module
    from plena.passes.unroll_loops import UnrollLoops

    dynamic = program.stats().dynamic
    if dynamic > MOST_EXPANDED:
        raise PlenaError(
            f"expanding {dynamic:,} dynamic instructions is too much",
            "ab",
            f"Take a smaller model: at most {MOST_EXPANDED:,}.",
        )
    if program.module is None:
        raise PlenaError("the program has no IR to expand", "ab", "Compile it in this process.")
    module = lift_module(program.module)
    program.target.attach(module)
    UnrollLoops(full=True).apply(context(), module)
    run_pipeline(module, EMISSION)
    stream = stream_from_module(module)
    return replace(
        program.with_words(encode(stream.instructions)),
        provenance=tuple(stream.provenance),
        module=module,
        decisions=(*program.decisions, "all loops expanded"),
    )


def compare(rolled: ProgramData, unrolled: ProgramData) -> Iterator[Row]:
    """Every kernel step in program order, then the sum."""
    before, after = rolled.stats(), unrolled.stats()
    steps = [step for step in dict.fromkeys([*before.steps, *after.steps]) if step]
    for step in steps:
        yield Row(
            step,
            before.steps.get(step, Count()),
            after.steps.get(step, Count()),
            _loops(rolled, step),
            _loops(unrolled, step),
        )
    if any(not step for step in (*before.steps, *after.steps)):
        yield Row(
            "(other)",
            before.steps.get("", Count()),
            after.steps.get("", Count()),
            _loops(rolled, ""),
            _loops(unrolled, ""),
        )
    yield Row("sum", before, after, before.loop_starts, after.loop_starts)


def _loops(program: ProgramData, step: str) -> int:
    """C_LOOP_START lines of one step."""
    statistics: Statistics = program.stats()
    return sum(program.provenance[loop.first_line - 1].step == step for loop in statistics.loops)
