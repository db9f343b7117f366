"""Randomly initialised encoders of transformers, of text and of images, at public dimensions or smaller."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.models.builders import Built, finite

os.environ.setdefault("HF_HUB_OFFLINE", "1")

TEXT: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
}
"""Heads of 32, reduced width."""

VISION: dict[str, Any] = {
    "hidden_size": 144,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 200,
}
"""Heads of 72, reduced width."""

VIT_BASE: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 1,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
"""One layer of ViT-B and of SmolVLM2's SigLIP at their real dimensions."""

SO400M: dict[str, Any] = {
    "hidden_size": 1152,
    "num_hidden_layers": 1,
    "num_attention_heads": 16,
    "intermediate_size": 4304,
}
"""One layer of SigLIP So400m at its real dimensions: heads of 72."""


class Picked(nn.Module):
    """A model that returns what `pick` makes of it and the inputs."""

    def __init__(self, model: nn.Module, pick: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.pick = pick

    def forward(self, *inputs: Tensor) -> Any:
        return self.pick(self.model, *inputs)


def made(name: str, config: str, settings: dict[str, Any], weights: bool = True) -> nn.Module:
    """A model with gains and biases that a program could not leave out unnoticed.

    `weights` False makes all of them the same number, which is quick: for programs that are only compiled.
    """
    import transformers
    from transformers.initialization import no_init_weights

    configuration = getattr(transformers, config)(**settings)
    torch.manual_seed(0)
    if not weights:
        with no_init_weights():
            bare = getattr(transformers, name)(configuration).eval()
        return finite(bare)
    model = getattr(transformers, name)(configuration).eval()
    generator = torch.Generator().manual_seed(2)
    for path, parameter in model.named_parameters():
        if parameter.ndim == 1:
            gain = "norm" in path.lower() and path.endswith("weight")
            parameter.data = float(gain) + torch.randn(parameter.shape, generator=generator) * 0.1
    return model


def padded(batch: int, tokens: int) -> tuple[Tensor, Tensor]:
    """Token ids and a mask [batch, tokens] that keeps all of the first text and half of the others."""
    ids = torch.randint(1, TEXT["vocab_size"], (batch, tokens), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(batch, tokens, dtype=torch.int64)
    mask[1:, (tokens + 1) // 2 :] = 0
    return ids, mask


def text(name: str, config: str, inputs: tuple[Tensor, ...], pick: str, **settings: Any) -> Built:
    """A text encoder on ids and a padding mask; `pick` is the attribute of its output that is returned."""

    def run(model: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
        return getattr(model(input_ids=ids, attention_mask=mask), pick)

    return Built(Picked(made(name, config, TEXT | settings), run).eval(), inputs)


def vision(
    name: str,
    config: str,
    image: int,
    patch: int,
    settings: dict[str, Any],
    *,
    batch: int = 1,
    weights: bool = True,
) -> Built:
    """An image encoder on pixels [batch, 3, image, image] in patches of `patch`: all its last hidden states."""
    model = made(name, config, settings | {"image_size": image, "patch_size": patch}, weights)
    pixels = torch.randn(batch, 3, image, image, generator=torch.Generator().manual_seed(1))
    return Built(Picked(model, lambda m, x: m(pixel_values=x).last_hidden_state).eval(), (pixels,))


def vit(image: int, patch: int, settings: dict[str, Any], *, batch: int = 1, weights: bool = True) -> Built:
    """A ViT: class token, learned positions, GELU in erf form, final norm."""
    return vision("ViTModel", "ViTConfig", image, patch, settings, batch=batch, weights=weights)


def siglip(
    image: int, patch: int, settings: dict[str, Any], *, batch: int = 1, weights: bool = True
) -> Built:
    """A SigLIP vision encoder without its pooling head: learned positions, GELU in tanh form, final norm."""
    headless = settings | {"vision_use_head": False}
    return vision(
        "SiglipVisionModel", "SiglipVisionConfig", image, patch, headless, batch=batch, weights=weights
    )


def bert_layer(settings: dict[str, Any], tokens: int) -> Built:
    """One BERT layer on hidden states [1, tokens, hidden], every token real, weights as memory happens to be."""
    model = made(
        "BertModel", "BertConfig", settings | {"vocab_size": 8, "num_hidden_layers": 1}, weights=False
    )

    def run(layer: nn.Module, hidden: Tensor) -> Tensor:
        found = layer(hidden)
        return found[0] if isinstance(found, tuple) else found

    hidden = torch.zeros(1, tokens, settings["hidden_size"])
    return Built(Picked(model.encoder.layer[0], run).eval(), (hidden,))  # pyright: ignore
