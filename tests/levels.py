"""A model taken through the levels step by step, so that tests can run it at each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from xdsl.dialects.builtin import ModuleOp

from plena.api.compile import program_of
from plena.api.program import Program
from plena.assembly import encode
from plena.assembly.stream import stream_from_module
from plena.compiler.loop_choice import lower
from plena.driver import run_pipeline
from plena.emulator import EmulationResult, emulate
from plena.frontend import import_module
from plena.interpreters.plena_isa import run_module
from plena.kernels.schedule import Schedule
from plena.machine.target import Target
from plena.passes.pipelines import TENSOR_PIPELINE

SMALL = Target().with_settings(
    {
        "MLEN": 16,
        "VLEN": 16,
        "BLEN": 4,
        "HLEN": 4,
        "BROADCAST_AMOUNT": 4,
        "MATRIX_SRAM_SIZE": 1024,
        "VECTOR_SRAM_SIZE": 4096,
        "HBM_M_Prefetch_Amount": 16,
        "HBM_SIZE": 1 << 22,
    }
)
"""A machine on which interpreting every instruction takes no time."""


class Attention(torch.nn.Module):
    """softmax(q @ k.T / sqrt(head_dim)) @ v."""

    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)


def qkv(heads: int, sequence: int, head_dim: int) -> tuple[torch.Tensor, ...]:
    """0.5 * randn, so that MX rounding leaves plain float32 a reference."""
    generator = torch.Generator().manual_seed(0)
    return tuple(0.5 * torch.randn((1, heads, sequence, head_dim), generator=generator) for _ in range(3))


@dataclass(frozen=True)
class Lowered:
    """The program of a schedule without expanded loops, and its module at the tile level, buffers placed."""

    program: Program
    tiles: ModuleOp

    def run(self, module: ModuleOp, inputs: tuple[torch.Tensor, ...]) -> Any:
        """The results of a module of `plena_isa` in any form, on the program's memories."""
        program = self.program
        preload = program.image
        program.stage_inputs(inputs, preload)
        memories = run_module(
            module,
            program.target.with_settings({"HBM_SIZE": program.hbm_bytes}),
            preload.hbm,
            preload.fp,
            preload.integers,
            preload.vector if preload.vector.size else None,
        )
        return program.results(memories)

    def emulate(self, module: ModuleOp, inputs: tuple[torch.Tensor, ...]) -> EmulationResult:
        """All memories after a run of an allocated module's words."""
        program = self.program
        preload = program.image
        program.stage_inputs(inputs, preload)
        return emulate(
            encode(stream_from_module(module).instructions),
            preload.hbm,
            preload.fp,
            preload.integers,
            preload.vector if preload.vector.size else None,
            program.target.with_settings({"HBM_SIZE": program.hbm_bytes}),
        )


def lowered(
    model: torch.nn.Module, inputs: tuple[torch.Tensor, ...], target: Target = SMALL, **options: Any
) -> Lowered:
    """Through all levels; `options` are those of Schedule."""
    imported = import_module(model, inputs)
    target.attach(imported.module)
    run_pipeline(imported.module, TENSOR_PIPELINE)
    schedule = Schedule(**{"objective": "size", **options})
    candidate = lower(imported.module, schedule, None)[0]
    return Lowered(program_of(candidate, imported, model, inputs), candidate.tiles)
