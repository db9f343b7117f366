"""`plena-gui`: xDSL's terminal interface with our dialects and passes: choose passes, see IR before and after.

plena-gui examples/attention.py:one_head -p tensor
plena-gui kernel.mlir
plena-gui program.asm -p lift,roll-loops
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plena.cli.commands.sources import MODEL_HELP, load_code
from plena.cli.plena_opt import expanded, message_of
from plena.errors import PlenaError
from plena.frontend.model_files import is_model, load_model
from plena.text_files import read_text

if TYPE_CHECKING:
    from plena.cli.terminal_app import PlenaApp

NEEDED = ("textual", "pyclip")
"""What xDSL's interface imports, installed by the extra `gui`."""


def ir_of(source: str) -> str:
    """The IR that an argument names: a model as imported, assembly or words in the register form, IR as it is.

    Raises:
        PlenaError: it cannot be read or imported.
    """
    if is_model(source):
        from plena.frontend import import_module

        return str(import_module(*load_model(source)).module)
    path = Path(source)
    if path.is_dir() or path.suffix in (".asm", ".mem"):
        from plena.assembly.stream import module_from_instructions

        return str(module_from_instructions(load_code(path).instructions))
    return read_text(path)


def app(source: str | None, passes: str = "") -> PlenaApp:
    """The interface, not yet running, with a file or model and passes already chosen.

    Raises:
        PlenaError: the extra `gui` is not installed, the source cannot be read, or a pass does not exist.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise PlenaError(f"plena-gui needs {' and '.join(missing)}", hint="Run: pip install 'plena[gui]'")
    from plena.cli.terminal_app import PlenaApp

    text = None if source is None else ir_of(source)
    return PlenaApp(source, text, expanded(passes))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    description, _, examples = (__doc__ or "").partition("\n\n")
    options = argparse.ArgumentParser(
        prog="plena-gui",
        description=description,
        epilog="examples:\n  " + examples.strip().replace("\n", "\n  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument(
        "source",
        nargs="?",
        help=f"IR (.mlir), assembly (.asm), words (.mem), a program folder, or {MODEL_HELP}",
    )
    options.add_argument(
        "-p", "--passes", default="", metavar="PASSES", help="passes and named pipelines to begin with"
    )
    return options


def main(args: Sequence[str] | None = None) -> int:
    """Runs the interface; the exit code is 1 after an error, which is one message on stderr."""
    options: Any = parser().parse_args(args)
    try:
        app(options.source, options.passes).run()
    except Exception as error:
        print(f"error: {message_of(error).strip()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
