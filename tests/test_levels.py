"""Every pass preserves what the interpreters of the levels compute, from torch to words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from xdsl.dialects.builtin import ModuleOp

from plena.api.program import Program
from plena.compiler.lowered import machine_reference
from plena.dialects.loop.nests import loops_in
from plena.driver import context, run_pipeline
from plena.errors import CompileError
from plena.frontend import import_module
from plena.kernels.schedule import Schedule
from plena.passes.convert_plena_to_tile import convert
from plena.passes.pipelines import AFFINE_PIPELINE, REGISTER_PIPELINE, TENSOR_PIPELINE
from plena.passes.unroll_loops import UnrollLoops
from tests.levels import SMALL, Attention, Lowered, lowered, qkv


def linear() -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    return torch.nn.Linear(32, 48), (torch.randn(8, 32),)


def norm_and_gate() -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.LayerNorm(32), torch.nn.Linear(32, 32), torch.nn.SiLU(), torch.nn.Linear(32, 16)
    )
    return layers, (torch.randn(4, 32),)


@dataclass(frozen=True)
class Case:
    """A model with inputs, and the schedule to take."""

    make: Any
    options: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def model(self) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
        return self.make()


CASES = {
    "attention, rows": Case(lambda: (Attention(), qkv(1, 16, 16)), {"matmul": "mm", "attention": "rows"}),
    "attention, online": Case(lambda: (Attention(), qkv(1, 32, 16)), {"matmul": "mm", "attention": "online"}),
    "attention, heads": Case(lambda: (Attention(), qkv(2, 16, 16)), {"matmul": "mm", "attention": "rows"}),
    "attention, causal": Case(lambda: (Attention(True), qkv(1, 32, 16)), {"matmul": "mm"}),
    "attention, broadcast": Case(lambda: (Attention(), qkv(1, 16, 16)), {"matmul": "broadcast"}),
    "linear": Case(linear, {"matmul": "mm"}),
    "linear, broadcast": Case(linear, {"matmul": "broadcast"}),
    "linear, vector": Case(linear, {"matmul": "vector"}),
    "norm and gate": Case(norm_and_gate),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def levels(case: Case) -> Lowered:
    return lowered(*case.model, **case.options)


def relative_rms(a: Any, b: Any) -> float:
    return float((a - b).norm() / b.norm())


def test_the_tensor_level(case: Case) -> None:
    """Fusions and layouts are exact but for the order of float32 sums."""
    model, inputs = case.model
    with torch.no_grad():
        expected = model(*inputs)
    program = import_module(model, inputs)
    for name in (None, *TENSOR_PIPELINE):
        if name is not None:
            run_pipeline(program.module, (name,))
            program.module.verify()
        (result,) = program.evaluate(*inputs)
        torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_the_tile_level(case: Case, levels: Lowered) -> None:
    """Tiles compute what the module computes on MX-rounded values; where buffers lie changes nothing."""
    model, inputs = case.model
    program = levels.program
    (placed,) = program.machine_reference(*inputs)
    (quantized,) = program.quantized_reference(*inputs)
    assert relative_rms(placed, quantized) <= 0.015
    imported = import_module(model, inputs)
    SMALL.attach(imported.module)
    run_pipeline(imported.module, TENSOR_PIPELINE)
    convert(imported.module, Schedule(**{"objective": "size", **case.options}))
    (unplaced,) = machine_reference(program, imported.module)(*inputs)
    assert torch.equal(unplaced, placed)


def isa_modules(tiles: ModuleOp) -> list[tuple[str, ModuleOp]]:
    """The module after each pass below the tile level."""
    module, found = tiles.clone(), list[tuple[str, ModuleOp]]()
    for name in (*AFFINE_PIPELINE, *REGISTER_PIPELINE):
        run_pipeline(module, (name,))
        module.verify()
        found.append((name, module.clone()))
    return found


def test_the_isa_levels(case: Case, levels: Lowered) -> None:
    """Instructions compute what the tiles compute, the same bits after every pass and from the words."""
    _, inputs = case.model
    program: Program = levels.program
    (tiles,) = program.machine_reference(*inputs)
    first = None
    for name, module in isa_modules(levels.tiles):
        result = levels.run(module, inputs)
        first = result if first is None else first
        assert torch.equal(result, first), name
    assert relative_rms(first, tiles) <= 0.002
    assert torch.equal(program.run(*inputs), first)


def memories(levels: Lowered, affine: ModuleOp, inputs: tuple[torch.Tensor, ...]) -> dict[str, bytes]:
    """What an affine module leaves behind as words on the emulator."""
    module = affine.clone()
    run_pipeline(module, REGISTER_PIPELINE)
    result = levels.emulate(module, inputs)
    size = levels.program.image_bytes
    return {
        "vector SRAM": result.vram_bits.tobytes(),
        "matrix SRAM": result.mram_bits.tobytes(),
        "FP SRAM": result.fp_sram_bits.tobytes(),
        "HBM": result.hbm[:size].tobytes(),
    }


def test_any_loop_expanded_leaves_the_same_memories(case: Case, levels: Lowered) -> None:
    _, inputs = case.model
    affine = levels.tiles.clone()
    run_pipeline(affine, AFFINE_PIPELINE)
    rolled = memories(levels, affine, inputs)
    loops = list(loops_in(affine))
    assert loops
    for number, loop in enumerate(loops):
        inner = sum(1 for _ in loop.walk())
        for full, factor in ((True, 1), (False, 2), (False, 3)):
            if full and loop.trips * inner > 3000:
                continue
            module = affine.clone()
            UnrollLoops(loop=(number,), full=full, factor=factor).apply(context(), module)
            expanded = memories(levels, module, inputs)
            different = [name for name, data in rolled.items() if data != expanded[name]]
            assert not different, f"loop {number} of {loop.trips} expanded changes {different}"


def test_all_loops_expanded_leave_the_same_memories() -> None:
    levels = lowered(Attention(), inputs := qkv(1, 16, 16), matmul="mm", attention="rows")
    affine = levels.tiles.clone()
    run_pipeline(affine, AFFINE_PIPELINE)
    module = affine.clone()
    UnrollLoops(full=True).apply(context(), module)
    assert not list(loops_in(module))
    assert memories(levels, module, inputs) == memories(levels, affine, inputs)


def test_a_loop_that_is_not_there() -> None:
    levels = lowered(Attention(), qkv(1, 16, 16), matmul="mm")
    affine = levels.tiles.clone()
    run_pipeline(affine, AFFINE_PIPELINE)
    with pytest.raises(CompileError, match="there is no loop 99"):
        UnrollLoops(loop=(99,)).apply(context(), affine)
