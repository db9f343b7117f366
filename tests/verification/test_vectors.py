"""The static check against the public emulator: it rejects what aborts there and accepts what runs."""

from __future__ import annotations

import numpy as np
import pytest

from plena.lifting import Preloaded
from plena.verification import verify
from tests.conformance.cases import Case, index

NAMES = [name for name, info in index().items() if info.get("abort", {}).get("class") != "bad-token"]


def declared(case: Case) -> Preloaded:
    """What the case preloads: sizes, and the contents of INT SRAM."""
    return Preloaded.of(
        {
            "hbm": int(case.array("hbm").size),
            "fp": int(case.array("fp_sram_init", np.float16).size),
            "int": case.array("int_sram_init", np.uint32),
            "vector": int(case.array("vram_init", np.uint16).size),
        }
    )


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_the_aborts_of_the_emulator(name: str) -> None:
    case = Case.named(name)
    findings = verify(case.array("words", np.uint32), case.target, declared(case))
    errors = [f for f in findings if f.is_error]
    if case.info["expected"] == "abort":
        assert errors, "it aborts on the machine"
        assert case.info["abort"]["class"] == errors[0].code
    else:
        assert not errors
