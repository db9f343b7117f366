"""Random modules on random machines, about 90 cases, always the same.

`python -m tests.hunt --hours H` looks as long as one likes.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, event, given, seed, settings
from hypothesis import strategies as st

from tests.hunt.case import BlockCase, Case, blocks, cases, special_cases
from tests.hunt.kinds import KINDS
from tests.hunt.modules import ARITHMETIC, MOVEMENT, PRODUCTS, attention, linear
from tests.hunt.verdict import REFUSALS, examine


def require_compiled(case: Case | BlockCase) -> None:
    """Ordinary steps are right, or refused for a reason that lies in the machine."""
    outcome = examine(case)
    event(outcome)
    assert outcome == "compiled" or any(part in outcome for part in REFUSALS), outcome


@seed(1)
@settings(max_examples=20)
@given(cases(5))
def test_modules(case: Case) -> None:
    require_compiled(case)


@seed(1)
@settings(max_examples=12)
@given(cases(4, (*ARITHMETIC, *MOVEMENT)))
def test_arithmetic_and_movement(case: Case) -> None:
    require_compiled(case)


@seed(1)
@settings(max_examples=10)
@given(cases(3, (*PRODUCTS, attention, linear)))
def test_products(case: Case) -> None:
    require_compiled(case)


@seed(1)
@settings(max_examples=6)
@given(blocks)
def test_transformer_blocks(case: BlockCase) -> None:
    require_compiled(case)


@pytest.mark.parametrize("kind", sorted(KINDS))
@seed(1)
@settings(
    max_examples=4,
    # The smallest module of some kinds takes many draws for its inputs and its machine: that is no failure.
    suppress_health_check=[*settings().suppress_health_check, HealthCheck.large_base_example],
)
@given(st.data())
def test_special_modules(kind: str, data: st.DataObject) -> None:
    """Right, or refused."""
    event(examine(data.draw(special_cases(2, kind))))
