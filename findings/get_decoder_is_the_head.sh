#!/usr/bin/env bash
# One would guess that get_decoder() of a causal model of transformers gives the layers without the head, as it does for
# Llama, GPT-2 or OPT: code that wants features of the last token, or its own head, calls it.
# Seen: in ModernBertDecoderForCausalLM it gives the head, a Linear to the vocabulary, since it returns an attribute
# named decoder where there is one, and this model calls its head so. model.base_model is the layers.
# With: transformers==5.24.0 torch==2.13.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 transformers==5.24.0
HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import torch
import transformers

print("transformers", transformers.__version__, "torch", torch.__version__)
sizes = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
found = {}
for kind in ("Llama", "GPTNeoX", "ModernBertDecoder"):
    config = getattr(transformers, f"{kind}Config")(**sizes, **tokens)
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    decoder = model.get_decoder()
    found[kind] = decoder is model.get_output_embeddings()
    print(kind, "get_decoder() is a", type(decoder).__name__, "| base_model is a", type(model.base_model).__name__)
assert found == {"Llama": False, "GPTNeoX": False, "ModernBertDecoder": True}
assert isinstance(model.get_decoder(), torch.nn.Linear)
PY
