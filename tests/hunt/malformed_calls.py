"""`python -m tests.hunt.malformed_calls --count 1000`: malformed arguments of plena.compile, each refused clearly.

A case is a small module with its inputs, one to three of whose parts are exchanged for something that nobody should
give. It must compile, or raise a PlenaError that says where and what to do; a bare exception, or a CompilerBug, is a
failure.
"""

from __future__ import annotations

import argparse
import random
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import plena
from plena.dialects.refusals import CompilerBug
from plena.frontend import import_module
from tests.hunt.odd_modules import M, i, r

Random = random.Random

BASES: dict[str, Callable[[], tuple[Any, list[Any]]]] = {
    "linear": lambda: (nn.Linear(4, 4), [r(2, 4)]),
    "embedding": lambda: (nn.Embedding(5, 8), [i(5, 2, 3)]),
    "sum": lambda: (M(lambda _, x, y: x + y), [r(2, 4), r(2, 4)]),
    "norm": lambda: (nn.LayerNorm(4), [r(2, 4)]),
    "flag": lambda: (M(lambda _, x, flag=None: x * 2 if flag else x + 1), [r(2, 4), True]),
    "dictionary": lambda: (M(lambda _, x: x["a"] + x["b"]), [{"a": r(4), "b": r(4)}]),
    "masked": lambda: (M(lambda _, x, m: x.masked_fill(m, 0.0)), [r(2, 4), torch.ones(2, 4).bool()]),
    "convolution": lambda: (nn.Conv1d(3, 4, 2), [r(2, 3, 8)]),
}

THINGS: tuple[Callable[[], Any], ...] = (
    lambda: None, lambda: 3, lambda: -1, lambda: 2.5, lambda: float("nan"), lambda: 10**30, lambda: "text", lambda: "",
    lambda: b"bytes", lambda: 1j, lambda: True, lambda: [], lambda: (), lambda: {}, lambda: {1, 2}, object,
    lambda: int, lambda: len, lambda: range(3), lambda: slice(1), lambda: iter([]), lambda: ..., lambda: torch.float32,
    lambda: torch.device("cpu"), lambda: torch.Size([2]), lambda: np.ones((2, 4), np.float32), lambda: np.float32(2),
    lambda: np.array(["a"]), lambda: [[1, 2], [3]], lambda: {"a": None}, lambda: {1: r(2)}, lambda: nn.Linear(4, 4),
    lambda: nn.Linear, plena.Target, lambda: ValueError("x"), torch.Generator,
)  # fmt: skip

TENSORS: tuple[Callable[[], Any], ...] = (
    r, lambda: r(0), lambda: r(2, 0), lambda: r(4), lambda: r(3, 5), lambda: r(1, 1, 1, 1, 1, 2, 4),
    lambda: r(2, 4).double(), lambda: r(2, 4).half(), lambda: r(2, 4).bfloat16(), lambda: i(5, 2, 4),
    lambda: i(5, 2, 4).int(), lambda: i(5, 2, 4).to(torch.int8), lambda: i(5, 2, 4).to(torch.uint8),
    lambda: torch.complex(r(2, 4), r(2, 4)), lambda: torch.ones(2, 4).bool(), lambda: r(2, 4).to(torch.float8_e5m2),
    lambda: r(2, 4).to_sparse(), lambda: r(2, 4).to_sparse_csr(), lambda: r(2, 4).to("meta"),
    lambda: torch.quantize_per_tensor(r(2, 4), 0.1, 0, torch.qint8), lambda: r(4, 2).T, lambda: r(2, 1).expand(2, 4),
    lambda: torch.nested.nested_tensor([r(2), r(3)]), lambda: r(2, 4).requires_grad_(), lambda: nn.Parameter(r(2, 4)),
    lambda: torch.full((2, 4), float("nan")), lambda: torch.full((2, 4), float("inf")), lambda: i(5, 2, 3) + 100,
    lambda: -i(5, 2, 3), nn.UninitializedParameter, lambda: r(2, 4).flip(0)[:, ::2],
    lambda: torch.nested.nested_tensor([r(2), r(3)], layout=torch.jagged),
)  # fmt: skip

OPTIONS = (
    "target",
    "max_instructions",
    "objective",
    "timing",
    "matmul",
    "attention",
    "staging",
)


def anything(pick: Random) -> Any:
    return pick.choice(THINGS if pick.random() < 0.4 else TENSORS)()


