"""Every operator that is another spelling of ops the dialect has: one entry per overload."""

from __future__ import annotations

from plena.frontend.spellings import (
    activations,
    arithmetic,
    assignment,
    channel_norms,
    complex_numbers,
    conversions,
    gathering,
    joining,
    logarithms,
    masks,
    products,
    reductions,
    resampling,
    shapes,
    state,
    windows,
)
from plena.frontend.spellings.handlers import Handler

SPELLINGS: dict[str, Handler] = {
    **shapes.SPELLINGS,
    **joining.SPELLINGS,
    **conversions.SPELLINGS,
    **gathering.SPELLINGS,
    **complex_numbers.SPELLINGS,
    **products.SPELLINGS,
    **arithmetic.SPELLINGS,
    **activations.SPELLINGS,
    **masks.SPELLINGS,
    **reductions.SPELLINGS,
    **channel_norms.SPELLINGS,
    **logarithms.SPELLINGS,
    **state.SPELLINGS,
    **assignment.SPELLINGS,
    **windows.SPELLINGS,
    **resampling.SPELLINGS,
}
"""Handlers by overload."""
