"""The checked-in reference pages are what the definitions say."""

from __future__ import annotations

from pathlib import Path

import pytest

from plena.cli.reference import PAGES, dialects_page, instructions_page
from plena.dialects.plena_isa import INSTRUCTIONS
from plena.universe import DIALECTS, load_dialect

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_the_checked_in_page_is_current(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run `make reference`"


def test_every_instruction_and_operation_has_a_heading() -> None:
    instructions, dialects = instructions_page(), dialects_page()
    for mnemonic in INSTRUCTIONS:
        assert f"\n### {mnemonic}\n" in instructions
    for name in DIALECTS:
        for operation in load_dialect(name).operations:
            assert f"\n### `{operation.name}`\n" in dialects


def test_every_operation_of_ours_is_documented() -> None:
    for name in DIALECTS:
        for operation in load_dialect(name).operations:
            assert (operation.__doc__ or "").strip(), operation.name
