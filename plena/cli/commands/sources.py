"""What the subcommands read: models from Python files, programs from folders, assembly and word files."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from plena.cli.settings import AUTO, add_options, add_target_options, target_of
from plena.errors import PlenaError
from plena.machine.choices import Rotation
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


SAMPLES_HELP = "a list of inputs saved by torch.save: tensors, or tuples of the arguments of a call"


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
        "--rotation",
        choices=get_args(Rotation),
        default="none",
        help="turn the values of attentions, or the residual stream, by orthogonal matrices in the weights; online: "
        "also other inputs of linear layers, at run time; auto: what loses least",
    )
    parser.add_argument(
        "--allow-unsupported",
        action="store_true",
        help="take instructions that the machine behind the timing profile does not execute right",
    )
    parser.add_argument("--cache", metavar="DIR", type=Path, help="folder that remembers what searches chose")
    parser.add_argument(
        "--tuning",
        metavar="FILE",
        type=Path,
        help="tuning database of plena tune: schedules that may be better",
    )


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
        "calibration": calibration_of(args),
        "rotation": args.rotation,
        "allow_unsupported": args.allow_unsupported,
        "verify_passes": getattr(args, "verify_passes", None),
        "cache": args.cache,
        "tuning": args.tuning,
        **_chosen_formats(args),
        **{name: getattr(args, name) for name in OPTIONS},
    }


def _chosen_formats(args: Namespace) -> dict[str, Any]:
    """What `plena.compile` takes to choose formats itself.

    Raises:
        PlenaError: samples or traffic for formats that are given, no samples for others.
    """
    if not hasattr(args, "traffic"):
        return {}
    samples: Path | None = args.samples
    traffic: float | None = args.traffic
    if args.formats != AUTO:
        for option, given in (("--samples", samples), ("--traffic", traffic)):
            if given is not None:
                raise PlenaError(f"{option} is for formats that are chosen", "compile", "Add --formats auto.")
        return {}
    if samples is None:
        raise PlenaError(
            "formats are chosen for samples of inputs",
            "compile",
            "Give --samples FILE.pt, a list that torch.save has written.",
        )
    return {"formats": AUTO, "traffic": traffic, "samples": read_samples(samples)}


def add_choice_of_formats(parser: ArgumentParser) -> None:
    """Add what `--formats auto` takes."""
    parser.add_argument("--samples", metavar="FILE.pt", type=Path, help=f"for --formats auto: {SAMPLES_HELP}")
    parser.add_argument(
        "--traffic",
        metavar="TIMES",
        type=float,
        help="for --formats auto: bytes that transfers may move, over those of the shipped formats (default: 1.0)",
    )


def calibration_of(args: Namespace) -> Calibration | None:
    """The calibration that the options name.

    Raises:
        PlenaError: it cannot be read.
    """
    from plena.host.calibration import Calibration

    path: Path | None = getattr(args, "calibration", None)
    return None if path is None else Calibration.load(path)


def read_samples(path: Path) -> list[Any]:
    """The samples of a file.

    Raises:
        PlenaError: it cannot be read or does not hold a list.
    """
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise PlenaError(f"cannot be read: {error.strerror}", str(path)) from None
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PlenaError(
            f"not a file of tensors: {first_line}", str(path), "Write it with torch.save."
        ) from None
    if not isinstance(loaded, list):
        raise PlenaError(f"holds a {type(loaded).__name__}, not a list of samples", str(path))
    return loaded  # pyright: ignore[reportUnknownVariableType]


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
