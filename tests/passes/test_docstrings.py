"""The IR before and after in every pass's docstring is what the pass does."""

from __future__ import annotations

import re
import textwrap

import pytest
from xdsl.context import Context
from xdsl.parser import Parser
from xdsl.universe import Universe

from plena.universe import PASSES, PLENA_UNIVERSE, load_pass

SNIPPET = re.compile(r"(Before|After)::\n\n((?:\s*\n|[ ]{4,}.*\n?)+)")


def snippets(name: str) -> dict[str, str]:
    """The indented blocks under `Before::` and `After::`."""
    text = textwrap.dedent("    " + (load_pass(name).__doc__ or ""))
    return {title: textwrap.dedent(body) for title, body in SNIPPET.findall(text)}


def context() -> Context:
    ctx = Context()
    for universe in (Universe.get_multiverse(), PLENA_UNIVERSE):
        for dialect, factory in universe.all_dialects.items():
            if dialect not in ctx.registered_dialect_names:
                ctx.register_dialect(dialect, factory)
    return ctx


@pytest.mark.parametrize("name", sorted(PASSES))
def test_before_becomes_after(name: str) -> None:
    found = snippets(name)
    assert set(found) == {"Before", "After"}, "the docstring needs a Before:: and an After:: block"
    ctx = context()
    module = Parser(ctx, found["Before"]).parse_module()
    module.verify()
    load_pass(name)().apply(ctx, module)
    module.verify()
    expected = Parser(ctx, found["After"]).parse_module()
    assert module.is_structurally_equivalent(expected), f"{name} made\n{module}\ninstead of\n{expected}"
