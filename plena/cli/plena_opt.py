"""`plena-opt`: reads IR, assembly or machine code, runs passes, prints IR, assembly or machine code.

plena-opt kernel.mlir --pass-pipeline 'materialize-addresses,allocate-registers' -t plena-asm
plena-opt program.asm --upstream-quirks -p lift,roll-loops --target settings.toml --set MLEN=16 --set VLEN=16
"""

from __future__ import annotations

import argparse
import codecs
import gc
import io
import os
import re
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import IO

from xdsl.dialects.builtin import ModuleOp
from xdsl.universe import Universe
from xdsl.utils.exceptions import (
    ArgSpecParseError,
    DiagnosticException,
    ParseError,
    UnregisteredConstructException,
)
from xdsl.xdsl_opt_main import xDSLOptMain

from plena.cli.dominance import require_dominance
from plena.cli.ir_strings import require_closed_strings
from plena.cli.settings import setting
from plena.cli.shown_warnings import DEBUG_VARIABLE, show_warnings
from plena.errors import PlenaError
from plena.passes.pipelines import PIPELINES

_TOP_LEVEL_ITEM = re.compile(r"(?:[^,{]|\{[^}]*\}?)+")

_NESTED_PIPELINE = re.compile(r"\s*builtin\.module\s*\((.*)\)\s*\Z", re.DOTALL)


class PlenaOpt(xDSLOptMain):
    """xDSL's driver with our input and output formats and the target's settings."""

    def __init__(self, args: Sequence[str] | None = None) -> None:
        super().__init__(
            "PLENA modular optimizer driver", _settings_apart(sys.argv[1:] if args is None else args)
        )

    @cached_property
    def multiverse(self) -> Universe:
        """Every dialect, pass and target installed, ours among them (entry points are read once)."""
        return Universe.get_multiverse()

    def register_all_dialects(self) -> None:
        for name, factory in self.multiverse.all_dialects.items():
            self.ctx.register_dialect(name, factory)

    def register_all_passes(self) -> None:
        self.available_passes.update(self.multiverse.all_passes)

    def register_all_targets(self) -> None:
        self.available_targets.update(self.multiverse.all_targets)

    def register_all_frontends(self) -> None:
        super().register_all_frontends()
        self.available_frontends["asm"] = self._read_assembly
        self.available_frontends["mem"] = self._read_words

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
        super().register_all_arguments(arg_parser)
        arg_parser.add_argument(
            "--pass-pipeline",
            dest="passes",
            metavar="PASSES",
            help=f"as -p; builtin.module(...) is stripped; named pipelines: {', '.join(PIPELINES)}",
        )
        arg_parser.add_argument(
            "--settings",
            metavar="FILE.toml",
            help="settings of the machine to compile for; also as --target FILE.toml",
        )
        arg_parser.add_argument(
            "--set",
            dest="overrides",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="override one setting of the target, keys as in the settings file",
        )
        arg_parser.add_argument(
            "--upstream-quirks",
            action="store_true",
            help="read .asm as the public assembler does (misplaced masks and immediates)",
        )

    def setup_pipeline(self) -> None:
        self.args.passes = expanded(self.args.passes)
        super().setup_pipeline()

    def run(self) -> None:
        """As xDSL's; an output file appears whole or not at all."""
        path: str | None = self.args.output_file
        if path is None:
            return super().run()
        self.args.output_file = f"{path}.part"
        try:
            super().run()
            os.replace(self.args.output_file, path)
        finally:
            if os.path.exists(self.args.output_file):
                os.unlink(self.args.output_file)

    def parse_chunk(self, chunk: IO[bytes], file_extension: str, start_offset: int = 0) -> ModuleOp | None:
        text = chunk.read().removeprefix(codecs.BOM_UTF8)
        chunk.close()
        if file_extension == "mlir":
            require_closed_strings(text.decode(errors="replace"), self.get_input_name(), start_offset)
        try:
            module = super().parse_chunk(io.BytesIO(text), file_extension, start_offset)
        except NotImplementedError as error:
            # xDSL packs elements of dense attributes in integers of some widths alone, and parses all.
            raise PlenaError(
                f"xDSL cannot read it: {error}", self.get_input_name(), "Use i1 to i64, f32 or f64."
            ) from error
        except KeyError as error:
            # xDSL 0.75 takes a second definition for the first one where a branch has named the block before.
            label = rf"\^{re.escape(str(error.args[0]))}\s*[(:]".encode()
            if len(re.findall(label, text)) < 2:
                raise
            raise PlenaError(
                f"block ^{error.args[0]} is defined twice", self.get_input_name(), "Give one another name."
            ) from error
        if module is not None and file_extension == "mlir" and not self.args.disable_verify:
            require_dominance(module)
        if module is not None and (self.args.settings is not None or self.args.overrides):
            self._attach_target(module)
        return module

    def _attach_target(self, module: ModuleOp) -> None:
        from plena.machine.target import Target

        settings = self.args.settings
        target = Target.from_module(module) if settings is None else Target.from_toml(settings)
        target.with_settings(dict(setting(text) for text in self.args.overrides)).attach(module)

    def _read_assembly(self, stream: IO[bytes]) -> ModuleOp:
        from plena.assembly import parse_asm
        from plena.assembly.stream import module_from_instructions
        from plena.lifting.entry import record_lines

        text = _decoded(stream, self.get_input_name())
        module = module_from_instructions(parse_asm(text, self.args.upstream_quirks, self.get_input_name()))
        record_lines(module, text, self.get_input_name())
        return module

    def _read_words(self, stream: IO[bytes]) -> ModuleOp:
        from plena.assembly import decode, parse_mem
        from plena.assembly.stream import module_from_instructions

        text = _decoded(stream, self.get_input_name())
        return module_from_instructions(decode(parse_mem(text, self.get_input_name())))


