"""Models that compute with their integer inputs, against PyTorch, with other padding in every call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import plena
from plena.checking.reference import as_tensors
from plena.program.thresholds import Comparison, Thresholds
from tests.models.integer_models import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_each_call_has_the_positions_and_masks_of_its_inputs(name: str) -> None:
    model = MODELS[name]
    module, calls = model.module(), model.calls()
    program = plena.compile(module, (), calls[0])
    for call in reversed(calls):
        report = program.check(*program.input_tensors((), call), quiet=True)
        assert report.passed, f"{name}\n{report}"
    assert program.host_values.values


def test_positions_matter() -> None:
    """The test above would not see a program that ignores them if the models did."""
    model = MODELS["RoBERTa"]
    module, (first, second) = model.module(), model.calls()
    program = plena.compile(module, (), first)
    assert program.quantized_reference is not None
    mixed = {**second, "input_ids": second["input_ids"].clone()}
    mixed["input_ids"][0, 0] = 1
    results = as_tensors(program.run(**mixed, progress=False))
    right, wrong = (
        as_tensors(program.quantized_reference(*program.input_tensors((), call))) for call in (mixed, second)
    )
    near = Comparison.of(results, right, Thresholds()).relative_rms
    far = Comparison.of(results, wrong, Thresholds()).relative_rms
    assert near < 0.02 and far > 5 * near


def test_ids_and_positions_beyond_tables_are_refused_when_they_are_staged() -> None:
    """The error says which input, which number, and where."""
    model = MODELS["RoBERTa without mask"]
    program = plena.compile(model.module(), (), (call := model.calls()[0]))
    ids = call["input_ids"].clone()
    ids[1, 2] = 100
    with pytest.raises(plena.PlenaError, match=r"input_ids.*100 at \[1, 2\] is out of range.* 0\.\.99"):
        program.run(ids, progress=False)
    shifted = nn.Sequential(Shifted(), nn.Embedding(10, 64))
    program = plena.compile(shifted, (torch.tensor([[1, 2], [3, 4]]),))
    with pytest.raises(plena.PlenaError, match=r"computed of input.*11 at \[1, 0\] is out of range.* 0\.\.9"):
        program.run(torch.tensor([[1, 2], [9, 4]]), progress=False)


class Shifted(nn.Module):
    """Numbers plus two."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 2


def test_a_saved_program_computes_them_again(tmp_path: Path) -> None:
    """The folder holds the staged inputs for other emulators, and what computes them of others."""
    for name in ("Llama with positions, left", "GPT-2 that classifies"):
        model = MODELS[name]
        module, (first, second) = model.module(), model.calls()
        program = plena.compile(module, (), first)
        program.save(tmp_path / name)
        loaded = plena.Program.load(tmp_path / name)
        wanted = [as_tensors(program.run(**call, progress=False)) for call in (first, second)]
        found = [as_tensors(loaded.run_saved()), as_tensors(loaded.run(**second, progress=False))]
        for results, expected in zip(found, wanted, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))


def test_a_damaged_host_value_is_refused(tmp_path: Path) -> None:
    model = MODELS["RoBERTa without mask"]
    plena.compile(model.module(), (), model.calls()[0]).save(tmp_path)
    path = tmp_path / "manifest.json"
    whole = json.loads(path.read_text())
    values = whole["host_values"]["values"]
    for change, says in DAMAGE.items():
        document = json.loads(json.dumps(whole))
        (first, *_) = document["host_values"]["values"].values()
        change(first, document)
        path.write_text(json.dumps(document))
        with pytest.raises(plena.PlenaError) as error:
            plena.Program.load(tmp_path)
        assert says in str(error.value)
    assert values


def _rename(nodes: Any, document: Any) -> None:
    nodes[-1][0] = "os.system"


def _other_input(nodes: Any, document: Any) -> None:
    next(node for node in nodes if node[0] == "input")[2]["index"] = 7


def _other_shape(nodes: Any, document: Any) -> None:
    nodes[-1][4] = [5, 5]


def _cycle(nodes: Any, document: Any) -> None:
    nodes[-1][1][0] = len(nodes) - 1


def _nothing(nodes: Any, document: Any) -> None:
    document["host_values"]["values"].clear()


DAMAGE = {
    _rename: "unknown operation 'os.system'",
    _other_input: "reads what there is not",
    _other_shape: "it gives",
    _cycle: "do not come before",
    _nothing: "which there is not",
}
