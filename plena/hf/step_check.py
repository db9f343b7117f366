"""Whether the cached steps give the logits of their model: all run in PyTorch on one random text."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from plena.errors import CompileError, PositionsWarning
from plena.hf.key_choices import Ordered, orders_of_keys
from plena.hf.step_module import CachedStep

TOLERANCE = 1e-3
"""Relative RMS of the difference that is still rounding; what a step leaves out is far above, rounding far below."""
CHUNK = 64
"""Tokens of a prefill at most."""
SINGLE = 4
"""Tokens at the end that come one by one, as in decoding, and parts of the text at whose ends one does."""
REPEATS = 4
"""How often a token comes in the text, on average: what tells keys of the same token apart shows."""
SHORT = 16
"""Tokens of a text whose logits may not change when more follow: a prefill program is padded."""
FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    IndexError,
    KeyError,
    NotImplementedError,
)
"""What a model raises that is given what it does not take."""
HINT = (
    "Compile a step of your own by plena.compile. The cached step gives a model its positions and a mask of four "
    "dimensions, and keeps what layers give a cache's `update`; a model that takes positions or masks from the length "
    "of its cache, or keeps something else, needs one."
)


@torch.no_grad()
def check_step(model: nn.Module, length: int, buckets: Sequence[int] = (), batch: int = 1) -> None:
    """Run the steps over a text as long as the cache, so that every window and every position counts.

    Args:
        model: a causal model of transformers.
        length: positions that the cache has.
        buckets: keys that shorter steps attend to.
        batch: sequences at a time; with several, two of them take a token at different positions, too.

    Raises:
        CompileError: the logits are not the model's, depend on what follows or on a choice of keys, one of both does
            not run, or the model has a table of fewer positions.
    """
    config: Any = model.config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    known: int | None = getattr(text, "max_position_embeddings", None)
    embeddings: Any = model.get_input_embeddings()  # type: ignore[operator]
    ids = _text(len(embeddings.weight), length)
    shorter = sorted({n for n in (SHORT, length // 2, *buckets) if 0 < n < length})
    ends_there = False
    try:
        step = CachedStep(model, length).eval()
        tables = step.tables
        if tables.length is not None:
            known, ends_there = tables.length, length > tables.length
        if tables.skipped is not None:
            ids[ids == tables.skipped] = 0 if tables.skipped else 1
        wanted: Tensor = model(ids, use_cache=False).logits[0]
        alone = [_apart(model(ids[:, :n], use_cache=False).logits[0], wanted[:n]) for n in shorter]
        ends, apart, choices = _by_step(step, ids, buckets, wanted)
    except FAILURES as error:
        if known is not None and length > known and (ends_there or isinstance(error, IndexError)):
            raise CompileError(
                f"a cache of {length} positions, and the model's table of positions ends after {known} "
                "(max_position_embeddings)",
                "from_pretrained",
                f"Use a max_length of at most {known}.",
            ) from None
        raise CompileError(
            f"the cached step of this model does not run in PyTorch on a text of {length} tokens: {_told(error)}",
            "from_pretrained",
            HINT,
        ) from None
    if choices:
        raise CompileError(
            f"{choices[0]} by the order of numbers: those of one token tie, where PyTorch picks others in a longer "
            "text, and rounding changes the order",
            "from_pretrained",
            f"Use a max_length of at most {choices[0].most}, of which it picks all.",
        )
    for short, parts in zip(shorter, alone, strict=True):
        if not (parts <= TOLERANCE).all():
            raise CompileError(
                f"the logits of the first {short} tokens are others in a text of {length}, as with rotary embeddings "
                "that depend on the length; a prefill and a cache cannot give both",
                "from_pretrained",
                "Use a max_length that does not exceed the original length of the rotary embedding (longrope's "
                "original_max_position_embeddings). An encoder looks ahead: BERT writes text with "
                "config.is_decoder=True.",
            )
    wrong = ~(apart <= TOLERANCE)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise CompileError(
            f"the cached step of this model does not give its logits: at position {ends[first]} they differ by "
            f"{float(apart[first]):.2g} of their size (relative RMS; {TOLERANCE} is allowed)",
            "from_pretrained",
            HINT,
        )
    if batch > 1 and length > 1:
        _check_side_by_side(model, ids, wanted)
    if known is not None and length > known:
        warnings.warn(
            f"a cache of {length} positions, and the model was made for {known} (max_position_embeddings): what it "
            f"says behind position {known} may be nonsense, in PyTorch too",
            PositionsWarning,
            stacklevel=4,
        )


def _text(words: int, length: int) -> Tensor:
    """Tokens [1, length]: random ones, of few kinds."""
    draw = torch.Generator().manual_seed(0)
    kinds = torch.randint(0, words, (max(2, length // REPEATS),), generator=draw)
    return kinds[torch.randint(0, len(kinds), (1, length), generator=draw)]


def _apart(found: Tensor, wanted: Tensor) -> Tensor:
    """How far logits [n, vocabulary] are from others, by the size of those [n]: relative RMS, NaN where one is."""
    return (found - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)


def _by_step(
    step: CachedStep, ids: Tensor, buckets: Sequence[int], wanted: Tensor
) -> tuple[list[int], Tensor, list[Ordered]]:
    """Positions, how far the steps' logits there are from `wanted` [length, vocabulary], and the choices of keys.

    Chunks come first, between them and at the end single tokens; the last tokens that fit shorter steps follow, on the
    same cache.
    """
    model, length = step.model, ids.shape[1]
    single = {
        *(length * part // SINGLE for part in range(1, SINGLE)),
        *range(max(0, length - SINGLE), length),
    }
    starts = sorted({*range(0, length, CHUNK), *single, *(n + 1 for n in single), length})
    apart: list[Tensor] = []
    for start, stop in pairwise(starts):
        new, positions = ids[:, start:stop], torch.arange(start, stop)[None]
        logits = step(new, positions) if start in single else step.every_logits(new, positions)[0]
        apart.append(_apart(logits, wanted[start:stop]))
    ends = [*range(length)]
    for bucket in sorted(n for n in buckets if n < length):
        short = CachedStep(model, length, bucket=bucket).eval()
        for name, buffer in step.named_buffers(recurse=False):
            short.get_buffer(name).copy_(buffer)
        last = torch.tensor([[bucket - 1]])
        apart.append(_apart(short(ids[:, last[0]], last), wanted[last[0]]))
        ends.append(bucket - 1)
    return ends, torch.cat(apart), orders_of_keys(step, CachedStep(model, max(1, length // 2)).eval())


def _check_side_by_side(model: nn.Module, ids: Tensor, wanted: Tensor) -> None:
    """Two sequences of a step, one at the last position of the text and one in the middle.

    Raises:
        CompileError: they do not run, or give other logits than `wanted` [length, vocabulary].
    """
    length = ids.shape[1]
    last = torch.tensor([[length - 1], [length // 2 - 1]])
    both = ids.expand(2, length)
    try:
        step = CachedStep(model, length, 2).eval()
        for start in range(0, length - 1, CHUNK):
            stop = min(start + CHUNK, length - 1)
            step(both[:, start:stop], torch.arange(start, stop).expand(2, stop - start))
        part = _apart(step(both.gather(1, last), last), wanted[last[:, 0]])
    except FAILURES as error:
        why = f"does not run in PyTorch on two sequences: {_told(error)}"
    else:
        if (part <= TOLERANCE).all():
            return
        why = (
            "does not give its logits for two sequences at different positions, though it does for one: they differ "
            f"by {float(part.max()):.2g} of their size (relative RMS; {TOLERANCE} is allowed)"
        )
    raise CompileError(f"the cached step of this model {why}", "from_pretrained", "Use batch=1.")


def _told(error: Exception) -> str:
    """The type of an error and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
