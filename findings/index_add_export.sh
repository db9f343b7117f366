#!/usr/bin/env bash
# One would guess that run_decompositions keeps what a program computes, to a last place. Seen: index_add, by which
# expert layers combine their outputs, becomes index_put(accumulate=True). Eagerly a bfloat16 sum of 1,000 rows of
# ones is 1000; decomposed it stalls at 256, as each addition is rounded. Leaving index_add out of the table keeps it.
# On a vector eager index_add stalls as well, where scatter_add gives 1000. With: torch==2.13.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PY'
import warnings

import torch

warnings.simplefilter("ignore")
print("torch", torch.__version__)


class Combine(torch.nn.Module):
    def forward(self, rows, place):
        return torch.zeros(2, 4, dtype=rows.dtype).index_add(0, place, rows)


rows, place = torch.ones(1000, 4, dtype=torch.bfloat16), torch.zeros(1000, dtype=torch.long)
program = torch.export.export(Combine(), (rows, place))
decomposed = program.run_decompositions()
kept = torch.export.default_decompositions()
kept.pop(torch.ops.aten.index_add.default)
names = [str(node.target) for node in decomposed.graph.nodes if node.op == "call_function"]
wide = torch.export.export(Combine(), (rows.float(), place)).run_decompositions()
got = {
    "eager": Combine()(rows, place),
    "exported": program.module()(rows, place),
    "decomposed": decomposed.module()(rows, place),
    "decomposed but for index_add": program.run_decompositions(kept).module()(rows, place),
    "float32, decomposed": wide.module()(rows.float(), place),
}
for name, value in got.items():
    print(name, value[0].tolist())
print(names)
assert "aten.index_put.default" in names
assert [value[0, 0].item() for value in got.values()] == [1000, 1000, 256, 1000, 1000]
at = torch.zeros(1, dtype=torch.bfloat16)
one = rows[:, 0].contiguous()
line = {"index_add": at.index_add(0, place, one).item(), "scatter_add": at.scatter_add(0, place, one).item()}
print("rows of one number:", line)
assert line == {"index_add": 256, "scatter_add": 1000}
PY
