"""Whole models from transformers, randomly initialised: imported, lowered to `plena`, equal to PyTorch
throughout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plena.dialects import plena
from plena.dialects.plena import BandAttr
from tests.passes.tensor_pipeline import lowered, names, only, operations

transformers = pytest.importorskip("transformers")

IDS = torch.tensor([[5, 17, 3, 99, 42, 8, 1, 60, 2], [7, 7, 23, 4, 88, 0, 0, 0, 0]])
MASK = (IDS != 0).long()
SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "vocab_size": 100}
DECODER = SMALL | {"num_key_value_heads": 2, "num_hidden_layers": 2, "use_cache": False}


class Picked(nn.Module):
    """A model that returns one tensor of what it computes."""

    def __init__(self, model: nn.Module, pick: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self.pick = pick

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.pick(self.model, *inputs)


def initialised(model: Any) -> Any:
    """The model with gains and biases that are not the ones and zeros of initialisation."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.data = (1 + noise) if "norm" in name.lower() and "weight" in name else noise
    return model


def logits(model: Any, *inputs: Tensor) -> Tensor:
    return model(input_ids=inputs[0]).logits


def decoder(family: str, **settings: Any) -> Picked:
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**(DECODER | settings))
    return Picked(initialised(getattr(transformers, f"{family}ForCausalLM")(config)), logits)


def count(program: Any) -> Counter[str]:
    return Counter(names(program))


LAYERS = 2
LLAMA_LAYER = {
    "plena.rms_norm": 2,
    "plena.projections": 2,
    "plena.rotaries": 1,
    "plena.attention": 1,
    "plena.linear": 2,
    "plena.add": 2,
    "plena.gate": 1,
}


def of_layers(layer: dict[str, int], **rest: int) -> dict[str, int]:
    """The kernels of two layers and the rest of the model."""
    total = {name: LAYERS * number for name, number in layer.items()}
    for name, number in rest.items():
        total[f"plena.{name}"] = total.get(f"plena.{name}", 0) + number
    return total


ENDS = {"embedding": 1, "rms_norm": 1, "linear": 1, "reshape": 1}


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("Llama", {}),
        ("Llama", {"tie_word_embeddings": True}),
        ("Mistral", {"sliding_window": None, "head_dim": 16}),
        ("Qwen2", {}),
        ("Phi3", {"pad_token_id": 0}),
    ],
)
def test_llama_like_decoders_are_nothing_but_kernels(family: str, settings: dict[str, Any]) -> None:
    program = lowered(decoder(family, **settings), IDS)
    assert count(program) == of_layers(LLAMA_LAYER, **ENDS)
    for op in operations(program):
        if isinstance(op, plena.AttentionOp):
            assert op.band == BandAttr(None, 0) and op.kv_heads.value.data == 2
            assert op.bias is None and op.key_padding is None
        if isinstance(op, plena.RmsNormOp):
            assert op.gain is None, "the gain belongs into the weights"


def test_padding_mask_of_a_decoder() -> None:
    model = decoder("Llama")
    picked = Picked(model.model, lambda m, i, k: m(input_ids=i, attention_mask=k).logits * k[..., None])
    program = lowered(picked, IDS, MASK)
    attentions = [op for op in operations(program) if isinstance(op, plena.AttentionOp)]
    assert all(op.band == BandAttr(None, 0) and op.key_padding is not None for op in attentions)


def test_qwen3_norms_heads_in_place() -> None:
    program = lowered(decoder("Qwen3", head_dim=16), IDS)
    layer = LLAMA_LAYER | {"plena.rms_norm": 4}
    assert count(program) == of_layers(layer, **ENDS)
    groups = {op.groups.value.data for op in operations(program) if isinstance(op, plena.RmsNormOp)}
    assert groups == {1, 2, 4}


def test_gemma2_caps_and_windows() -> None:
    model = decoder("Gemma2", head_dim=16, sliding_window=4, query_pre_attn_scalar=64)
    model.model.set_attn_implementation("eager")
    program = lowered(model, IDS)
    attentions = [op for op in operations(program) if isinstance(op, plena.AttentionOp)]
    assert [op.band for op in attentions] == [BandAttr(-3, 0), BandAttr(None, 0)]
    assert all(op.scale.value.data == 0.125 for op in attentions)
    assert all(op.softcap.value.data == 50.0 for op in attentions)
    norms = [op for op in operations(program) if isinstance(op, plena.RmsNormOp)]
    assert len(norms) == 4 * LAYERS + 1
    assert sum(op.gain is not None for op in norms) == 2 * LAYERS, "norms behind a layer keep their gain"


@pytest.mark.parametrize(("family", "style"), [("GPTNeoX", "half"), ("Cohere", "interleaved")])
def test_other_rotary_embeddings(family: str, style: str) -> None:
    program = lowered(decoder(family), IDS)
    rotaries = [op for op in operations(program) if isinstance(op, plena.RotariesOp)]
    assert len(rotaries) == LAYERS and all(op.style.data == style for op in rotaries)
    assert all(len(op.inputs) == 2 for op in rotaries), "queries and keys turn together"
    if family == "GPTNeoX":
        assert all(op.cos.type.shape.data[1].data == 4 for op in rotaries), "a quarter of the head turns"
    assert not {"plena.slice", "plena.concat", "plena.rearrange"} & set(names(program))


