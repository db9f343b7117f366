"""`plena compile-lm` and `plena chat` on a small random model with a tokenizer of its own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from plena.cli.plena_cli import main
from tests.hf.small_models import small, words

pytest.importorskip("transformers")

MACHINE = [
    argument
    for setting in (
        "MLEN=16",
        "VLEN=16",
        "BLEN=4",
        "HLEN=4",
        "HBM_M_Prefetch_Amount=16",
        "MATRIX_SRAM_SIZE=1024",
    )
    for argument in ("--set", setting)
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    small(num_hidden_layers=1).save_pretrained(folder)
    words().save_pretrained(folder)
    return folder


def test_compile_and_talk(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lm"
    sizes = ["--max-length", "24", "--prefill", "4", "--bucket", "24"]
    assert main(["compile-lm", str(model), "-o", str(out), *sizes, *MACHINE]) == 0
    said = capsys.readouterr().out
    assert "prefill-4: " in said and "decode-24: " in said and str(out) in said
    questions = ["--ask", "w5 w6 w7 w8 w9 w10", "--ask", "w11"]
    assert main(["chat", str(out), *questions, "--max-new-tokens", "3"]) == 0
    talk = capsys.readouterr()
    lines = talk.out.strip().splitlines()
    assert lines[0] == "> w5 w6 w7 w8 w9 w10" and lines[2] == "> w11"
    assert len(lines[1].split()) == 3 and all(word.startswith(("w", "<")) for word in lines[1].split())
    assert talk.err.count("tokens/s at 1 GHz") >= 2 and "HBM: " in talk.err
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("w5 w6 w7\n\nw8\n", encoding="utf-8")
    check = ["check", str(out), "--prompts", str(prompts)]
    judged = main([*check, "--module", str(model)])
    found = capsys.readouterr().out
    assert "2 texts" in found and "of 4 first choices, KL" in found and judged == ("FAILED" in found)
    assert main(check) == 1
    assert "does not hold the model it was made of" in capsys.readouterr().err
    _wrong_calls(out, model, tmp_path, capsys)


def _wrong_calls(out: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "long.txt").write_text("w5\n" + 30 * "w6 ", encoding="utf-8")
    check = ["check", str(out), "--module", str(model)]
    for call, message in (
        ([*check, "--prompts", str(tmp_path / "empty.txt")], "empty.txt: there is no text in it"),
        (
            [*check, "--prompts", str(tmp_path / "long.txt")],
            "text 1 of 30 tokens does not fit the cache of 24",
        ),
        ([*check, "--prompts", str(tmp_path / "none.txt")], "cannot be read: No such file or directory\n"),
        ([*check, "--inputs", "random"], "--inputs belongs to a program"),
        (["check", str(out), "--module", str(out)], "transformers cannot load it"),
        (["stats", str(out)], "it has no manifest.json. Programs in it: decode-24, prefill-4."),
        (["chat", str(tmp_path / "none"), "--ask", "w5"], "none: there is no such folder"),
        (["chat", str(out), "--ask", 25 * "w5 "], "the conversation has 25 tokens, the cache 24 positions"),
    ):
        assert main(call) == 1
        said = capsys.readouterr().err
        assert message in said and said.count("error:") == 1, said


def test_talking(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that say nothing, a cache that gets full in the middle of an answer, Ctrl-C, the end of the input."""
    out = tmp_path / "lm"
    large = ["--max-length", "16", "--prefill", "64"]
    assert main(["compile-lm", str(model), "-o", str(out), *large, *MACHINE]) == 1
    assert "a prefill of 64 tokens does not fit a cache of 16" in capsys.readouterr().err
    sizes = ["--max-length", "16", "--prefill", "4", "--batch", "2"]
    assert main(["compile-lm", str(model), "-o", str(out), *sizes, *MACHINE]) == 0
    capsys.readouterr()
    from plena.hf import PlenaForCausalLM

    forward, calls = PlenaForCausalLM.forward, list[int]()

    def interrupted(self: PlenaForCausalLM, *args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(PlenaForCausalLM, "forward", interrupted)
    monkeypatch.setattr("sys.stdin", io.StringIO("w5 w6\n\n  \nw7 w8 w9\n"))
    assert main(["chat", str(out), "--no-report"]) == 0
    said = capsys.readouterr()
    assert "(stopped; the question is forgotten)" in said.err
    assert "(cut off: the cache of 16 positions is full)" in said.err and "error" not in said.err
    answer = said.out.split("> ")[-2]
    assert len(answer.split()) == 14, "positions 3 to 15, and a last token that needs none"


def test_what_is_no_language_model(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", str(tmp_path)]) == 1
    assert "it has no tokenizer" in capsys.readouterr().err
    assert main(["compile-lm", str(tmp_path / "nothing"), "-o", str(tmp_path / "out")]) == 1
    assert "no such folder or file" in capsys.readouterr().err
    assert main(["compile-lm", str(model), "-o", str(tmp_path / "out"), "--prefill", "0"]) == 1
    assert "prefill must be whole numbers above 0" in capsys.readouterr().err


def test_a_model_without_a_tokenizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 1, "num_key_value_heads": 1}
    small("Qwen2", num_hidden_layers=1, **tiny).save_pretrained(tmp_path / "model")
    out, sizes = tmp_path / "lm", ["--max-length", "8", "--prefill", "4"]
    assert main(["compile-lm", str(tmp_path / "model"), "-o", str(out), *sizes, *MACHINE]) == 0
    assert "has no tokenizer: plena chat needs one" in capsys.readouterr().out
    assert not any("token" in file.name for file in out.iterdir())
    assert main(["check", str(out), "--module", str(tmp_path / "model")]) == 1
    assert "lm.check take token ids" in capsys.readouterr().err
