"""Random modules on random machines: 200 cases; `python -m tests.hunt --hours H` looks for as long as one likes."""

from __future__ import annotations

from hypothesis import event, given, settings

from tests.hunt.case import BlockCase, Case, blocks, cases
from tests.hunt.modules import ARITHMETIC, MOVEMENT, PRODUCTS, attention, linear
from tests.hunt.verdict import examine


@settings(max_examples=70)
@given(cases(5))
def test_modules(case: Case) -> None:
    event(examine(case))


@settings(max_examples=40)
@given(cases(4, (*ARITHMETIC, *MOVEMENT)))
def test_arithmetic_and_movement(case: Case) -> None:
    event(examine(case))


@settings(max_examples=60)
@given(cases(3, (*PRODUCTS, attention, linear)))
def test_products(case: Case) -> None:
    event(examine(case))


@settings(max_examples=30)
@given(blocks)
def test_transformer_blocks(case: BlockCase) -> None:
    event(examine(case))
