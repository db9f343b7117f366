"""Odd modules and malformed inputs are right, or refused with a place and advice."""

from __future__ import annotations

import pytest

from tests.hunt import malformed_calls, odd_modules

ENTRIES = odd_modules.entries()


def check(entry: tuple[str, str]) -> None:
    assert odd_modules.examine(entry) in ("compiled", "refused")


@pytest.mark.parametrize("entry", ENTRIES[::29], ids=str)
def test_some_odd_modules(entry: tuple[str, str]) -> None:
    check(entry)


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_all_odd_modules(entry: tuple[str, str]) -> None:
    check(entry)


def test_malformed_inputs() -> None:
    outcomes = [malformed_calls.examine(number) for number in (*range(60), 738, 873, 2309)]
    assert outcomes.count("compiled") < len(outcomes) / 2
