#!/usr/bin/env bash
# One would guess that a decomposition of one's own may return NotImplemented for the calls that it does not take, and
# that torch then decomposes them as it would without it, as operators of Python do. Seen: the operator stays whole in
# the graph, einsum as well as linear, though both are decomposed by the default table; nothing is said. The entry has
# to call the operator's own kernel. With: torch==2.13.0 numpy==2.4.6.
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
aten = torch.ops.aten


class Weighted(torch.nn.Module):
    def forward(self, rows, weights):
        return torch.nn.functional.linear(torch.einsum("tke,tk->te", rows, weights), rows[0])


def operators(program):
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def declines(*args, **kwargs):
    return NotImplemented


program = torch.export.export(Weighted(), (torch.randn(2, 3, 4), torch.randn(2, 3)))
table = torch.export.default_decompositions()
whole = {"aten.einsum.default", "aten.linear.default"}
assert aten.einsum.default in table and aten.linear.default in table
usual = operators(program.run_decompositions(table))
print("default table:", usual)
assert not whole & set(usual)
table = torch.export.default_decompositions()
table[aten.einsum.default] = table[aten.linear.default] = declines
found = operators(program.run_decompositions(table))
print("entries that return NotImplemented:", found)
assert whole <= set(found)
PY
