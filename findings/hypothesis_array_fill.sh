#!/usr/bin/env bash
# One would guess hypothesis.extra.numpy.arrays draws every element, so that a test sees a permutation of the
# elements.
# Seen: elements that were not drawn all get one fill value: of 256 elements the median array has 3 different ones.
# A kernel that mixes up rows or tiles passes most examples. fill=st.nothing() draws each (median above 100).
# With: hypothesis==6.170.17 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile hypothesis==6.170.17 numpy==2.4.6
venv/bin/python - <<'PY'
import hypothesis
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

print("hypothesis", hypothesis.__version__)


def different(strategy):
    counts = []

    @settings(max_examples=200, database=None, derandomize=True, deadline=None)
    @given(strategy)
    def draw(array):
        counts.append(len(np.unique(array.view(np.uint32))))

    draw()
    return int(np.median(counts)), max(counts)


filled = different(hnp.arrays(np.float32, (16, 16)))
drawn = different(hnp.arrays(np.float32, (16, 16), fill=st.nothing()))
print("different values in 256 elements: median and most", filled, "without a fill", drawn)
assert filled[0] <= 8 and drawn[0] >= 100
PY
