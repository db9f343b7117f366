#!/usr/bin/env bash
# One would guess that config.rope_theta = 1e6 sets the rotary angles of a model built from the config, as the name in
# every config.json says and as it did. Seen: since transformers 5 the constructor takes the name, but an assigned one
# is an attribute that nothing reads: the angles stay those of the old base, save_pretrained writes both numbers, and
# loading takes the old one again. With: torch==2.13.0 numpy==2.4.6 transformers==5.24.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6 transformers==5.24.0
venv/bin/python - <<'PY'
import json
from pathlib import Path

import transformers
from transformers import LlamaConfig, LlamaModel

print("transformers", transformers.__version__)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
sizes |= {"vocab_size": 64, "num_hidden_layers": 1}


def frequencies(config):
    return LlamaModel(config).rotary_emb.inv_freq.tolist()


given = LlamaConfig(**sizes, rope_theta=1e6)
assigned = LlamaConfig(**sizes)
assigned.rope_theta = 1e6
print("given", frequencies(given), "assigned", frequencies(assigned))
assert frequencies(assigned) == frequencies(LlamaConfig(**sizes)) != frequencies(given)
assigned.save_pretrained("saved")
saved = json.loads(Path("saved/config.json").read_text())
print("saved", {name: value for name, value in saved.items() if name.startswith("rope")})
assert saved["rope_theta"] == 1e6 and saved["rope_parameters"]["rope_theta"] == 1e4
assert frequencies(LlamaConfig.from_pretrained("saved")) == frequencies(assigned)
PY
