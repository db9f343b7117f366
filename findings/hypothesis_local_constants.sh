#!/usr/bin/env bash
# One would guess a property test with derandomize=True, or with @seed, draws the same cases until the test changes.
# Seen: it also draws constants that it reads from the source of every module of the project that is imported. A number
# changed in any of them, or a test that ran before and imported one more, draws other cases: CI turns red by an edit
# that has nothing to do with the test. No setting turns it off.
# With: hypothesis==6.170.17.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile hypothesis==6.170.17
cat > draws.py <<'PY'
import hypothesis
from hypothesis import given, seed, settings
from hypothesis import strategies as st

import product

drawn = []


@seed(1)
@settings(max_examples=200, database=None, derandomize=True, deadline=None)
@given(st.integers(0, 1_000_000))
def draw(n):
    drawn.append(n)


draw()
print("hypothesis", hypothesis.__version__, "with LIMIT", product.LIMIT, "draws it:", product.LIMIT in drawn, hash(tuple(drawn)))
PY
for limit in 4711 4712; do
    echo "LIMIT = $limit" > product.py
    venv/bin/python draws.py | tee "$limit"
    grep -q "draws it: True" "$limit"
done
if [ "$(sed 's/.* //' 4711)" = "$(sed 's/.* //' 4712)" ]; then exit 1; fi
