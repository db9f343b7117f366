"""Encoders of text and images on the emulator: reduced stacks, and single layers at their real dimensions."""

from __future__ import annotations

import pytest
import torch

import plena
from tests.models.accuracy import compiled, require_accuracy
from tests.models.encoders import SO400M, VISION, VIT_BASE, padded, siglip, text, vit

pytest.importorskip("transformers")

BERT = ("BertModel", "BertConfig")


def test_classification_of_padded_texts() -> None:
    """Embeddings, a layer, pooler with tanh, classifier; lengths are inputs."""
    settings = {"num_labels": 3, "num_hidden_layers": 1}
    built = text("BertForSequenceClassification", "BertConfig", padded(2, 17), "logits", **settings)
    program = compiled(built)
    require_accuracy(program, built, 1)
    ids, mask = built.inputs
    other = mask.clone()
    other[:, 5:] = 0
    assert not torch.equal(program.run(ids, other), program.run(ids, mask))
    report = program.check(ids, other, quiet=True)
    assert report.passed, str(report)
    assert report.float32 is not None and report.float32.allclose_share == 1.0


@pytest.mark.parametrize("tokens", [1, 33])
def test_lengths_of_texts(tokens: int) -> None:
    built = text(*BERT, padded(1, tokens), "last_hidden_state", num_hidden_layers=1)
    require_accuracy(compiled(built), built, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("tokens", "heads"), [(200, 4), (512, 4), (65, 2), (17, 1)])
def test_long_texts_and_other_heads(tokens: int, heads: int) -> None:
    built = text(
        *BERT, padded(1, tokens), "last_hidden_state", num_hidden_layers=1, num_attention_heads=heads
    )
    require_accuracy(compiled(built), built, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config", "pick", "settings"),
    [
        ("BertModel", "BertConfig", "pooler_output", {}),
        ("BertForMaskedLM", "BertConfig", "logits", {}),
        ("BertForTokenClassification", "BertConfig", "logits", {"num_labels": 5}),
        ("ElectraModel", "ElectraConfig", "last_hidden_state", {"embedding_size": 64}),
        ("AlbertModel", "AlbertConfig", "last_hidden_state", {"embedding_size": 64}),
        ("ModernBertModel", "ModernBertConfig", "last_hidden_state", {"pad_token_id": 0}),
    ],
)
def test_families_of_text_encoders(name: str, config: str, pick: str, settings: dict[str, object]) -> None:
    built = text(name, config, padded(2, 17), pick, **settings)
    require_accuracy(compiled(built), built, 2)


@pytest.mark.parametrize(
    ("build", "image", "patch"),
    [pytest.param(vit, 28, 14, id="vit"), pytest.param(siglip, 25, 5, id="siglip", marks=pytest.mark.slow)],
)
def test_reduced_vision_stack(build: type, image: int, patch: int) -> None:
    """Heads of 72, patches that are no power of two, a class token in the ViT."""
    built = build(image, patch, VISION)
    require_accuracy(compiled(built), built, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "image", "patch", "settings", "batch"),
    [
        (vit, 224, 16, VIT_BASE, 1),
        (siglip, 128, 16, VIT_BASE, 1),
        (siglip, 112, 14, SO400M, 1),
        (vit, 24, 3, VISION, 2),
    ],
    ids=["ViT-B, 197 tokens", "SmolVLM2, 64 patches", "So400m, 64 patches", "patches of 3, two images"],
)
def test_vision_layers(build: type, image: int, patch: int, settings: dict[str, int], batch: int) -> None:
    built = build(image, patch, settings, batch=batch)
    require_accuracy(compiled(built), built, settings["num_hidden_layers"])


def test_images_and_masks_of_another_shape_are_refused() -> None:
    program = plena.compile(torch.nn.Conv2d(3, 16, 4, 4), (torch.zeros(1, 3, 8, 8),), target=plena.Target())
    with pytest.raises(plena.PlenaError, match=r"float32\[1, 3, 8, 8\] was given as float32\[1, 3, 12, 8\]"):
        program.run(torch.zeros(1, 3, 12, 8))


def test_a_text_that_is_longer_than_the_positions_is_refused() -> None:
    """By the model itself while it is captured, in one line."""
    built = text(*BERT, padded(1, 20), "last_hidden_state", max_position_embeddings=16)
    with pytest.raises(plena.PlenaError, match="16"):
        compiled(built)


def test_reports_by_module_path() -> None:
    built = siglip(16, 8, VISION | {"num_hidden_layers": 1})
    modules = compiled(built).stats().modules
    assert any("self_attn" in path for path in modules) and any("mlp" in path for path in modules)
    assert any("patch_embedding" in path for path in modules)
