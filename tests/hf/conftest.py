"""One small model, compiled once for all tests of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.hf.small_models import exact_machine, small

if TYPE_CHECKING:
    from plena.hf import PlenaForCausalLM


@pytest.fixture(scope="session")
def model() -> Any:
    pytest.importorskip("transformers")
    return small()


@pytest.fixture(scope="session")
def compiled(model: Any) -> PlenaForCausalLM:
    from plena.hf import PlenaForCausalLM

    return PlenaForCausalLM.from_pretrained(
        model, max_length=40, target=exact_machine(), batch=2, prefill=(8,), buckets=(16, 40)
    )


@pytest.fixture
def lm(compiled: PlenaForCausalLM) -> PlenaForCausalLM:
    compiled.reset()
    return compiled
