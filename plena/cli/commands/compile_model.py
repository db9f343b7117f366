"""`plena compile`: a model to a program folder."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

from plena.cli.commands.command import Command
from plena.cli.commands.sources import (
    MODEL_HELP,
    add_choice_of_formats,
    add_compile_options,
    compile_model,
    compile_options,
)
from plena.cli.settings import target_of
from plena.errors import PlenaError

EMITTED = ("aten", "plena", "tile", "affine", "register", "asm")
"""The levels of plena.api.levels, which is imported when needed, and assembly."""


def arguments(parser: ArgumentParser) -> None:
    """The model, what to make of it, and what `plena.compile` takes."""
    parser.add_argument("model", help=MODEL_HELP)
    made = parser.add_mutually_exclusive_group(required=True)
    made.add_argument("-o", "--output", metavar="DIR", type=Path, help="program folder to write")
    made.add_argument(
        "--emit", choices=EMITTED, help="print the module at this level, or the assembly, and write no folder"
    )
    made.add_argument(
        "--print-pipeline",
        action="store_true",
        help="print the passes that make the program of the imported module (--emit aten), as plena-opt takes them",
    )
    parser.add_argument(
        "--share-weights", metavar="DIR", type=Path, help="a program folder that holds the same weights"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare with the references and keep the outcome in the folder"
    )
    parser.add_argument(
        "--verify-passes",
        action="store_const",
        const=True,
        help="verify modules between passes (also with PLENA_VERIFY_PASSES=1)",
    )
    add_compile_options(parser)
    add_choice_of_formats(parser)


def run(args: Namespace) -> int:
    """Compile, check if asked for, save, report; exit code 1 if a check fails."""
    if args.output is None:
        return _print(args)
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


def _print(args: Namespace) -> int:
    """The module at a level, the assembly or the pipeline on stdout."""
    for option, given in (("--check", args.check), ("--share-weights", args.share_weights is not None)):
        if given:
            raise PlenaError(f"{option} needs a program folder", "compile", "Name it with -o.")
    if args.emit is None or args.emit == "asm":
        program, _ = compile_model(args)
        print(program.pipeline if args.emit is None else program.asm, end="\n" if args.emit is None else "")
        return 0
    from plena.api.levels import module_at
    from plena.frontend.model_files import load_model

    call = load_model(args.model)
    print(module_at(args.emit, *call, target=target_of(args), **compile_options(args)))
    return 0


COMMAND = Command(
    "compile",
    "compile a PyTorch model to a program folder",
    """\
plena compile examples/attention.py:one_head -o out/one_head
plena compile model.py:layer -o out/layer --objective size --max-instructions 700
plena compile examples/attention.py:one_head -o out/one_head --check
plena compile model.py:layer -o out/small --set MLEN=16 --set VLEN=16 --set HLEN=4
plena compile model.py:layer -o out/layer --formats auto --samples samples.pt --traffic 1.1
plena compile examples/attention.py:one_head --emit tile
plena compile examples/attention.py:one_head --emit aten > aten.mlir
plena compile examples/attention.py:one_head --print-pipeline > passes.txt
plena-opt aten.mlir --pass-pipeline "$(cat passes.txt)" -t plena-asm""",
    arguments,
    run,
)
