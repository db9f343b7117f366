"""SmolLM2-135M under formats and stagings: divergence and agreement of its logits with PyTorch's, with intervals.

    python -m benchmarks.formats [--tokens N] [--samples N] [--texts FILE] [FORMATS:STAGING ...]

Prompts are chat questions that PyTorch has answered greedily; every position counts. Calibration sees texts that the
model itself has made up, never a prompt. `--texts` keeps both in a file, which the next run reads. It takes about
half an hour, most of it for making texts and for calibrating.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import plena
from examples.smollm2 import load

PROMPTS = (
    "What is the capital of France?",
    "Name the three primary colors.",
    "Write a haiku about the sea.",
    "What is 2 plus 3?",
    "Why is the sky blue?",
    "How do I make pancakes?",
    "Explain gravity in one sentence.",
    "Give three synonyms of happy.",
    "What does a compiler do?",
    "Tell me a fun fact about otters.",
    "List the planets of the solar system.",
    "Write an email asking for a day off.",
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
)


class Logits(nn.Module):
    """The logits [1, n, vocabulary] of all positions."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(ids, use_cache=False).logits


@torch.no_grad()
def texts(tokenizer: Any, model: Any, tokens: int, samples: int) -> dict[str, Any]:
    """Prompts [1, tokens], and made-up texts [1, tokens] for calibration."""
    torch.manual_seed(0)
    chats = [_chat(tokenizer, question) for question in PROMPTS]
    prompts = [_continued(model, ids, tokens, do_sample=False) for ids in chats]
    start = chats[0][:, : _common(chats)].repeat(samples, 1)
    made = _continued(model, start, tokens, do_sample=True, temperature=1.0, top_k=50)
    return {"prompts": prompts, "samples": list(made.split(1))}


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="FORMATS:STAGING")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--texts", type=Path)
    args = parser.parse_args()
    tokenizer, model = load()
    if args.texts is not None and args.texts.exists():
        given: dict[str, Any] = torch.load(args.texts)
    else:
        given = texts(tokenizer, model, args.tokens, args.samples)
        if args.texts is not None:
            torch.save(given, args.texts)
    module = Logits(model).eval()
    prompts: list[Tensor] = given["prompts"]
    labels = [torch.cat([ids[0, 1:], torch.tensor([-1])]) for ids in prompts]
    for row in args.rows:
        formats, _, staging = row.rpartition(":")
        started = time.perf_counter()
        calibration = plena.calibrate(module, given["samples"], formats) if staging == "calibrated" else None
        calibrated = time.perf_counter() - started
        program = plena.compile(
            module, (prompts[0],), formats=formats, staging=staging, calibration=calibration
        )
        report = plena.evaluate(program, prompts, labels=labels)
        moved = sum(program.stats().hbm_bytes.values())
        print(f"{row}: {moved:,} bytes, calibrated in {calibrated:.0f} s\n{report}", flush=True)


if __name__ == "__main__":
    main()
