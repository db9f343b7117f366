#!/usr/bin/env bash
# One would guess that a boolean attention mask of four dimensions means the same to every attention of transformers:
# True may be seen. Seen: sdpa hides what is False; eager adds the mask to the scores as 1 and 0, so that nothing is
# hidden and every token sees the future. A mask of ones and zeros as floats is added by both, though of two
# dimensions it is a mask of what may be seen. With: torch==2.13.0 numpy==2.4.6 transformers==5.24.0.
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
model = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=64, num_hidden_layers=2)).eval()
ids = torch.arange(8)[None] * 7
changed = ids.clone()
changed[0, -1] = 3
seen = torch.ones(8, 8, dtype=torch.bool).tril()[None, None]
masks = {
    "none": None,
    "boolean": seen,
    "float of 0 and 1": seen.float(),
    "0 and -inf": torch.zeros(1, 1, 8, 8).masked_fill(~seen, -torch.inf),
}
leaks = {}
for attention in ("sdpa", "eager"):
    model.set_attn_implementation(attention)
    for kind, mask in masks.items():
        with torch.no_grad():
            first = model(ids, attention_mask=mask).logits[:, 0]
            second = model(changed, attention_mask=mask).logits[:, 0]
        leaks[attention, kind] = (first - second).abs().max().item()
        print(attention, "mask:", kind, "- the first token changes with the last one by", leaks[attention, kind])
assert {key for key, leak in leaks.items() if leak > 1e-4} == {
    ("eager", "boolean"),
    ("eager", "float of 0 and 1"),
    ("sdpa", "float of 0 and 1"),
}
assert all(leak == 0 or leak > 1e-4 for leak in leaks.values())
PY
