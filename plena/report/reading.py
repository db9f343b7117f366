"""Gathering what is known of a program: from memory, from a folder that may be damaged, from any code."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from plena.assembly import AsmInstruction, decode, encode, parse_asm, parse_mem
from plena.errors import PlenaError
from plena.host.layout import TensorPlacement
from plena.host.ports import Port, Region
from plena.machine.target import Target
from plena.program.comparison import CheckReport
from plena.program.data import ProgramData
from plena.program.folder import load_program
from plena.program.manifest import (
    ASM,
    MANIFEST,
    WORDS,
    optional_part,
    part,
    read_provenance,
    read_useful_macs,
)
from plena.program.rationale import Rationale
from plena.report.contents import Contents, Missing, ModelPart
from plena.text_files import read_text

T = TypeVar("T")

NOT_COMPILED_HERE = "only this compiler's own programs say"


def contents_of_program(program: ProgramData, title: str = "", origin: str = "") -> Contents:
    """A program that is whole."""
    rationale = program.rationale
    contents = Contents(
        title=title or (rationale.model if rationale else "") or "program",
        origin=origin or "a program in memory",
        target=program.target,
        instructions=decode(program.words),
        provenance=program.provenance,
        useful_macs=program.useful_macs,
        timing=program.timing,
        inputs=program.inputs,
        outputs=program.outputs,
        placements=program.placements,
        memory_map=(*program.memory_map, *_preloaded(program.constants, program.int_sram)),
        hbm_size=program.hbm_bytes,
        decisions=program.decisions,
        rationale=rationale,
        check=program.last_check,
    )
    return contents


def contents_of_folder(directory: Path) -> Contents:
    """A program folder; of one that is damaged, whatever can still be read.

    Raises:
        PlenaError: there is no such folder, or nothing of a program in it.
    """
    if not directory.is_dir():
        raise PlenaError("no such program folder", str(directory), "`plena compile` makes one.")
    name = directory.resolve().name
    try:
        program = load_program(directory)
    except PlenaError as error:
        return _salvaged(directory, name, error)
    model = program.rationale.model if program.rationale else ""
    return contents_of_program(program, f"{model} ({name})" if model else name, str(directory))


def contents_of_file(path: Path, target: Target, upstream_quirks: bool = False) -> Contents:
    """Assembly or words of any origin.

    Raises:
        PlenaError: it cannot be read.
    """
    text = read_text(path)
    if path.suffix == ".mem":
        instructions = decode(parse_mem(text, str(path)))
    else:
        instructions = parse_asm(text, upstream_quirks, str(path))
    contents = Contents(path.name, str(path), target, instructions)
    contents.missing += [
        Missing("modules", f"the code does not say where its instructions come from: {NOT_COMPILED_HERE}"),
        Missing("choices", f"what its loops were before they were expanded: {NOT_COMPILED_HERE}"),
        Missing("buffers", f"{NOT_COMPILED_HERE}; the pictures show what the code touches"),
        Missing("check", "a file of code has no model to compare with"),
    ]
    return contents


def measure_curve(contents: Contents) -> None:
    """Add the curve of size against cycles, measured on the code alone; it takes seconds to minutes."""
    from plena.optimizing.size_curve import size_curve

    if not contents.instructions:
        return
    program = ProgramData(
        words=encode(contents.instructions), target=contents.target, placements=contents.placements
    )
    try:
        contents.curve = size_curve(program, timing=contents.ranking)
    except PlenaError as error:
        contents.missing.append(Missing.because("curve", error))


def contents_of_failure(
    error: PlenaError,
    module: Any,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any],
    origin: str,
    target: Target,
) -> Contents:
    """A model that could not be compiled: the error, its parts, and its operators if it could be read."""
    contents = Contents(type(module).__name__, origin, target, failure=error)
    contents.model = tuple(_model_parts(module))
    contents.operators = _operators(module, inputs, kwargs)
    contents.missing.append(Missing.because("program", error))
    return contents


def _model_parts(module: Any) -> list[ModelPart]:
    named = getattr(module, "named_modules", None)
    if named is None:
        return []
    return [
        ModelPart(path, type(inner).__name__, sum(p.numel() for p in inner.parameters(recurse=False)))
        for path, inner in named()
    ]


def _operators(module: Any, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """How often each operator is called, the most frequent first."""
    from plena.dialects.aten import OperatorOp
    from plena.frontend import import_module

    try:
        imported = import_module(module, inputs, kwargs).module
    except PlenaError:
        return ()
    names = Counter(
        op.operator.data if isinstance(op, OperatorOp) else op.name
        for op in imported.walk()
        if op.name.startswith("aten.")
    )
    return tuple(names.most_common())


def _preloaded(constants: Sequence[float], integers: Sequence[int]) -> list[Region]:
    """The scalar words that the host loads; zeros at the end are padding."""
    found: list[Region] = []
    for name, memory, words in (("constants", "fp", constants), ("preloaded words", "int", integers)):
        size = max((n + 1 for n, word in enumerate(words) if word), default=0)
        if size:
            found.append(Region(name, memory, 0, size, "data"))
    return found


def _salvaged(directory: Path, name: str, error: PlenaError) -> Contents:
    """The parts of a folder that can be read one by one."""
    contents = Contents(name, str(directory))
    contents.missing.append(Missing.because("whole program", error))
    reader = _FolderReader(contents, directory)
    manifest = reader.manifest()
    where = str(directory / MANIFEST)
    contents.instructions = reader.code()
    if not manifest and not contents.instructions:
        raise PlenaError("nothing of a program can be read", str(directory), str(error))

    def listed(key: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
        return reader.part(key, lambda: tuple(read(x, where) for x in part(manifest, key, list, where)), ())

    contents.target = reader.part(
        "target", lambda: Target().with_settings(part(manifest, "target", dict, where)), contents.target
    )
    contents.timing = reader.part("timing", lambda: part(manifest, "timing", str, where), None)
    contents.inputs, contents.outputs = listed("inputs", Port.from_json), listed("outputs", Port.from_json)
    contents.placements = listed("placements", TensorPlacement.from_json)
    contents.memory_map = listed("memory_map", Region.from_json)
    contents.decisions = listed("decisions", lambda line, _: str(line))
    contents.hbm_size = reader.part("hbm_size", lambda: part(manifest, "hbm_size", int, where), 0)
    contents.provenance = reader.part(
        "provenance", lambda: read_provenance(manifest, len(contents.instructions), where), ()
    )
    contents.useful_macs = reader.part(
        "useful_macs", lambda: optional_part(manifest, "useful_macs", read_useful_macs, where), None
    )
    contents.rationale = reader.part(
        "rationale", lambda: optional_part(manifest, "rationale", Rationale.from_json, where), None
    )
    contents.check = reader.part(
        "check", lambda: optional_part(manifest, "check", CheckReport.from_json, where), None
    )
    return contents


class _FolderReader:
    """Reads parts of a damaged folder; what fails becomes an entry of `missing`."""

    def __init__(self, contents: Contents, directory: Path) -> None:
        self.contents = contents
        self.directory = directory
        self.has_manifest = False

    def part(self, name: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except PlenaError as error:
            if self.has_manifest:
                self.contents.missing.append(Missing.because(name.replace("_", " "), error))
            return otherwise

    def manifest(self) -> dict[str, Any]:
        path = self.directory / MANIFEST
        try:
            document = json.loads(read_text(path))
        except PlenaError as error:
            self.contents.missing.append(Missing.because("manifest", error))
            return {}
        except json.JSONDecodeError as error:
            self.contents.missing.append(Missing("manifest", f"{path}: {error}"))
            return {}
        if not isinstance(document, dict):
            self.contents.missing.append(Missing("manifest", f"{path}: not a manifest"))
            return {}
        self.has_manifest = True
        return document

    def code(self) -> tuple[AsmInstruction, ...]:
        """The words, else the assembly: an instruction that no longer decodes is shown as such."""
        words, text = self.directory / WORDS, self.directory / ASM
        readers = (
            (words, lambda: decode(parse_mem(read_text(words), str(words)))),
            (text, lambda: decode(encode(parse_asm(read_text(text), file=str(text))))),
        )
        for path, read in readers:
            try:
                return tuple(read())
            except PlenaError as error:
                self.contents.missing.append(Missing.because(path.name, error))
        return ()
