#!/usr/bin/env bash
# One would guess that a causal model computes the same logits for a token whatever comes after it and whatever was
# computed before, with or without a cache. Seen: rotary embeddings of type dynamic keep the frequencies of the
# longest input so far, so the same call on the same input gives other logits after a longer one (until an input
# shorter than the original length); those of type longrope take other frequencies for all positions once an input is
# longer than the original length, so the first logits depend on the length, and token by token with a cache, whose
# keys were turned by the old frequencies, the logits are not those of one call. With: torch==2.13.0 numpy==2.4.6
# transformers==5.24.0.
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
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
longrope = {"factor": 4.0, "short_factor": [1.0] * 4, "long_factor": [2.0, 3.0, 4.0, 5.0]}
kinds = {
    "default": {},
    "dynamic": {"factor": 2.0},
    "longrope": {**longrope, "original_max_position_embeddings": 8},
}
ids = torch.arange(16)[None] * 3


def build(kind):
    torch.manual_seed(0)
    rope = {"rope_type": kind, "rope_theta": 10000.0, **kinds[kind]}
    config = LlamaConfig(**sizes, vocab_size=64, num_hidden_layers=2, max_position_embeddings=8, rope_parameters=rope)
    model = LlamaForCausalLM(config).eval()
    for weight in model.parameters():
        weight.data *= 8 if weight.ndim > 1 else 1
    return model


def apart(a, b):
    return (a - b).abs().max().item()


for kind in kinds:
    with torch.no_grad():
        model = build(kind)
        fresh = model(ids[:, :12]).logits
        whole = model(ids).logits
        again = model(ids[:, :12]).logits
        short = model(ids[:, :7]).logits
        after_short = model(ids[:, :12]).logits
        stepped, cache = [], None
        for place in range(16):
            out = model(ids[:, place : place + 1], cache=cache, use_cache=True)
            stepped.append(out.logits)
            cache = out.cache
    again, after_short = apart(fresh, again), apart(fresh, after_short)
    first, last = apart(short, whole[:, :7]), apart(stepped[-1], whole[:, -1:])
    print(kind, "- repeated after a longer call:", again, "and after a short one:", after_short)
    print("   first tokens alone and in a longer input:", first, "last token with a cache and without:", last)
    assert (again > 0.01) == (kind == "dynamic") and after_short < 1e-4
    assert (first > 0.01) == (last > 0.01) == (kind != "default")
PY
