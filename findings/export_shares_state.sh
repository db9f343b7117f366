#!/usr/bin/env bash
# One would guess that torch.export takes a copy: the program has its own parameters and state, every program.module()
# starts from the state at export, and torch.export.save writes that state. Seen: all of them hold the tensors of the
# model. Calling program.module() changes the buffers of the model it came from, a second module() and the decomposed
# program go on where the first stopped, non-persistent buffers too, and a program that was tried before
# torch.export.save is saved with the state of the trial (a key-value cache that is not empty). A weight of the model
# changed in place later changes the program. With: torch==2.13.0 numpy==2.4.6.
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


class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.register_buffer("steps", torch.zeros(1))
        self.register_buffer("unsaved", torch.zeros(1), persistent=False)

    def forward(self, x):
        self.steps.add_(1)
        self.unsaved.add_(1)
        return x * self.weight + self.steps + self.unsaved


zero = torch.zeros(1)
with torch.no_grad():
    for strict in (False, True):
        model = Counter()
        program = torch.export.export(model, (zero,), strict=strict)
        assert model.steps.item() == 0  # tracing itself leaves the state alone
        first = program.module()
        first_calls = [first(zero).item() for _ in range(3)]
        second_call = program.module()(zero).item()
        decomposed_call = program.run_decompositions().module()(zero).item()
        print("strict", strict, "three calls", first_calls, "a second module goes on with", second_call)
        print("the model has", model.steps.item(), model.unsaved.item(), "and was never called")
        assert first_calls == [2, 4, 6] and second_call == 8 and decomposed_call == 10
        assert model.steps.item() == model.unsaved.item() == program.state_dict["steps"].item() == 5
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded_call = torch.export.load(file).module()(zero).item()
    print("saved and loaded, its first call gives", loaded_call)
    assert loaded_call == 12
    model.weight.mul_(100)
    assert program.module()(torch.ones(1)).item() == 112
    print("a weight of the model changed in place changes the program")
PY
