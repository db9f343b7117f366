"""GGUF files of which transformers does not read all, or which it cannot read, are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plena.errors import PlenaError

gguf: Any = pytest.importorskip("gguf")
pytest.importorskip("accelerate")

WIDTH, INNER, HEAD = 32, 64, 16


def write(
    path: Path,
    *,
    architecture: str = "llama",
    divisors: list[float] | None = None,
    linear: float | None = None,
    window: int | None = None,
    biased: bool = False,
    whole: bool = True,
) -> Path:
    """A model of one layer as llama.cpp's converter writes it, without a tokenizer."""
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(WIDTH // HEAD)
    writer.add_head_count_kv(WIDTH // HEAD)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(500000.0)
    writer.add_vocab_size(64)
    if linear is not None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(linear)
    if window is not None:
        writer.add_sliding_window(window)
    if divisors is not None:
        writer.add_tensor("rope_freqs.weight", np.array(divisors, np.float32))
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (64, WIDTH), "output_norm": (WIDTH,)}
    shapes |= {f"blk.0.{name}_norm": (WIDTH,) for name in ("attn", "ffn")}
    shapes |= {f"blk.0.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
    shapes |= {f"blk.0.ffn_{name}": (INNER, WIDTH) for name in ("gate", "up")}
    shapes |= {"blk.0.ffn_down": (WIDTH, INNER)} if whole else {}
    tensors = {f"{name}.weight": shape for name, shape in shapes.items()}
    tensors |= {f"blk.0.attn_{name}.bias": (WIDTH,) for name in "qkv"} if biased else {}
    for name, shape in tensors.items():
        writer.add_tensor(name, np.full(shape, 0.1, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_scaled_rotary_frequencies_are_refused(tmp_path: Path) -> None:
    from plena.hf.folder import load_model

    divided = write(tmp_path / "divided.gguf", divisors=[1.0] * 4 + [8.0] * 4)
    with pytest.raises(PlenaError, match=r"rotary frequencies are scaled \(rope_freqs.weight\)"):
        load_model(divided)
    linear = write(tmp_path / "linear.gguf", linear=4.0)
    with pytest.raises(PlenaError, match=r"\(rope.scaling.type = linear\)"):
        load_model(linear)


def test_windows_and_tensors_that_are_not_read_are_refused(tmp_path: Path) -> None:
    from plena.hf.folder import load_model

    windowed = write(tmp_path / "windowed.gguf", window=64)
    with pytest.raises(PlenaError, match="attention has a window of 64 tokens, not all"):
        load_model(windowed)
    biased = write(tmp_path / "biased.gguf", biased=True)
    with pytest.raises(PlenaError, match="its tensors have 12,480 numbers, the model 12,384"):
        load_model(biased)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    from plena.hf.folder import load_model

    with pytest.raises(PlenaError, match=r"no weights for model.layers.0.mlp.down_proj.weight, which"):
        load_model(write(tmp_path / "part.gguf", whole=False))


def test_a_file_that_transformers_cannot_read_is_one_error(tmp_path: Path) -> None:
    """transformers takes the scaling factor of gpt-oss for a number where it has an array."""
    from plena.hf.folder import load_model

    with pytest.raises(PlenaError, match=r"transformers cannot load it: TypeError: .* safetensors"):
        load_model(write(tmp_path / "gpt-oss.gguf", architecture="gpt-oss", linear=4.0))


def test_plain_files_load(tmp_path: Path) -> None:
    from plena.hf.folder import load_model

    for divisors, window in ((None, None), ([1.0] * 8, None), (None, 256)):
        model = load_model(write(tmp_path / "plain.gguf", divisors=divisors, window=window))
        assert model.config.rope_parameters["rope_theta"] == 500000.0


def test_a_configuration_of_the_original_mends_it(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    from plena.hf.gguf_files import check_file

    path = write(tmp_path / "divided.gguf", divisors=[1.0] * 4 + [8.0] * 4)
    config: Any = AutoConfig.from_pretrained(tmp_path, gguf_file=path.name)
    model: Any = AutoModelForCausalLM.from_config(config)
    with pytest.raises(PlenaError, match="Load the model from safetensors"):
        check_file(path, model)
    scaling = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    model.config.rope_parameters = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, **scaling}
    check_file(path, model)
    model.config.rope_parameters = {
        "full_attention": model.config.rope_parameters,
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
    check_file(path, model)


def test_another_rotary_base_is_refused(tmp_path: Path) -> None:
    """transformers reads no base for Starcoder2 and StableLM."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from plena.hf.gguf_files import check_file

    path = write(tmp_path / "plain.gguf")
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path, gguf_file=path.name))
    check_file(path, model)
    model.config.rope_parameters = {"rope_type": "default", "rope_theta": 10000.0}
    with pytest.raises(PlenaError, match="the rotary base is 500000, not 10000"):
        check_file(path, model)
