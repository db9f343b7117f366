"""docs/loop_choice.md and its curve, made by compiling one attention head under several budgets.

docs/generate.py writes both.
"""

from __future__ import annotations

from functools import cache
from math import log10
from typing import Any

import torch
from torch import nn

import plena
from plena.optimizing.size_curve import SizeCurve, size_curve

BUDGETS = (50, 60, 100, 150, 500)


class Attention(nn.Module):
    """One head."""

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(q, k, v)


@cache
def compiled(budget: int | None) -> plena.Program:
    """64 tokens, 64 features, M_MM schedule, softmax over whole rows."""
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(0.5 * torch.randn((1, 1, 64, 64), generator=generator) for _ in range(3))
    return plena.compile(Attention(), inputs, matmul="mm", attention="rows", max_instructions=budget)


def curve() -> SizeCurve:
    """Cycles by static instructions."""
    return size_curve(compiled(None))


def drawing(pictures: Any) -> str:
    """docs/assets/loop_curve.svg."""
    found = curve()
    p = pictures.Picture(800, 380)
    statistics = [compiled(budget).stats() for budget in BUDGETS]
    counted = [(s.static, s.cycles["transactional"]) for s in statistics]
    counted += [(q.static, q.cycles) for q in found.points]
    everything = [*((q.static, q.cycles) for q in found.predicted), *counted]
    left, right, top, bottom = 90, 770, 20, 320
    sizes = [log10(static) for static, _ in everything]
    cycles = [count for _, count in everything]
    low, high = min(cycles), max(cycles)

    def place(static: int, count: float) -> tuple[float, float]:
        x = left + (log10(static) - min(sizes)) / (max(sizes) - min(sizes)) * (right - left - 20)
        return x, bottom - 15 - (count - low) / (high - low) * (bottom - top - 30)

    p.line([(left, top), (left, bottom), (right, bottom)])
    for static in (50, 100, 200, 500, 1000, 2000):
        x, _ = place(static, low)
        p.line([(x, bottom), (x, bottom + 5)])
        p.text(x, bottom + 20, f"{static:,}", 11)
    for count in range(-(-low // 500) * 500, high + 1, 500):
        _, y = place(100, count)
        p.line([(left - 5, y), (left, y)])
        p.text(left - 10, y + 4, f"{count:,}", 11, anchor="end")
    p.text((left + right) / 2, bottom + 44, "static instructions (logarithmic)")
    p.text(left + 10, top + 8, "cycles, transactional, without waits for HBM", 11, anchor="start")
    stairs: list[tuple[float, float]] = []
    for before, after in zip(found.predicted, found.predicted[1:], strict=False):
        stairs += [place(before.static, before.cycles), place(after.static, before.cycles)]
    stairs.append(place(found.predicted[-1].static, found.predicted[-1].cycles))
    p.line(stairs, pictures.TEAL, 2)
    for static, count in counted:
        p.dot(*place(static, count), pictures.AMBER, 5)
    p.dot(*place(found.rolled.static, found.rolled.cycles), pictures.RED, 5)
    x, y = place(found.rolled.static, found.rolled.cycles)
    p.text(x + 20, y + 5, "chosen without a budget", 11, anchor="start")
    x, y = place(found.expanded.static, found.expanded.cycles)
    p.text(x, y - 12, "no loops", 11, anchor="end")
    p.line([(540, 60), (570, 60)], pictures.TEAL, 2)
    p.text(580, 64, "predicted by the search", 11, anchor="start")
    p.dot(555, 82, pictures.AMBER, 5)
    p.text(580, 86, "lowered and counted", 11, anchor="start")
    return p.svg()


PAGE = """\
# How loops are chosen

A loop costs cycles on PLENA: every turn a `C_LOOP_END`, and for every address that moves an `S_ADDI_INT`. Straight
code costs neither, but lines. `plena.compile` decides for every loop how far it is expanded: the fewest cycles for a
number of instructions, or the fewest instructions.

This page is made by `docs/generate.py`. Its example is the head of [the tutorial](levels.md): 64 tokens, 64 features,
M_MM schedule; a loop over 16 blocks of query rows (loop 0) with loops over 16 column blocks of scores (1), over 4
rows of the softmax (2) and over 16 column blocks of the output (3) inside.

## The curve

![Cycles against static instructions](assets/loop_curve.svg)

On the left the smallest program, {rolled_static} instructions and {rolled_cycles} cycles; on the right the same without
any loop, {expanded_static} instructions and {expanded_cycles} cycles. Most of what can be won is won early: loops
whose bodies are short cost most, and cost few lines to expand.

| budget (`max_instructions`) | static | cycles | loop 0 | loop 1 | loop 2 | loop 3 |
| --: | --: | --: | --- | --- | --- | --- |
{budgets}

For any program, also one that this compiler did not write:

<!-- run -->
```python
import plena
import torch
from plena.optimizing.size_curve import size_curve

program = plena.compile(torch.nn.Linear(128, 128), (torch.randn(64, 128),))
for point in size_curve(program).points:
    print(point.name, point.static, point.cycles)
```

## What can become of a loop

| choice | what it is | what it saves |
| --- | --- | --- |
| kept | as it is | lines |
| unrolled by n | n iterations per turn | n - 1 of n loop ends; updates that become immediates or shared |
| expanded | straight code | all loop ends; addresses become constants |
| jammed | n iterations of the outer loop inside the inner one | a pointer of the inner loop serves n instructions |
| interchanged | inner and outer loop change places | updates, where the order does not matter |

Jamming and interchange change the order of instructions, so they need a proof: `plena.loops.dependence` compares the
cells that two instructions read and write, whose addresses are linear in the loop indices, and the accumulators and
registers they share.

## The search

`select-loops` works on the affine form, where an address is still an expression such as `512 + 256 * %i + 4 * %j`. It
goes through the loop tree from the inside out. For every loop and every choice it knows

* **static** instructions: lines,
* **cycles** by the timing profile that counts,
* **dynamic** instructions of one iteration, which the watchdog limits,

and keeps the combinations that no other one beats in everything: a frontier. A body is a sequence of parts, so its
frontier is the sum of theirs; a loop around it multiplies cycles by trips and adds its start and end. At the root is
the curve above, and choosing is picking a point: the last one under the budget; the first one for `objective="size"`.
Without a budget a program grows only while that pays: 1 % fewer cycles may cost about 7 % more lines. By profiles whose
products are so short that address updates count (`pipelined`), it may cost 33 %, up to 1,000 lines.

The sums are exact for what they count. The difficult part is what an address costs after strength reduction, because
that depends on what else is in the loop: pointers are shared, differ by an immediate, or have to be set again when
registers run out. The search asks the planner that will later place them (`plena.registers.addressing`) for every nest
that is straight inside. Registers beyond a nest are not known then; so the best few points are lowered to allocated
registers, counted exactly, and the best of those wins. That is why the red and yellow points lie a little off the line.

## See it

    plena compile examples/attention.py:one_head -o out/one_head --matmul mm --max-instructions 100
    plena report out/one_head -o page.html                    # every loop: what became of it, and why
    plena ab examples/attention.py:one_head --matmul mm       # rolled against expanded, step by step
    plena curve out/one_head -o out/curve                     # the curve, counted
    plena-opt out/one_head/generated_asm_code.asm -t plena-asm \\
        -p 'lift,roll-loops,select-loops{{max-instructions=60}},set-state,register'

In Python `plena.passes.select_loops.select(module, max_instructions=100)` returns the frontier, the chosen point and
one `LoopDecision` per loop with its reason. `roll-loops` goes the other way: it finds the loops in straight code.
"""


def page() -> str:
    """docs/loop_choice.md."""
    found = curve()
    return PAGE.format(
        rolled_static=f"{found.rolled.static:,}",
        rolled_cycles=f"{found.rolled.cycles:,}",
        expanded_static=f"{found.expanded.static:,}",
        expanded_cycles=f"{found.expanded.cycles:,}",
        budgets="\n".join(_row(budget) for budget in (None, *BUDGETS)),
    )


def _row(budget: int | None) -> str:
    program = compiled(budget)
    stats = program.stats()
    cells = (
        "none" if budget is None else str(budget),
        f"{stats.static:,}",
        f"{stats.cycles['transactional']:,}",
    )
    return f"| {' | '.join((*cells, *(loop.choice for loop in program.rationale.loops)))} |"
