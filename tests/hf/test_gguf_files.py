"""GGUF files whose rotary frequencies transformers does not read are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plena.errors import PlenaError

gguf: Any = pytest.importorskip("gguf")
pytest.importorskip("accelerate")

WIDTH, INNER, HEAD = 32, 64, 16


def write(path: Path, divisors: list[float] | None = None, linear: float | None = None) -> Path:
    """A llama of one layer as llama.cpp's converter writes it, without a tokenizer."""
    writer = gguf.GGUFWriter(str(path), "llama")
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
    if divisors is not None:
        writer.add_tensor("rope_freqs.weight", np.array(divisors, np.float32))
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (64, WIDTH), "output_norm": (WIDTH,)}
    shapes |= {f"blk.0.{name}_norm": (WIDTH,) for name in ("attn", "ffn")}
    shapes |= {f"blk.0.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
    shapes |= {f"blk.0.ffn_{name}": (INNER, WIDTH) for name in ("gate", "up")}
    shapes |= {"blk.0.ffn_down": (WIDTH, INNER)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.full(shape, 0.1, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_scaled_rotary_frequencies_are_refused(tmp_path: Path) -> None:
    from plena.hf.folder import load_model

    divided = write(tmp_path / "divided.gguf", divisors=[1.0] * 4 + [8.0] * 4)
    with pytest.raises(PlenaError, match=r"scales its rotary frequencies \(rope_freqs.weight\)"):
        load_model(divided)
    linear = write(tmp_path / "linear.gguf", linear=4.0)
    with pytest.raises(PlenaError, match=r"\(llama.rope.scaling.type = linear\)"):
        load_model(linear)


def test_plain_rotary_frequencies_load(tmp_path: Path) -> None:
    from plena.hf.folder import load_model

    for divisors in (None, [1.0] * 8):
        model = load_model(write(tmp_path / "plain.gguf", divisors=divisors))
        assert model.config.rope_parameters["rope_theta"] == 500000.0


def test_a_configuration_of_the_original_mends_it(tmp_path: Path) -> None:
    from transformers import AutoConfig

    from plena.hf.gguf_files import check_rotary

    path = write(tmp_path / "divided.gguf", divisors=[1.0] * 4 + [8.0] * 4)
    config: Any = AutoConfig.from_pretrained(tmp_path, gguf_file=path.name)
    with pytest.raises(PlenaError, match="Load the model from safetensors"):
        check_rotary(path, config)
    scaling = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    config.rope_parameters = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, **scaling}
    check_rotary(path, config)
    config.rope_parameters = {
        "full_attention": config.rope_parameters,
        "sliding_attention": {"rope_type": "default"},
    }
    check_rotary(path, config)
