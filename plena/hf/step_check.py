"""Whether a cached step gives the logits of its model: both run in PyTorch on one random text."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from plena.errors import CompileError, PositionsWarning
from plena.hf.step_module import CachedStep

TOLERANCE = 1e-3
"""Relative RMS of the difference that is still rounding; what a step leaves out is far above, rounding far below."""
CHUNK = 64
"""Tokens of a prefill at most."""
SINGLE = 4
"""Tokens at the end that come one by one, as in decoding."""
SHORT = 16
"""Tokens of a text whose logits may not change when more follow: a prefill program is padded."""
HINT = (
    "Compile a step of your own by plena.compile. The cached step gives a model its positions and a mask of four "
    "dimensions, and keeps what layers give a cache's `update`; a model that takes positions or masks from the length "
    "of its cache, or keeps something else, needs one."
)


@torch.no_grad()
def check_step(model: nn.Module, length: int) -> None:
    """Run a step over a text as long as the cache, so that every window and every position counts.

    Args:
        model: a causal model of transformers.
        length: positions that the cache has.

    Raises:
        CompileError: the logits are not the model's, depend on what follows, one of both does not run, or the model has
            a table of fewer positions.
    """
    config: Any = model.config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    known: int | None = getattr(text, "max_position_embeddings", None)
    embeddings: Any = model.get_input_embeddings()  # type: ignore[operator]
    ids = torch.randint(0, len(embeddings.weight), (1, length), generator=torch.Generator().manual_seed(0))
    try:
        wanted: Tensor = model(ids, use_cache=False).logits[0]
        alone: Tensor = model(ids[:, :SHORT], use_cache=False).logits[0]
        ends, found = _by_step(CachedStep(model, length).eval(), ids)
    except (
        RuntimeError,
        TypeError,
        ValueError,
        AttributeError,
        AssertionError,
        IndexError,
        KeyError,
        NotImplementedError,
    ) as error:
        if isinstance(error, IndexError) and known is not None and length > known:
            raise CompileError(
                f"a cache of {length} positions, and the model's table of positions ends after {known} "
                "(max_position_embeddings)",
                "from_pretrained",
                f"Use a max_length of at most {known}.",
            ) from None
        reason = (str(error).strip().splitlines() or [""])[0]
        raise CompileError(
            f"the cached step of this model does not run in PyTorch on a text of {length} tokens: "
            f"{type(error).__name__}: {reason}",
            "from_pretrained",
            HINT,
        ) from None
    if ((alone - wanted[:SHORT]).norm(dim=-1) > TOLERANCE * alone.norm(dim=-1)).any():
        raise CompileError(
            f"the logits of the first {SHORT} tokens are others in a text of {length}, as with rotary embeddings that "
            "depend on the length; a prefill and a cache cannot give both",
            "from_pretrained",
            "Use a max_length that does not exceed the original length of the rotary embedding (longrope's "
            "original_max_position_embeddings). An encoder looks ahead: BERT writes text with config.is_decoder=True.",
        )
    difference, size = (found - wanted[ends]).norm(dim=-1), wanted[ends].norm(dim=-1)
    wrong = ~(difference <= TOLERANCE * size)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise CompileError(
            f"the cached step of this model does not give its logits: at position {ends[first]} they differ by "
            f"{float(difference[first] / size[first]):.2g} of their size (relative RMS; {TOLERANCE} is allowed)",
            "from_pretrained",
            HINT,
        )
    if known is not None and length > known:
        warnings.warn(
            f"a cache of {length} positions, and the model was made for {known} (max_position_embeddings): what it "
            f"says behind position {known} may be nonsense, in PyTorch too",
            PositionsWarning,
            stacklevel=4,
        )


def _by_step(step: CachedStep, ids: Tensor) -> tuple[list[int], Tensor]:
    """Positions and the step's logits there: chunks first, of which the last token counts, then token by token."""
    length = ids.shape[1]
    single = max(0, length - SINGLE)
    starts = [*range(0, single, CHUNK), *range(single, length), length]
    found: list[Tensor] = []
    for start, stop in pairwise(starts):
        found.append(step(ids[:, start:stop], torch.arange(start, stop)[None])[0])
    return [stop - 1 for stop in starts[1:]], torch.stack(found)
