"""A language model of transformers as programs: which ones, of what sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from plena.api.compile import compile
from plena.api.program import Program
from plena.errors import CompileError, PlenaError
from plena.hf.language_programs import DECODE, PREFILL
from plena.hf.step_check import check_step
from plena.hf.step_module import CachedStep
from plena.machine.target import Target

LENGTH = 256
"""Positions of the cache unless the user says how many."""

PREFILL_SIZE = 64
"""Tokens that a prefill program takes unless the user says how many."""

BUCKETS = (128, 256, 512, 1024, 2048, 4096)
"""Keys that decode programs attend to unless the user says which."""


@dataclass(frozen=True)
class StepSizes:
    """Which programs a language model has.

    Attributes:
        prefill: tokens that prefill programs take, ascending.
        buckets: keys that decode programs attend to, ascending; the last one is the length of the cache.
    """

    prefill: tuple[int, ...]
    buckets: tuple[int, ...]

    @property
    def length(self) -> int:
        """Positions of the cache."""
        return self.buckets[-1]

    @staticmethod
    def of(max_length: Any, prefill: Any, buckets: Any) -> StepSizes:
        """Sizes as of `PlenaForCausalLM.from_pretrained`, None where the user says nothing.

        Raises:
            PlenaError: sizes that are none, or that make no sense together.
        """
        if max_length is not None and not _is_size(max_length):
            raise PlenaError(
                f"max_length must be a whole number above 0, not {max_length!r}",
                "from_pretrained",
                f"Write max_length={LENGTH}.",
            )
        wanted = None if buckets is None else _listed("buckets", buckets, BUCKETS[:2])
        if wanted == ():
            raise PlenaError(
                "buckets are empty, so that nothing could be decoded",
                "from_pretrained",
                "Leave them out, or write buckets=(128, 256).",
            )
        length = max_length or (max(wanted) if wanted else LENGTH)
        if wanted and max(wanted) > length:
            raise PlenaError(
                f"a bucket of {max(wanted)} keys in a cache of max_length={length} positions",
                "from_pretrained",
                f"Leave max_length out or make it {max(wanted)}, or use smaller buckets.",
            )
        size = min(PREFILL_SIZE, length)
        own = _listed("prefill", (size,) if prefill is None else prefill, (size,))
        if own and max(own) > length:
            raise PlenaError(
                f"a prefill of {max(own)} tokens does not fit a cache of {length} positions",
                "from_pretrained",
                "Use a larger max_length, or a smaller prefill.",
            )
        below = BUCKETS if wanted is None else wanted
        return StepSizes(tuple(sorted(set(own))), tuple(sorted({*(b for b in below if b < length), length})))


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _listed(name: str, sizes: Any, example: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes that were given as a list.

    Raises:
        PlenaError: no list of sizes.
    """
    listed = isinstance(sizes, Sequence) and not isinstance(sizes, str)
    found: tuple[Any, ...] = tuple(sizes) if listed else ()  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if not listed or not all(map(_is_size, found)):
        raise PlenaError(
            f"{name} must be whole numbers above 0, not {sizes!r}",
            "from_pretrained",
            f"Give a list, as {name}={(sizes,) if _is_size(sizes) else example}.",
        )
    return found


def compile_steps(
    model: torch.nn.Module,
    sizes: StepSizes,
    batch: int,
    target: Target | None,
    options: Mapping[str, Any],
) -> tuple[dict[str, Program], int | None]:
    """The programs by name, and the id of padding that the model does not count in positions.

    Arguments are those of `PlenaForCausalLM.from_pretrained`.

    All of them have a cache of the largest bucket, of which each attends to the first keys.

    Raises:
        PlenaError: a layer that cannot be compiled, logits that the cached step does not give.
    """
    longest = sizes.length
    check_step(model, longest, sizes.buckets, batch)
    last = CachedStep(model, longest, batch, logits=False, alone=batch > 1)
    steps = {f"{PREFILL}-{n}": (last, n) for n in sizes.prefill}
    steps |= {f"{DECODE}-{b}": (CachedStep(model, longest, batch, bucket=b), 1) for b in sizes.buckets}
    made: dict[str, Program] = {}
    # The one with most in HBM comes first: logits, which a prefill does not give, and the longest bucket.
    for name in reversed(steps):
        try:
            made[name] = _compiled(*steps[name], target, options, list(made.values()))
        except CompileError as error:
            if name.startswith(PREFILL):
                error.hint = f"{error.hint or ''} Or read prompts token by token: prefill=().".strip()
            raise
    return {name: made[name] for name in steps}, last.tables.skipped


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
