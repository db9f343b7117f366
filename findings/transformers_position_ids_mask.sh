#!/usr/bin/env bash
# One would guess position_ids of a decoder set the rotary angles and nothing else; the attention stays causal, and
# use_cache changes no logits.
# Seen: without an attention mask and with use_cache=False, positions that start again at 0 make the mask
# block-diagonal: each run of positions sees itself only. With the default use_cache=True, or with an attention mask
# of ones, the same call attends across. torch.export keeps it, so the mask is a function of the positions given at
# run time.
# With: torch==2.13.0 numpy==2.4.6 transformers==5.24.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 transformers==5.24.0
venv/bin/python - <<'PY'
import logging

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

logging.disable(logging.WARNING)
print("transformers", transformers.__version__)
torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
model = LlamaForCausalLM(LlamaConfig(vocab_size=64, num_hidden_layers=2, **sizes)).eval()
ids = torch.arange(6)[None] * 7
packed = torch.tensor([[0, 1, 2, 0, 1, 2]])


class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, ids, positions):
        return self.model(ids, position_ids=positions, use_cache=False).logits


with torch.no_grad():
    alone = model(ids[:, 3:]).logits
    given = {
        "use_cache=False": Logits()(ids, packed),
        "exported": torch.export.export(Logits(), (ids, torch.arange(6)[None]), strict=False).module()(ids, packed),
        "use_cache=True": model(ids, position_ids=packed).logits,
        "mask of ones": model(ids, position_ids=packed, attention_mask=torch.ones_like(ids), use_cache=False).logits,
    }
away = {name: (logits[:, 3:] - alone).abs().max().item() for name, logits in given.items()}
print("second half in the row against the second half alone:", away)
assert away["use_cache=False"] < 1e-4 and away["exported"] < 1e-4
assert away["use_cache=True"] > 1e-2 and away["mask of ones"] > 1e-2
PY
