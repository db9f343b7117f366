"""Integers that a model computes with, and what the machine makes of them: bf16 holds all of them up to 256."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from plena.host.image import StagingWarning, quantized, source_array
from plena.host.layout import TensorPlacement
from plena.machine.number_formats import bf16_round
from plena.machine.target import Target


def warn_of_rounded_integers(
    placements: Sequence[TensorPlacement], value: Callable[[TensorPlacement], tuple[Any, str]], target: Target
) -> None:
    """Looks at integers that are staged as numbers.

    Args:
        value: the numbers of a placement, and what they are called.

    Warns:
        StagingWarning: one of them becomes another number. Names the input and one of its elements.
    """
    exact = {(p.source, p.view) for p in placements if p.residual}
    for placement in placements:
        if placement.memory != "hbm" or placement.residual or any(s.reads_numbers for s in placement.view):
            continue
        numbers, name = value(placement)
        array, is_bf16_bits = source_array(numbers)
        if array.dtype.kind not in "iu" or is_bf16_bits:
            continue
        seen = (
            bf16_round(array.astype(np.float32))
            if (placement.source, placement.view) in exact
            else quantized(placement, array, target)
        )
        changed = np.flatnonzero(seen != array)
        if changed.size:
            before, after = array.flat[changed[0]], seen.flat[changed[0]]
            warnings.warn(
                f"{name}: {before} and other integers are rounded, this one to {after:g}: the model computes "
                "with them as with real numbers, which the machine holds to 8 bits. Give smaller ones, or what the "
                "model computes of them.",
                StagingWarning,
                stacklevel=3,
            )
