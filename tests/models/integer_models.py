"""Small models of transformers that compute with their integer inputs: positions, masks, rotary tables, pooling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

LENGTH = 8
COMMON: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 24,
}
GROUPED: dict[str, Any] = {"num_key_value_heads": 1, "use_cache": False}
GPT: dict[str, Any] = {"n_embd": 64, "n_layer": 1, "n_head": 2, "vocab_size": 100, "n_positions": 24}
OPT: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 100}


class Named(nn.Module):
    """A model whose tensors of interest are its results."""

    def __init__(self, model: Any, results: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.results = model, results

    def forward(self, **inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(**inputs)
        return tuple(outputs[name] for name in self.results)


@dataclass(frozen=True)
class IntegerModel:
    """A model and two calls of it, which pad differently."""

    make: Callable[[], Any]
    calls: Callable[[], list[dict[str, Tensor]]]
    results: tuple[str, ...] = ("last_hidden_state",)

    def module(self) -> Named:
        """The model with random weights."""
        torch.manual_seed(0)
        return Named(self.make().eval(), self.results)


def ids(seed: int) -> Tensor:
    """Token ids that are no special ones."""
    return torch.randint(5, 90, (2, LENGTH), generator=torch.Generator().manual_seed(seed))


def padded(side: str, missing: tuple[int, int]) -> Tensor:
    """A mask of two sequences that lack so many tokens."""
    mask = torch.ones(2, LENGTH, dtype=torch.long)
    for row, count in zip(mask, missing, strict=True):
        if count:
            row[(slice(0, count) if side == "left" else slice(-count, None))] = 0
    return mask


def masked(
    side: str, pad: int | None = None, positions: bool = False
) -> Callable[[], list[dict[str, Tensor]]]:
    """Calls with an attention mask; padded tokens are `pad`, positions count the others."""

    def calls() -> list[dict[str, Tensor]]:
        made: list[dict[str, Tensor]] = []
        for seed, missing in ((1, (0, 3)), (2, (2, 1))):
            mask = padded(side, missing)
            tokens = ids(seed) if pad is None else ids(seed).masked_fill(mask == 0, pad)
            call = {"input_ids": tokens, "attention_mask": mask}
            if positions:
                call["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
            made.append(call)
        return made

    return calls


def plain(pad: int | None = None) -> Callable[[], list[dict[str, Tensor]]]:
    """Calls with ids alone, some of them `pad`."""

    def calls() -> list[dict[str, Tensor]]:
        return [{"input_ids": c["input_ids"]} for c in masked("right", pad)()]

    return calls


def packed() -> list[dict[str, Tensor]]:
    """Several sequences in one row, told apart by their positions alone."""
    cuts = ([0, 1, 2, 3, 0, 1, 2, 3], [0, 1, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 7])
    rows = [torch.tensor(cut) for cut in cuts]
    return [
        {"input_ids": ids(seed), "position_ids": torch.stack(pair)}
        for seed, pair in ((1, (rows[0], rows[1])), (2, (rows[2], rows[0])))
    ]


def ends(token: int) -> Callable[[], list[dict[str, Tensor]]]:
    """Calls whose sequences end by a token somewhere."""

    def calls() -> list[dict[str, Tensor]]:
        made: list[dict[str, Tensor]] = []
        for seed, places in ((1, (3, 7)), (2, (5, 0))):
            tokens = ids(seed)
            tokens[torch.arange(2), torch.tensor(places)] = token
            made.append({"input_ids": tokens})
        return made

    return calls


def _roberta(kind: Any, config: Any) -> Callable[[], Any]:
    return lambda: kind(config(**COMMON, pad_token_id=1), add_pooling_layer=False)


POOLED = ("last_hidden_state", "pooler_output")

MODELS: dict[str, IntegerModel] = {
    "RoBERTa": IntegerModel(_roberta(hf.RobertaModel, hf.RobertaConfig), masked("right", 1)),
    "RoBERTa without mask": IntegerModel(_roberta(hf.RobertaModel, hf.RobertaConfig), plain(1)),
    "XLM-RoBERTa, left": IntegerModel(_roberta(hf.XLMRobertaModel, hf.XLMRobertaConfig), masked("left", 1)),
    "CamemBERT": IntegerModel(_roberta(hf.CamembertModel, hf.CamembertConfig), masked("right", 1)),
    "MPNet": IntegerModel(_roberta(hf.MPNetModel, hf.MPNetConfig), masked("right", 1)),
    "ESM": IntegerModel(
        lambda: hf.EsmModel(
            hf.EsmConfig(
                **COMMON,
                pad_token_id=1,
                mask_token_id=4,
                position_embedding_type="rotary",
                emb_layer_norm_before=False,
                token_dropout=True,
            ),
            add_pooling_layer=False,
        ),
        masked("right", 1),
    ),
    "OPT, left": IntegerModel(
        lambda: hf.OPTModel(
            hf.OPTConfig(
                **OPT,
                ffn_dim=96,
                max_position_embeddings=24,
                word_embed_proj_dim=64,
                use_cache=False,
                pad_token_id=3,
            )
        ),
        masked("left", 3),
    ),
    "BLOOM, left": IntegerModel(
        lambda: hf.BloomModel(
            hf.BloomConfig(hidden_size=64, n_layer=1, n_head=2, vocab_size=100, use_cache=False)
        ),
        masked("left"),
    ),
    "BLOOM, right": IntegerModel(
        lambda: hf.BloomModel(
            hf.BloomConfig(hidden_size=64, n_layer=1, n_head=2, vocab_size=100, use_cache=False)
        ),
        masked("right"),
    ),
    "MPT": IntegerModel(
        lambda: hf.MptModel(
            hf.MptConfig(d_model=64, n_layers=1, n_heads=2, vocab_size=100, max_seq_len=24, use_cache=False)
        ),
        masked("right"),
    ),
    "Falcon with ALiBi": IntegerModel(
        lambda: hf.FalconModel(hf.FalconConfig(**OPT, alibi=True, use_cache=False)), masked("right")
    ),
    "XLM": IntegerModel(
        lambda: hf.XLMModel(
            hf.XLMConfig(
                emb_dim=64, n_layers=1, n_heads=2, vocab_size=100, max_position_embeddings=24, use_cache=False
            )
        ),
        masked("right", 2),
    ),
    "Llama with positions, left": IntegerModel(
        lambda: hf.LlamaModel(hf.LlamaConfig(**COMMON, **GROUPED)),
        masked("left", positions=True),
    ),
    "Llama with packed sequences": IntegerModel(
        lambda: hf.LlamaModel(hf.LlamaConfig(**COMMON, **GROUPED)), packed
    ),
    "GPT-J with positions, left": IntegerModel(
        lambda: hf.GPTJModel(hf.GPTJConfig(**GPT, **{"rotary_dim": 16, "use_cache": False})),
        masked("left", positions=True),
    ),
    "CLIP, pooled at the largest id": IntegerModel(
        lambda: hf.CLIPTextModel(hf.CLIPTextConfig(**COMMON, bos_token_id=0, eos_token_id=2)), plain(), POOLED
    ),
    "CLIP, pooled at the end token": IntegerModel(
        lambda: hf.CLIPTextModel(hf.CLIPTextConfig(**COMMON, bos_token_id=0, eos_token_id=95)),
        ends(95),
        POOLED,
    ),
    "GPT-2 that classifies": IntegerModel(
        lambda: hf.GPT2ForSequenceClassification(
            hf.GPT2Config(**GPT, use_cache=False, bos_token_id=0, eos_token_id=0, pad_token_id=3)
        ),
        plain(3),
        ("logits",),
    ),
    "M2M100's encoder": IntegerModel(
        lambda: hf.M2M100Model(
            hf.M2M100Config(
                d_model=64,
                encoder_layers=1,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=96,
                decoder_ffn_dim=96,
                vocab_size=100,
                max_position_embeddings=24,
                pad_token_id=1,
                use_cache=False,
            )
        ).get_encoder(),
        masked("right", 1),
    ),
}
"""By a name for tests."""
