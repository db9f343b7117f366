"""`plena check`: a program against its references."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plena.errors import PlenaError
from plena.tools.commands.command import Command
from plena.tools.commands.run_program import random_inputs, read_inputs
from plena.tools.commands.sources import MODEL_HELP, add_compile_options, compile_model, is_model, load_model

if TYPE_CHECKING:
    from plena.program import Program


def arguments(parser: ArgumentParser) -> None:
    """The model or folder, the module, the inputs."""
    parser.add_argument("model", help=f"{MODEL_HELP}; or a program folder")
    parser.add_argument("--module", metavar="model.py:factory", help="the model of a program folder")
    parser.add_argument(
        "--inputs", default="example", metavar="FILE.pt|random|example", help="default: the example inputs"
    )
    parser.add_argument("--seed", type=int, default=0, help="of random inputs (default 0)")
    add_compile_options(parser)


def run(args: Namespace) -> int:
    """Compile or load, run, compare; exit code 1 if a threshold is not met."""
    if is_model(args.model):
        if args.module is not None:
            raise PlenaError("--module belongs to a program folder", "check")
        program, _ = compile_model(args)
        report = program.check(*_inputs(args, program, program.example_inputs or ()))
        return 0 if report.passed else 1
    from plena.program import Program

    program = Program.load(Path(args.model))
    if args.module is None:
        raise PlenaError(
            "a program folder does not hold its model", args.model, "Name it: --module model.py:factory."
        )
    module, example = load_model(args.module)
    report = program.check(*_inputs(args, program, example), module=module)
    return 0 if report.passed else 1


def _inputs(args: Namespace, program: Program, example: Any) -> list[Any]:
    if args.inputs == "example":
        return list(example)
    if args.inputs == "random":
        return random_inputs(program, args.seed)
    return list(read_inputs(program, args.inputs))


COMMAND = Command(
    "check",
    "run a program and compare it with its references",
    """\
plena check examples/attention.py:one_head
plena check examples/attention.py:one_head --attention online --inputs random
plena check out/one_head --module examples/attention.py:one_head""",
    arguments,
    run,
)
