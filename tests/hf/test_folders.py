"""Folders of language models: opened without the model, and refused where their parts disagree."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import plena
from plena import PlenaError
from plena.hf import PlenaForCausalLM
from plena.hf.folder import MANIFEST, load_tokenizer
from tests.hf.small_models import exact_machine, prompt, small, words
from tests.poison import check_reads_what_is_defined

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def saved(compiled: PlenaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "lm"
    compiled.save_pretrained(folder)
    return folder


def test_a_folder_opens_without_the_model(
    saved: Path, lm: PlenaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_model(*_: object, **__: object) -> None:
        raise AssertionError("the model of torch is not needed")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", no_model)
    monkeypatch.setattr(torch.nn.Module, "__init__", no_model)
    opened = PlenaForCausalLM.from_pretrained(saved)
    assert opened.batch == 2 and PlenaForCausalLM.from_pretrained(saved, batch=1).batch == 1
    assert torch.equal(opened(prompt(10)).logits, lm(prompt(10)).logits)


def test_a_folder_is_evaluated(saved: Path, model: object, lm: PlenaForCausalLM) -> None:
    """The quantised reference of each bucket goes on from the cache that all of them have."""
    prompt_ids = prompt(18)[0].tolist()
    opened = PlenaForCausalLM.from_pretrained(saved)
    report = plena.evaluate(opened, [prompt_ids], module=model)
    wanted = plena.evaluate(lm, [prompt_ids])
    assert report.judgements["quantized"].kl.value == pytest.approx(wanted.judgements["quantized"].kl.value)
    assert report.kl.value == pytest.approx(wanted.kl.value)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _another(folder: Path, name: str) -> None:
    program = plena.compile(torch.nn.Linear(16, 16), (torch.randn(4, 16),), target=exact_machine())
    shutil.rmtree(folder / name)
    program.save(folder / name)


def _without_decode(folder: Path) -> None:
    document = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**document, "programs": ["prefill-8"]}))


def _another_batch(folder: Path) -> None:
    document = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**document, "batch": 3}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: _flip(f / "decode-40" / "hbm_for_behave_sim.bin"),
            "decode-40/hbm_for_behave_sim.bin.*changed",
        ),
        (lambda f: _flip(f / "decode-16" / "hbm_private.bin"), "decode-16/hbm_private.bin.*changed"),
        (lambda f: shutil.rmtree(f / "decode-40"), "decode-40"),
        (lambda f: _another(f, "decode-40"), "its memory image is not the one that this program shares"),
        (lambda f: _another(f, "prefill-8"), "prefill-8 is no step of a language model of 2 sequences"),
        (_another_batch, "decode-16 is no step of a language model of 3 sequences"),
        (_without_decode, "it has no decode program"),
        (lambda f: (f / "config.json").unlink(), "its configuration cannot be read"),
        (lambda f: (f / MANIFEST).write_text("{}"), "not a manifest of this version"),
        (lambda f: (f / MANIFEST).write_text("{"), "cannot be read"),
    ],
)
def test_parts_that_disagree(
    damage: Callable[[Path], object], message: str, saved: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "lm"
    shutil.copytree(saved, folder)
    damage(folder)
    with pytest.raises(PlenaError, match=message):
        PlenaForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize("batch", [0, True, "2"])
def test_batches_that_make_no_sense(batch: object, saved: Path) -> None:
    with pytest.raises(PlenaError, match="batch must be a whole number above 0"):
        PlenaForCausalLM.from_pretrained(saved, batch=batch)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"prefill": (8,)}, {"buckets": (16,)}, {"staging": "nearest"}])
def test_a_folder_is_compiled_already(given: dict[str, Any], saved: Path) -> None:
    with pytest.raises(PlenaError, match=f"compiled already, {next(iter(given))} would change nothing"):
        PlenaForCausalLM.from_pretrained(saved, **given)


def test_a_batch_larger_than_compiled_for(saved: Path) -> None:
    with pytest.raises(
        PlenaError, match=r"its programs take 2 sequences at a time, not 3.*Compile the model with batch=3"
    ):
        PlenaForCausalLM.from_pretrained(saved, batch=3)


def test_a_batch_smaller_than_compiled_for(saved: Path, lm: PlenaForCausalLM, tmp_path: Path) -> None:
    one = PlenaForCausalLM.from_pretrained(saved, batch=1)
    assert torch.equal(one(prompt(10)).logits, lm(prompt(10)).logits)
    with pytest.raises(PlenaError, match=r"input_ids of shape \[2, 5\], there are caches for 1 sequences"):
        one(prompt(10).view(2, 5))
    one.save_pretrained(tmp_path / "lm")
    assert PlenaForCausalLM.from_pretrained(tmp_path / "lm").batch == 2, "as the programs are"


def test_layers_that_keep_something_else() -> None:
    model = small()
    model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(PlenaError, match="a cache for layers of type linear_attention is not supported"):
        PlenaForCausalLM.from_pretrained(model, max_length=16, prefill=(4,))


def test_rows_that_nothing_has_written_do_not_matter() -> None:
    """A decode multiplies whole tiles, of which a token has a row: `plena verify` warns of the others."""
    model = small(num_hidden_layers=1)
    sizes: dict[str, Any] = {"max_length": 16, "prefill": (), "buckets": (16,)}
    (program,) = PlenaForCausalLM.from_pretrained(model, target=exact_machine(), **sizes).programs.values()
    machine = program.target.with_settings({"HBM_SIZE": program.hbm_bytes})
    found = plena.verify(program.words, machine, program.preloaded_spans())
    assert {(f.code, f.is_error) for f in found} == {("unwritten-vector", False)}
    check_reads_what_is_defined(program, torch.tensor([[5]]), torch.tensor([[0]]))


@pytest.mark.parametrize("kind", ["Gemma2", "GPT2", "Qwen2", "Bert"])
def test_a_tokenizer_that_transformers_makes_up_is_none(kind: str, tmp_path: Path) -> None:
    getattr(transformers, f"{kind}Config")().save_pretrained(tmp_path)
    made_up = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert load_tokenizer(tmp_path) is None
    made_up.add_tokens(["<more>"])
    made_up.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path) is None, "nor is one that was saved"


def _of_merges() -> Any:
    known = {"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}
    return transformers.GPT2Tokenizer(vocab=known, merges=[("a", "b")])


def _of_bytes() -> Any:
    return transformers.ByT5Tokenizer()


@pytest.mark.parametrize("make", [words, _of_merges, _of_bytes])
def test_a_tokenizer_of_the_model_is_kept(make: Callable[[], Any], tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).get_vocab() == make().get_vocab()


def test_a_tokenizer_whose_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("BioGptTokenizer needs sacremoses")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", missing)
    assert load_tokenizer(tmp_path) is None, "there are no files of one"
    (tmp_path / "vocab.json").write_text("{}", encoding="utf-8")
    with pytest.raises(PlenaError, match=r"cannot be loaded: BioGptTokenizer needs sacremoses"):
        load_tokenizer(tmp_path)
