"""`plena stats`: instructions and cycles of any program."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from plena.cli.commands.command import Command
from plena.cli.commands.shown_tables import print_table
from plena.cli.commands.sources import LoadedProgram, load_code, target_for
from plena.cli.settings import add_target_options
from plena.errors import PlenaError
from plena.text_files import write_text


def arguments(parser: ArgumentParser) -> None:
    """The program and the machine."""
    parser.add_argument("program", type=Path, help="assembly (.asm), words (.mem) or a program folder")
    add_target_options(parser)
    parser.add_argument(
        "--upstream-quirks", action="store_true", help="read .asm as the public assembler does"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--timeline", action="store_true", help="print engines over time, what waits for what, by module"
    )
    parser.add_argument(
        "--trace", metavar="OUT.json", type=Path, help="write the same as a Perfetto / Chrome trace"
    )
    parser.add_argument(
        "--timing",
        metavar="PROFILE",
        help="of --timeline and --trace; the program's own if it has a timeline, else the first that has one of it",
    )


def run(args: Namespace) -> int:
    """Count and print."""
    from plena.statistics.statistics import statistics_of

    code = load_code(args.program, args.upstream_quirks)
    program = code.program
    if args.timeline and args.json:
        raise PlenaError(
            "--timeline prints tables", "stats", "Write the timeline as JSON with --trace OUT.json."
        )
    if args.timeline or args.trace is not None:
        return _timeline(args, code)
    if args.timing is not None:
        raise PlenaError(
            "--timing chooses the profile of a timeline", "stats", "Add --timeline or --trace OUT.json."
        )
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
    from plena.statistics.table import statistics_tables

    for table in statistics_tables(statistics):
        print_table(table)
    return 0


def _timeline(args: Namespace, code: LoadedProgram) -> int:
    """Print the timeline, write the trace."""
    from rich.console import Console

    from plena.statistics.timeline import BINS, timeline_of
    from plena.statistics.timeline.text import BESIDE, timeline_tables

    program = code.program
    console = Console(highlight=False, width=None if Console().is_terminal else BESIDE + BINS)
    bins = max(20, min(BINS, console.width - BESIDE))
    provenance = program.provenance or None if program else None
    own = program.timing if program else None
    timeline = timeline_of(code.instructions, target_for(args, code), args.timing, provenance, bins, own=own)
    if args.trace is not None:
        write_text(args.trace, json.dumps(timeline.trace()))
    if args.timeline:
        for table in timeline_tables(timeline):
            console.print(table)
    return 0


COMMAND = Command(
    "stats",
    "static and dynamic instructions and cycles of a program",
    """\
plena stats out/one_head
plena stats program.asm --set MLEN=128 --set VLEN=128 --json
plena stats foreign.asm --upstream-quirks
plena stats out/one_head --timeline --timing rtl-v1
plena stats out/one_head --trace trace.json""",
    arguments,
    run,
)
