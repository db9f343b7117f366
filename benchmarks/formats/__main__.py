"""SmolLM2-135M under formats and stagings: divergence and agreement of its logits with PyTorch's. MiniLM's cosines.

    python -m benchmarks.formats [--emulator] [--keep FOLDER] [--tokens N] [--samples N] [FORMATS:STAGING ...]

Prompts are chat questions that PyTorch has answered greedily; the positions of the answers count, 900 of them. They
were written when calibration was done, and nothing was chosen on them. Calibration and the choice of formats
(auto@1.10: at most 1.10 times the shipped bytes) see texts that the model has made up, never a prompt. The quantised
reference says what formats cost; `--emulator` runs the programs too. `--keep` keeps texts and calibrations for the next
run. It takes about an hour, most of it for making texts and for calibrating. "over nearest" is the divergence over that
of the nearest elements in the same formats, at the same positions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import plena
from benchmarks.formats.sentences import measured
from benchmarks.formats.table import RECORD
from examples.smollm2 import load
from plena.checking.judging import kl_divergence

PROMPTS = (
    "What is the longest river in Africa?",
    "Name three kinds of fruit.",
    "Write one sentence about the moon.",
    "What is 9 plus 6?",
    "Why do cats purr?",
    "How do I change a light bulb?",
    "Explain what an echo is.",
    "Give a synonym of quick.",
    "What is a thermometer used for?",
    "Tell me about the Great Wall of China.",
    "List five colours of the rainbow.",
    "Write a short poem about a garden.",
    "How do birds find their way south?",
    "What should I cook for six guests?",
    "Who was Marie Curie?",
    "Suggest a name for a small bakery.",
)

ROWS = (
    "shipped:public",
    "shipped:nearest",
    "shipped:calibrated",
    "e3m4:nearest",
    "e3m4:calibrated",
    "mixed:nearest",
    "mixed:calibrated",
    "bf16:nearest",
    "auto@1.10:calibrated",
    "auto@1.4:calibrated",
    "minilm:nearest",
    "minilm:calibrated",
)

CHOOSING = 4
"""Samples that formats are chosen on."""


class Logits(nn.Module):
    """The logits [1, n, vocabulary] of all positions."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(ids, use_cache=False).logits


@torch.no_grad()
def prompts_of(tokenizer: Any, model: Any, tokens: int) -> list[tuple[Tensor, int]]:
    """Questions with their answers [1, tokens], and how long the questions are."""
    chats = [_chat(tokenizer, question) for question in PROMPTS]
    return [(_continued(model, ids, tokens, do_sample=False), ids.shape[1]) for ids in chats]


@torch.no_grad()
def samples_of(tokenizer: Any, model: Any, tokens: int, count: int) -> list[Tensor]:
    """Made-up texts [1, tokens]."""
    torch.manual_seed(0)
    chats = [_chat(tokenizer, question) for question in PROMPTS]
    start = chats[0][:, : _common(chats)].repeat(count, 1)
    made = _continued(model, start, tokens, do_sample=True, temperature=1.0, top_k=50)
    return list(made.split(1))


def _chat(tokenizer: Any, question: str) -> Tensor:
    turns = [{"role": "user", "content": question}]
    found = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
    return found if isinstance(found, Tensor) else found["input_ids"]


def _continued(model: Any, ids: Tensor, tokens: int, **how: Any) -> Tensor:
    missing = tokens - ids.shape[1]
    mask = torch.ones_like(ids)
    return model.generate(ids, attention_mask=mask, min_new_tokens=missing, max_new_tokens=missing, **how)


def _common(chats: list[Tensor]) -> int:
    """Tokens that all begin with."""
    shortest = min(ids.shape[1] for ids in chats)
    return next(n for n in range(shortest) if len({int(ids[0, n]) for ids in chats}) > 1)


class Judge:
    """Divergence and agreement at the positions of answers."""

    def __init__(self, module: nn.Module, prompts: Sequence[tuple[Tensor, int]]) -> None:
        self.prompts = prompts
        with torch.no_grad():
            self.wanted = [module(ids)[0, start - 1 : -1] for ids, start in prompts]

    @torch.no_grad()
    def __call__(self, function: Callable[[Tensor], Any]) -> tuple[float, float]:
        """KL in nats and the share of equal first choices, each for a position."""
        divergences: list[Tensor] = []
        alike: list[Tensor] = []
        for (ids, start), wanted in zip(self.prompts, self.wanted, strict=True):
            found = function(ids)
            found = (found[0] if isinstance(found, tuple) else found)[0, start - 1 : -1].float()
            divergences.append(kl_divergence(found, wanted))
            alike.append((found.argmax(-1) == wanted.argmax(-1)).double())
        return float(torch.cat(divergences).mean()), float(torch.cat(alike).mean())


