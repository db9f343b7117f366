"""Recognition of constant masks that are causal, windowed or another band around the diagonal."""

from __future__ import annotations

import torch
from xdsl.dialects.builtin import FloatAttr, UnitAttr, f64
from xdsl.ir import Attribute

from plena.dialects.plena.masks import BandAttr
from plena.host.mask_steps import ABSORBING, NEAR

_MASKED = -1e4
"""Additive entries from here down take a key out of a softmax that has others: e to the -1e4 is zero."""


_EVEN = 32.0
"""Numbers of a row that are no farther apart keep three bits of a score in bf16, whichever of them is taken off."""


def mask_properties(tensor: torch.Tensor) -> dict[str, Attribute | None]:
    """What `aten.constant` says of a tensor: of integers `counts`, else what it says of masks and numbers."""
    if tensor.ndim == 0 or tensor.numel() == 0:
        return {}
    if tensor.dtype != torch.bool and not tensor.is_floating_point():
        counts = max(tensor.shape) == tensor.numel() and torch.equal(
            tensor.flatten(), torch.arange(tensor.numel(), dtype=tensor.dtype)
        )
        return {"counts": UnitAttr()} if counts else {}
    band = band_of(tensor)
    if tensor.dtype == torch.bool:
        return {"band": band, "blind": None if bool(tensor.any(-1).all()) else UnitAttr()}
    highest, lowest = tensor.amax(-1), tensor.amin(-1)
    moderate = bool((highest.abs() < ABSORBING).all()) and bool((highest - lowest <= NEAR).all())
    least = torch.where(tensor > _MASKED, tensor, highest.unsqueeze(-1)).amin(-1)
    return {
        "band": band,
        "fill": None if band is None else FloatAttr(float(tensor.min()), f64),
        "blind": None if bool((highest > -ABSORBING).all()) else UnitAttr(),
        "wide": None if moderate else UnitAttr(),
        "uneven": None if bool((highest - least <= _EVEN).all()) else UnitAttr(),
        "infinite": None if bool(tensor.isfinite().all()) else UnitAttr(),
        "nonnegative": UnitAttr() if bool((tensor >= 0).all()) else None,
    }


def band_of(mask: torch.Tensor) -> BandAttr | None:
    """The band that a mask [..., S, T] allows, None if it is no band or not the same for all leading axes.

    Boolean masks allow where true; additive ones allow exact zeros and forbid one number of at most -1e4, which has to
    be infinite, or such that float32 absorbs scores into it, in rows of nothing else. A mask that allows everything is
    no band either.
    """
    if mask.ndim < 2 or min(mask.shape) == 0:
        return None
    plane = mask.reshape(-1, *mask.shape[-2:])[0]
    if mask.numel() != plane.numel() and not bool((mask == plane).all()):
        return None
    if mask.dtype == torch.bool:
        allowed = plane
    elif mask.is_floating_point():
        allowed = plane == 0
        lowest = plane.min()
        if lowest > _MASKED or not bool((allowed | (plane == lowest)).all()):
            return None
        if lowest > -ABSORBING and not bool(allowed.any(-1).all()):
            return None
    else:
        return None
    return _band_of_allowed(allowed)


def _band_of_allowed(allowed: torch.Tensor) -> BandAttr | None:
    """The band that the first and last query state: there the bounds reach furthest into the keys."""
    queries, keys = allowed.shape
    seen = [row.nonzero().flatten() for row in (allowed[0], allowed[-1])]
    if 0 in (len(seen[0]), len(seen[1])):
        return _band_of_distances(allowed)
    last_of_first, first_of_last = int(seen[0][-1]), int(seen[1][0])
    upper = last_of_first if last_of_first < keys - 1 else None
    lower = first_of_last - (queries - 1) if first_of_last > 0 else None
    band = torch.ones(queries, keys, dtype=torch.bool)
    band = band if upper is None else band.tril_(upper)
    band = band if lower is None else band.triu_(lower)
    if (lower is None and upper is None) or not torch.equal(band, allowed):
        return None
    return BandAttr(lower, upper)


def _band_of_distances(allowed: torch.Tensor) -> BandAttr | None:
    """The band by all distances, for masks in which the first or last query sees no key."""
    queries, keys = allowed.shape
    if not bool(allowed.any()):
        return None
    distance = torch.arange(keys)[None, :] - torch.arange(queries)[:, None]
    inside = distance[allowed]
    lower, upper = int(inside.min()), int(inside.max())
    if not bool((allowed == ((distance >= lower) & (distance <= upper))).all()):
        return None
    return BandAttr(None if lower == 1 - queries else lower, None if upper == keys - 1 else upper)
