#!/usr/bin/env bash
# One would guess that statistics of float16 columns, as of weights by layer, are the same for a column and for groups
# of it: pandas sums float16 in float64. Seen: only Series.sum() and the means do. groupby().sum() and cumsum() stay
# float16: of 3,000 numbers of 30 they are infinity where sum() is 90000, and of ones 2,050 add up to 2048 in cumsum.
# A bfloat16 column of ml_dtypes is accepted, and the mean of 1,000 ones is 0.256. With: pandas==3.1.1 numpy==2.4.6
# ml_dtypes==0.6.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile pandas==3.1.1 numpy==2.4.6 ml_dtypes==0.6.0
venv/bin/python - <<'PY'
import warnings

import ml_dtypes
import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
print("pandas", pd.__version__, "numpy", np.__version__)
for value, count in ((30.0, 3000), (1.0, 2050)):
    column = pd.Series(np.full(count, value, np.float16))
    groups = column.groupby(np.zeros(count, int))
    got = {
        "sum": column.sum(),
        "mean": column.mean(),
        "groups' sum": groups.sum()[0],
        "groups' mean": groups.mean()[0],
        "cumsum": column.cumsum().iloc[-1],
    }
    print(count, "times", value, {name: f"{v} {v.dtype}" for name, v in got.items()})
    assert got["sum"] == value * count and got["mean"] == got["groups' mean"] == value
    assert got["groups' sum"].dtype == got["cumsum"].dtype == np.float16
    if value == 30:
        assert np.isinf(got["groups' sum"]) and np.isinf(got["cumsum"])
    else:
        assert got["cumsum"] == 2048
bf16 = pd.Series(np.ones(1000, ml_dtypes.bfloat16))
print("bfloat16:", bf16.dtype, "sum", bf16.sum(), "mean", bf16.mean())
assert bf16.sum() == 256 and bf16.mean() == 0.256
PY
