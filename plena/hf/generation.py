"""What of transformers' `generate` cannot be had of programs that keep one cache a sequence: refused, never ignored."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria

from plena.errors import FullCacheError, FullCacheWarning, PlenaError

_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "num_beam_groups": (None, 1),
    "guidance_scale": (None, 1, 1.0),
    "output_attentions": (None, False),
    "output_hidden_states": (None, False),
}
"""Settings with the values that ask for nothing special."""

_BEYOND = {
    "num_beams": "needs several continuations of one cache, which a sequence has alone",
    "num_beam_groups": "needs several continuations of one cache, which a sequence has alone",
    "guidance_scale": "runs the model on a second text with a cache of its own",
    "output_attentions": "asks for what the programs do not return",
    "output_hidden_states": "asks for what the programs do not return",
}

_ABSENT = {
    "assistant_model": "asks for logits of several tokens at a time",
    "prompt_lookup_num_tokens": "asks for logits of several tokens at a time",
    "assistant_early_exit": "asks for logits of several tokens at a time",
    "penalty_alpha": "asks for logits of several tokens at a time",
    "dola_layers": "asks for what the programs do not return",
    "inputs_embeds": "is no text: the programs take token ids",
    "past_key_values": "is a cache of transformers, the programs have their own",
    "cache_implementation": "names a cache of transformers, the programs have their own",
    "prefill_chunk_size": "cuts the prompt for a cache of transformers, `prefill=` says what the programs take",
    "custom_generate": "is another generate than the programs are made for",
}
"""Arguments that must not be given."""


def check_generation(kwargs: Mapping[str, Any], config: Any, batch: int) -> None:
    """Refuse what would run and be wrong.

    Args:
        kwargs: of `generate`.
        config: the generation configuration that counts where they say nothing.
        batch: sequences that there are caches for.

    Raises:
        PlenaError: the argument, why, and what to do.
    """

    def given(name: str) -> Any:
        return kwargs.get(name, getattr(config, name, None))

    for name, plain in _PLAIN.items():
        if given(name) not in plain:
            raise PlenaError(
                f"{name}={given(name)!r} {_BEYOND[name]}", "generate", f"Use {name}={plain[1]!r}."
            )
    for name, why in _ABSENT.items():
        if given(name) is not None:
            raise PlenaError(f"{name} {why}", "generate", f"Leave {name} out.")
    returned = given("num_return_sequences") or 1
    if returned > batch:
        raise PlenaError(
            f"num_return_sequences={returned} needs {returned} caches, there are {batch}",
            "generate",
            f"Use at most {batch}, or from_pretrained(..., batch={returned}).",
        )


@dataclass(frozen=True)
class Ends:
    """Where sequences of a `generate` end: at one of the tokens `stops` behind a prompt."""

    prompt: int
    stops: frozenset[int]

    def before(self, row: Tensor) -> bool:
        """Whether a sequence has ended, so that nobody asks what follows."""
        return not self.stops.isdisjoint(row[self.prompt :].tolist())


NOWHERE = Ends(0, frozenset())
"""Of calls that no `generate` makes."""


class FullCache(StoppingCriteria):
    """Where a text that goes on would not fit its cache.

    Args:
        ends: where texts end by themselves.
        gaps: padding before each text [batch].
        positions: that a cache has.
        wanted: tokens, padding included, at which all texts end.
        asked: whether that was given to `generate` itself.
    """

    def __init__(self, ends: Ends, gaps: Tensor, positions: int, wanted: int, asked: bool) -> None:
        self.ends, self.gaps, self.positions = ends, gaps, positions
        self.wanted, self.asked = wanted, asked

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Any:
        """Whether texts end here, all at once.

        Raises:
            FullCacheError: more tokens were asked for.

        Warns:
            FullCacheWarning: a configuration lets texts be longer.
        """
        held = (input_ids.shape[1] - self.gaps).tolist()
        # The last token of a text need not be in the cache.
        full = any(
            n > self.positions and not self.ends.before(row) for n, row in zip(held, input_ids, strict=True)
        )
        if full and input_ids.shape[1] < self.wanted:
            what = f"the cache of {self.positions} positions is full"
            if self.asked:
                raise FullCacheError(
                    what, "generate", _ROOM + " The error has the text: sequences.", input_ids
                )
            warnings.warn(f"{what}, so that the text ends. {_ROOM}", FullCacheWarning, stacklevel=2)
        return torch.full((input_ids.shape[0],), full)


_ROOM = "Ask for fewer new tokens, or compile with a larger max_length."


def full_cache(
    criteria: Sequence[Any], ends: Ends, ids: Tensor, mask: Tensor | None, positions: int, asked: bool
) -> FullCache:
    """The criterion beside those of transformers.

    Args:
        criteria: of transformers.
        ends: where texts end by themselves.
        ids, mask: the prompts [batch, n], and where they are no padding.
        positions: that a cache has.
        asked: whether the length was given to `generate` itself.

    Raises:
        PlenaError: a length was asked for that a text without end does not fit in.
    """
    count = ids.shape[1]
    gaps = torch.zeros(ids.shape[0], dtype=torch.int64) if mask is None else count - mask.sum(1)
    lengths = [int(c.max_length) for c in criteria if getattr(c, "max_length", None) is not None]
    wanted, longest = min(lengths), count - int(gaps.min())
    room = positions + 1 - longest
    if asked and len(lengths) == len(criteria) and 0 < room < wanted - count:
        raise PlenaError(
            f"{longest} tokens and {wanted - count} new ones do not fit the cache of {positions} positions",
            "generate",
            f"Use max_new_tokens={room} at most, or compile with a larger max_length.",
        )
    return FullCache(ends, gaps, positions, wanted, asked)
