"""`plena stats`: instructions and cycles of any program."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from plena.cli.commands.command import Command
from plena.cli.commands.sources import load_code, target_for
from plena.cli.settings import add_target_options


def arguments(parser: ArgumentParser) -> None:
    """The program and the machine."""
    parser.add_argument("program", type=Path, help="assembly (.asm), words (.mem) or a program folder")
    add_target_options(parser)
    parser.add_argument(
        "--upstream-quirks", action="store_true", help="read .asm as the public assembler does"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: Namespace) -> int:
    """Count and print."""
    from plena.statistics.statistics import statistics_of

    code = load_code(args.program, args.upstream_quirks)
    program = code.program
    statistics = statistics_of(
        code.instructions,
        target_for(args, code),
        program.provenance or None if program else None,
        program.useful_macs if program else None,
        transfers=(lambda: program.transfers) if program else None,
    )
    if args.json:
        more = {"latency": dict(statistics.latency), "hbm_traffic": dict(statistics.hbm_traffic)}
        print(json.dumps({**statistics.as_dict(), **more}, indent=1))
        return 0
    from rich.console import Console

    from plena.statistics.table import statistics_tables

    console = Console(highlight=False, width=None if Console().is_terminal else 120)
    for table in statistics_tables(statistics):
        console.print(table)
    return 0


COMMAND = Command(
    "stats",
    "static and dynamic instructions and cycles of a program",
    """\
plena stats out/one_head
plena stats program.asm --set MLEN=128 --set VLEN=128 --json
plena stats foreign.asm --upstream-quirks""",
    arguments,
    run,
)
