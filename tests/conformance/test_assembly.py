"""The conformance programs' texts and words, and what the public assembler makes of the texts."""

from __future__ import annotations

import numpy as np
import pytest

from plena.assembly import decode, encode, parse_asm, parse_mem, print_asm, print_mem
from plena.errors import AssemblyError
from tests.conformance.cases import Case, index

WITH_WORDS = [name for name, case in index().items() if "program_file" not in case]
TRIED_UPSTREAM = [name for name in WITH_WORDS if index()[name]["upstream_assembler_same"] is not None]


@pytest.mark.parametrize("name", WITH_WORDS)
def test_text_assembles_to_the_words_and_words_come_back(name: str) -> None:
    case = Case.named(name)
    words = case.array("words", np.uint32)
    assert encode(parse_asm(case.info["assembly"])).tolist() == words.tolist()
    text = print_asm(decode(words))
    assert encode(parse_asm(text)).tolist() == words.tolist()
    assert parse_mem(print_mem(words)).tolist() == words.tolist()


@pytest.mark.filterwarnings("ignore::plena.errors.AssemblyWarning")
@pytest.mark.parametrize("name", TRIED_UPSTREAM)
def test_upstream_placement_differs_exactly_where_the_public_assembler_does(name: str) -> None:
    case = Case.named(name)
    text = case.info["assembly"]
    upstream = encode(parse_asm(text), upstream_quirks=True)
    same = bool((upstream == case.array("words", np.uint32)).all())
    assert same == case.info["upstream_assembler_same"]
    assert encode(parse_asm(text, upstream_quirks=True)).tolist() == upstream.tolist()


def test_bad_tokens_are_refused() -> None:
    bad = [case["program_file"] for case in index().values() if "program_file" in case]
    assert bad
    for text in bad:
        with pytest.raises(AssemblyError, match="hexadecimal"):
            parse_mem(text)
