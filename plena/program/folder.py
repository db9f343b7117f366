"""Program folders: the files that the public emulator loads, and the manifest (plena_isa.md section 6.5).

| file | contents |
| --- | --- |
| generated_asm_code.asm | assembly text |
| generated_machine_code.mem | one hexadecimal word a line |
| hbm_for_behave_sim.bin | HBM from address 0: element plane, scale plane |
| fp_sram.bin | fp16 words (the machine widens them to bf16) |
| int_sram.bin | u32 words |
| vram_preload.bin | bf16 words, only if something is preloaded there |
| hbm_size.txt | bytes of HBM that the program needs |
| manifest.json | target, tensors, memory map, statistics, choices, sizes and checksums of the other files |

A folder is written beside its destination and moved there file by file, the manifest last: a folder with a
manifest is whole. The bytes depend on the program and its inputs only.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from plena.checking.comparison import CheckReport, Thresholds
from plena.errors import PlenaError
from plena.host.image import Preload
from plena.host.layout import TensorPlacement
from plena.host.ports import Port, Region, fixed_result_from_json
from plena.machine.target import Target
from plena.program.manifest_schema import check_manifest
from plena.program.rationale import Rationale
from plena.program.shared_image import SHARED_KEY, rebuild_image, share_image
from plena.text_files import read_text

if TYPE_CHECKING:
    from plena.program.program import Program

T = TypeVar("T")

FORMAT = 2
"""Version of the manifest; 2 has the rationale and the outcome of a check."""

MANIFEST = "manifest.json"
ASM = "generated_asm_code.asm"
WORDS = "generated_machine_code.mem"
HBM = "hbm_for_behave_sim.bin"
FP_SRAM = "fp_sram.bin"
INT_SRAM = "int_sram.bin"
VRAM = "vram_preload.bin"
HBM_SIZE = "hbm_size.txt"
PRIVATE = "hbm_private.bin"
FILES = (ASM, WORDS, HBM, FP_SRAM, INT_SRAM, VRAM, HBM_SIZE, PRIVATE)

_CHUNK = 1 << 24

SCALAR_WORDS = 10
"""Least words of the scalar preloads, as the public staging tools write them."""

HBM_BYTES = 64
"""Least size of the image: an empty file is no image."""


def save_program(
    program: Program, directory: Path, inputs: Sequence[Any] | None = None, share: Path | None = None
) -> None:
    """Write a program folder; see ``Program.save``.

    Raises:
        PlenaError: the folder cannot be written.
    """
    if inputs is None:
        inputs = program.example_inputs
    if inputs is not None:
        program.require_inputs(inputs)
    if share is not None and share.resolve() == directory.resolve():
        raise PlenaError("a program cannot share the image of its own folder", str(directory))
    try:
        with _work_folder(directory) as work:
            _write_files(program, work, inputs, directory, share)
            _move(work, directory)
    except OSError as error:
        raise PlenaError(f"cannot write the program: {error.strerror or error}", str(directory)) from None


def load_program(directory: Path) -> Program:
    """Read a program folder; see ``Program.load``.

    Raises:
        PlenaError: which file is missing, truncated, changed or does not fit the others.
    """
    from plena.program.program import Program

    manifest = read_manifest(directory)
    where = str(directory / MANIFEST)
    try:
        program = Program(
            words=_read_words(directory),
            target=Target().with_settings(part(manifest, "target", dict, where)),
            inputs=tuple(Port.from_json(p, where) for p in part(manifest, "inputs", list, where)),
            outputs=tuple(Port.from_json(p, where) for p in part(manifest, "outputs", list, where)),
            fixed_results=tuple(
                fixed_result_from_json(r, where) for r in part(manifest, "fixed_results", list, where)
            ),
            placements=tuple(
                TensorPlacement.from_json(p, where) for p in part(manifest, "placements", list, where)
            ),
            hbm_size=part(manifest, "hbm_size", int, where),
            memory_map=tuple(Region.from_json(r, where) for r in part(manifest, "memory_map", list, where)),
            timing=part(manifest, "timing", str, where),
            decisions=tuple(str(d) for d in part(manifest, "decisions", list, where)),
            rationale=optional_part(manifest, "rationale", Rationale.from_json, where),
            last_check=optional_part(manifest, "check", CheckReport.from_json, where),
            thresholds=Thresholds.from_json(manifest.get("thresholds"), where),
            useful_macs=optional_part(manifest, "useful_macs", read_useful_macs, where),
        )
    except OSError as error:
        raise PlenaError(f"cannot be read: {error.strerror}", str(error.filename or directory)) from None
    program.provenance = read_provenance(manifest, len(program.words), where)
    _require_consistent(program, directory, where)
    program.constants = tuple(_array(directory / FP_SRAM, np.float16).astype(float).tolist())
    program.int_sram = tuple(_array(directory / INT_SRAM, np.uint32).tolist())
    vector = _array(directory / VRAM, np.uint16) if (directory / VRAM).exists() else np.zeros(0, np.uint16)
    preload = program.empty_image(_read_hbm(directory, manifest))
    preload.vector[: vector.size] = vector[: preload.vector.size]
    for name, found, needed in (
        (HBM, preload.hbm.size, program.image_bytes),
        (VRAM, vector.size, preload.vector.size),
    ):
        if found < needed:
            raise PlenaError(
                f"{name} has {found} units, the tensors of the manifest need {needed}", str(directory)
            )
    program.__dict__["image"] = preload
    program.has_saved_inputs = bool(manifest.get("has_inputs"))
    return program


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a folder, after checking every file that it lists.

    Raises:
        PlenaError: no folder, no manifest, another version, a field that is missing or of the wrong kind, a file
            missing, truncated or changed.
    """
    path = directory / MANIFEST
    if not directory.is_dir():
        raise PlenaError("no such program folder", str(directory), "`plena compile` makes one.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlenaError(
            f"not a program folder: it has no {MANIFEST}", str(directory), "`plena compile` makes one."
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PlenaError(f"cannot be read: {error}", str(path), "Compile the program again.") from None
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise PlenaError("not a manifest", str(path))
    if manifest["format"] != FORMAT:
        raise PlenaError(
            f"format {manifest['format']!r}, this compiler reads format {FORMAT}",
            str(path),
            "Compile the program again.",
        )
    check_manifest(manifest, str(path))
    for name, facts in part(manifest, "files", dict, str(path)).items():
        _check_file(directory / name, facts, str(path))
    return manifest


def checksum(path: Path) -> str:
    """CRC-32 of a file as eight hexadecimal digits."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


def _write_files(
    program: Program, work: Path, inputs: Sequence[Any] | None, directory: Path, share: Path | None
) -> None:
    from plena.assembly import print_mem

    (work / ASM).write_text(program.asm, encoding="utf-8")
    (work / WORDS).write_text(print_mem(program.words), encoding="utf-8")
    preload = _staged(program, work / HBM)
    if inputs is not None:
        program.stage_inputs(inputs, preload)
    if isinstance(preload.hbm, np.memmap):
        preload.hbm.flush()
    for name, words in ((FP_SRAM, preload.fp.astype("<f2")), (INT_SRAM, preload.integers.astype("<u4"))):
        (work / name).write_bytes(np.pad(words, (0, max(0, SCALAR_WORDS - words.size))).tobytes())
    if preload.vector.size:
        (work / VRAM).write_bytes(preload.vector.astype("<u2").tobytes())
    (work / HBM_SIZE).write_text(f"{program.hbm_bytes}\n", encoding="utf-8")
    manifest = _manifest(program, inputs is not None or program.has_saved_inputs)
    if share is not None:
        manifest[SHARED_KEY] = share_image(program, work / HBM, work / PRIVATE, directory, share)
        if manifest[SHARED_KEY] is None:
            del manifest[SHARED_KEY]
        else:
            (work / HBM).unlink()
    files = {name: work / name for name in FILES if (work / name).exists()}
    manifest["files"] = {
        name: {"bytes": path.stat().st_size, "crc32": checksum(path)} for name, path in files.items()
    }
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _staged(program: Program, path: Path) -> Preload:
    """The image in a file of its own: copied if the program has it in memory, else staged into the file."""
    size = program.image_bytes
    with path.open("wb") as file:
        file.truncate(max(size, HBM_BYTES))
    hbm = np.memmap(path, np.uint8, "r+", shape=(size,)) if size else np.zeros(0, np.uint8)
    preload = program.empty_image(hbm)
    known = program.__dict__.get("image")
    if known is None:
        program.stage_data(preload)
        return preload
    for start in range(0, size, _CHUNK):
        part = known.hbm[start : min(start + _CHUNK, size)]
        if part.any():
            hbm[start : start + part.size] = part
    for mine, theirs in (
        (preload.fp, known.fp),
        (preload.integers, known.integers),
        (preload.vector, known.vector),
    ):
        mine[:] = theirs
    if not program.has_saved_inputs:
        _clear_inputs(program, preload)
    return preload


def _clear_inputs(program: Program, preload: Preload) -> None:
    """Zero what earlier runs staged, so that the bytes of a folder depend on its own inputs only."""
    for placement in program.placements_of("input"):
        if placement.memory == "hbm":
            for start, end in (placement.hbm_range(program.target), placement.scale_range(program.target)):
                preload.hbm[start:end] = 0
        else:
            memory = {"vector": preload.vector, "fp": preload.fp, "int": preload.integers}[placement.memory]
            memory[placement.address : placement.address + placement.elements] = 0


def _manifest(program: Program, has_inputs: bool) -> dict[str, Any]:
    from importlib.metadata import version

    runs: list[list[Any]] = []
    start = 0
    for origin, group in groupby(program.provenance):
        runs.append([start, *origin])
        start += sum(1 for _ in group)
    statistics = program.stats().as_dict()
    del statistics["loops"]
    return {
        "format": FORMAT,
        "compiler": {"name": "plena", "version": version("plena")},
        "target": program.target.settings(),
        "timing": program.timing,
        "inputs": [port.to_json() for port in program.inputs],
        "outputs": [port.to_json() for port in program.outputs],
        "fixed_results": [list(pair) for pair in program.fixed_results],
        "has_inputs": has_inputs,
        "placements": [placement.to_json() for placement in program.placements],
        "memory_map": [region.to_json() for region in program.memory_map],
        "hbm_size": program.hbm_bytes,
        "provenance": runs,
        "useful_macs": None if program.useful_macs is None else dict(program.useful_macs),
        "decisions": list(program.decisions),
        "rationale": None if program.rationale is None else program.rationale.to_json(),
        "check": None if program.last_check is None else program.last_check.to_json(),
        "thresholds": program.thresholds.to_json(),
        "statistics": statistics,
    }


@contextmanager
def _work_folder(directory: Path) -> Generator[Path]:
    """A folder beside the destination, removed in the end."""
    parent = directory.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _move(work: Path, directory: Path) -> None:
    """Replace the files of a folder; without its manifest it is not one until all are there."""
    directory.mkdir(exist_ok=True)
    (directory / MANIFEST).unlink(missing_ok=True)
    for name in FILES:
        if (work / name).exists():
            os.replace(work / name, directory / name)
        else:
            (directory / name).unlink(missing_ok=True)
    os.replace(work / MANIFEST, directory / MANIFEST)


def _check_file(path: Path, facts: object, where: str) -> None:
    match facts:
        case {"bytes": int(size), "crc32": str(crc)}:
            pass
        case _:
            raise PlenaError(f"no size and checksum of {path.name}", where)
    if path.name not in FILES:
        raise PlenaError(f"lists an unknown file {path.name!r}", where)
    hint = "Compile the program again."
    try:
        found = path.stat().st_size
        if found != size:
            how = "truncated" if found < size else "too long"
            raise PlenaError(f"{how}: {found} bytes instead of {size}", str(path), hint)
        if checksum(path) != crc:
            raise PlenaError("changed since the program was saved (checksum)", str(path), hint)
    except OSError as error:
        raise PlenaError(f"cannot be read: {error.strerror}", str(path), hint) from None


def part(document: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """An entry of a manifest that must be there.

    Raises:
        PlenaError: it is missing or of another type.
    """
    if not isinstance(document.get(key), kind):
        raise PlenaError(f"`{key}` is missing or malformed", where, "Compile the program again.")
    return document[key]


def optional_part(
    document: Mapping[str, Any], key: str, reader: Callable[[object, str], T], where: str
) -> T | None:
    """An entry of a manifest that may be null.

    Raises:
        PlenaError: it is missing or malformed.
    """
    if key not in document:
        raise PlenaError(f"`{key}` is missing", where, "Compile the program again.")
    return None if document[key] is None else reader(document[key], where)


def read_provenance(manifest: Mapping[str, Any], count: int, where: str) -> tuple[Any, ...]:
    """Where each of `count` instructions comes from.

    Raises:
        PlenaError: the entry is missing or malformed.
    """
    from plena.assembly.stream import Provenance

    runs = part(manifest, "provenance", list, where)
    origins: list[Provenance] = []
    for number, run in enumerate(runs):
        match runs[number + 1] if number + 1 < len(runs) else [count]:
            case [int(following), *_]:
                pass
            case _:
                raise PlenaError(f"`provenance[{number + 1}]` is malformed", where)
        match run:
            case [int(start), str(module), str(step)] if start == len(origins) and following <= count:
                origins.extend([Provenance(module, step)] * (following - start))
            case _:
                raise PlenaError(f"`provenance` is malformed at {run!r}", where)
    return tuple(origins)


def read_useful_macs(document: object, where: str) -> dict[str, int]:
    """Multiply-accumulates by module path.

    Raises:
        PlenaError: not such a document.
    """
    if isinstance(document, dict) and all(isinstance(n, int) and n >= 0 for n in document.values()):
        return document
    raise PlenaError("`useful_macs` must be numbers by module path", where)


def _read_words(directory: Path) -> npt.NDArray[np.uint32]:
    from plena.assembly import parse_mem

    path = directory / WORDS
    return parse_mem(read_text(path), str(path))


def _require_consistent(program: Program, directory: Path, where: str) -> None:
    from plena.assembly import encode, parse_asm

    path = directory / ASM
    text = read_text(path)
    assembled = encode(parse_asm(text, file=str(path)))
    if not np.array_equal(assembled, program.words):
        differ = [n for n, (a, b) in enumerate(zip(assembled, program.words, strict=False)) if a != b]
        at = differ[0] if differ else min(len(assembled), len(program.words))
        raise PlenaError(f"{ASM} and {WORDS} differ from instruction {at} on", str(directory))
    program.__dict__["asm"] = text
    size = read_text(directory / HBM_SIZE).strip()
    if size != str(program.hbm_size):
        raise PlenaError(f"{HBM_SIZE} says {size!r}, the manifest {program.hbm_size}", str(directory))
    for placement in program.placements:
        placement.verify(program.target)
        ports = {"input": program.inputs, "output": program.outputs}.get(placement.source.kind)
        if ports is not None and placement.source.index >= len(ports):
            raise PlenaError(f"{placement.name} belongs to {placement.source}, which there is not", where)
    if program.hbm_bytes > program.hbm_size:
        raise PlenaError(f"tensors reach beyond the {program.hbm_size} bytes of HBM", where)


def _array(path: Path, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.fromfile(path, np.dtype(dtype).newbyteorder("<"))


def _read_hbm(directory: Path, manifest: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """The image, backed by the file; writes stay in memory."""
    if SHARED_KEY in manifest:
        return rebuild_image(manifest[SHARED_KEY], directory, directory / PRIVATE)
    path = directory / HBM
    return np.memmap(path, np.uint8, "c") if path.stat().st_size else np.zeros(0, np.uint8)
