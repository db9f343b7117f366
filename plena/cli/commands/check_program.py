"""`plena check`: a program against its references."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plena.cli.commands.command import Command
from plena.cli.commands.language_models import check_language, is_language_folder
from plena.cli.commands.run_program import random_inputs, read_inputs
from plena.cli.commands.sources import MODEL_HELP, add_compile_options, compile_model
from plena.cli.settings import target_of
from plena.errors import PlenaError

if TYPE_CHECKING:
    from plena.api.program import Program


def arguments(parser: ArgumentParser) -> None:
    """The model or folder, the module, the inputs."""
    parser.add_argument("model", help=f"{MODEL_HELP}; or a program folder, or one of `plena compile-lm`")
    parser.add_argument(
        "--module",
        metavar="model.py:factory",
        help="the model of a program folder; of a language model its folder or GGUF file",
    )
    parser.add_argument(
        "--prompts",
        metavar="FILE",
        type=Path,
        help="of a language model: texts to compare on, one a line (default: twenty of ours)",
    )
    parser.add_argument(
        "--inputs", default="example", metavar="FILE.pt|random|example", help="default: the example inputs"
    )
    parser.add_argument("--seed", type=int, default=0, help="of random inputs (default 0)")
    parser.add_argument(
        "--per-op",
        action="store_true",
        help="compare every intermediate tensor and name the first operation that goes wrong",
    )
    add_compile_options(parser)


def run(args: Namespace) -> int:
    """Compile or load, run, compare; exit code 1 if a threshold is not met."""
    from plena.frontend.model_files import is_model

    if is_model(args.model):
        if args.prompts is not None:
            raise PlenaError("--prompts belongs to a language model", "check", "Give a folder of compile-lm.")
        if args.module is not None:
            raise PlenaError("--module belongs to a program folder", "check")
        if args.per_op:
            return _per_op(args)
        program, _ = compile_model(args)
        report = program.check(*_inputs(args, program))
        return 0 if report.passed else 1
    from plena.api.program import Program
    from plena.frontend.model_files import load_model
    from plena.host.call_inputs import CallSignature

    if args.per_op:
        raise PlenaError("--per-op compiles the model again", args.model, "Name the model: model.py:factory.")
    if is_language_folder(Path(args.model)):
        if args.inputs != "example":
            raise PlenaError("--inputs belongs to a program", args.model, "Give texts: --prompts FILE.")
        return check_language(Path(args.model), args.module, args.prompts)
    if args.prompts is not None:
        raise PlenaError("--prompts belongs to a language model", args.model, "Give a folder of compile-lm.")
    program = Program.load(Path(args.model))
    if args.module is None:
        raise PlenaError(
            "a program folder does not hold its model", args.model, "Name it: --module model.py:factory."
        )
    module, example, kwargs = load_model(args.module)
    if args.inputs == "example":
        report = program.check(*example, module=module, **kwargs)
    else:
        program.signature = CallSignature.of(example, kwargs, module)
        report = program.check(*_inputs(args, program), module=module)
    return 0 if report.passed else 1


def _per_op(args: Namespace) -> int:
    """Compare operation by operation; exit code 1 if one is wrong."""
    from plena.checking.per_op import check_per_op
    from plena.frontend.model_files import load_model
    from plena.kernels.schedule import Schedule

    module, example, kwargs = load_model(args.model)
    schedule = Schedule(args.objective, args.timing, args.matmul, args.attention)
    inputs = None
    if args.inputs != "example":
        program, _ = compile_model(args)
        inputs = _inputs(args, program)
    report = check_per_op(module, example, kwargs, inputs=inputs, target=target_of(args), schedule=schedule)
    print(report)
    return 0 if report.passed else 1


def _inputs(args: Namespace, program: Program) -> list[Any]:
    """The tensors to run on; none for the example inputs of a program that was compiled."""
    if args.inputs == "example":
        return []
    if args.inputs == "random":
        return random_inputs(program, args.seed)
    return list(read_inputs(program, args.inputs))


COMMAND = Command(
    "check",
    "run a program and compare it with its references",
    """\
plena check examples/attention.py:one_head
plena check examples/attention.py:one_head --attention online
plena check examples/attention.py:one_head --per-op
plena check out/one_head --module examples/attention.py:one_head
plena check out/smollm2 --module models/SmolLM2-135M-Instruct --prompts texts.txt""",
    arguments,
    run,
)