def containers(pick: Random, args: list[Any]) -> Any:
    """The inputs in something that is no tuple, or almost one."""
    first = args[0] if args else None
    return pick.choice(
        [
            lambda: first, lambda: {"x": first}, lambda: dict(enumerate(args)), lambda: (*args, *args),
            lambda: args[:-1],
            lambda: iter(args), lambda: [args], lambda: ((*args,),), lambda: anything(pick), lambda: [*args, None],
            lambda: (a for a in args), lambda: map(id, args), lambda: str(args), lambda: (*args, anything(pick)),
        ]
    )()  # fmt: skip


def damage_module(pick: Random, module: Any) -> Any:
    """A module with a parameter, buffer or attribute that it should not have, or no module."""
    if not isinstance(module, nn.Module) or pick.random() < 0.3:
        return anything(pick)
    names = [name for name, _ in module.named_parameters()]
    kind = pick.randrange(4)
    if kind == 0 and names:
        setattr(module, pick.choice(names), None)
    elif kind == 1 and names:
        value = pick.choice(TENSORS)()
        name = pick.choice(names)
        del module._parameters[name]
        setattr(module, name, value)
    elif kind == 2:
        module.register_buffer("extra", pick.choice(TENSORS)())
    else:
        odd = [anything(pick), lambda *a: anything(pick), lambda *a: a, lambda: None]
        module.__dict__["forward"] = pick.choice(odd)
    return module


def case(number: int) -> tuple[str, Callable[[], Any]]:
    """A description and the call of plena.compile; equal numbers give equal cases."""
    pick = Random(number)
    torch.manual_seed(number)
    name = pick.choice(sorted(BASES))
    module, args = BASES[name]()
    kwargs: Any = {}
    options: dict[str, Any] = {}
    changes: list[str] = []
    given: Any = args
    for _ in range(pick.choice([1, 1, 1, 2, 3])):
        what = pick.choice(["input", "input", "input", "container", "module", "option", "names", "nested"])
        changes.append(what)
        if what == "input" and args:
            args[pick.randrange(len(args))] = anything(pick)
        elif what == "container":
            given = containers(pick, args)
        elif what == "module":
            module = damage_module(pick, module)
        elif what == "option":
            options[pick.choice(OPTIONS)] = pick.choice(THINGS)()
        elif what == "names":
            kwargs = pick.choice([lambda: {"x": anything(pick)}, lambda: {3: r(2)}, lambda: anything(pick)])()
        elif args:
            args[0] = pick.choice(
                [lambda: [args[0]], lambda: {"a": args[0]}, lambda: (args[0], anything(pick))]
            )()

    def call() -> Any:
        if "names" in changes:
            return import_module(module, given, kwargs)
        return plena.compile(module, given, **options)

    return f"case({number}): {name}, {' and '.join(changes)}", call


def examine(number: int) -> str:
    """What became of a case.

    Raises:
        AssertionError: it was refused without a place or without advice.
        Exception: any other is a failure, too.
    """
    _, call = case(number)
    try:
        call()
    except CompilerBug:
        raise
    except plena.PlenaError as error:
        text = str(error)
        assert error.where, f"no place: {text}"
        assert error.hint, f"no advice: {text}"
        assert "\n" not in text and len(text) < 1000, f"more than a line: {text}"
        return f"refused: {type(error).__name__}"
    return "compiled"


def main() -> int:
    """The exit code is 1 if something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.hunt.malformed_calls", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many cases (default 1,000)")
    parser.add_argument("--seed", type=int, default=0, help="number of the first one (default 0)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    outcomes: Counter[str] = Counter()
    for number in range(options.seed, options.seed + options.count):
        try:
            outcomes[examine(number)] += 1
        except Exception as error:
            cause = error.__cause__ if isinstance(error, CompilerBug) else error
            frames = traceback.extract_tb((cause or error).__traceback__)
            frame = next((f for f in reversed(frames) if "/plena/" in f.filename), frames[-1])
            place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            name = f"FAILED {type(error).__name__} at {place}"
            if name not in outcomes:
                print(f"{case(number)[0]}: {type(error).__name__} at {place}: {error}", flush=True)
            outcomes[name] += 1
    for outcome, count in outcomes.most_common():
        print(f"{count:8,}  {outcome}")
    return int(any(outcome.startswith("FAILED") for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
