#!/usr/bin/env bash
# One would guess that transformers reads of a supported GGUF file what its model needs, or says that it does not.
# Seen (other keys than those of gguf_rope_freqs): the window of attention of a Phi-3 file becomes attention to
# everything; the rotary base of a Starcoder2 or StableLM file is 10000 whatever the file says; biases of a llama
# file's attention are dropped, so that the model computes other logits; and a gpt-oss file that says how its rotary
# frequencies are scaled, as all do, raises TypeError. Nothing is logged but for the error. With: torch==2.13.0
# numpy==2.4.6 transformers==5.24.0 gguf==0.19.0 accelerate==1.15.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 transformers==5.24.0 gguf==0.19.0 accelerate==1.15.0
venv/bin/python - <<'PY'
import logging

import gguf
import torch
import transformers
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__)
records = []


class Keep(logging.Handler):
    def emit(self, record):
        records.append(record.getMessage())


logging.getLogger("transformers").addHandler(Keep())


def header(path, architecture):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_layer_norm_eps(1e-5)
    writer.add_rope_dimension_count(16)
    writer.add_rope_freq_base(500000.0)
    writer.add_vocab_size(64)
    return writer


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


for architecture in ("phi3", "gemma2", "starcoder2", "stablelm"):
    writer = header(f"{architecture}.gguf", architecture)
    writer.add_sliding_window(8)
    finish(writer)
    config = AutoConfig.from_pretrained(".", gguf_file=f"{architecture}.gguf")
    window, base = getattr(config, "sliding_window", None), config.rope_parameters["rope_theta"]
    print(architecture, "file: window 8, base 500000 - read: window", window, "base", base)
    assert window == (8 if architecture == "gemma2" else None)
    assert base == (500000 if architecture in ("phi3", "gemma2") else 10000)
assert not [text for text in records if "window" in text or "freq_base" in text]

torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
sizes |= {"vocab_size": 64, "num_hidden_layers": 1, "max_position_embeddings": 256, "rms_norm_eps": 1e-6}
rotary = {"rope_type": "default", "rope_theta": 500000.0}
model = LlamaForCausalLM(LlamaConfig(**sizes, attention_bias=True, rope_parameters=rotary)).eval()
with torch.no_grad():
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            weight.normal_()
writer = header("biased.gguf", "llama")
names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 1)
for name, weight in model.state_dict().items():
    if "q_proj" in name or "k_proj" in name:  # llama.cpp keeps the two halves of a head interleaved
        weight = weight.reshape(2, 2, 8, -1).transpose(1, 2).reshape(weight.shape)
    writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), weight.contiguous().numpy())
finish(writer)
kept = [tensor.name for tensor in gguf.GGUFReader("biased.gguf").tensors if tensor.name.endswith("bias")]
print("biases in the file:", kept)
records.clear()
loaded, report = LlamaForCausalLM.from_pretrained(".", gguf_file="biased.gguf", output_loading_info=True)
loaded.eval()
equal = [torch.equal(weight, model.state_dict()[name]) for name, weight in loaded.state_dict().items()]
text = torch.arange(8)[None]
away = (loaded(text).logits - model(text).logits).abs().max().item()
print("weights equal:", all(equal), "logits differ by", away, "report", {k: v for k, v in report.items() if v})
assert len(kept) == 4 and all(equal) and away > 1e-3
assert not any(report.values()) and not [text for text in records if "bias" in text]

writer = header("gpt-oss.gguf", "gpt-oss")
writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
writer.add_rope_scaling_factor(32.0)
writer.add_rope_scaling_orig_ctx_len(4096)
finish(writer)
try:
    AutoConfig.from_pretrained(".", gguf_file="gpt-oss.gguf")
    raise SystemExit("gpt-oss was read")
except TypeError as error:
    print("gpt-oss: TypeError,", error)
PY
