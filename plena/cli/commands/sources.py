"""What the subcommands read: models from Python files, programs from folders, assembly and word files."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plena.cli.settings import add_options, add_target_options, target_of
from plena.passes.options import OPTIONS
from plena.text_files import read_text

if TYPE_CHECKING:
    from plena.api.program import Program
    from plena.assembly import AsmInstruction
    from plena.host.calibration import Calibration
    from plena.lifting.flat_program import FlatProgram
    from plena.machine.target import Target

MODEL_HELP = (
    "Python file and function, model.py:factory; the function returns (module, example_inputs) or (module, "
    "example_inputs, keyword_arguments)"
)


@dataclass(frozen=True)
class LoadedProgram:
    """A flat program from a file, and the folder's program if it was one."""

    instructions: Sequence[AsmInstruction]
    words: Any
    text: str | None
    program: Program | None

    def flat(self, file: str | None = None) -> FlatProgram:
        """What `plena.optimize` and the static check take, without reading the text again.

        Args:
            file: the name to show in messages.
        """
        from plena.lifting.flat_program import FlatProgram

        return FlatProgram(self.words, self.text, file)


def add_compile_options(parser: ArgumentParser, without: str = "") -> None:
    """Add what `plena.compile` takes, but for one option, and the machine."""
    add_target_options(parser)
    add_options(parser, (name for name in OPTIONS if name != without))
    parser.add_argument(
        "--calibration", metavar="FILE", type=Path, help="of plena.calibrate, for --staging calibrated"
    )
    parser.add_argument(
        "--allow-unsupported",
        action="store_true",
        help="take instructions that the machine behind the timing profile does not execute right",
    )
    parser.add_argument("--cache", metavar="DIR", type=Path, help="folder that remembers what searches chose")


def compile_model(args: Namespace) -> tuple[Program, Any]:
    """Compile the model that the arguments name.

    Returns:
        the program and the module.

    Raises:
        PlenaError: the file or its factory fails, or the model cannot be compiled.
    """
    from plena.frontend.model_files import load_model

    module, inputs, kwargs = load_model(args.model)
    from plena.api.compile import compile

    return compile(module, inputs, kwargs, target=target_of(args), **compile_options(args)), module


def compile_options(args: Namespace) -> dict[str, Any]:
    """What `plena.compile` takes besides the machine."""
    return {
        "max_instructions": args.max_instructions,
        "calibration": calibration_of(args),
        "allow_unsupported": args.allow_unsupported,
        "verify_passes": getattr(args, "verify_passes", None),
        "cache": args.cache,
        **{name: getattr(args, name) for name in OPTIONS if name != "max_instructions"},
    }


def calibration_of(args: Namespace) -> Calibration | None:
    """The calibration that the options name.

    Raises:
        PlenaError: it cannot be read.
    """
    from plena.host.calibration import Calibration

    path: Path | None = getattr(args, "calibration", None)
    return None if path is None else Calibration.load(path)


def load_code(path: Path, upstream_quirks: bool = False) -> LoadedProgram:
    """A flat program from .asm, .mem or a program folder; other names are taken for assembly.

    Raises:
        PlenaError: it cannot be read.
    """
    from plena.assembly import decode, encode, parse_asm, parse_mem

    if path.is_dir():
        from plena.api.program import Program

        program = Program.load(path)
        return LoadedProgram(decode(program.words), program.words, program.asm, program)
    text = read_text(path)
    if path.suffix == ".mem":
        words = parse_mem(text, str(path))
        return LoadedProgram(decode(words), words, None, None)
    instructions = parse_asm(text, upstream_quirks, str(path))
    return LoadedProgram(instructions, encode(instructions), text, None)


def target_for(args: Namespace, code: LoadedProgram) -> Target:
    """The machine of the options, by default the one that a folder's program was compiled for."""
    return target_of(args, code.program.target if code.program is not None else None)
