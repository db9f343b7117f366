#!/usr/bin/env bash
# One would guess that exp2 of a whole number is a power of two: it is the plain way to decode E8M0 scales, and it is
# exact in torch. Seen: jnp.exp2 on the CPU is off by up to 4e-6 of the value for most exponents (exp2(100) is no
# power of two), compiled or not, so that decoded blocks differ from everybody else's; 2.0 ** k and jnp.ldexp are
# exact. And numbers below 2**-126 are zero as soon as something is computed with them: 2**-127, the scale with code
# 0, times 2**20 is 0. With: jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 torch==2.13.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 torch==2.13.0
venv/bin/python - <<'PY'
import jax
import jax.numpy as jnp
import numpy as np
import torch

print("jax", jax.__version__, jax.devices()[0].platform)
k = np.arange(-120, 128)
exact = np.ldexp(np.float32(1), k)
ways = {
    "jnp.exp2": jnp.exp2(k.astype(np.float32)),
    "jnp.exp2, compiled": jax.jit(jnp.exp2)(k.astype(np.float32)),
    "2.0 ** k": 2.0 ** jnp.asarray(k, jnp.float32),
    "jnp.ldexp": jnp.ldexp(jnp.ones(len(k), jnp.float32), k),
    "torch.exp2": torch.exp2(torch.from_numpy(k).float()).numpy(),
}
for name, got in ways.items():
    off = np.abs(np.asarray(got, np.float64) / exact - 1)
    print(name, "- not exact:", int((off > 0).sum()), "of", len(k), "largest", off.max())
    if "jnp.exp2" in name:
        assert (off > 0).sum() > 100 and 1e-6 < off.max() < 1e-4
    else:
        assert not off.any()
hundred = float(jnp.exp2(jnp.float32(100)))
print("exp2(100) =", hundred, "2**100 =", 2.0**100)
assert hundred != 2.0**100

smallest = jnp.asarray(np.array([2.0**-127], np.float32))
print("2**-127 =", float(smallest[0]), "times 2**20 =", float((smallest * 2.0**20)[0]))
assert np.asarray(smallest)[0] == 2.0**-127
for function in (lambda x: x * 2.0**20, lambda x: x + x):
    assert float(function(smallest)[0]) == 0 and float(jax.jit(function)(smallest)[0]) == 0
assert (torch.tensor([2.0**-127]) * 2.0**20).item() == 2.0**-107
PY
