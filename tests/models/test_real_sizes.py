"""Decoders at the dimensions of public models: stacks on the emulator, the larger ones compiled only."""

from __future__ import annotations

import pytest

from tests.models.accuracy import compiled, require_accuracy
from tests.models.builders import hidden, public

pytest.importorskip("transformers")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "layers"), [("clm-60m", 8), ("smollm2-135m", 2)])
def test_stack_on_the_emulator(name: str, layers: int) -> None:
    built = hidden(public(name, layers), 64)
    require_accuracy(compiled(built), built, layers)


@pytest.mark.parametrize("sequence", [128, 256])
def test_longer_sequences_on_the_emulator(sequence: int) -> None:
    built = hidden(public("clm-60m", 1), sequence)
    require_accuracy(compiled(built), built, 1)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("smollm2-135m", 30),
        ("llama-3.2-1b", 1),
        ("qwen2.5-7b", 1),
        ("qwen3-32b", 1),
        ("llada-8b", 1),
    ],
)
def test_compiles(name: str, layers: int) -> None:
    program = compiled(hidden(public(name, layers), 64, weights=False))
    assert program.stats().dynamic > program.stats().static
    (output,) = program.outputs
    assert output.shape == (1, 64, public(name, layers)["hidden"])
