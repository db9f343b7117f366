"""Lifted programs do what the originals do, to every memory."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings

from plena.errors import PlenaError
from plena.lifting import FlatProgram, Preloaded, lift_code
from tests.corpus import programs as corpus
from tests.lifting.affine_machine import assert_same_effect
from tests.lifting.flat_programs import INT_FIRST, INT_HIGH, INT_LOW, flat_programs
from tests.lifting.machines import SMALL, machine

REFUSED = re.compile("loaded from INT SRAM|loaded at run time|takes turns|in every iteration|step that")


@pytest.mark.parametrize("name", corpus.NAMES)
def test_the_corpus_keeps_its_effect(name: str) -> None:
    text = corpus.text(name)
    module = lift_code(FlatProgram.of(text), corpus.TARGET, Preloaded.of(corpus.PRELOADED))
    module.verify()
    assert_same_effect(text, module, (corpus.machine(), corpus.machine()))


NUMBERS = [0] * INT_FIRST + np.random.default_rng(7).integers(
    INT_LOW, INT_HIGH + 1, 1024 - INT_FIRST
).tolist()


@given(flat_programs())
@settings(max_examples=60)
def test_random_programs_keep_their_effect(text: str) -> None:
    preloaded = Preloaded.of({"int": [(INT_FIRST, 1024, INT_LOW, INT_HIGH)]})
    try:
        module = lift_code(FlatProgram.of(text), SMALL, preloaded)
    except PlenaError as error:
        assert REFUSED.search(error.what), error
        return
    module.verify()
    machines = machine(int_sram=NUMBERS), machine(int_sram=NUMBERS)
    assert_same_effect(text, module, machines)
