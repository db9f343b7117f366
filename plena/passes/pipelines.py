"""The pipelines, as data: which passes lead from one level to the next."""

from __future__ import annotations

BODY_PIPELINE: tuple[str, ...] = (
    "merge-duplicates",
    "keep-channels-last",
    "fuse-norms",
    "fuse-rotary",
    "fuse-gates",
    "fuse-attention",
    "absorb-expansions",
    "stage-host-values",
    "convert-aten-to-plena",
    "canonicalize-layouts",
    "sink-layouts",
    "merge-duplicates",
    "widen-products",
    "keep-operands-finite",
    "fold-staging",
    "widen-rotary",
    "split-projections",
    "fold-staging",
    "fold-norm-gain",
    "scale-before-products",
    "merge-duplicates",
    "share-projections",
    "share-rotations",
    "attend-first-rows",
)
"""aten to plena, for a function without routed experts: kernels are recognised, layouts absorbed."""

EXPERT_PIPELINE: tuple[str, ...] = (
    "merge-duplicates",
    "collect-experts",
    "pick-experts",
    "loop-experts",
    "lower-experts",
)
"""Routed experts, in aten, as what the rest of it is made of."""

TENSOR_PIPELINE: tuple[str, ...] = (*EXPERT_PIPELINE, *BODY_PIPELINE)
"""aten to plena: routed experts first."""

CONVERSION = "convert-plena-to-tile"
"""plena to tile: kernels tiled. Its options are the schedule."""

BUFFER_PIPELINE: tuple[str, ...] = ("fuse-elementwise", "allocate-buffers")
"""Fewer tile operations, buffers placed."""

TILE_PIPELINE: tuple[str, ...] = (CONVERSION, *BUFFER_PIPELINE)
"""plena to tile."""

LOOP_PIPELINE: tuple[str, ...] = (
    "convert-tile-to-isa",
    "reroll-loops",
    "canonicalize-loops",
    "fuse-loops",
    "hoist-invariants",
)
"""tile to the affine form of plena_isa, sticky state still with the instructions that look at it."""

SCHEDULED_PIPELINE: tuple[str, ...] = tuple(p for p in LOOP_PIPELINE if p != "fuse-loops")
"""The same where transfers run beside other work: loads of tiles stay loops of their own, for schedule-transfers to
move."""

AFFINE_PIPELINE: tuple[str, ...] = (*LOOP_PIPELINE, "set-state")
"""tile to the affine form of plena_isa, ready for the loop optimiser."""

REGISTER_PIPELINE: tuple[str, ...] = ("materialize-addresses", "allocate-registers")
"""Affine form to register form."""

PIPELINES: dict[str, tuple[str, ...]] = {
    "tensor": TENSOR_PIPELINE,
    "tile": TILE_PIPELINE,
    "affine": AFFINE_PIPELINE,
    "register": REGISTER_PIPELINE,
}
