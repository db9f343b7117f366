"""Models whose counts are guarded: decoder layers, stacks of them."""

from __future__ import annotations

from functools import partial
from typing import Any

from plena.machine.target import Target
from tests.budgets.case import Case
from tests.models.builders import (
    Built,
    hidden,
    layer,
    next_token,
    public,
    step,
    streamed_next_token,
)


def layers(name: str, count: int, sequence: int, batch: int = 1) -> Built:
    """Layers and final norm of a public model, weights as memory happens to be."""
    return hidden(public(name, count), sequence, batch, weights=False)


def steps(name: str, count: int, keys: int, vocabulary: int = 0) -> Built:
    """A decode step of a public model with so many layers."""
    shape = public(name, count)
    return step(shape | {"vocab": vocabulary or shape["vocab"]}, keys)


def machine(mlen: int, blen: int, hlen: int | None = None) -> Target:
    """Other dimensions, everything else as shipped."""
    settings: dict[str, Any] = {"MLEN": mlen, "VLEN": mlen, "BLEN": blen, "HBM_M_Prefetch_Amount": mlen}
    return Target().with_settings(settings | ({"HLEN": hlen} if hlen else {}))


QWEN_32B_MACHINE = Target().with_settings(
    {
        "MLEN": 512,
        "VLEN": 512,
        "BLEN": 64,
        "HLEN": 128,
        "BROADCAST_AMOUNT": 4,
        "MATRIX_SRAM_SIZE": 64 * 512,
        "HBM_M_Prefetch_Amount": 512,
        "HBM_CHANNELS": 8,
    }
)
"""What the public compiler's figure for a layer of Qwen3-32B was measured on."""

QWEN_32B: dict[str, Any] = {"timing": "rtl-v1", "matmul": "mm", "target": QWEN_32B_MACHINE}

CLM = partial(layers, "clm-60m")
PIPELINED = {"timing": "pipelined"}

CASES: dict[str, Case] = {
    "CLM-60M layer, sequence 64": Case(partial(CLM, 1, 64)),
    "CLM-60M layer, sequence 64, size": Case(partial(CLM, 1, 64), {"objective": "size"}),
    "CLM-60M layer alone, sequence 64, size": Case(
        partial(layer, public("clm-60m", 1), 64), {"objective": "size"}
    ),
    "CLM-60M layer, sequence 256": Case(partial(CLM, 1, 256), slow=True),
    "CLM-60M 8 layers, sequence 64": Case(partial(CLM, 8, 64)),
    "SmolLM2-135M 30 layers, sequence 64": Case(partial(layers, "smollm2-135m", 30, 64), slow=True),
    "SmolLM2-135M 2 layers, decode step, 128 keys, 512 tokens": Case(
        partial(steps, "smollm2-135m", 2, 128, 512)
    ),
    "SmolLM2-135M, decode step, 128 keys": Case(partial(steps, "smollm2-135m", 30, 128), slow=True),
    "SmolLM2-135M, decode step of 4 sequences, 128 keys": Case(
        lambda: step(public("smollm2-135m", 30), 128, batch=4), slow=True
    ),
    "SmolLM2-135M, decode step, 4096 keys": Case(partial(steps, "smollm2-135m", 30, 4096), slow=True),
    "SmolLM2-135M, 37 tokens, last logits": Case(
        lambda: next_token(public("smollm2-135m", 30), 37), slow=True
    ),
    "Llama-3.2-1B, 64 tokens, last logits": Case(
        lambda: streamed_next_token(public("llama-3.2-1b", 16), 64, weights=False), slow=True
    ),
    "Llama-3.2-1B layer, sequence 64": Case(partial(layers, "llama-3.2-1b", 1, 64), slow=True),
    "CLM-60M layer, sequence 128": Case(partial(CLM, 1, 128), slow=True),
    "CLM-60M layer, sequence 1024": Case(partial(CLM, 1, 1024), slow=True),
    "CLM-60M layer, batch 2": Case(partial(CLM, 1, 64, 2)),
    "CLM-60M layer, sequence 64, pipelined": Case(partial(CLM, 1, 64), PIPELINED, slow=True),
    "CLM-60M layer, sequence 64, pipelined, 2500 instructions": Case(
        partial(CLM, 1, 64), PIPELINED | {"max_instructions": 2500}, slow=True
    ),
    "CLM-60M layer, sequence 256, pipelined": Case(partial(CLM, 1, 256), PIPELINED, slow=True),
    "SmolLM2-135M layer, sequence 64": Case(partial(layers, "smollm2-135m", 1, 64), slow=True),
    "LLaDA-8B layer, sequence 64": Case(partial(layers, "llada-8b", 1, 64), slow=True),
    "Qwen3-32B layer, sequence 482, rtl-v1": Case(
        lambda: layer(public("qwen3-32b", 1), 482), QWEN_32B, slow=True
    ),
    "CLM-60M layer, MLEN 16 BLEN 4": Case(partial(CLM, 1, 64), {"target": machine(16, 4, 4)}, slow=True),
    "CLM-60M layer, MLEN 32 BLEN 4": Case(partial(CLM, 1, 64), {"target": machine(32, 4, 8)}, slow=True),
    "CLM-60M layer, MLEN 64 BLEN 16": Case(partial(CLM, 1, 64), {"target": machine(64, 16, 16)}, slow=True),
    "CLM-60M layer, MLEN 128 BLEN 4": Case(partial(CLM, 1, 64), {"target": machine(128, 4, 32)}, slow=True),
    "CLM-60M layer, MLEN 256 BLEN 64": Case(partial(CLM, 1, 64), {"target": machine(256, 64, 64)}, slow=True),
}
