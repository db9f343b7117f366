"""Numbers of addresses are checked where they are written."""

from __future__ import annotations

import pytest
from xdsl.utils.exceptions import VerifyException

from plena.dialects.loop import AffineOp, Linear


@pytest.mark.parametrize("number", [99999999999999999999, -(1 << 48)])
def test_numbers_that_are_no_addresses(number: int) -> None:
    AffineOp(Linear.of(number // (1 << 30), [])).verify()
    with pytest.raises(VerifyException, match=rf"{number} is no address: numbers are below 2\^48"):
        AffineOp(Linear.of(number, [])).verify()
