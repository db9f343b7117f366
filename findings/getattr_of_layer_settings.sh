#!/usr/bin/env bash
# One would guess that getattr(config, name, None) never fails on a configuration of transformers, and that hasattr says
# whether a model has a setting: it is how code around transformers asks for head_dim, sliding_window and others.
# Seen: where layers may differ in a setting (Gemma 4's default configuration has heads of two sizes, and any
# configuration made with per_layer_config), both raise a RuntimeError that is no AttributeError, default or not.
# config.per_layer_config[i] has the settings of layer i.
# With: transformers==5.24.0 torch==2.13.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 transformers==5.24.0
HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import transformers


def asked(config, name):
    found = []
    for question in (lambda: hasattr(config, name), lambda: getattr(config, name, None)):
        try:
            found.append(str(question()))
        except Exception as error:
            assert isinstance(error, RuntimeError) and not isinstance(error, AttributeError)
            found.append(type(error).__name__)
    return found


print("transformers", transformers.__version__)
alike = transformers.CONFIG_MAPPING["gemma3_text"]()
gemma = transformers.CONFIG_MAPPING["gemma4_unified_text"]()
sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
llama = transformers.LlamaConfig(**sizes, per_layer_config={1: {"intermediate_size": 96}})
raised = ["AmbiguousGlobalPerLayerAttributeError"] * 2
for config, name, wanted in (
    (alike, "head_dim", ["True", "256"]),
    (gemma, "head_dim", raised),
    (gemma, "no_such_setting", ["False", "None"]),
    (llama, "intermediate_size", raised),
):
    found = asked(config, name)
    print(f"{type(config).__name__}.{name}: hasattr {found[0]}, getattr with a default {found[1]}")
    assert found == wanted
print("layers:", [llama.per_layer_config[n].intermediate_size for n in range(2)])
assert [llama.per_layer_config[n].intermediate_size for n in range(2)] == [128, 96]
PY
