"""Address cost models on nests whose pointers one can count by hand."""

from __future__ import annotations

import pytest

from plena.loops.selection.address_costs import (
    AddressCost,
    AddressInstructions,
    CountedUpdates,
    Nest,
    PlannedUpdates,
)
from plena.loops.selection.tree import Address, Step, Straight

BOTH = pytest.mark.parametrize("model", [CountedUpdates(), PlannedUpdates()], ids=["counted", "planned"])


def steps(*addresses: Address) -> Straight:
    return Straight.of([Step(1, (a,)) for a in addresses])


def plain(constant: int, **terms: int) -> Address:
    return Address(constant, tuple(terms.items()), False)


@BOTH
def test_one_update_per_walking_pointer(model: AddressCost) -> None:
    nest = Nest((("i", 16),), steps(plain(0, i=64), plain(4096, i=256)), 15, "outer")
    assert model.nest(nest) == AddressInstructions(2, 32, 2)


@BOTH
def test_invariant_pointers_are_pinned(model: AddressCost) -> None:
    nest = Nest((("i", 16),), steps(*(plain(4096 * k, c=256) for k in range(6)), plain(0, i=64)), 15, "c")
    assert model.nest(nest) == AddressInstructions(1, 16, 7)


@BOTH
def test_immediates_share_a_pointer(model: AddressCost) -> None:
    written = [Address(8192 + 4 * k, (("i", 256),), True) for k in range(8)]
    assert model.nest(Nest((("i", 16),), steps(*written), 15, "outer")) == AddressInstructions(1, 16, 1)


@BOTH
def test_small_numbers_with_immediates_need_no_pointer(model: AddressCost) -> None:
    assert model.nest(Nest((("i", 16),), steps(Address(100, (), True)), 15, "outer")) == AddressInstructions(
        0, 0, 0
    )


@BOTH
def test_a_pointer_that_runs_on_is_not_reset(model: AddressCost) -> None:
    nest = Nest((("o", 4), ("i", 16)), steps(plain(0, i=64, o=1024)), 15)
    assert model.nest(nest) == AddressInstructions(1, 64, 1)


@BOTH
def test_a_pointer_that_jumps_is_moved_once_per_iteration(model: AddressCost) -> None:
    nest = Nest((("o", 4), ("i", 16)), steps(plain(0, i=64, o=4096)), 15)
    assert model.nest(nest) == AddressInstructions(2, 68, 1)


@BOTH
def test_too_few_registers(model: AddressCost) -> None:
    assert model.nest(Nest((("i", 2), ("j", 2), ("k", 2)), steps(plain(0, k=64)), 3)) is None


def test_equal_nests_are_planned_once() -> None:
    model = PlannedUpdates()
    first = model.nest(Nest((("i", 16),), steps(plain(0, i=64)), 15))
    assert model.nest(Nest((("j", 16),), steps(plain(9000, j=64)), 15)) is first
