"""`plena`: compile, run, check and measure programs; assemble, verify and optimise any assembly."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from plena.cli.commands import (
    assemble,
    check_program,
    compare_loops,
    compile_model,
    completion,
    draw_curve,
    explore_space,
    judge_results,
    language_models,
    optimize_code,
    report_program,
    run_program,
    show_stats,
    tune_schedules,
    verify_code,
)
from plena.cli.commands.command import Command
from plena.cli.shown_warnings import DEBUG_VARIABLE, show_warnings

COMPLETION_VARIABLE = "_ARGCOMPLETE"
"""Environment variable: set by the shell's completion code, which wants completions and no run."""


def commands() -> list[Command]:
    """Every subcommand in the order of the help."""
    return [
        compile_model.COMMAND,
        run_program.COMMAND,
        check_program.COMMAND,
        show_stats.COMMAND,
        report_program.COMMAND,
        compare_loops.COMMAND,
        assemble.ASM,
        assemble.DISASM,
        verify_code.COMMAND,
        optimize_code.COMMAND,
        draw_curve.COMMAND,
        explore_space.COMMAND,
        tune_schedules.COMMAND,
        judge_results.CALIBRATE,
        judge_results.EVALUATE,
        language_models.COMPILE,
        language_models.CHAT,
        completion.COMMAND,
    ]


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = _Parser(prog="plena", description="Compiler from PyTorch models to the PLENA accelerator.")
    top.add_argument("--version", action="version", version=f"plena {_version()}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for command in commands():
        sub = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=command.summary[0].upper() + command.summary[1:] + ".",
            epilog="examples:\n  " + command.examples.replace("\n", "\n  "),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(sub)
        sub.set_defaults(run=command.run, parser=sub)
    top.epilog = "`plena COMMAND --help` shows examples. plena-opt runs passes on IR."
    return top


class _Parser(argparse.ArgumentParser):
    """Wrong usage is an error like any other: one message, exit code 1."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        """As of argparse; of an option that a command has not, what comes close."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command: _Parser = getattr(found, "parser", self)
            command.refuse(unknown)
        return found

    def refuse(self, unknown: Sequence[str]) -> None:
        """Raises PlenaError for arguments that there are not."""
        from plena.errors import PlenaError, did_you_mean

        option = unknown[0].partition("=")[0]
        close = did_you_mean(option, self._option_string_actions) if option.startswith("-") else ""
        raise PlenaError(
            f"unrecognized arguments: {' '.join(unknown)}", self.prog, f"{close}See `{self.prog} --help`."
        )

    def error(self, message: str) -> None:  # type: ignore[override]
        from plena.errors import PlenaError

        raise PlenaError(message, self.prog, f"See `{self.prog} --help`.")


def _version() -> str:
    from importlib.metadata import version

    return version("plena")


def message_of(error: BaseException) -> str:
    """One clear message; an internal error says that it is one."""
    from plena.errors import PlenaError

    if isinstance(error, PlenaError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if isinstance(error, MemoryError):
        return "out of memory"
    from plena.cli.plena_opt import message_of as message_of_ir

    return message_of_ir(error)


def main(args: Sequence[str] | None = None) -> int:
    """Runs a subcommand; the exit code is 1 after an error, which is one message on stderr."""
    show_warnings()
    if COMPLETION_VARIABLE in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser())
    try:
        chosen = parser().parse_args(args)
        return chosen.run(chosen)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if DEBUG_VARIABLE in os.environ:
            import traceback

            traceback.print_exc()
        print(f"error: {message_of(error).strip()}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
