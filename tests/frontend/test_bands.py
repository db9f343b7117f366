"""Constant masks are recognised exactly when they are a band around the diagonal."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plena.dialects.plena import BandAttr
from plena.frontend.bands import band_of


def allowed(band: BandAttr, queries: int, keys: int) -> torch.Tensor:
    return torch.tensor([[band.allows(q, k) for k in range(keys)] for q in range(queries)])


sizes = st.integers(1, 8)
bounds = st.none() | st.integers(-8, 8)


@given(
    queries=sizes, keys=sizes, lower=bounds, upper=bounds, low=st.sampled_from([float("-inf"), -1e4, -3e38])
)
def test_a_band_allows_what_it_was_made_from(
    queries: int, keys: int, lower: int | None, upper: int | None, low: float
) -> None:
    if lower is not None and upper is not None and lower > upper:
        lower, upper = upper, lower
    mask = allowed(BandAttr(lower, upper), queries, keys)
    found = band_of(mask)
    if mask.all() or not mask.any():
        assert found is None
        return
    assert found is not None and torch.equal(allowed(found, queries, keys), mask)
    additive = torch.zeros(mask.shape).masked_fill(~mask, low)
    # A row of nothing but small numbers is a row of scores.
    assert band_of(additive) == (None if low == -1e4 and not mask.any(-1).all() else found)
    assert band_of(mask.expand(2, 1, queries, keys)) == found


@given(mask=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=3, max_size=3))
def test_other_masks_are_no_band(mask: list[list[bool]]) -> None:
    tensor = torch.tensor(mask)
    found = band_of(tensor)
    distances = {k - q for q in range(3) for k in range(3) if mask[q][k]}
    contiguous = bool(distances) and distances == set(range(min(distances), max(distances) + 1))
    is_band = contiguous and all((k - q in distances) == mask[q][k] for q in range(3) for k in range(3))
    assert (found is not None) == (is_band and not tensor.all())


@pytest.mark.parametrize(
    "mask",
    [
        torch.triu(torch.full((4, 4), -100.0), 1),
        torch.tril(torch.ones(4, 4)),
        torch.tril(torch.ones(4, 4, dtype=torch.int64)),
        torch.stack([torch.ones(4, 4).tril().bool(), torch.ones(4, 4).triu().bool()]),
        torch.ones(4, dtype=torch.bool),
        torch.zeros(0, 4),
    ],
    ids=["weak", "ones added", "integers", "two samples", "vector", "empty"],
)
def test_masks_that_only_look_like_one(mask: torch.Tensor) -> None:
    assert band_of(mask) is None


def test_names_of_the_common_ones() -> None:
    assert band_of(torch.ones(5, 5, dtype=torch.bool).tril()) == BandAttr(None, 0)
    window = torch.ones(9, 9, dtype=torch.bool).tril() & torch.ones(9, 9, dtype=torch.bool).triu(-3)
    assert band_of(window) == BandAttr(-3, 0)
    assert band_of(torch.ones(3, 5, dtype=torch.bool).tril(2)) == BandAttr(None, 2)
    assert (
        str(BandAttr(-3, 0)) == "#plena.band<-3 to 0>" and str(BandAttr(None, None)) == "#plena.band<* to *>"
    )
    assert BandAttr(None, 2).intersect(BandAttr(-3, None)) == BandAttr(-3, 2)
