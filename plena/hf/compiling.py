"""A language model of transformers as programs: which ones, of what sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from plena.api.compile import compile
from plena.api.program import Program
from plena.errors import CompileError, PlenaError
from plena.hf.language_programs import DECODE, PREFILL
from plena.hf.step_check import check_step
from plena.hf.step_module import CachedStep
from plena.machine.target import Target

BUCKETS = (64, 128, 256, 512, 1024, 2048, 4096)
"""Keys that decode programs attend to unless the user says which."""


def compile_steps(
    model: torch.nn.Module,
    length: int,
    batch: int,
    prefill: Sequence[int],
    buckets: Sequence[int] | None,
    target: Target | None,
    options: Mapping[str, Any],
) -> dict[str, Program]:
    """The programs by name; arguments as of `PlenaForCausalLM.from_pretrained`.

    All of them have a cache of the largest bucket, of which each attends to the first keys.

    Raises:
        PlenaError: a layer that cannot be compiled, logits that the cached step does not give.
    """
    sizes = sorted(set(buckets or [*(b for b in BUCKETS[1:] if b < length), length]))
    longest = sizes[-1]
    check_step(model, longest)
    last = CachedStep(model, longest, batch, logits=False, alone=batch > 1)
    steps = {f"{PREFILL}-{n}": (last, n) for n in sorted(prefill)}
    steps |= {f"{DECODE}-{b}": (CachedStep(model, longest, batch, bucket=b), 1) for b in sizes}
    made: dict[str, Program] = {}
    # The one with most in HBM comes first: logits, which a prefill does not give, and the longest bucket.
    for name in reversed(steps):
        made[name] = _compiled(*steps[name], target, options, list(made.values()))
    return {name: made[name] for name in steps}


def _compiled(
    step: CachedStep, count: int, target: Target | None, options: Mapping[str, Any], beside: list[Program]
) -> Program:
    """The program for so many tokens of each sequence, on the HBM image of others if that can be."""
    positions = torch.arange(count).expand(step.taken, count).clone()
    slot = (torch.zeros(1, dtype=torch.int64),) if step.alone else ()
    example = (torch.zeros_like(positions), positions, *slot)
    if beside:
        try:
            return compile(step.eval(), example, target=target, beside=beside, **options)
        except CompileError:
            pass  # Beyond 4 GiB an image is not shared; what else is wrong comes up again.
    return compile(step.eval(), example, target=target, **options)


def check_batch(batch: int | None) -> None:
    """Raises PlenaError for a number of sequences that is none."""
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PlenaError(f"batch must be a whole number above 0, not {batch!r}", "from_pretrained")


def check_sizes(length: int, prefill: Sequence[int], buckets: Sequence[int] | None) -> None:
    """Raises PlenaError for sizes that make no sense together."""
    named: tuple[tuple[str, Sequence[Any]], ...] = (
        ("max_length", [length]),
        ("prefill", prefill),
        ("buckets", () if buckets is None else buckets),
    )
    for name, sizes in named:
        listed = isinstance(sizes, Sequence) and not isinstance(sizes, str)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not listed or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
            hint = None if name == "max_length" else f"Give a list, as {name}=(64,)."
            raise PlenaError(f"{name} must be whole numbers above 0, not {sizes!r}", "from_pretrained", hint)
    longest = max(buckets) if buckets else length
    if any(n > longest for n in prefill):
        raise PlenaError(
            f"a prefill of {max(prefill)} tokens does not fit a cache of {longest} positions",
            "from_pretrained",
            "Use a larger max_length, or a smaller prefill.",
        )
