"""`plena explore`: the size / cycles curve of a program, or a model compiled for many machines and budgets."""

from __future__ import annotations

import csv
import io
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plena.cli.commands.command import Command
from plena.cli.commands.sources import (
    MODEL_HELP,
    add_compile_options,
    compile_model,
    load_code,
    schedule_options,
    target_for,
)
from plena.cli.settings import setting, target_of
from plena.errors import PlenaError
from plena.text_files import write_text

if TYPE_CHECKING:
    from rich.table import Table

    from plena.api.exploration import Row
    from plena.api.program import Program
    from plena.optimizing.size_curve import SizeCurve


def arguments(parser: ArgumentParser) -> None:
    """The program or model, what to vary, where tables and plots go."""
    parser.add_argument("model", help=f"{MODEL_HELP}; or a program folder, .asm or .mem for the curve")
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, help="folder for the CSV files and plots (default: none)"
    )
    parser.add_argument(
        "--plots", choices=("svg", "png", "none"), default="svg", help="format of the plots (default svg)"
    )
    parser.add_argument(
        "--sweep",
        metavar="KEY=V1,V2,...",
        action="append",
        default=[],
        help="compile for each value of a setting, as MLEN=32,64; may be repeated: every combination",
    )
    parser.add_argument(
        "--budgets", metavar="N1,N2,...", help="compile under each budget of static instructions, or `none`"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per processor)")
    parser.add_argument(
        "--preloaded", metavar="SPANS", help="what the host loads into INT SRAM, for .asm and .mem"
    )
    add_compile_options(parser)


def run(args: Namespace) -> int:
    """Draw the curve, or sweep; exit code 1 if a sweep compiles nothing."""
    if args.output is not None and args.plots != "none":
        from plena.api.plots import require_matplotlib

        require_matplotlib()
    if args.sweep or args.budgets is not None:
        return _sweep(args)
    if args.jobs is not None:
        raise PlenaError("--jobs belongs to a sweep", "explore", "Give --sweep or --budgets.")
    return _curve(args)


def _curve(args: Namespace) -> int:
    from plena.optimizing.size_curve import size_curve

    program = _program(args)
    curve = size_curve(program, timing=args.timing, preloaded=args.preloaded, longest_expansion=1 << 16)
    _print(_curve_table(curve))
    if args.output is None:
        return 0
    header = ("name", "static", "dynamic", f"{curve.timing}_cycles", "exact")
    points = [*curve.points, *curve.predicted]
    _write_csv(
        args.output, "curve.csv", header, [(p.name, p.static, p.dynamic, p.cycles, p.exact) for p in points]
    )
    if args.plots != "none":
        from plena.api.plots import curve_figure, save_figure

        save_figure(curve_figure(curve, str(args.model)), args.output / f"curve.{args.plots}")
    return 0


def _program(args: Namespace) -> Program:
    """The model compiled, the folder as it is, assembly and words optimised under the options."""
    from plena.frontend.model_files import is_model

    if is_model(args.model):
        if args.preloaded is not None:
            raise PlenaError("--preloaded belongs to .asm and .mem", "explore")
        return compile_model(args)[0]
    from plena.api.optimize import optimize

    code = load_code(Path(args.model))
    if code.program is not None and args.max_instructions is None:
        return code.program
    spans = args.preloaded or (code.program.preloaded_spans() if code.program is not None else None)
    args.preloaded = spans
    return optimize(
        code.flat(),
        target_for(args, code),
        max_instructions=args.max_instructions,
        objective=args.objective,
        timing=args.timing,
        preloaded=spans,
    )


def _sweep(args: Namespace) -> int:
    from plena.api.exploration import explore
    from plena.frontend.model_files import is_model

    if not is_model(args.model):
        raise PlenaError(
            "a sweep compiles again, which takes a model", str(args.model), "Name it: model.py:factory."
        )
    if args.max_instructions is not None and args.budgets is not None:
        raise PlenaError("--max-instructions and --budgets exclude each other", "explore")
    if args.jobs is not None and args.jobs < 1:
        raise PlenaError(f"--jobs must be positive, got {args.jobs}", "explore")
    rows = explore(
        args.model,
        target=target_of(args),
        settings=dict(_values(text) for text in args.sweep),
        budgets=[args.max_instructions] if args.budgets is None else _budgets(args.budgets),
        jobs=args.jobs,
        **schedule_options(args),
    )
    _print(_sweep_table(rows, args.timing))
    if args.output is not None:
        _write_csv(args.output, "explore.csv", *_sweep_csv(rows))
        if args.plots != "none":
            _plot_sweep(rows, args)
    return 0 if any(row.problem is None for row in rows) else 1