class Kept:
    """A folder for what takes long to make; nothing is kept without one."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def tensors(self, name: str, make: Callable[[], Any]) -> Any:
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.pt"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(make(), path)
        return torch.load(path)

    def calibration(self, module: nn.Module, samples: Sequence[Tensor], formats: plena.Formats) -> Any:
        if self.folder is None:
            return plena.calibrate(module, samples, formats)
        name = str(formats).replace("/", "-").replace(",", "_")
        path = self.folder / f"{name}.npz"
        if not path.exists():
            plena.calibrate(module, samples, formats, checkpoint=self.folder / name).save(path)
        return plena.Calibration.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="FORMATS:STAGING")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--emulator", action="store_true")
    args = parser.parse_args()
    record: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    stagings = [row.partition(":")[2] for row in args.rows if row.startswith("minilm:")]
    for staging, found in (measured(stagings, args.emulator) if stagings else {}).items():
        print(f"minilm:{staging}: {json.dumps(found)}", flush=True)
        _record(record, f"minilm:{staging}", found)
    rows = [row for row in args.rows if not row.startswith("minilm:")]
    if rows:
        _language_model(rows, args, record)


def _record(record: dict[str, Any], row: str, found: dict[str, Any]) -> None:
    record[row] = found
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _language_model(rows: Sequence[str], args: argparse.Namespace, record: dict[str, Any]) -> None:
    tokenizer, model = load()
    kept = Kept(args.keep)
    prompts = kept.tensors("prompts", lambda: prompts_of(tokenizer, model, args.tokens))
    samples = kept.tensors("samples", lambda: samples_of(tokenizer, model, 128, args.samples))
    module = Logits(model).eval()
    judge = Judge(module, prompts)
    positions = sum(len(wanted) for wanted in judge.wanted)
    nearest: dict[str, float] = {
        found["formats"]: found["kl"]
        for row, found in record.items()
        if row.endswith(":nearest") and "kl" in found
    }
    for row in rows:
        asked, _, staging = row.rpartition(":")
        started = time.perf_counter()
        formats = _formats(module, prompts, samples, asked)
        calibration = kept.calibration(module, samples, formats) if staging == "calibrated" else None
        prepared = time.perf_counter() - started
        program = plena.compile(
            module, (prompts[0][0],), formats=formats, staging=staging, calibration=calibration
        )
        moved = sum(program.stats().hbm_bytes.values())
        kl, agreement = judge(program.source.simulated())  # type: ignore[union-attr]
        found = {
            "formats": str(formats),
            "bytes": moved,
            "kl": kl,
            "agreement": agreement,
            "positions": positions,
        }
        if staging == "nearest":
            nearest[str(formats)] = kl
        elif str(formats) in nearest:
            found["over nearest"] = kl / nearest[str(formats)]
        if args.emulator:
            found["emulator kl"], found["emulator agreement"] = judge(
                lambda ids, p=program: p.run(ids, progress=False)
            )
        print(f"{row}: {json.dumps(found)}, prepared in {prepared:.0f} s", flush=True)
        _record(record, row, found)


def _formats(
    module: nn.Module, prompts: Sequence[tuple[Tensor, int]], samples: Sequence[Tensor], asked: str
) -> plena.Formats:
    """Formats by name, or those that are chosen under a budget of bytes."""
    name, _, traffic = asked.partition("@")
    if name != "auto":
        return plena.Formats.of(name)
    length = prompts[0][0].shape[1]
    chosen = plena.compile(
        module,
        (samples[0][:, :length],),
        formats="auto",
        staging="nearest",
        traffic=float(traffic),
        samples=[ids[:, :length] for ids in samples[:CHOOSING]],
    )
    print(*chosen.decisions[-6:], sep="\n", flush=True)
    formats = chosen.target.formats
    assert formats is not None
    return formats


if __name__ == "__main__":
    main()
