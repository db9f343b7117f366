"""docs/errors.md: the classes of errors, and messages got by making mistakes. docs/generate.py writes the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import plena
from plena.errors import PlenaError

ROOT = Path(__file__).parents[1]


class Unknown(torch.nn.Module):
    """A model with an operator that no kernel computes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


ROWS = torch.zeros(8, 64)
LINEAR = torch.nn.Linear(64, 64)
TRIANGLE = "C_LOOP_START gp1, 4\nS_ADD_INT gp2, gp2, gp1\nV_EXP_V gp2, gp2, 0\nC_LOOP_END gp1"

MISTAKES: tuple[tuple[str, str, Callable[[], Any]], ...] = (
    (
        "An operator without a kernel",
        "plena.compile(model, (x,))  # forward: torch.special.bessel_j0(x)",
        lambda: plena.compile(Unknown(), (ROWS,)),
    ),
    (
        "An option that is none",
        'plena.compile(model, (x,), objective="beauty")',
        lambda: plena.compile(LINEAR, (ROWS,), objective="beauty"),  # type: ignore[arg-type]
    ),
    (
        "A budget that cannot be met",
        'plena.compile(model, (x,), objective="size", max_instructions=5)',
        lambda: plena.compile(LINEAR, (ROWS,), objective="size", max_instructions=5),
    ),
    (
        "A memory that is too small",
        'plena.compile(model, (x,), target=plena.Target().with_settings({"VECTOR_SRAM_SIZE": 16}))',
        lambda: plena.compile(LINEAR, (ROWS,), target=plena.Target().with_settings({"VECTOR_SRAM_SIZE": 16})),
    ),
    (
        "A setting that does not exist",
        'plena.Target().with_settings({"MLENN": 16})',
        lambda: plena.Target().with_settings({"MLENN": 16}),
    ),
    (
        "A machine that cannot be",
        'plena.compile(model, (x,), target=plena.Target().with_settings({"BLEN": 5}))',
        lambda: plena.compile(LINEAR, (ROWS,), target=plena.Target().with_settings({"BLEN": 5})),
    ),
    (
        "Assembly that cannot be read",
        'plena.stats("S_ADDI_INT gp1, gp0, 262144")',
        lambda: plena.stats("S_ADDI_INT gp1, gp0, 262144"),
    ),
    (
        "A program that aborts",
        'plena.emulate("S_ADDI_INT gp1, gp0, 3\\nV_EXP_V gp1, gp1, 0")',
        lambda: plena.emulate("S_ADDI_INT gp1, gp0, 3\nV_EXP_V gp1, gp1, 0"),
    ),
    (
        "A loop that does not begin",
        'plena.stats("C_LOOP_END gp1")',
        lambda: plena.stats("C_LOOP_END gp1"),
    ),
    (
        "A value that the host loads, not declared",
        'plena.lift("S_LD_INT gp1, gp0, 0\\nV_EXP_V gp1, gp1, 0")',
        lambda: plena.lift("S_LD_INT gp1, gp0, 0\nV_EXP_V gp1, gp1, 0"),
    ),
    (
        "Addresses that are no linear function of loop indices",
        f'plena.lift("{TRIANGLE}")'.replace("\n", "\\n"),
        lambda: plena.lift(TRIANGLE),
    ),
    (
        "An input of another shape",
        "program.run(torch.zeros(9, 64))",
        lambda: plena.compile(LINEAR, (ROWS,)).run(torch.zeros(9, 64)),
    ),
    (
        "A folder that is none",
        'plena.Program.load("nowhere")',
        lambda: plena.Program.load("nowhere"),
    ),
)

ERRORS = """\
# Errors

Everything that a user can get wrong ends in a `plena.PlenaError`, one text in the form *where: what. What to do.* with
those parts in `error.where`, `error.what` and `error.hint`. The command line prints it and exits with 1; set
`PLENA_DEBUG` to see the traceback too. Anything else that is raised is a bug of ours.
The classes below are in `plena.errors`; `OperatorError`, of an operator without a kernel, is a `CompileError`.

| class | raised when |
| --- | --- |
{classes}

The messages below are what `docs/mistakes.py` got when it made these mistakes.

{mistakes}
"""


def page() -> str:
    """docs/errors.md."""
    classes = [PlenaError, *PlenaError.__subclasses__()]
    table = [f"| `{c.__name__}` | {(c.__doc__ or '').splitlines()[0].rstrip('.:')} |" for c in classes]
    return ERRORS.format(classes="\n".join(table), mistakes="\n\n".join(_mistakes()))


def _mistakes() -> Iterator[str]:
    for title, code, make in MISTAKES:
        try:
            make()
        except PlenaError as error:
            text = str(error).replace(f"{ROOT}/", "")
            yield f"## {title}\n\n{_fenced(code, 'python')}\n\n{_fenced(f'{type(error).__name__}: {text}', 'text')}"
        else:
            raise AssertionError(f"{title}: nothing is raised")


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```"
