"""`check` on model families of transformers, built from their configurations: each passes, a broken weight fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import plena
from tests.checking.test_verdict import break_weight

transformers = pytest.importorskip("transformers")

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 128,
    "max_position_embeddings": 64,
    "use_cache": False,
}
GROUPED = {**SMALL, "num_key_value_heads": 2, "tie_word_embeddings": True}
GPT = {"n_embd": 64, "n_layer": 1, "n_head": 4, "vocab_size": 128, "n_positions": 64, "use_cache": False}
EAGER = {"attn_implementation": "eager"}

FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("AutoModelForCausalLM", "llama", GROUPED),
    "llama, attention written out": ("AutoModelForCausalLM", "llama", {**GROUPED, **EAGER}),
    "qwen2": ("AutoModelForCausalLM", "qwen2", GROUPED),
    "gemma": ("AutoModelForCausalLM", "gemma", {**GROUPED, "head_dim": 16}),
    "gpt2": ("AutoModelForCausalLM", "gpt2", GPT),
    "opt": ("AutoModelForCausalLM", "opt", {**SMALL, "ffn_dim": 128, "word_embed_proj_dim": 64}),
    "bloom": (
        "AutoModelForCausalLM",
        "bloom",
        {"hidden_size": 64, "n_layer": 1, "n_head": 4, "vocab_size": 128},
    ),
    "phi": ("AutoModelForCausalLM", "phi", SMALL),
    "bert": ("AutoModelForMaskedLM", "bert", SMALL),
    "t5": (
        "T5EncoderModel",
        "t5",
        {"d_model": 64, "d_ff": 128, "num_layers": 1, "num_heads": 4, "d_kv": 16, "vocab_size": 128},
    ),
}


def model_of(family: str) -> torch.nn.Module:
    """The model with random gains and shifts, which a fresh one has as ones and zeros."""
    kind, name, settings = FAMILIES[family]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name, **settings)
    config.use_cache = False
    factory = getattr(transformers, kind)
    model = factory(config) if kind.startswith("T5") else factory.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_families_pass_and_fail(family: str) -> None:
    program = plena.compile(model_of(family), (torch.randint(3, 100, (1, 16)),))
    report = program.check(quiet=True)
    assert report.passed, str(report)
    assert report.quantized is not None and report.formats is not None
    assert report.quantized.relative_rms < report.formats.relative_rms / 3, "what is staged is rounded"
    break_weight(program)
    program.machine_reference = None
    assert any(failure.startswith("quantized") for failure in program.check(quiet=True).failures)
