"""The manifest of a program folder: the files that it lists, and reading it entry by entry."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from plena.errors import PlenaError
from plena.program.manifest_schema import check_manifest

if TYPE_CHECKING:
    from plena.assembly.stream import Provenance

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
INITIAL_STATE = "initial_state.npz"
PRIVATE = "hbm_private.bin"
HOST = "host_constants.bin"
FILES = (ASM, WORDS, HBM, FP_SRAM, INT_SRAM, VRAM, INITIAL_STATE, HBM_SIZE, PRIVATE, HOST)

CHUNK = 1 << 24
"""Bytes of an image that are handled at a time."""


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
        inside = sorted(found.parent.name for found in directory.glob(f"*/{MANIFEST}"))
        raise PlenaError(
            f"not a program folder: it has no {MANIFEST}",
            str(directory),
            f"Programs in it: {', '.join(inside)}." if inside else "`plena compile` makes one.",
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
        while block := file.read(CHUNK):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


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
