#!/usr/bin/env bash
# One would guess that a program of torch.export holds operators of torch alone, and that its file loads wherever torch
# is: that is what the file is for. Seen: the experts of a transformers model are exported as an operator that
# transformers itself registers (transformers::grouped_mm_fallback), which run_decompositions() keeps; torch.export.load
# of the file raises RuntimeError in a process that has not imported transformers, and loads it after
# `import transformers.integrations.moe`. With batched_mm as experts implementation the file has torch's operators alone.
# With: torch==2.13.0 transformers==5.24.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 transformers==5.24.0 numpy==2.4.6
export HF_HUB_OFFLINE=1
venv/bin/python - <<'PY'
import torch
import transformers
from transformers import MixtralConfig, MixtralForCausalLM

print("torch", torch.__version__, "transformers", transformers.__version__)


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(ids, use_cache=False).logits


def foreign(program):
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    return sorted(target for target in targets if "." in target and not target.startswith("aten."))


config = MixtralConfig(
    vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
    num_key_value_heads=1, num_local_experts=4, num_experts_per_tok=2,
)
model = MixtralForCausalLM(config).eval()
for implementation in ("default", "batched_mm"):
    if implementation != "default":
        model.config._experts_implementation = implementation
    program = torch.export.export(Logits(model), (torch.arange(5)[None],))
    print(implementation, "as exported:", foreign(program))
    decomposed = program.run_decompositions()
    print(implementation, "decomposed:", foreign(decomposed))
    torch.export.save(decomposed, f"{implementation}.pt2")
    expected = ["transformers.grouped_mm_fallback.default"] if implementation == "default" else []
    assert foreign(program) == foreign(decomposed) == expected
PY
venv/bin/python - 2> log <<'PY'
import sys

import torch

ids = torch.arange(5)[None]
print("torch alone, batched_mm:", tuple(torch.export.load("batched_mm.pt2").module()(ids).shape))
try:
    torch.export.load("default.pt2")
    raise SystemExit("the file loads without transformers now")
except RuntimeError as error:
    print("torch alone, default:", type(error).__name__, str(error)[:60])
assert not any(name.startswith("transformers") for name in sys.modules)
import transformers.integrations.moe

print("with transformers, default:", tuple(torch.export.load("default.pt2").module()(ids).shape))
PY
grep -o "failed to resolve torch.ops.transformers.grouped_mm_fallback.default" log | head -1
