#!/usr/bin/env bash
# One would guess that a llama GGUF loads in transformers with the rotary frequencies it was trained with. Seen:
# llama.cpp's converter writes the frequency scaling of Llama 3.1 and later as a tensor of divisors,
# rope_freqs.weight, with no key in the metadata; transformers drops the tensor without a word and makes plain rotary
# angles, and ignores the keys rope.scaling.type and factor of other models as well. Short prompts look right; far
# positions are those of another model. With: torch==2.13.0 numpy==2.4.6 transformers==5.24.0 gguf==0.19.0
# accelerate==1.15.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 transformers==5.24.0 gguf==0.19.0 accelerate==1.15.0
venv/bin/python - <<'PY'
import logging
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__)
records = []


class Keep(logging.Handler):
    def emit(self, record):
        records.append(record)


logging.getLogger("transformers").addHandler(Keep())
torch.manual_seed(0)
scaling = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0}
scaling |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 32}
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
config = LlamaConfig(**sizes, vocab_size=64, num_hidden_layers=1, max_position_embeddings=256, rope_parameters=scaling)
model = LlamaForCausalLM(config).eval()
plain = 500000.0 ** -(torch.arange(0, 16, 2) / 16)
divisors = (plain / model.model.rotary_emb.inv_freq).numpy()


def write(path, scaled_by_key=False):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(16)
    writer.add_rope_freq_base(500000.0)
    writer.add_vocab_size(64)
    if scaled_by_key:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(4.0)
    else:
        writer.add_tensor("rope_freqs.weight", divisors.astype(np.float32))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 1)
    for name, weight in model.state_dict().items():
        if "q_proj" in name or "k_proj" in name:  # llama.cpp keeps the two halves of a head interleaved
            weight = weight.reshape(2, 2, 8, 32).transpose(1, 2).reshape(32, 32)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write("model.gguf")
kept = {t.name: t.data for t in gguf.GGUFReader(Path("model.gguf")).tensors}
print("rope_freqs.weight in the file:", kept["rope_freqs.weight"].tolist())
loaded = LlamaForCausalLM.from_pretrained(".", gguf_file="model.gguf").eval()
print("loaded:", loaded.config.rope_parameters, "divisors", (plain / loaded.model.rotary_emb.inv_freq).tolist())
assert divisors.max() > 7.9 and torch.allclose(loaded.model.rotary_emb.inv_freq, plain)
assert loaded.config.rope_parameters["rope_type"] == "default"
assert not any("rope_freqs" in record.getMessage() for record in records)
same = [torch.equal(loaded.state_dict()[name], weight) for name, weight in model.state_dict().items()]
away = lambda n: (loaded(torch.arange(n)[None]).logits - model(torch.arange(n)[None]).logits).abs().max().item()
print("all weights equal:", all(same), "logits differ by", away(1), "at one token,", away(60), "at 60")
assert all(same) and away(1) < 1e-6 and away(60) > 1e-4
write("linear.gguf", scaled_by_key=True)
linear = LlamaForCausalLM.from_pretrained(".", gguf_file="linear.gguf")
print("llama.rope.scaling.type linear, factor 4:", linear.config.rope_parameters)
assert torch.allclose(linear.model.rotary_emb.inv_freq, plain)
PY
