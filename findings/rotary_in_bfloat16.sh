#!/usr/bin/env bash
# One would guess that model.bfloat16() and from_pretrained(dtype=torch.bfloat16) give the same model: the same
# weights, rounded once. Seen: the rotary frequencies are a buffer, which .bfloat16() and .to(dtype) round with the
# weights and from_pretrained keeps in float32. 0.1 becomes 0.10009765625, so that at position 4,000 angles are off by
# 0.4, and casting back to float32 does not mend it. With: torch==2.13.0 numpy==2.4.6 transformers==5.24.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 transformers==5.24.0
venv/bin/python - <<'PY'
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

print("transformers", transformers.__version__)
torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=64, num_hidden_layers=1)).save_pretrained("model")
loaded = LlamaForCausalLM.from_pretrained("model", dtype=torch.bfloat16)
cast = LlamaForCausalLM.from_pretrained("model", dtype=torch.float32).bfloat16()
weights = dict(loaded.named_parameters())
assert all(torch.equal(weights[name], weight) for name, weight in cast.named_parameters())
frequencies = {"loaded": loaded.model.rotary_emb.inv_freq, "cast": cast.model.rotary_emb.inv_freq}
print("weights are equal; frequencies", {name: value.tolist() for name, value in frequencies.items()})
assert frequencies["loaded"].dtype == torch.float32 and frequencies["cast"].dtype == torch.bfloat16
assert frequencies["cast"][1].item() == 0.10009765625
positions = torch.tensor([[4000]])
hidden = torch.zeros(1, 1, 32)
cosines = {name: m.float().model.rotary_emb(hidden, positions)[0] for name, m in (("loaded", loaded), ("cast", cast))}
print("cosines at position 4000, both models in float32:", {name: c[0, 0, :4].tolist() for name, c in cosines.items()})
assert (cosines["loaded"] - cosines["cast"]).abs().max() > 0.2
PY
