"""Program folders: the files that the public emulator loads, and the manifest (plena_isa.md section 6.5).

| file | contents |
| --- | --- |
| generated_asm_code.asm | assembly text |
| generated_machine_code.mem | one hexadecimal word a line |
| hbm_for_behave_sim.bin | HBM from address 0: element plane, scale plane |
| fp_sram.bin | fp16 words (the machine widens them to bf16) |
| int_sram.bin | u32 words |
| vram_preload.bin | bf16 words, only if something is preloaded there |
| initial_state.npz | what states hold after a reset, those that are not zero |
| hbm_size.txt | bytes of HBM that the program needs |
| host_constants.bin | constants of what the host computes of inputs, only if there are any |
| manifest.json | target, tensors, memory map, statistics, choices, sizes and checksums of the other files |

A folder is written beside its destination and moved there file by file, the manifest last: a folder with a
manifest is whole. The bytes depend on the program and its inputs only.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from plena.errors import PlenaError
from plena.host.image import Preload
from plena.host.layout import TensorPlacement
from plena.host.mapped_image import LARGE, copy_written, open_image, sparse_file
from plena.host.ports import Port, Region, fixed_result_from_json
from plena.host.view import Array
from plena.machine.target import Target
from plena.program.comparison import CheckReport
from plena.program.data import ProgramData, counter_symbol
from plena.program.host_constants import (
    host_constants,
    host_values_to_json,
    read_host_values,
    verify_host_values,
)
from plena.program.manifest import (
    ASM,
    FILES,
    FORMAT,
    FP_SRAM,
    HBM,
    HBM_SIZE,
    HOST,
    INITIAL_STATE,
    INT_SRAM,
    MANIFEST,
    PRIVATE,
    VRAM,
    WORDS,
    checksum,
    optional_part,
    part,
    read_manifest,
    read_provenance,
    read_useful_macs,
)
from plena.program.rationale import Rationale
from plena.program.shared_image import SHARED_KEY, rebuild_image, share_image
from plena.program.state import KeptState, counters_of
from plena.program.thresholds import Thresholds
from plena.text_files import read_text

SCALAR_WORDS = 10
"""Least words of the scalar preloads, as the public staging tools write them."""

STATE_PREFIX = "state."
"""In the file of initial states before the name of a state: what it holds at first."""

COUNTER_PREFIX = "counter."
"""Before that of a counter: what it holds."""

SAVED_PREFIX = "saved."
"""Before that of a counter: what a run on the saved inputs makes of it."""

HBM_BYTES = 64
"""Least size of the image: an empty file is no image."""


def save_program(
    program: ProgramData, directory: Path, inputs: Sequence[Any] | None = None, share: Path | None = None
) -> None:
    """Write a program folder; see ``Program.save``.

    Raises:
        PlenaError: the folder cannot be written.
    """
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


def load_program(directory: Path) -> ProgramData:
    """Read a program folder; see ``Program.load``.

    Raises:
        PlenaError: which file is missing, truncated, changed or does not fit the others.
    """
    manifest = read_manifest(directory)
    where = str(directory / MANIFEST)
    try:
        words = _read_words(directory)
        program = ProgramData(
            words=words,
            target=Target().with_settings(part(manifest, "target", dict, where)),
            inputs=tuple(Port.from_json(p, where) for p in part(manifest, "inputs", list, where)),
            outputs=tuple(Port.from_json(p, where) for p in part(manifest, "outputs", list, where)),
            host_values=read_host_values(part(manifest, "host_values", dict, where), directory / HOST, where),
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
            provenance=read_provenance(manifest, len(words), where),
            has_saved_inputs=bool(manifest.get("has_inputs")),
        )
    except OSError as error:
        raise PlenaError(f"cannot be read: {error.strerror}", str(error.filename or directory)) from None
    ports = tuple(Port.from_json(p, where) for p in manifest.get("states", []))
    text = _consistent_text(program, counters_of(ports), directory, where)
    if ports:
        kept, saved_counters = _kept(program, ports, directory / INITIAL_STATE, where)
        program = replace(program, kept=kept, saved_counters=saved_counters)
    program = replace(
        program,
        constants=tuple(_array(directory / FP_SRAM, np.float16).astype(float).tolist()),
        int_sram=tuple(_array(directory / INT_SRAM, np.uint32).tolist()),
    )
    program.__dict__["asm"] = text
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
    if program.kept is not None:
        program.kept.read(preload.hbm)
    return program


def _write_files(
    program: ProgramData, work: Path, inputs: Sequence[Any] | None, directory: Path, share: Path | None
) -> None:
    from plena.assembly import print_mem

    (work / ASM).write_text(program.asm, encoding="utf-8")
    (work / WORDS).write_text(print_mem(program.words), encoding="utf-8")
    preload = _staged(program, work / HBM)
    inputs = _stage_call(program, inputs, preload)
    if program.kept is not None:
        program.kept.write(preload.hbm)
        arrays = program.kept.initial_arrays()
        held: dict[str, Any] = {STATE_PREFIX + n: array for n, array in arrays.items() if array.any()}
        held |= {COUNTER_PREFIX + n: array for n, array in program.kept.counted.items()}
        after = program.saved_counters if inputs is None else program.counters_after(inputs)
        held |= {SAVED_PREFIX + n: array for n, array in after.items()}
        if held:
            np.savez(work / INITIAL_STATE, **held)
    if isinstance(preload.hbm, np.memmap):
        preload.hbm.flush()
    for name, words in ((FP_SRAM, preload.fp.astype("<f2")), (INT_SRAM, preload.integers.astype("<u4"))):
        (work / name).write_bytes(np.pad(words, (0, max(0, SCALAR_WORDS - words.size))).tobytes())
    if preload.vector.size:
        (work / VRAM).write_bytes(preload.vector.astype("<u2").tobytes())
    if constants := host_constants(program.host_values):
        (work / HOST).write_bytes(constants)
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


def _staged(program: ProgramData, path: Path) -> Preload:
    """The image in a file of its own: copied if the program has it in memory, else staged into the file."""
    size = program.image_bytes
    # A large image is as long as the memory that a run needs, which then is this file; the rest is a hole.
    sparse_file(path, size, max(program.hbm_bytes if size >= LARGE else size, HBM_BYTES))
    hbm = np.memmap(path, np.uint8, "r+", shape=(size,)) if size else np.zeros(0, np.uint8)
    preload = program.empty_image(hbm)
    known = program.__dict__.get("image")
    if known is None:
        program.stage_data(preload)
        return preload
    copy_written(known.hbm[:size], hbm)
    for mine, theirs in (
        (preload.fp, known.fp),
        (preload.integers, known.integers),
        (preload.vector, known.vector),
    ):
        mine[:] = theirs
    if not program.has_saved_inputs:
        _clear_inputs(program, preload)
    return preload


def _stage_call(program: ProgramData, inputs: Sequence[Any] | None, preload: Preload) -> Sequence[Any] | None:
    """Stages the inputs that are given, else the example inputs, and returns them.

    Where states leave no room for the example inputs, as a cache that is full, the image has none.

    Raises:
        PlenaError: inputs that were given do not fit.
    """
    staged = program.example_inputs if inputs is None else inputs
    if staged is None:
        return None
    try:
        program.stage_inputs(staged, preload)
    except PlenaError:
        if inputs is not None or program.kept is None:
            raise
        _clear_inputs(program, preload)
        return None
    return staged


def _clear_inputs(program: ProgramData, preload: Preload) -> None:
    """Zero what earlier runs staged, so that the bytes of a folder depend on its own inputs only."""
    for placement in (*program.placements_of("input"), *program.placements_of("host")):
        if placement.memory == "hbm":
            for start, end in placement.hbm_ranges(program.target):
                preload.hbm[start:end] = 0
        else:
            memory = {"vector": preload.vector, "fp": preload.fp, "int": preload.integers}[placement.memory]
            memory[placement.address : placement.address + placement.elements] = 0


def _manifest(program: ProgramData, has_inputs: bool) -> dict[str, Any]:
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
        "host_values": host_values_to_json(program.host_values),
        **(
            {"states": [p.to_json() for p in program.kept.ports.values()]} if program.kept is not None else {}
        ),
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


def _read_words(directory: Path) -> npt.NDArray[np.uint32]:
    from plena.assembly import parse_mem

    path = directory / WORDS
    return parse_mem(read_text(path), str(path))


def _consistent_text(program: ProgramData, counters: tuple[Port, ...], directory: Path, where: str) -> str:
    """The assembly text, if it and the manifest agree with the words."""
    from plena.assembly import encode, parse_asm

    path = directory / ASM
    text = read_text(path)
    assembled = encode(parse_asm(text, file=str(path)))
    if not np.array_equal(assembled, program.words):
        differ = [n for n, (a, b) in enumerate(zip(assembled, program.words, strict=False)) if a != b]
        at = differ[0] if differ else min(len(assembled), len(program.words))
        raise PlenaError(f"{ASM} and {WORDS} differ from instruction {at} on", str(directory))
    size = read_text(directory / HBM_SIZE).strip()
    if size != str(program.hbm_size):
        raise PlenaError(f"{HBM_SIZE} says {size!r}, the manifest {program.hbm_size}", str(directory))
    taken = (*program.inputs, *counters)
    there = {"input": len(taken), "output": len(program.outputs)}
    for placement in program.placements:
        placement.verify(program.target)
        if placement.source.index >= there.get(placement.source.kind, placement.source.index + 1):
            raise PlenaError(f"{placement.name} belongs to {placement.source}, which there is not", where)
    verify_host_values(program.host_values, taken, program.placements_of("host"), where)
    for port in counters:
        after = program.host_values.values.get(counter_symbol(port.name))
        if after is None or after.shape != port.shape:
            raise PlenaError(
                f"nothing says what counter {port.name} becomes", where, "Compile the program again."
            )
    if program.hbm_bytes > program.hbm_size:
        raise PlenaError(f"tensors reach beyond the {program.hbm_size} bytes of HBM", where)
    return text


def _kept(
    program: ProgramData, ports: tuple[Port, ...], path: Path, where: str
) -> tuple[KeptState, dict[str, Array]]:
    """The states of a folder; what they hold is in its image, and the counters after a run on its saved inputs.

    Raises:
        PlenaError: a state without a place, a place without a state, or another initial tensor.
    """
    placements = tuple(program.placements_of("state"))
    arrays: dict[str, Array] = {}
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise PlenaError(f"cannot be read: {error}", str(path), "Compile the program again.") from None
    initial, counted, saved = (
        {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in (STATE_PREFIX, COUNTER_PREFIX, SAVED_PREFIX)
    )
    kept = KeptState(ports, placements, initial, program.target)
    placed = {placement.source.symbol for placement in placements}
    if placed != kept.ports.keys() - {port.name for port in kept.counters}:
        raise PlenaError("`states` and `placements` name other states", where)
    kept.checked(str(path)).assign(counted)
    return kept, saved


def _array(path: Path, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.fromfile(path, np.dtype(dtype).newbyteorder("<"))


def _read_hbm(directory: Path, manifest: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """The image, backed by the file; writes stay in memory."""
    if SHARED_KEY in manifest:
        return rebuild_image(manifest[SHARED_KEY], directory, directory / PRIVATE)
    return open_image(directory / HBM)
