"""`plena report`: one HTML page about a program."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from plena.cli.commands.command import Command
from plena.cli.commands.sources import MODEL_HELP, add_compile_options, compile_model
from plena.cli.settings import target_of
from plena.errors import PlenaError

if TYPE_CHECKING:
    from plena.report import Contents


def arguments(parser: ArgumentParser) -> None:
    """The program, the page, the model to check with."""
    parser.add_argument(
        "model",
        metavar="program",
        help=f"program folder, assembly (.asm) or words (.mem); or a model to compile: {MODEL_HELP}",
    )
    parser.add_argument("-o", "--output", metavar="FILE.html", type=Path, required=True, help="page to write")
    parser.add_argument(
        "--module", metavar="model.py:factory", help="check a program folder against its model"
    )
    parser.add_argument(
        "--upstream-quirks", action="store_true", help="read .asm as the public assembler does"
    )
    parser.add_argument(
        "--curve", action="store_true", help="measure size against cycles on the code (seconds to minutes)"
    )
    add_compile_options(parser)


def run(args: Namespace) -> int:
    """Gather, write, say what is missing."""
    from plena.report import write_report
    from plena.report.reading import measure_curve

    contents = _contents(args)
    if args.curve:
        measure_curve(contents)
    write_report(contents, args.output)
    print(f"wrote {args.output}")
    for entry in dict.fromkeys(contents.missing):
        hint = f" {entry.hint}" if entry.hint else ""
        print(f"not in it: {entry.part} ({entry.why}).{hint}")
    return 0


def _contents(args: Namespace) -> Contents:
    from plena.frontend.model_files import is_model
    from plena.report.reading import contents_of_file, contents_of_folder

    if is_model(args.model):
        if args.module is not None:
            raise PlenaError("--module belongs to a program folder", "report")
        return _compiled(args)
    path = Path(args.model)
    if path.is_file():
        if args.module is not None:
            raise PlenaError("a file of code cannot be checked against a model", args.model)
        return contents_of_file(path, target_of(args), args.upstream_quirks)
    if args.module is None:
        return contents_of_folder(path)
    return _checked(path, args.module)


def _compiled(args: Namespace) -> Contents:
    """The model compiled and checked; if that fails, the error with what is known of the model."""
    from plena.frontend.model_files import load_model
    from plena.report.reading import contents_of_failure, contents_of_program

    module, inputs, kwargs = load_model(args.model)
    try:
        program, _ = compile_model(args)
    except PlenaError as error:
        return contents_of_failure(error, module, inputs, kwargs, args.model, target_of(args))
    program.check(quiet=True)
    return contents_of_program(program, origin=args.model)


def _checked(path: Path, model: str) -> Contents:
    """A program folder after a check against a model; a folder that is not whole is not checked."""
    from plena.api.program import Program
    from plena.frontend.model_files import load_model
    from plena.report.contents import Missing
    from plena.report.reading import contents_of_folder

    contents = contents_of_folder(path)
    try:
        program = Program.load(path)
        module, inputs, kwargs = load_model(model)
        contents.check = program.check(*inputs, module=module, quiet=True, **kwargs)
    except PlenaError as error:
        contents.missing.append(Missing.because("check", error))
    return contents


COMMAND = Command(
    "report",
    "write one HTML page about a program: modules, loops, memory, choices, check",
    """\
plena report out/one_head -o report.html
plena report out/one_head --module examples/attention.py:one_head -o report.html
plena report examples/attention.py:one_head --timing pipelined -o report.html
plena report foreign.asm --upstream-quirks --curve -o report.html""",
    arguments,
    run,
)
