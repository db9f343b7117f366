#!/usr/bin/env bash
# One would guess that an exported program has the inputs that it lists, whatever the example values were, and that
# torch.compile, which also looks at examples, and torch.export agree. Seen: if one tensor is given for two inputs, as
# in export(nn.MultiheadAttention(...), (x, x, x)), the graph reads only the last of them, in strict mode as well: the
# others are placeholders without users. Called with different tensors it raises nothing and computes x * 10 + y as y
# * 10 + y, cross attention as attention of the memory to itself; decomposed and saved programs do the same.
# torch.compile and torch.jit.trace keep the inputs apart. With: torch==2.13.0 numpy==2.4.6.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv --without-pip venv
python3 -m pip --python venv/bin/python install -q --no-compile torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PY'
import io
import warnings

import torch

warnings.simplefilter("ignore")
print("torch", torch.__version__)


class Scaled(torch.nn.Module):
    def forward(self, x, y):
        return x * 10 + y


class ByName(torch.nn.Module):
    def forward(self, pair):
        return pair["x"] * 10 + pair["y"]


one, five, two = torch.ones(2), torch.full((2,), 5.0), torch.full((2,), 2.0)
for strict in (False, True):
    program = torch.export.export(Scaled(), (one, one), strict=strict)
    got = program.module()(five, two)
    print("strict", strict, "5 * 10 + 2 =", got.tolist(), [(n.name, len(n.users)) for n in program.graph.nodes][:2])
    assert got.tolist() == [22, 22] and program.graph_signature.user_inputs == ("x", "y")
    program.graph_module.graph.lint()
    assert program.run_decompositions().module()(five, two).tolist() == [22, 22]
    named = torch.export.export(ByName(), ({"x": one, "y": one},), strict=strict)
    assert named.module()({"x": five, "y": two}).tolist() == [22, 22]
    apart = torch.export.export(Scaled(), (one, one.clone()), strict=strict)
    assert apart.module()(five, two).tolist() == [52, 52]
file = io.BytesIO()
torch.export.save(program, file)
file.seek(0)
assert torch.export.load(file).module()(five, two).tolist() == [22, 22]

torch.manual_seed(0)
attention = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
x, query, memory = (torch.randn(1, 3, 8) for _ in range(3))
with torch.no_grad():
    program = torch.export.export(attention, (x, x, x))
    got = program.module()(query, memory, memory)[0]
    print("attention of query to memory:", (got - attention(query, memory, memory)[0]).abs().max().item(), "away;")
    print("attention of memory to itself:", (got - attention(memory, memory, memory)[0]).abs().max().item(), "away")
    assert torch.equal(got, attention(memory, memory, memory)[0])
    assert not torch.allclose(got, attention(query, memory, memory)[0], atol=1e-2)
compiled = torch.compile(Scaled(), backend="aot_eager")
assert compiled(one, one).tolist() == [11, 11] and compiled(five, two).tolist() == [52, 52]
assert torch.jit.trace(Scaled(), (one, one))(five, two).tolist() == [52, 52]
print("torch.compile and torch.jit.trace: 52")
PY
