"""The loops of a module in the affine form as data, with what a choice of select-loops makes of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block

from plena.dialects.loop import ForOp
from plena.dialects.provenance import MODULE_ATTRIBUTE, STEP_ATTRIBUTE
from plena.loops.selection.choices import Choice
from plena.loops.selection.decisions import LoopDecision, loop_decisions
from plena.program.rationale import SourceLoop

AS_LOWERED = "the program with its loops as they are was the better one"


def source_loops(module: ModuleOp, choices: Sequence[Choice] | None) -> tuple[SourceLoop, ...]:
    """Every loop in pre-order.

    Args:
        module: in the affine form, not changed yet.
        choices: made for it; None means that its loops stay as they are.
    """
    decisions = {d.loop: d for d in loop_decisions(choices or ())}
    return tuple(_loops(module.body.block, 0, iter(range(1 << 30)), decisions))


def _loops(
    block: Block, depth: int, numbers: Iterator[int], decisions: Mapping[int, LoopDecision]
) -> Iterator[SourceLoop]:
    for op in block.ops:
        if isinstance(op, ForOp):
            number = next(numbers)
            decision = decisions.get(number)
            module, steps = _origin(op)
            yield SourceLoop(
                number,
                depth,
                op.trips,
                module,
                steps,
                "kept" if decision is None else decision.choice,
                AS_LOWERED if decision is None else decision.why,
            )
            yield from _loops(op.body.block, depth + 1, numbers, decisions)


def _origin(loop: ForOp) -> tuple[str, tuple[str, ...]]:
    """The longest common module path and the kernel steps of what is in a loop."""
    modules: dict[str, None] = {}
    steps: dict[str, None] = {}
    for op in loop.walk():
        for names, key in ((modules, MODULE_ATTRIBUTE), (steps, STEP_ATTRIBUTE)):
            attribute = op.attributes.get(key)
            if isinstance(attribute, StringAttr):
                names[attribute.data] = None
    return common_path(list(modules)), tuple(steps)


def common_path(paths: Sequence[str]) -> str:
    """The longest module path that all paths begin with."""
    if not paths:
        return ""
    parts = [path.split(".") for path in paths]
    shared = min(len(p) for p in parts)
    while shared and len({tuple(p[:shared]) for p in parts}) > 1:
        shared -= 1
    return ".".join(parts[0][:shared])
