"""Decoders whose counts are guarded."""

from __future__ import annotations

from tests.budgets.case import Case
from tests.models.builders import hidden, public

CASES: dict[str, Case] = {
    "CLM-60M layer, sequence 64": Case(lambda: hidden(public("clm-60m", 1), 64, weights=False)),
    "CLM-60M layer, sequence 64, size": Case(
        lambda: hidden(public("clm-60m", 1), 64, weights=False), {"objective": "size"}
    ),
    "CLM-60M layer, sequence 256": Case(lambda: hidden(public("clm-60m", 1), 256, weights=False), slow=True),
    "CLM-60M 8 layers, sequence 64": Case(lambda: hidden(public("clm-60m", 8), 64, weights=False)),
    "SmolLM2-135M 30 layers, sequence 64": Case(
        lambda: hidden(public("smollm2-135m", 30), 64, weights=False), slow=True
    ),
    "Llama-3.2-1B layer, sequence 64": Case(
        lambda: hidden(public("llama-3.2-1b", 1), 64, weights=False), slow=True
    ),
}
