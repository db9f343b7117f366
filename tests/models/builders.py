"""Randomly initialised decoders of transformers, at the dimensions of public models or smaller."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SHAPES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "data/shapes.json").read_text())

CLASSES = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "gemma2": "Gemma2", "llada": "Llama"}
"""The class names of a family in transformers; LLaDA is a Llama that sees both directions."""

LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

REDUCED: dict[str, Any] = {
    "hidden": 128,
    "intermediate": 256,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 64,
    "layers": 2,
    "vocab": 300,
}
"""Every family at reduced width."""


@dataclass(frozen=True)
class Built:
    """A module in evaluation mode and example inputs."""

    module: nn.Module
    inputs: tuple[Tensor, ...]


class Hidden(nn.Module):
    """Hidden states in and out: the layers and the final norm."""

    def __init__(self, model: nn.Module, bidirectional: bool) -> None:
        super().__init__()
        self.model = model
        self.bidirectional = bidirectional

    def forward(self, x: Tensor) -> Tensor:
        mask = _all_seen(x) if self.bidirectional else None
        return self.model(inputs_embeds=x, attention_mask=mask, use_cache=False).last_hidden_state


class Layer(nn.Module):
    """One decoder layer called by itself: hidden states in and out, no final norm."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.layer = model.layers[0]
        self.rotary = model.rotary_emb

    def forward(self, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1])[None]
        angles = self.rotary(x, positions)
        return self.layer(x, attention_mask=None, position_ids=positions, position_embeddings=angles)


