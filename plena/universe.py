"""Everything `plena` adds to xDSL, by name: dialects, passes, targets; each is imported on first use."""

from __future__ import annotations

from functools import partial
from importlib import import_module

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import Universe
from xdsl.utils.target import Target

DIALECTS: dict[str, str] = {
    "aten": "Aten",
    "loop": "Loop",
    "plena": "Plena",
    "plena_isa": "PlenaISA",
    "tile": "Tile",
}
"""Dialect name -> its object in plena/dialects/<name>."""

PASSES: dict[str, str] = {
    "collect-experts": "CollectExperts",
    "pick-experts": "PickExperts",
    "widen-rotary": "WidenRotaryEmbedding",
    "widen-products": "WidenProducts",
    "keep-operands-finite": "KeepOperandsFinite",
    "absorb-expansions": "AbsorbExpansions",
    "share-projections": "ShareProjections",
    "share-rotations": "ShareRotations",
    "attend-first-rows": "AttendFirstRows",
    "fold-norm-gain": "FoldNormGain",
    "scale-before-products": "ScaleBeforeProducts",
    "fold-staging": "FoldStaging",
    "split-layers": "SplitLayers",
    "split-projections": "SplitProjections",
    "merge-duplicates": "MergeDuplicates",
    "keep-channels-last": "KeepChannelsLast",
    "sink-layouts": "SinkLayouts",
    "convert-aten-to-plena": "ConvertAtenToPlena",
    "fuse-gates": "FuseGates",
    "fuse-rotary": "FuseRotaryEmbedding",
    "fuse-norms": "FuseNorms",
    "canonicalize-loops": "CanonicalizeLoops",
    "fuse-loops": "FuseLoops",
    "hoist-invariants": "HoistInvariants",
    "interchange-loops": "InterchangeLoops",
    "peel-loops": "PeelLoops",
    "lift": "Lift",
    "verify-program": "VerifyProgram",
    "roll-loops": "RollLoops",
    "reroll-loops": "RerollLoops",
    "select-loops": "SelectLoops",
    "apply-loop-choices": "ApplyLoopChoices",
    "strip-mine-loops": "StripMineLoops",
    "unroll-and-jam": "UnrollAndJam",
    "unroll-loops": "UnrollLoops",
    "limit-loop-depth": "LimitLoopDepth",
    "interleave-iterations": "InterleaveIterations",
    "guard-hazards": "GuardHazards",
    "canonicalize-layouts": "CanonicalizeLayouts",
    "allocate-buffers": "AllocateBuffers",
    "convert-plena-to-tile": "ConvertPlenaToTile",
    "convert-tile-to-isa": "ConvertTileToISA",
    "fuse-attention": "FuseAttention",
    "fuse-elementwise": "FuseElementwise",
    "materialize-addresses": "MaterializeAddresses",
    "allocate-registers": "AllocateRegisters",
    "set-state": "SetState",
    "schedule-transfers": "ScheduleTransfers",
    "roll-layers": "RollLayers",
    "stage-host-values": "StageHostValues",
    "lower-experts": "LowerExperts",
    "loop-experts": "LoopExperts",
}
"""Pass name -> its class in plena/passes/<name with underscores>.py."""

TARGETS: dict[str, str] = {
    "plena-asm": "AssemblyTarget",
    "plena-words": "WordsTarget",
}
"""Output name -> its class in plena/assembly/emit.py."""


def load_dialect(name: str) -> Dialect:
    """One of our dialects."""
    return getattr(import_module(f"plena.dialects.{name}"), DIALECTS[name])


def load_pass(name: str) -> type[ModulePass]:
    """The class of one of our passes."""
    return getattr(import_module(f"plena.passes.{name.replace('-', '_')}"), PASSES[name])


def load_target(name: str) -> type[Target]:
    """The class of one of our output formats."""
    return getattr(import_module("plena.assembly.emit"), TARGETS[name])


PLENA_UNIVERSE = Universe(
    all_dialects={name: partial(load_dialect, name) for name in DIALECTS},
    all_passes={name: partial(load_pass, name) for name in PASSES},
    all_targets={name: partial(load_target, name) for name in TARGETS},
)
"""What xDSL finds through the entry point group `xdsl.universe`."""
