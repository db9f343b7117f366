"""`plena ab`: rolled against expanded loops."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from plena.cli.commands.command import Command
from plena.cli.commands.shown_tables import print_table
from plena.cli.commands.sources import MODEL_HELP, add_compile_options, compile_model


def arguments(parser: ArgumentParser) -> None:
    """The model and what `plena.compile` takes."""
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("--verify", action="store_true", help="run both and compare their results bit by bit")
    add_compile_options(parser)


def run(args: Namespace) -> int:
    """Compile, expand, compare; exit code 1 if the results differ."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from plena.optimizing.expansion import compare, expanded
    from plena.timing.registry import timings

    rolled, _ = compile_model(args)
    unrolled = expanded(rolled)
    table = Table(box=SIMPLE_HEAD)
    table.add_column("step")
    for figure in ("static", "dynamic", *timings(), "C_LOOP_START"):
        table.add_column(f"{figure}\nrolled", justify="right")
        table.add_column("\nexpanded", justify="right")
    for row in compare(rolled, unrolled):
        pairs = [
            (row.rolled.static, row.expanded.static),
            (row.rolled.dynamic, row.expanded.dynamic),
            *((row.rolled.cycles.get(p, 0), row.expanded.cycles.get(p, 0)) for p in timings()),
            (row.rolled_loops, row.expanded_loops),
        ]
        table.add_section() if row.name == "sum" else None
        table.add_row(row.name, *(f"{number:,}" for pair in pairs for number in pair))
    print_table(table)
    if args.verify:
        return _verify(rolled, unrolled)
    return 0


def _verify(rolled: object, unrolled: object) -> int:
    import torch

    from plena.api.program import Program
    from plena.checking.reference import as_tensors

    assert isinstance(rolled, Program) and isinstance(unrolled, Program)
    inputs = tuple(rolled.example_inputs or ())
    pairs = zip(as_tensors(rolled.run(*inputs)), as_tensors(unrolled.run(*inputs)), strict=True)
    same = all(torch.equal(a, b) for a, b in pairs)
    print("the results are the same, bit by bit" if same else "THE RESULTS DIFFER")
    return 0 if same else 1


COMMAND = Command(
    "ab",
    "compare rolled with expanded loops, per step and in sum",
    """\
plena ab examples/attention.py:one_head
plena ab examples/attention.py:one_head --attention online --verify""",
    arguments,
    run,
)
