"""A language model of 1.2 billion parameters, whole: what it takes to compile, to stage and to run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import plena
from tests.models.builders import public, streamed_next_token

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the memory it takes"),
]

GIB = 1 << 30


def anonymous() -> int:
    """Bytes of this process that no file stands behind."""
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("there is such a line")


@contextmanager
def peak() -> Generator[list[int]]:
    """The most anonymous memory while the context is open, above what there was: looked at every 50 ms."""
    before, most, done = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], anonymous() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def test_llama_from_64_ids_to_the_last_logits() -> None:
    """Compiled, staged and run in less than 1 GiB beside its weights and the image, which is a file."""
    built = streamed_next_token(public("llama-3.2-1b", 16), 64)
    with peak() as most:
        started = time.process_time()
        program = plena.compile(built.module, built.inputs)
        took = time.process_time() - started
        assert program.image_bytes > 1.5 * GIB, "or it proves nothing"
        result = program.run(*built.inputs)
    assert most[0] < GIB
    assert took < 60, "half a minute on an idle core"
    with torch.no_grad():
        expected = built.module(*built.inputs)
    # Sixteen layers of random weights in E4M3: each loses about 3 %, and what it loses the next one has to work with.
    assert torch.cosine_similarity(result.float().flatten(), expected.float().flatten(), dim=0) > 0.9


@pytest.mark.parametrize(
    ("name", "formats", "least"), [("qwen3-1.7b", "bf16", 3.4), ("llama-3.2-3b", "bf16", 4.0)]
)
def test_whole_models_in_bf16(name: str, formats: str, least: float) -> None:
    """Compiled, which verifies them, and counted; with 4 GiB and more in two segments."""
    built = streamed_next_token(SHAPES[name], 16, weights=False)
    program = plena.compile(built.module, built.inputs, formats=formats)
    assert program.image_bytes > least * GIB
    assert program.asm.count("C_SET_ADDR_REG") == (program.image_bytes > 4 * GIB)
    # Weights and both copies of the embedding, of which a run looks 16 rows up.
    parameters = sum(p.numel() for p in built.module.parameters() if p.ndim > 1)
    assert 2 * parameters <= program.stats().hbm_traffic["weights"] < 2.1 * parameters


SHAPES = {
    "qwen3-1.7b": {
        "family": "qwen3",
        "hidden": 2048,
        "intermediate": 6144,
        "heads": 16,
        "kv_heads": 8,
        "head_dim": 128,
        "layers": 28,
        "vocab": 151936,
        "rope_theta": 1000000.0,
        "tied_embeddings": True,
    },
    "llama-3.2-3b": public("llama-3.2-1b", 28)
    | {"hidden": 3072, "heads": 24, "kv_heads": 8, "head_dim": 128, "intermediate": 8192},
}