def expanded(passes: str) -> str:
    """The pipeline without MLIR's wrapper, our named pipelines (plena/passes/pipelines.py) written out."""
    nested = _NESTED_PIPELINE.match(passes)
    items = _TOP_LEVEL_ITEM.findall(nested[1] if nested else passes)
    return ",".join(",".join(PIPELINES.get(item, (item,))) for item in items)


def _settings_apart(args: Sequence[str]) -> list[str]:
    """Turns `--target FILE.toml` into `--settings FILE.toml`: to xDSL --target is the output format."""
    apart: list[str] = []
    for position, arg in enumerate(args):
        if arg == "--target" and args[position + 1 : position + 2] and args[position + 1].endswith(".toml"):
            apart.append("--settings")
        elif arg.startswith("--target=") and arg.endswith(".toml"):
            apart.append(arg.replace("--target", "--settings", 1))
        else:
            apart.append(arg)
    return apart


def _decoded(stream: IO[bytes], name: str) -> str:
    try:
        return stream.read().decode()
    except UnicodeDecodeError as error:
        raise PlenaError(f"not a text file: byte {error.start} is not UTF-8", name) from None


def message_of(error: BaseException) -> str:
    """One clear message for what a user's input can cause; an internal error says that it is one."""
    match error:
        case OSError() if error.filename:
            return f"{error.filename}: {error.strerror}"
        case DiagnosticException():
            return str(error) + _place(error)
        case PlenaError() | ParseError() | ArgSpecParseError() | ValueError():
            return str(error)
        case OSError() | UnregisteredConstructException():
            return str(error)
        case _:
            return (
                f"internal error ({type(error).__name__}: {error}); set {DEBUG_VARIABLE}=1 for the traceback"
            )


def _place(error: DiagnosticException) -> str:
    """The operation that xDSL's diagnostic marks in its copy of the module."""
    lines = "\n".join(getattr(error, "__notes__", ())).splitlines()
    marked = next((n for n, line in enumerate(lines) if line.strip().startswith("^^")), 0)
    return f"\n  in {lines[marked - 1].strip()}" if marked else ""


def main(args: Sequence[str] | None = None) -> int:
    """Runs the driver; the exit code is 1 after an error, which is one message on stderr."""
    show_warnings()
    gc.set_threshold(100_000, 50, 100)  # modules are large and acyclic garbage is rare: collect seldom
    try:
        PlenaOpt(args).run()
    except (Exception, ArgSpecParseError) as error:
        if DEBUG_VARIABLE in os.environ:
            import traceback

            traceback.print_exc()
        print(f"error: {message_of(error).strip()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
