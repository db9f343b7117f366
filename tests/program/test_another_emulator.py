"""Carrying states over by hand: each step knows a folder and the files that the step before has left, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import plena
from plena import Program, Target
from tests.kernels.checking import machine
from tests.kernels.stateful_modules import CachedAttention, seen_up_to
from tests.program.test_counters import Cached, History

LENGTH = 32
VECTOR = 1 << 16
"""Words of vector SRAM that are carried over, more than these programs use."""


def _attention(step: int) -> tuple[Tensor, ...]:
    positions = torch.tensor([3 * step])
    return torch.randn(1, 1, 64), positions, seen_up_to(positions, LENGTH)


def _carried_step(folder: Path, left: Path, inputs: tuple[Tensor, ...]) -> object:
    """What docs/state.md says. `left` is what the step before has left: all memories, and counters."""
    program = Program.load(folder)
    preload = program.empty_image(program.image.hbm.copy())
    if left.exists():
        before = dict(np.load(left))
        preload.hbm[:] = before.pop("hbm")
        preload.integers = before.pop("int_sram")
        preload.integers[: len(program.int_sram)] = program.int_sram
        preload.vector = before.pop("vram")
        program.state = before
    program.stage_inputs(inputs, preload)
    counters = program.counters_after(inputs)
    result = plena.emulate(
        program.words,
        hbm=preload.hbm,
        fp_sram=preload.fp,
        int_sram=preload.integers,
        vram=preload.vector if preload.vector.size else None,
        target=program.target,
    )
    memories = {
        "hbm": result.hbm[: preload.hbm.size],
        "int_sram": result.int_sram,
        "vram": result.vram_bits[:VECTOR],
    }
    np.savez(left, **memories, **counters)
    return program.results(result)


@pytest.mark.parametrize("target", [machine(16), machine(64)], ids=["16", "64"])
@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (CachedAttention, _attention),
        (Cached, lambda _: (torch.randn(1, 1, 32),)),
        (History, lambda step: (torch.tensor([3 + step]),)),
    ],
    ids=["rows at positions", "rows at a counter", "counters"],
)
def test_all_memories_carried_over(
    module: Callable[[], nn.Module],
    inputs: Callable[[int], tuple[Tensor, ...]],
    target: Target,
    tmp_path: Path,
) -> None:
    torch.manual_seed(1)
    steps = [inputs(step) for step in range(4)]
    program = plena.compile(module().eval(), steps[0], target=target)
    program.save(tmp_path / "p")
    for args in steps:
        found, expected = _carried_step(tmp_path / "p", tmp_path / "left.npz", args), program.run(*args)
        pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
        assert all(torch.equal(a, b) for a, b in pairs)
    left = np.load(tmp_path / "left.npz")
    for name, tensor in program.state.items():
        assert name not in left or torch.equal(torch.from_numpy(left[name]), tensor)
    counters = [n for n, t in program.state.items() if not t.is_floating_point()]
    assert set(left) == {"hbm", "int_sram", "vram", *counters}
