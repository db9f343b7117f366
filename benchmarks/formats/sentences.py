"""MiniLM's embeddings of sentences under stagings of the shipped formats: 1 - cosine with PyTorch's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import plena
from benchmarks.rows import DATA

TOGETHER, TOKENS = 8, 32


def measured(stagings: Sequence[str], emulator: bool) -> dict[str, dict[str, Any]]:
    """By staging the mean of 1 - cosine on 104 sentences; calibration sees other ones.

    Args:
        emulator: whether the programs run too.
    """
    from examples.minilm import SentenceEmbedding, load

    tokenizer, encoder = load()
    module = SentenceEmbedding(encoder).eval()
    sentences = json.loads((DATA / "sentences.json").read_text(encoding="utf-8"))
    judged, seen = (_batches(tokenizer, sentences[name]) for name in ("judged", "calibration"))
    with torch.no_grad():
        wanted = [module(*batch) for batch in judged]

    @torch.no_grad()
    def lost(function: Any) -> float:
        found = [function(*batch) for batch in judged]
        first = [f[0] if isinstance(f, tuple) else f for f in found]
        cosines = [torch.cosine_similarity(a, b) for a, b in zip(first, wanted, strict=True)]
        return float((1 - torch.cat(cosines).double()).mean())

    results: dict[str, dict[str, Any]] = {}
    for staging in stagings:
        calibration = plena.calibrate(module, seen, "shipped") if staging == "calibrated" else None
        program = plena.compile(
            module, judged[0], formats="shipped", staging=staging, calibration=calibration
        )
        assert program.source is not None
        found = {"sentences": len(judged) * TOGETHER, "1 - cosine": lost(program.source.simulated())}
        if emulator:
            found["emulator 1 - cosine"] = lost(lambda *x, p=program: p.run(*x, progress=False))
        results[staging] = found
    return results


def _batches(tokenizer: Any, sentences: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
    batches: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(sentences), TOGETHER):
        own = sentences[start : start + TOGETHER]
        found = tokenizer(own, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt")
        batches.append((found["input_ids"], found["attention_mask"]))
    return batches
