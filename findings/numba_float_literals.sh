#!/usr/bin/env bash
# One would guess numba follows NumPy 2: a Python number does not widen a float32, unsigned integers keep their
# width, sum() adds pairwise.
# Seen: x * 0.1 of a float32 array is float64 (an integer literal keeps float32), x[0] == 0.1 is false where NumPy
# says true, two uint32 scalars multiply in 64 bits and do not wrap, and sum() of a million float32 adds one after
# another (100958 instead of 100000). Arrays of uint32 do wrap.
# With: numba==0.68.1 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile numba==0.68.1 numpy==2.4.6
venv/bin/python - <<'PY'
import numba
import numpy as np

print("numba", numba.__version__, "numpy", np.__version__)


def scale(x):
    return x * 0.1


def double(x):
    return x * 2


def is_tenth(x):
    return x[0] == 0.1


def product(a, b):
    return a * b


def total(x):
    return x.sum()


tenths = np.full(1_000_000, 0.1, np.float32)
few = tenths[:2]
print("x * 0.1:", scale(few).dtype, numba.njit(scale)(few).dtype, "x * 2:", numba.njit(double)(few).dtype)
assert scale(few).dtype == np.float32 and numba.njit(scale)(few).dtype == np.float64
assert numba.njit(double)(few).dtype == np.float32
print("x[0] == 0.1:", is_tenth(few), numba.njit(is_tenth)(few))
assert is_tenth(few) and not numba.njit(is_tenth)(few)
big = np.uint32(2**31), np.uint32(4)
with np.errstate(over="ignore"):
    print("uint32 product:", product(*big), numba.njit(product)(*big))
    assert product(*big) == 0 and numba.njit(product)(*big) == 2**33
assert numba.njit(product)(*(np.array([v]) for v in big))[0] == 0
print("sum:", total(tenths), numba.njit(total)(tenths))
assert abs(total(tenths) - 100_000) < 1 and abs(numba.njit(total)(tenths) - 100_958) < 1
PY
