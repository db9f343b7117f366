#!/usr/bin/env bash
# One would guess that a cache of keys and values means the same inside an exported program as outside: transformers
# registers DynamicCache for torch.export. Seen: of a model with a sliding window only keys and values are kept, not
# how many tokens were read. Up to the window all is well; beyond it the program takes the cache for that of a short
# text, turns the new tokens by the angles of its first positions, and the logits are those of another text, without a
# word. DynamicCache(list of keys and values, config=...) forgets the same. A call of the program also leaves the
# cache it is given as it was, where the model itself would extend it. With: torch==2.13.0 numpy==2.4.6
# transformers==5.24.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 transformers==5.24.0
venv/bin/python - <<'PY'
import copy
import logging
import warnings

import torch
import transformers
from transformers import DynamicCache, MistralConfig, MistralForCausalLM
from transformers.integrations.executorch import register_dynamic_cache_export_support

warnings.simplefilter("ignore")
logging.getLogger("torch").setLevel(logging.ERROR)
print("transformers", transformers.__version__, "torch", torch.__version__)
register_dynamic_cache_export_support()
torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
config = MistralConfig(**sizes, vocab_size=64, num_hidden_layers=2, max_position_embeddings=64, sliding_window=4)
model = MistralForCausalLM(config).eval()
text = torch.randint(0, 64, (1, 12))


class WithCache(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, tokens, cache):
        return self.model(tokens, past_key_values=cache, use_cache=True).logits


with torch.no_grad():
    whole = model(text, use_cache=False).logits
    away = {}
    for read in (2, 8):
        cache = model(text[:, :read]).past_key_values
        tokens = text[:, read : read + 2]
        eager = model(tokens, past_key_values=copy.deepcopy(cache)).logits
        program = torch.export.export(WithCache(), (tokens, copy.deepcopy(cache)), strict=False)
        given = copy.deepcopy(cache)
        exported = program.module()(tokens, given)
        rebuilt = DynamicCache([(layer.keys, layer.values) for layer in cache.layers], config=config)
        by_hand = model(tokens, past_key_values=copy.deepcopy(rebuilt)).logits
        away[read] = [(x - whole[:, read : read + 2]).abs().max().item() for x in (eager, exported, by_hand)]
        print("after", read, "tokens, away by: eager, exported, rebuilt from keys and values", away[read])
        lengths = [c.get_seq_length() for c in (cache, rebuilt, given)]
        print("   lengths: the cache", lengths[0], "rebuilt", lengths[1], "after a call of the program", lengths[2])
        assert cache.get_seq_length() == given.get_seq_length() == read
        assert rebuilt.get_seq_length() == min(read, 3)
assert max(away[2]) < 1e-6 and away[8][0] < 1e-6 and min(away[8][1:]) > 1e-4
PY
