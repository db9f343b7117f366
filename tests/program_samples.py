"""Programs written by hand for the tests of Program: ``y = relu-free linear(x)`` of one tile on a small machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from plena.api.program import Program
from plena.assembly import encode, parse_asm
from plena.assembly.stream import Provenance
from plena.host.layout import Source, TensorPlacement, scale_plane
from plena.host.ports import Port, Region
from plena.host.view import Permute
from plena.machine.target import Target
from plena.program.rationale import Attempt, Rationale, SizePoint, SourceLoop

SMALL = Target().with_settings(
    {"MLEN": 16, "VLEN": 16, "BLEN": 4, "HLEN": 4, "HBM_M_Prefetch_Amount": 16, "MATRIX_SRAM_SIZE": 64}
    | {"VECTOR_SRAM_SIZE": 64}
)
SCALE = scale_plane(256 + 64, SMALL)

LINEAR = f"""
; y[4, 16] = x[4, 16] @ w[16, 16]^T
S_ADDI_INT gp1, gp0, {SCALE}
C_SET_SCALE_REG gp1
H_PREFETCH_M gp0, gp0, a0, 0, 0
S_ADDI_INT gp2, gp0, 256
H_PREFETCH_V gp0, gp2, a0, 0, 0
S_ADDI_INT gp3, gp0, 64
S_ADDI_INT gp5, gp0, 0
C_LOOP_START gp4, 4
M_TMM 0, gp0, gp5
M_MM_WO gp3, gp0, 0
S_ADDI_INT gp5, gp5, 64
S_ADDI_INT gp3, gp3, 4
C_LOOP_END gp4
"""


RATIONALE = Rationale(
    model="Linear",
    options={"objective": "cycles", "max_instructions": "40"},
    attempts=(
        Attempt("first schedule", 13, 33, True, True),
        Attempt("first schedule, loops expanded", 21, 26, False, False),
    ),
    curve=(SizePoint(13, 33), SizePoint(17, 29), SizePoint(21, 26)),
    loops=(SourceLoop(0, 0, 4, "linear", ("product",), "kept", "it is short"),),
)


def linear_program(weight: Any, data: Callable[[str], Any] | None = None, **parts: Any) -> Program:
    """``y = x @ weight^T``, x of shape [4, 16]; the weight is a datum called "weight"."""
    instructions = parse_asm(LINEAR)
    names = ["load"] * 7 + ["product"] * (len(instructions) - 7)
    return Program(
        words=encode(instructions),
        target=SMALL,
        inputs=(Port("x", (4, 16), "float32"),),
        outputs=(Port("y", (4, 16), "float32"),),
        placements=(
            TensorPlacement(
                "weight", "hbm", 0, (16, 16), "tiled", "HBM_M_WEIGHT_TYPE", Source("data", symbol="weight")
            ).at(0, SCALE),
            TensorPlacement("x", "hbm", 256, (4, 16), "rows", "HBM_V_ACT_TYPE", Source("input")).at(
                256, SCALE
            ),
            TensorPlacement("y", "vector", 64, (4, 16), "column_blocks", "bf16", Source("output")),
        ),
        memory_map=(Region("weight", "hbm", 0, 256, "data"), Region("x", "hbm", 256, 64, "input")),
        provenance=tuple(Provenance("linear", name) for name in names),
        useful_macs={"linear": 4 * 16 * 16},
        decisions=("linear: the only schedule",),
        rationale=RATIONALE,
        data=data or (lambda symbol: {"weight": weight}[symbol]),
        **parts,
    )


def lookup_program(**parts: Any) -> Program:
    """Writes the integer input ids[2] back: y = ids, and z = x transposed through vector SRAM, preloaded there."""
    return Program(
        words=encode(
            parse_asm("S_LD_INT gp1, gp0, 3\nS_ST_INT gp1, gp0, 8\nS_LD_FP f1, gp0, 1\nS_ST_FP f1, gp0, 9")
        ),
        target=SMALL,
        inputs=(Port("ids", (2,), "int64"), Port("x", (16, 2), "float32")),
        outputs=(Port("id", (1,), "int64"), Port("z", (2, 16), "float32"), Port("c", (1, 1), "bfloat16")),
        placements=(
            TensorPlacement("ids", "int", 2, (2,), "words", "u32", Source("input"), limit=10),
            TensorPlacement(
                "x", "vector", 16, (2, 16), "rows", "bf16", Source("input", 1), view=(Permute((1, 0)),)
            ),
            TensorPlacement("id", "int", 8, (1,), "words", "u32", Source("output")),
            TensorPlacement("z", "vector", 16, (2, 16), "rows", "bf16", Source("output", 1)),
            TensorPlacement("c", "fp", 9, (1, 1), "words", "bf16", Source("output", 2)),
        ),
        constants=(0.5, 1e-6),
        int_sram=(7,),
        **parts,
    )


def weights(seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A weight [16, 16]."""
    return np.random.default_rng(seed).normal(size=(16, 16)).astype(np.float32)
