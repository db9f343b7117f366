"""A layer of Qwen3-32B in the proportions of the RTL's timing: heads, tiles and norms as there, everything narrower."""

from __future__ import annotations

import pytest

from tests.budgets.decoders import QWEN_32B
from tests.models.accuracy import compiled, require_accuracy
from tests.models.builders import hidden, layer, public

pytest.importorskip("transformers")

pytestmark = pytest.mark.slow


def test_a_narrow_layer_is_accurate() -> None:
    """Eight query heads of 128 on four of keys, loads beside products, sums of exponentials by the matrix unit."""
    narrow = public("qwen3-32b", 1) | {"hidden": 1024, "intermediate": 2048, "heads": 8, "kv_heads": 4}
    built = hidden(narrow, 130)
    program = compiled(built, **QWEN_32B)
    require_accuracy(program, built, 1)


def test_the_layer_at_its_size() -> None:
    """The public compiler's takes 25,452,002 cycles and does not compute the layer; products, write-outs and their
    recovery alone are 10.9 million."""
    built = layer(public("qwen3-32b", 1), 482)
    program = compiled(built, **QWEN_32B)
    latency = program.stats().latency["rtl-v1"]
    assert latency is not None and latency < 0.56 * 25_452_002
    assert any("in the lanes of the key heads" in line for line in program.decisions)
