"""Small random language models, and a machine that holds everything in bf16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from plena import Target
from tests.kernels.checking import machine

PLAIN = {"format": "Plain", "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7}}
TYPES = ("HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE", "HBM_V_ACT_TYPE", "HBM_V_KV_TYPE")


def exact_machine() -> Target:
    """A machine that holds everything in bf16, so that its choices are PyTorch's."""
    return machine(16).with_settings({f"PRECISION.{name}": PLAIN for name in TYPES})


SIZES: dict[str, int] = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def small(kind: str = "Llama", **settings: Any) -> Any:
    """A random model that is sure of what it says."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **settings})
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data *= 2
    return model


def words() -> Any:
    """A tokenizer of the words w3 to w96, its chat template their plain sequence."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    known = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"w{n}": n for n in range(3, 97)}}
    tokenizer = Tokenizer(WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")
    fast.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    return fast


def prompt(length: int, seed: int = 0) -> Tensor:
    """Random tokens [1, length]."""
    return torch.randint(3, 97, (1, length), generator=torch.Generator().manual_seed(seed))