def test_gpt2_splits_its_fused_projection() -> None:
    config = transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=100, use_cache=False)
    program = lowered(Picked(initialised(transformers.GPT2LMHeadModel(config)), logits), IDS)
    layer = {
        "plena.layer_norm": 2,
        "plena.projections": 1,
        "plena.attention": 1,
        "plena.linear": 3,
        "plena.add": 2,
        "plena.activation": 1,
    }
    assert count(program) == of_layers(layer, embedding=1, add=1, layer_norm=1, linear=1, reshape=1)


def test_attention_sinks_of_gpt_oss() -> None:
    config = transformers.GptOssConfig(
        hidden_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        intermediate_size=32, vocab_size=100, num_local_experts=2,
    )  # fmt: skip
    model = transformers.GptOssModel(config)
    model.set_attn_implementation("eager")
    attention = model.layers[0].self_attn
    attention.sinks.data.normal_()

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.rotary = attention, model.rotary_emb

        def forward(self, x: Tensor) -> Tensor:
            length = x.shape[1]
            embeddings = self.rotary(x, torch.arange(length)[None])
            mask = torch.triu(torch.full((length, length), float("-inf")), 1)[None, None]
            return self.attention(x, position_embeddings=embeddings, attention_mask=mask)[0]

    program = lowered(Layer(), torch.randn(2, 9, 64))
    assert only(program, plena.AttentionOp).sinks is not None


def embed(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Mean pooling under the mask and normalisation, as sentence encoders do."""
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    weights = mask.unsqueeze(-1).expand(hidden.size()).float()
    pooled = (hidden * weights).sum(1) / torch.clamp(weights.sum(1), min=1e-9)
    return torch.nn.functional.normalize(pooled, p=2, dim=1)


def test_bert_as_a_sentence_encoder() -> None:
    config = transformers.BertConfig(**SMALL, num_hidden_layers=2)
    program = lowered(Picked(initialised(transformers.BertModel(config)), embed), IDS, MASK)
    kernels = count(program)
    assert kernels["plena.attention"] == kernels["plena.projections"] == LAYERS
    assert kernels["plena.expand"] == kernels["plena.rearrange"] == 0
    assert kernels["plena.reduce"] == 2 and kernels["plena.cast"] == 1
    paddings = {op.key_padding for op in operations(program) if isinstance(op, plena.AttentionOp)}
    assert len(paddings) == 1 and None not in paddings


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_other_encoders_with_padding(implementation: str) -> None:
    config = transformers.DistilBertConfig(dim=64, n_layers=1, n_heads=4, hidden_dim=96, vocab_size=100)
    model = initialised(transformers.DistilBertModel(config))
    model.set_attn_implementation(implementation)
    program = lowered(
        Picked(model, lambda m, i, k: m(input_ids=i, attention_mask=k).last_hidden_state), IDS, MASK
    )
    assert only(program, plena.AttentionOp).key_padding is not None


def test_t5_encoder_shares_its_position_bias() -> None:
    config = transformers.T5Config(d_model=64, d_kv=16, d_ff=96, num_heads=4, num_layers=2, vocab_size=100)
    model = transformers.T5EncoderModel(config)
    program = lowered(
        Picked(model, lambda m, i, k: m(input_ids=i, attention_mask=k).last_hidden_state), IDS, MASK
    )
    attentions = [op for op in operations(program) if isinstance(op, plena.AttentionOp)]
    assert len({op.bias for op in attentions}) == 1 and all(op.key_padding is not None for op in attentions)


IMAGE = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96, "num_hidden_layers": 1}


def test_vit() -> None:
    config = transformers.ViTConfig(**IMAGE, image_size=24, patch_size=8)
    model = Picked(initialised(transformers.ViTModel(config)), lambda m, x: m(pixel_values=x).pooler_output)
    program = lowered(model, torch.randn(2, 3, 24, 24))
    assert "plena.rearrange" not in names(program) and "plena.expand" not in names(program)
    assert only(program, plena.ConcatOp).groups.value.data == 2


def test_siglip_with_an_odd_patch_size_and_its_pooling_head() -> None:
    config = transformers.SiglipVisionConfig(**IMAGE, image_size=20, patch_size=6)
    model = Picked(
        initialised(transformers.SiglipVisionModel(config)), lambda m, x: m(pixel_values=x).pooler_output
    )
    program = lowered(model, torch.randn(2, 3, 20, 20))
    lengths = [op.query_length for op in operations(program) if isinstance(op, plena.AttentionOp)]
    assert lengths == [9, 1]
    assert not {"plena.rearrange", "plena.slice", "plena.expand"} & set(names(program))


def test_clip_vision_uses_the_quick_gelu() -> None:
    config = transformers.CLIPVisionConfig(**IMAGE, image_size=16, patch_size=8)
    model = Picked(
        initialised(transformers.CLIPVisionModel(config)), lambda m, x: m(pixel_values=x).pooler_output
    )
    program = lowered(model, torch.randn(1, 3, 16, 16))
    assert only(program, plena.ActivationOp).kind.data == "gelu_quick"