class NextToken(nn.Module):
    """Token ids in, the logits of the last position out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits


class Logits(nn.Module):
    """Token ids in, logits out."""

    def __init__(self, model: nn.Module, bidirectional: bool) -> None:
        super().__init__()
        self.model = model
        self.bidirectional = bidirectional

    def forward(self, ids: Tensor) -> Tensor:
        mask = _all_seen(ids) if self.bidirectional else None
        return self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits


def hidden(shape: dict[str, Any], sequence: int, batch: int = 1, *, weights: bool = True) -> Built:
    """Layers and final norm of a family on hidden states [batch, sequence, hidden].

    Args:
        shape: an entry of shapes.json, ``layers`` as wanted.
        weights: False leaves the weights as memory happens to be: for programs that are only compiled.
    """
    config, classes = configuration(shape | {"vocab": 8})
    return Built(
        Hidden(_made(classes + "Model", config, weights), bidirectional(shape)).eval(),
        (torch.randn(batch, sequence, shape["hidden"], generator=torch.Generator().manual_seed(1)),),
    )


def layer(shape: dict[str, Any], sequence: int) -> Built:
    """The first layer of a causal family by itself, on hidden states [1, sequence, hidden]; weights as memory is."""
    built = hidden(shape, sequence, weights=False)
    assert isinstance(built.module, Hidden)
    return Built(Layer(built.module.model).eval(), built.inputs)


def logits(shape: dict[str, Any], sequence: int, batch: int = 1) -> Built:
    """A whole model of a family on token ids [batch, sequence]."""
    config, classes = configuration(shape)
    ids = torch.randint(0, shape["vocab"], (batch, sequence), generator=torch.Generator().manual_seed(1))
    return Built(Logits(_made(classes + "ForCausalLM", config, True), bidirectional(shape)).eval(), (ids,))


def next_token(shape: dict[str, Any], sequence: int) -> Built:
    """A whole causal model on token ids [1, sequence], logits of the last one; weights as memory is."""
    config, classes = configuration(shape)
    ids = torch.ones(1, sequence, dtype=torch.int64)
    return Built(NextToken(_made(classes + "ForCausalLM", config, False)).eval(), (ids,))


def streamed_next_token(shape: dict[str, Any], sequence: int, *, weights: bool = True) -> Built:
    """As `next_token`, in bf16 and never in memory otherwise: random weights are made some rows at a time.

    Args:
        weights: False makes every parameter one number in no memory, for programs that are only compiled.
    """
    import transformers

    config, classes = configuration(shape)
    with torch.device("meta"):
        model = getattr(transformers, classes + "ForCausalLM")(config).to(torch.bfloat16)
    generator = torch.Generator().manual_seed(2)
    for path, parameter in list(model.named_parameters()):
        owner, _, name = path.rpartition(".")
        if weights:
            values = torch.empty(parameter.shape, dtype=torch.bfloat16)
            for part in values.split(4096):
                part.normal_(0.0 if part.ndim > 1 else 1.0, 0.02, generator=generator)
        else:
            values = torch.full((1,), 0.01, dtype=torch.bfloat16).expand(parameter.shape)
        setattr(model.get_submodule(owner), name, nn.Parameter(values, requires_grad=False))
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.tie_weights()
    ids = torch.randint(0, shape["vocab"], (1, sequence), generator=generator)
    return Built(NextToken(model).eval(), (ids,))


def step(shape: dict[str, Any], keys: int, batch: int = 1) -> Built:
    """A decode step of a family: a token of each sequence at its own position below `keys`; weights as memory is."""
    from plena.hf.step_module import CachedStep

    config, classes = configuration(shape)
    model = CachedStep(_made(classes + "ForCausalLM", config, False), keys, batch)
    ids = torch.ones(batch, 1, dtype=torch.int64)
    return Built(model.eval(), (ids, ids.clone()))


def public(name: str, layers: int) -> dict[str, Any]:
    """The dimensions of a public model with so many layers."""
    return SHAPES[name] | {"layers": layers}


def bidirectional(shape: dict[str, Any]) -> bool:
    return bool(shape.get("bidirectional")) or shape.get("family") == "llada"


def configuration(shape: dict[str, Any]) -> tuple[Any, str]:
    """The configuration, and what the classes of the family begin with."""
    import transformers

    classes = CLASSES[shape.get("family", "llama")]
    settings: dict[str, Any] = {
        "hidden_size": shape["hidden"],
        "intermediate_size": shape["intermediate"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"],
        "head_dim": shape["head_dim"],
        "num_hidden_layers": shape["layers"],
        "vocab_size": shape["vocab"],
        "rms_norm_eps": shape.get("norm_eps", 1e-5),
        "tie_word_embeddings": bool(shape.get("tied_embeddings")),
        "pad_token_id": None,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    rope: dict[str, Any] = {"rope_theta": shape.get("rope_theta", 10000.0), "rope_type": "default"}
    if shape.get("rope_scaling") == "llama3":
        rope |= LLAMA3_SCALING
        settings["max_position_embeddings"] = 131072
    return getattr(transformers, f"{classes}Config")(
        **settings, rope_parameters=rope, **shape.get("settings", {})
    ), classes


def finite(model: nn.Module) -> nn.Module:
    """A model without initial weights: as memory happens to be, some would be infinite, which changes programs."""
    for parameter in model.parameters():
        parameter.data.fill_(0.01)
    return model


def _made(name: str, config: Any, weights: bool) -> nn.Module:
    import transformers

    torch.manual_seed(0)
    if not weights:
        from transformers.initialization import no_init_weights

        with no_init_weights():
            return finite(getattr(transformers, name)(config))
    model = getattr(transformers, name)(config)
    generator = torch.Generator().manual_seed(2)
    for path, parameter in model.named_parameters():
        if parameter.ndim == 1:
            # Gains and biases that a program could not leave out unnoticed.
            noise = torch.randn(parameter.shape, generator=generator) * 0.1
            centre = 1.0 if "norm" in path and name[:5] != "Gemma" else 0.0
            parameter.data = centre + noise
    return model


def _all_seen(x: Tensor) -> Tensor:
    batch, sequence = x.shape[:2]
    return torch.ones(batch, 1, sequence, sequence, dtype=torch.bool)
