"""Mutants follow the code; the tests notice a quick one here, all of them in `make mutants`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.mutation.breaking import ROOT, broken_text, copied, is_noticed
from tests.mutation.mutants import MUTANTS

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_line_is_there(name: str) -> None:
    whole, broken = broken_text(BY_NAME[name])
    assert whole != broken
    compile(broken, BY_NAME[name].file, "exec")
    assert all((ROOT / test).exists() for test in BY_NAME[name].tests)


def test_a_line_that_is_gone_is_an_error() -> None:
    with pytest.raises(LookupError, match="0 times"):
        broken_text(replace(MUTANTS[0], line="no such line"))


def test_the_tests_notice_a_quick_one() -> None:
    mutant = BY_NAME["register colours"]
    with copied() as root:
        assert is_noticed(mutant, root)
        assert not is_noticed(replace(mutant, broken=mutant.line + "  # the same"), root)


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_the_tests_notice(name: str) -> None:
    with copied() as root:
        assert is_noticed(BY_NAME[name], root)
