#!/usr/bin/env bash
# One would guess that x.to(torch.bfloat16).to(torch.float32) rounds, compiled or not: it is the plain way to write
# what a bfloat16 register does. Seen: torch.compile with its default backend (it needs a C++ compiler) takes the pair
# of casts out, for bfloat16 and float16: 1e6 through float16 is 1e6, not infinity, and in bfloat16 (256 + 1) - 256 is
# 1, not 0. The pair through float8 stays. Backend aot_eager rounds, and so does the default one with
# torch._inductor.config.emulate_precision_casts. With: torch==2.13.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PY'
import torch
import torch._inductor.config

print("torch", torch.__version__)
x = torch.tensor([1.001, 0.3, 1e6])


def through(dtype):
    return lambda x: x.to(dtype).to(torch.float32)


for dtype in (torch.bfloat16, torch.float16, torch.float8_e4m3fn):
    eager, compiled = through(dtype)(x), torch.compile(through(dtype))(x)
    print(dtype, "eager", eager.tolist(), "compiled", compiled.tolist())
    if dtype == torch.float8_e4m3fn:
        assert torch.equal(compiled, eager)
    else:
        assert torch.equal(compiled, x) and not torch.equal(eager, x)
    assert torch.equal(torch.compile(through(dtype), backend="aot_eager")(x), eager)


def there_and_back(a, b):
    return (a + b) - a


large, one = torch.tensor([256.0], dtype=torch.bfloat16), torch.tensor([1.0], dtype=torch.bfloat16)
both = there_and_back(large, one).item(), torch.compile(there_and_back)(large, one).item()
print("(256 + 1) - 256 in bfloat16, eager and compiled:", both)
assert both == (0, 1)
torch._dynamo.reset()
torch._inductor.config.emulate_precision_casts = True
assert torch.equal(torch.compile(through(torch.float16))(x), through(torch.float16)(x))
assert torch.compile(there_and_back)(large, one).item() == 0
PY
