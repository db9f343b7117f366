"""`plena compile`: a model to a program folder."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

from plena.cli.commands.command import Command
from plena.cli.commands.sources import MODEL_HELP, add_compile_options, compile_model


def arguments(parser: ArgumentParser) -> None:
    """The model, the folder, and what `plena.compile` takes."""
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", type=Path, help="program folder to write"
    )
    parser.add_argument(
        "--share-weights", metavar="DIR", type=Path, help="a program folder that holds the same weights"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare with the references and keep the outcome in the folder"
    )
    add_compile_options(parser)


def run(args: Namespace) -> int:
    """Compile, check if asked for, save, report; exit code 1 if a check fails."""
    started = time.perf_counter()
    program, _ = compile_model(args)
    seconds = time.perf_counter() - started
    checked = program.check() if args.check else None
    program.save(args.output, share=args.share_weights)
    stats = program.stats()
    for decision in program.decisions:
        print(decision)
    cycles = ", ".join(f"{count:,} {profile}" for profile, count in stats.cycles.items())
    print(f"{stats.static:,} static, {stats.dynamic:,} dynamic instructions; cycles: {cycles}")
    print(f"compiled in {seconds:.2f} s to {args.output}")
    return 0 if checked is None or checked.passed else 1


COMMAND = Command(
    "compile",
    "compile a PyTorch model to a program folder",
    """\
plena compile examples/attention.py:one_head -o out/one_head
plena compile model.py:layer -o out/layer --objective size --max-instructions 700
plena compile examples/attention.py:one_head -o out/one_head --check
plena compile model.py:layer -o out/small --set MLEN=16 --set VLEN=16 --set HLEN=4""",
    arguments,
    run,
)
