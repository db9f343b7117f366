"""What the subcommands read: models from Python files, programs from folders, assembly and word files."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from plena.cli.settings import add_target_options, target_of
from plena.errors import PlenaError
from plena.text_files import read_text
from plena.timing.registry import DEFAULT_TIMING, timings

if TYPE_CHECKING:
    from plena.assembly import AsmInstruction
    from plena.lifting.code import Code as FlatCode
    from plena.machine.target import Target
    from plena.program.program import Program

MODEL_HELP = (
    "Python file and function, model.py:factory; the function returns (module, example_inputs) or (module, "
    "example_inputs, keyword_arguments)"
)


@dataclass(frozen=True)
class Code:
    """A flat program from a file, and the folder's program if it was one."""

    instructions: Sequence[AsmInstruction]
    words: Any
    text: str | None
    program: Program | None

    def flat(self, file: str | None = None) -> FlatCode:
        """What `plena.optimize` and the static check take, without reading the text again.

        Args:
            file: the name to show in messages.
        """
        from plena.lifting.code import Code as FlatCode

        return FlatCode(self.words, self.text, file)


def add_compile_options(parser: ArgumentParser) -> None:
    """Add what `plena.compile` takes, and the machine."""
    add_target_options(parser)
    parser.add_argument("--objective", choices=("cycles", "size"), default="cycles", help="what to minimise")
    parser.add_argument(
        "--timing",
        choices=timings(),
        default=DEFAULT_TIMING,
        help="the profile whose cycles count",
    )
    parser.add_argument(
        "--matmul", choices=("auto", "mm", "broadcast"), default="auto", help="schedule of products"
    )
    parser.add_argument(
        "--attention", choices=("auto", "online", "rows"), default="auto", help="form of the softmax"
    )
    parser.add_argument(
        "--staging",
        choices=("public", "nearest"),
        default="public",
        help="rounding of weights and inputs on their way into HBM",
    )
    parser.add_argument("--max-instructions", type=int, metavar="N", help="budget of static instructions")


def compile_model(args: Namespace) -> tuple[Program, Any]:
    """Compile the model that the arguments name.

    Returns:
        the program and the module.

    Raises:
        PlenaError: the file or its factory fails, or the model cannot be compiled.
    """
    module, inputs, kwargs = load_model(args.model)
    from plena.compiler.compile import compile

    options = schedule_options(args)
    program = compile(
        module, inputs, kwargs, target=target_of(args), max_instructions=args.max_instructions, **options
    )
    return program, module


def schedule_options(args: Namespace) -> dict[str, Any]:
    """What `plena.compile` takes besides the machine and the budget."""
    return {name: getattr(args, name) for name in ("objective", "timing", "matmul", "attention", "staging")}


def is_model(text: str) -> bool:
    """Whether an argument names a factory rather than a file or folder."""
    path, colon, name = text.rpartition(":")
    return bool(colon) and name.isidentifier() and (path.endswith(".py") or not Path(text).exists())


def load_model(text: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The module, the example inputs and keyword arguments that ``model.py:factory`` makes.

    Raises:
        PlenaError: there is no such file or function, it fails, or it returns something else.
    """
    path, _, name = text.rpartition(":")
    if not is_model(text):
        raise PlenaError(f"{text!r} does not name a factory", hint="Write model.py:factory.")
    factory = getattr(_imported(path), name, None)
    if not callable(factory):
        raise PlenaError(f"has no function `{name}`", path, "It must return (module, example_inputs).")
    result = _guarded(factory, path, f"{name}()")
    if not isinstance(result, tuple | list) or len(result) not in (2, 3) or not _is_model(result[0]):
        raise PlenaError(f"`{name}` must return (module, example_inputs), not {type(result).__name__}", path)
    module, inputs, kwargs = (*result, {})[:3]
    if not isinstance(kwargs, dict):
        raise PlenaError(
            f"`{name}` must return keyword arguments as a dictionary, not {type(kwargs).__name__}", path
        )
    return module, tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,), kwargs


def _is_model(value: Any) -> bool:
    from torch.export import ExportedProgram

    return callable(value) or isinstance(value, ExportedProgram)


def load_code(path: Path, upstream_quirks: bool = False) -> Code:
    """A flat program from .asm, .mem or a program folder; other names are taken for assembly.

    Raises:
        PlenaError: it cannot be read.
    """
    from plena.assembly import decode, encode, parse_asm, parse_mem

    if path.is_dir():
        from plena.program.program import Program

        program = Program.load(path)
        return Code(decode(program.words), program.words, program.asm, program)
    text = read_text(path)
    if path.suffix == ".mem":
        words = parse_mem(text, str(path))
        return Code(decode(words), words, None, None)
    instructions = parse_asm(text, upstream_quirks, str(path))
    return Code(instructions, encode(instructions), text, None)


def target_for(args: Namespace, code: Code) -> Target:
    """The machine of the options, by default the one that a folder's program was compiled for."""
    return target_of(args, code.program.target if code.program is not None else None)


def _imported(path: str) -> ModuleType:
    if not path.endswith(".py"):
        return _guarded(lambda: importlib.import_module(path), path, "the import")
    file = Path(path)
    if not file.is_file():
        raise PlenaError("no such file", path)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)
    sys.path.insert(0, str(file.resolve().parent))
    _guarded(lambda: spec.loader.exec_module(module), path, "the import")  # type: ignore[union-attr]
    return module


def _guarded(call: Any, path: str, what: str) -> Any:
    """The result of the user's code; what it raises becomes one message with the line."""
    try:
        return call()
    except PlenaError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).name == Path(path).name]
        where = f"{path}:{own[-1].lineno}" if own else path
        if isinstance(error, SyntaxError) and error.lineno is not None:
            where = f"{error.filename or path}:{error.lineno}"
        said = " ".join(str(error).split())
        name = type(error).__name__
        raise PlenaError(
            f"{what} failed: {name}: {said}" if said else f"{what} failed: {name}", where
        ) from error
