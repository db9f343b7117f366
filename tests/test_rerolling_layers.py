"""A whole decoder layer, expanded to tens of thousands of instructions and given to the optimiser as foreign code."""

from __future__ import annotations

import numpy as np
import pytest

import plena
from plena.optimizing.expansion import expanded
from tests.models.builders import hidden, public

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def layer() -> plena.Program:
    model = hidden(public("clm-60m", 1), 64, weights=False)
    return plena.compile(model.module, model.inputs, objective="size")


@pytest.fixture(scope="module")
def straight(layer: plena.Program) -> plena.Program:
    program = expanded(layer)
    assert program.stats().loop_starts == 0 and program.stats().static > 30_000
    return program


def assert_same_effect(program: plena.Program, one: object, other: object) -> None:
    """Both leave the same in every memory, from the same random bytes of HBM."""
    spans = program.preloaded_spans()
    size = -(-max(stop for _, stop, *_ in spans["hbm"]) // 64) * 64 + (1 << 20)
    hbm = np.random.default_rng(0).integers(100, 131, size, dtype=np.uint8)
    results = [
        plena.emulate(
            words,  # type: ignore[arg-type]
            hbm=hbm.copy(),
            fp_sram=np.array(program.constants, np.float16),
            target=program.target.with_settings({"HBM_SIZE": size}),
        )
        for words in (one, other)
    ]
    for memory in ("hbm", "vram_bits", "mram_bits", "fp_sram_bits"):
        left, right = (np.asarray(getattr(result, memory)) for result in results)
        assert np.array_equal(left, right), memory


def test_it_comes_back_as_small_as_it_was(layer: plena.Program, straight: plena.Program) -> None:
    rolled = plena.optimize(
        straight.asm, straight.target, objective="size", preloaded=layer.preloaded_spans()
    )
    assert rolled.stats().static <= 1.2 * layer.stats().static
    assert_same_effect(layer, straight.words, rolled.words)


def test_without_a_budget_it_shrinks_and_takes_no_longer(
    layer: plena.Program, straight: plena.Program
) -> None:
    better = plena.optimize(straight.words, straight.target, preloaded=layer.preloaded_spans())
    assert better.stats().cycles["transactional"] <= straight.stats().cycles["transactional"]
    assert better.stats().static < 0.1 * straight.stats().static
    assert_same_effect(layer, layer.words, better.words)
