"""Every pass shows IR before and after in its docstring, as the printer prints it, and does just that."""

from __future__ import annotations

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.passes import ModulePass
from xdsl.universe import Universe

from plena.cli.pass_examples import pass_examples
from plena.universe import PASSES, load_pass


def context() -> Context:
    ctx = Context()
    for name, factory in Universe.get_multiverse().all_dialects.items():
        ctx.register_dialect(name, factory)
    return ctx


def parse(text: str) -> ModuleOp:
    module = Parser(context(), text).parse_module()
    module.verify()
    return module


@pytest.mark.parametrize("name", sorted(PASSES))
def test_before_becomes_after(name: str) -> None:
    pass_class = load_pass(name)
    examples = pass_examples(pass_class)
    assert examples, "the docstring needs a Before:: and an After:: block"
    for example in examples:
        module = parse(example.before)
        assert f"{module!s}\n" == example.before, "Before:: is not as the printer prints it"
        pass_class().apply(context(), module)
        module.verify()
        assert f"{module!s}\n" == example.after, f"{name} makes this"
        assert parse(example.after).is_structurally_equivalent(module), "After:: does not parse back to it"


class Documented(ModulePass):
    """What it does.

    Before::

        builtin.module {
        }

    After::

        builtin.module {

          "x"()
        }

    More text.

    Before::
        a
    After::
        b
    """

    name = "documented"


def test_examples_are_found_in_docstrings() -> None:
    first, second = pass_examples(Documented)
    assert first.before == "builtin.module {\n}\n"
    assert first.after == 'builtin.module {\n\n  "x"()\n}\n'
    assert (second.before, second.after) == ("a\n", "b\n")


def test_half_an_example_is_an_error() -> None:
    class Half(Documented):
        name = "half"

    Half.__doc__ = "Text.\n\nBefore::\n\n    a\n"
    with pytest.raises(ValueError, match="not pairs"):
        pass_examples(Half)
