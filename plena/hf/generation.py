"""What of transformers' `generate` cannot be had of programs that keep one cache a sequence: refused, never ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from plena.errors import PlenaError

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
