"""`plena verify`: what would abort, found without running."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from plena.cli.commands.command import Command
from plena.cli.commands.sources import load_code, target_for
from plena.cli.settings import add_target_options
from plena.machine.choices import CHECKED_MACHINES


def arguments(parser: ArgumentParser) -> None:
    """The program, the machine, what is preloaded."""
    parser.add_argument("program", type=Path, help="assembly (.asm), words (.mem) or a program folder")
    parser.add_argument(
        "--preloaded",
        metavar="SPANS",
        help="what the host loads, for example 'int:0-16=0..31 fp:0-8 hbm:0-65536'; a folder knows it",
    )
    parser.add_argument(
        "--upstream-quirks", action="store_true", help="read .asm as the public assembler does"
    )
    parser.add_argument(
        "--machine",
        choices=CHECKED_MACHINES,
        default="emulator",
        help="rtl: the rules of the public RTL instead",
    )
    add_target_options(parser)


def run(args: Namespace) -> int:
    """Print the findings; exit code 1 if one is an error."""
    from plena.lifting import Preloaded
    from plena.program.manifest import MANIFEST
    from plena.verification import checker_of

    code = load_code(args.program, args.upstream_quirks)
    target, preloaded = target_for(args, code), args.preloaded
    if code.program is not None:
        target = target.with_settings({"HBM_SIZE": code.program.hbm_bytes})
        preloaded = preloaded or code.program.preloaded_spans()
    findings = checker_of(args.machine)(code.flat(str(args.program)), target, Preloaded.of(preloaded))
    for finding in findings:
        print(finding)
    errors = sum(finding.is_error for finding in findings)
    print(f"{errors} errors, {len(findings) - errors} warnings" if findings else "clean")
    folder = args.program.parent
    if preloaded is None and (folder / MANIFEST).exists() and any(f.is_unwritten_read for f in findings):
        print(f"{folder} says what the host loads before the run: plena verify {folder}")
    return 1 if errors else 0


COMMAND = Command(
    "verify",
    "find what would abort, without running",
    """\
plena verify out/one_head
plena verify program.asm --preloaded 'int:0-16=0..31 fp:0-8'
plena verify program.asm --machine rtl --set MLEN=8""",
    arguments,
    run,
)
