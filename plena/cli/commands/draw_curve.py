"""`plena curve`: how few cycles for how many instructions, of one program."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from plena.cli.commands.command import Command
from plena.cli.commands.shown_tables import print_table, table_of, write_csv
from plena.cli.commands.sources import MODEL_HELP, add_compile_options, compile_model, load_code, target_for
from plena.errors import PlenaError

if TYPE_CHECKING:
    from rich.table import Table

    from plena.api.program import Program
    from plena.optimizing.size_curve import SizeCurve


def arguments(parser: ArgumentParser) -> None:
    """The program or model, where table and plot go."""
    parser.add_argument("model", help=f"{MODEL_HELP}; or a program folder, .asm or .mem")
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=Path,
        help="folder for the CSV file and the plot (default: none)",
    )
    parser.add_argument(
        "--plots", choices=("svg", "png", "none"), default="svg", help="format of the plot (default svg)"
    )
    parser.add_argument(
        "--preloaded", metavar="SPANS", help="what the host loads into INT SRAM, for .asm and .mem"
    )
    add_compile_options(parser)


def run(args: Namespace) -> int:
    """Measure, print, write."""
    if args.output is not None and args.plots != "none":
        from plena.api.plots import require_matplotlib

        require_matplotlib()
    from plena.optimizing.size_curve import size_curve

    program = _program(args)
    curve = size_curve(program, timing=args.timing, preloaded=args.preloaded, longest_expansion=1 << 16)
    print_table(_curve_table(curve))
    if args.output is None:
        return 0
    header = ("name", "static", "dynamic", f"{curve.timing}_cycles", "exact")
    points = [*curve.points, *curve.predicted]
    write_csv(
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
            raise PlenaError("--preloaded belongs to .asm and .mem", "curve")
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


def _curve_table(curve: SizeCurve) -> Table:
    table = table_of("", "static", "dynamic", f"{curve.timing} cycles", "cycles against rolled", "")
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


COMMAND = Command(
    "curve",
    "how few cycles for how many instructions, of one program",
    """\
plena curve examples/attention.py:one_head --matmul mm
plena curve out/one_head -o out/curve
plena curve foreign.asm --max-instructions 500 -o out/curve --plots png""",
    arguments,
    run,
)
