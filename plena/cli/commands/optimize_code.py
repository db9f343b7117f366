"""`plena optimize`: any program through the loop optimiser."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from plena.cli.commands.command import Command
from plena.cli.commands.sources import load_code, target_for
from plena.cli.settings import add_options, add_target_options
from plena.errors import PlenaError
from plena.passes.options import CHOOSING
from plena.text_files import write_text


def arguments(parser: ArgumentParser) -> None:
    """The program, the machine, the objective."""
    parser.add_argument("program", type=Path, help="assembly (.asm), words (.mem) or a program folder")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE|DIR",
        type=Path,
        help=".asm or .mem, or for a program folder another folder; default: figures only",
    )
    add_options(parser, CHOOSING)
    parser.add_argument(
        "--preloaded",
        metavar="SPANS",
        help="what the host loads into INT SRAM, as int:0-16=0..31; a folder knows it",
    )
    parser.add_argument(
        "--upstream-quirks", action="store_true", help="read .asm as the public assembler does"
    )
    add_target_options(parser)


def run(args: Namespace) -> int:
    """Lift, roll, choose, allocate, print before and after."""
    from plena.api.optimize import optimize
    from plena.assembly import print_mem
    from plena.statistics.statistics import statistics_of

    code = load_code(args.program, args.upstream_quirks)
    target = target_for(args, code)
    better = optimize(
        code.flat(),
        target=target,
        max_instructions=args.max_instructions,
        objective=args.objective,
        timing=args.timing,
        preloaded=args.preloaded or (code.program.preloaded_spans() if code.program is not None else None),
    )
    before, after = statistics_of(code.instructions, target), better.stats()
    rows = [
        ("static instructions", before.static, after.static),
        ("dynamic instructions", before.dynamic, after.dynamic),
        *((f"cycles, {profile}", before.cycles[profile], after.cycles[profile]) for profile in before.cycles),
        ("C_LOOP_START lines", before.loop_starts, after.loop_starts),
    ]
    print(f"{'':24}{'before':>16}{'after':>16}")
    for name, old, new in rows:
        print(f"{name:24}{old:>16,}{new:>16,}")
    if args.output is None:
        return 0
    if args.output.suffix in (".asm", ".mem"):
        write_text(args.output, print_mem(better.words) if args.output.suffix == ".mem" else better.asm)
        return 0
    if code.program is None:
        raise PlenaError("the output must be called .asm or .mem", str(args.output))
    code.program.with_words(better.words).save(args.output)
    return 0


COMMAND = Command(
    "optimize",
    "re-roll and re-optimise any program",
    """\
plena optimize foreign.asm -o better.asm
plena optimize foreign.asm --upstream-quirks --objective size
plena optimize out/one_head -o out/faster
plena optimize program.mem --timing pipelined --max-instructions 1000 -o better.mem""",
    arguments,
    run,
)
