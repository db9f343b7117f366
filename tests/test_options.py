"""The table of options: what functions, passes and commands read of it, and what is said of wrong values."""

from __future__ import annotations

import inspect
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest

import plena
from plena.api.compile import compile
from plena.api.optimize import optimize
from plena.cli.commands.sources import add_compile_options
from plena.cli.settings import add_options
from plena.errors import CompileError
from plena.kernels.schedule import Schedule
from plena.passes.options import CHOOSING, OPTIONS, check_values
from plena.passes.select_loops import SelectLoops, select

FUNCTIONS = {compile: tuple(OPTIONS), optimize: CHOOSING, select: CHOOSING}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_have_the_options_and_defaults_of_the_table(function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters
    for name in FUNCTIONS[function]:
        assert parameters[name].default == OPTIONS[name].default, name


def test_schedules_and_passes_have_the_defaults_of_the_table() -> None:
    found = {f.name: f.default for cls in (Schedule, SelectLoops) for f in fields(cls)}
    assert all(found[name] == option.default for name, option in OPTIONS.items())


def test_types_have_the_values_of_the_table() -> None:
    hints = get_type_hints(Schedule)
    for name, option in OPTIONS.items():
        # Profiles may be registered: their names are any text.
        assert hints.get(name) in (None, str) or get_args(hints[name]) == option.choices, name


def test_commands_have_the_options_of_the_table() -> None:
    whole, choosing = ArgumentParser(), ArgumentParser()
    add_compile_options(whole)
    add_options(choosing, CHOOSING)
    for parser, names in ((whole, tuple(OPTIONS)), (choosing, CHOOSING)):
        given = vars(parser.parse_args([]))
        assert {n: given[n] for n in names} == {n: OPTIONS[n].default for n in names}
    assert vars(whole.parse_args(["--max-instructions", "7"]))["max_instructions"] == 7
    with pytest.raises(SystemExit):
        whole.parse_args(["--matmul", "strassen"])


WRONG: list[tuple[str, Any, str]] = [
    (
        "objective",
        "beauty",
        "must be one of cycles, size, not 'beauty'. Leave it out for 'cycles', or see docs",
    ),
    ("objective", ["x" * 80], "must be one of cycles, size, not a list. Leave it out"),
    ("max_instructions", 0, "must be positive, got 0. Give the static instructions"),
    ("max_instructions", True, "must be a whole number, not True. Give the static instructions"),
    ("max_instructions", 5.5, "must be a whole number, not 5.5. Give the static instructions"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_wrong_values_have_one_message_everywhere(name: str, value: Any, message: str) -> None:
    text = "V_EXP_V gp0, gp0, 0"
    module = plena.lift(text)
    calls: dict[str, Callable[[], Any]] = {
        f"options: {name} ": lambda: compile(None, (), **{name: value}),
        f"optimize: {name} ": lambda: optimize(text, **{name: value}),
        f"select-loops: {OPTIONS[name].hyphenated} ": lambda: select(module, **{name: value}),
        f"here: {name} ": lambda: check_values({name: value}, "here"),
    }
    for start, call in calls.items():
        with pytest.raises(CompileError) as error:
            call()
        assert str(error.value).startswith(start + message)
