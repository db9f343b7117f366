"""Layout maps describe the same movement as torch's views, permutations and expansions."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from plena.passes.sink_layouts import inverse
from plena.tensor.layout_maps import LayoutMap

sizes = st.sampled_from([1, 2, 3, 4, 6])


@st.composite
def chains(draw: st.DrawFn, repeat: bool) -> tuple[torch.Tensor, torch.Tensor, LayoutMap]:
    """A tensor of distinct numbers, a view of it after some steps, and the map of the view."""
    shape = draw(st.lists(sizes, min_size=1, max_size=4))
    base = torch.arange(math.prod(shape)).reshape(shape)
    view, layout = base, LayoutMap.of(shape)
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["permute", "reshape", "expand"] if repeat else ["permute", "reshape"]))
        if kind == "permute":
            dims = draw(st.permutations(range(view.ndim)))
            view, layout = view.permute(dims), layout.permuted(dims)
        elif kind == "expand" and view.numel() < 200:
            wider = [draw(st.integers(2, 3)) if n == 1 and draw(st.booleans()) else n for n in view.shape]
            lead = draw(st.lists(st.integers(1, 2), max_size=1))
            view, layout = view.expand(*lead, *wider), layout.expanded([*lead, *wider])
        else:
            left, target = view.numel(), list[int]()
            while left > 1:
                target.append(draw(st.sampled_from([n for n in range(1, left + 1) if left % n == 0])))
                left //= target[-1]
            reshaped = layout.reshaped(target)
            if reshaped is not None:
                view, layout = view.reshape(target), reshaped
        assert layout.shape == tuple(view.shape)
    return base, view, layout


def moved(base: torch.Tensor, layout: LayoutMap) -> torch.Tensor:
    """The base as the map says, by one view, one permutation and one expansion."""
    kept = [atom for atom in layout.atoms if atom.source >= 0]
    assert sorted(atom.source for atom in kept) == list(range(len(layout.factors)))
    assert all(layout.factors[atom.source] == atom.size for atom in kept)
    permuted = base.reshape(layout.factors).permute([atom.source for atom in kept])
    ones = permuted.reshape([atom.size if atom.source >= 0 else 1 for atom in layout.atoms])
    return ones.expand([atom.size for atom in layout.atoms]).reshape(layout.shape)


@given(chains(repeat=True))
def test_a_map_is_the_view(chain: tuple[torch.Tensor, torch.Tensor, LayoutMap]) -> None:
    base, view, layout = chain
    assert torch.equal(moved(base, layout), view)
    assert torch.equal(moved(base, layout.simplified()).flatten(), view.flatten())


@given(chains(repeat=False))
def test_simplified_maps_are_canonical(chain: tuple[torch.Tensor, torch.Tensor, LayoutMap]) -> None:
    base, view, layout = chain
    simple = layout.simplified()
    assert 1 not in simple.factors
    assert all(b != a + 1 for a, b in zip(simple.order, simple.order[1:], strict=False))
    assert layout.is_reshape == torch.equal(view.flatten(), base.flatten()) or not layout.is_reshape
    if torch.equal(view.flatten(), base.flatten()):
        assert simple.is_reshape, "two maps of the same movement simplify to the same"


@given(chains(repeat=False))
def test_inverse(chain: tuple[torch.Tensor, torch.Tensor, LayoutMap]) -> None:
    base, view, layout = chain
    assert torch.equal(moved(view.reshape(-1), inverse(layout)).flatten(), base.flatten())