def _plot_sweep(rows: Sequence[Row], args: Namespace) -> None:
    from plena.api.plots import pareto_figure, save_figure, sweep_figure

    for name, draw in (("curve", sweep_figure), ("pareto", pareto_figure)):
        save_figure(draw(rows, args.timing, args.model), args.output / f"{name}.{args.plots}")


def _values(text: str) -> tuple[str, list[Any]]:
    """KEY=V1,V2,... as the key and its values."""
    key, _, values = text.partition("=")
    if not key.strip() or not values.strip():
        raise PlenaError(f"--sweep takes KEY=V1,V2,..., not {text!r}", hint="For example --sweep MLEN=32,64.")
    return key.strip(), [setting(f"{key}={value.strip()}")[1] for value in values.split(",")]


def _budgets(text: str) -> list[int | None]:
    budgets: list[int | None] = []
    for part in text.split(","):
        if not (part.strip().isdecimal() or part.strip() == "none"):
            raise PlenaError(f"--budgets takes numbers or `none`, not {part.strip()!r}", "explore")
        budgets.append(None if part.strip() == "none" else int(part))
    return budgets


def _curve_table(curve: SizeCurve) -> Table:
    table = _table("", "static", "dynamic", f"{curve.timing} cycles", "cycles against rolled", "")
    for point in curve.points:
        table.add_row(
            point.name,
            f"{point.static:,}",
            f"{point.dynamic:,}",
            f"{point.cycles:,}",
            f"{point.cycles / curve.rolled.cycles:.1%}" if curve.rolled.cycles else "",
            "" if point.exact else "estimated",
        )
    return table


def _sweep_table(rows: Sequence[Row], timing: str) -> Table:
    from plena.api.exploration import pareto

    front = pareto(rows, timing)
    table = _table(
        "machine", "budget", "static", "dynamic", f"{timing} cycles", "DMA", "area mm²", "SRAM KiB", ""
    )
    for row in rows:
        budget = "" if row.budget is None else f"{row.budget:,}"
        if row.problem is not None:
            table.add_row(row.machine, budget, *[""] * 6, row.problem)
            continue
        table.add_row(
            row.machine,
            budget,
            f"{row.static:,}",
            f"{row.dynamic:,}",
            f"{row.cycles[timing]:,}",
            f"{row.dma_cycles:,}",
            f"{row.area:.2f}",
            f"{row.sram_bytes / 1024:,.0f}",
            "Pareto" if row in front else "",
        )
    return table


def _sweep_csv(rows: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    settings = list(dict.fromkeys(key for row in rows for key in row.settings))
    profiles = list(dict.fromkeys(name for row in rows for name in row.cycles))
    figures = ["static", "dynamic", "dma_cycles", "utilization", "area", "sram_bytes", "seconds", "problem"]
    header = [*settings, "budget", *(f"{name}_cycles" for name in profiles), *figures]
    return header, [
        [
            *(row.settings[key] for key in settings),
            row.budget,
            *(row.cycles.get(name) for name in profiles),
            *(getattr(row, name) for name in figures),
        ]
        for row in rows
    ]


def _table(*columns: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number in (0, len(columns) - 1) else "right")
    return table


def _print(table: Table) -> None:
    """Fits a terminal; in a file or pipe every row is one line, however long its problem."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1 << 16)
        console.width = max(160, console.measure(table).maximum)
    console.print(table, markup=False)


def _write_csv(folder: Path, name: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlenaError(f"cannot be made: {error.strerror}", str(folder)) from None
    write_text(folder / name, text.getvalue())


COMMAND = Command(
    "explore",
    "the size / cycles curve of a program; or a model compiled for many machines and budgets",
    """\
plena explore examples/attention.py:one_head --matmul mm
plena explore out/one_head -o out/curve
plena explore foreign.asm --max-instructions 500 -o out/curve --plots png
plena explore examples/attention.py:one_head --budgets 50,100,200,none -o out/budgets
plena explore model.py:layer --sweep MLEN=32,64 --sweep BLEN=4,8 --sweep VECTOR_SRAM_SIZE=512,2048 -o out/sweep""",
    arguments,
    run,
)
