#!/usr/bin/env bash
# One would guess that greedy generate() of a causal model of transformers writes the tokens that its forward ranks first.
# Seen: RoBERTa's kind (RoBERTa, XLM-R, CamemBERT with is_decoder=True) reads its table of positions behind the padding's
# id, from row 2 on, when forward is called; generate() gives it position ids from 0, as BERT counts, with and without a
# cache: rows 0 and 1 (the padding's) and so on. The text is another one, without a warning.
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

transformers.logging.set_verbosity_error()
print("transformers", transformers.__version__, "torch", torch.__version__)
sizes = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
tokens = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": None, "is_decoder": True}
prompt = torch.tensor([[5, 6, 7, 8]])
for kind, head in (("Bert", "BertLMHeadModel"), ("Roberta", "RobertaForCausalLM"), ("Camembert", "CamembertForCausalLM")):
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes, **tokens, max_position_embeddings=64)
    model = getattr(transformers, head)(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8 if weight.ndim > 1 else 1)
        written = [
            model.generate(prompt, max_new_tokens=6, do_sample=False, use_cache=cache)[0].tolist() for cache in (True, False)
        ]
        own = prompt
        for _ in range(6):
            own = torch.cat([own, model(own).logits[:, -1:].argmax(-1)], 1)
        rows = []
        table = model.base_model.embeddings.position_embeddings
        table.register_forward_pre_hook(lambda _, given: rows.append(given[0].flatten().tolist()))
        model(prompt)
        model.generate(prompt, max_new_tokens=1, do_sample=False)
    print(kind, "rows of positions: forward", rows[0], "generate", rows[1])
    print(f"    forward writes {own[0, 4:].tolist()}, generate {written[0][4:]}")
    assert rows[1] == [0, 1, 2, 3] and written[0] == written[1]
    alike = kind == "Bert"
    assert (rows[0] == rows[1]) is alike and (own[0].tolist() == written[0]) is alike
PY
