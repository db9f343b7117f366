"""How tensors lie in the memories of the machine, as data (plena_isa.md sections 2.4, 5.1 and 9).

A `TensorPlacement` names a memory, an address in it, a layout and the view that takes the matrices out of the
source tensor. It says nothing about values; `plena.host.image` moves those. Matrices have the logical shape
``[*batch, R, C]`` and are padded by zeros to ``[*batch, Rp, Cp]``, consecutive matrices ``batch_pitch`` elements
apart.

| layout | order of the elements of one matrix |
| --- | --- |
| rows | ``[Rp][Cp]`` |
| tiled, order "rows" | ``[Rp/MLEN][Cp/MLEN][MLEN][MLEN]``: a tile is contiguous, a row of tiles too |
| tiled, order "columns" | ``[Cp/MLEN][Rp/MLEN][MLEN][MLEN]``: a column of tiles is contiguous |
| column_blocks | ``[Cp/VLEN][Rp][VLEN]`` (section 9.2) |
| words | the elements of a tensor of any shape, row-major, no padding |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any, Literal, TypeAlias, assert_never, get_args

import numpy as np

from plena.errors import PlenaError
from plena.host import view as views
from plena.host.lazy_tensor import LazyTensor
from plena.host.view import Array, View
from plena.machine.choices import Staging
from plena.machine.number_formats import PLAIN_BF16, Mx, NumberFormat
from plena.machine.target import Target

Memory: TypeAlias = Literal["hbm", "vector", "fp", "int"]
Layout: TypeAlias = Literal["rows", "tiled", "column_blocks", "words"]
Order: TypeAlias = Literal["rows", "columns"]
SourceKind: TypeAlias = Literal["input", "output", "data", "host", "state", "scratch"]

CHUNK = 1 << 21
"""Elements arranged and encoded at a time."""


@dataclass(frozen=True)
class Source:
    """What a placed tensor is: input or output number ``index``, or ``data`` or ``state`` called ``symbol``.

    Data are parameters, staging expressions over them and constants; a program resolves their names. Host is what
    the host computes of inputs, the value called ``symbol`` of the program. A state is a buffer that a run changes and
    the next run finds as it was left. Scratch is memory that the program itself defines.
    """

    kind: SourceKind
    index: int = 0
    symbol: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "data":
                return self.symbol
            case "host":
                return f"host value {self.symbol}"
            case "state":
                return f"state {self.symbol}"
            case "input" | "output" | "scratch":
                return f"{self.kind} {self.index}"
            case _:
                assert_never(self.kind)

    @property
    def is_staged(self) -> bool:
        """Whether the host writes it before the program runs."""
        match self.kind:
            case "input" | "data" | "host" | "state":
                return True
            case "output" | "scratch":
                return False
            case _:
                assert_never(self.kind)


@dataclass(frozen=True)
class TensorPlacement:
    """Where one tensor, or a part of one, lies in a memory.

    Args:
        name: unique name.
        memory: "hbm" | "vector" | "fp" | "int".
        address: hbm: byte offset of the first element code from ``base``; vector: element; fp, int: word.
        shape: logical shape ``[*batch, R, C]`` after the view; any shape for layout "words".
        layout: see the table of this module.
        padded: ``(Rp, Cp)``; ``()`` means the shape itself.
        format: key of Target.precision for hbm ("HBM_M_WEIGHT_TYPE" ...), "bf16" for vector and fp, "u32" for int.
        source: what the values are.
        view: from the source tensor to ``shape``.
        scale: factor between the source and what is stored, a power of two; for integers any multiplier.
        order: which axis of tiles is outermost.
        batch_pitch: elements from one matrix to the next; 0 means ``Rp * Cp``.
        base: value of the HBM address register that transfers of this tensor use.
        scale_offset: value of SCALE for them: the scale code of the element at byte o lies at
            ``base + scale_offset + o / ratio`` (section 5.1). Unused by formats without scales.
        limit: integers must lie below; 0 means no limit.
        residual: hbm: what the format loses of the tensor instead of the tensor; both added have twice the precision.
        staging: hbm: how the host rounds the tensor, "public" | "nearest" (plena.machine.number_formats).
        routed: hbm: it is a parameter of routed experts.
    """

    name: str
    memory: Memory
    address: int
    shape: tuple[int, ...]
    layout: Layout
    format: str
    source: Source
    padded: tuple[int, ...] = ()
    view: View = ()
    scale: float = 1.0
    order: Order = "rows"
    batch_pitch: int = 0
    base: int = 0
    scale_offset: int = 0
    limit: int = 0
    residual: bool = False
    staging: Staging = "public"
    routed: bool = False

    def at(self, address: int, scale_offset: int = 0, base: int = 0) -> TensorPlacement:
        """The same tensor at another address."""
        return replace(self, address=address, scale_offset=scale_offset, base=base)

    @property
    def matrix(self) -> tuple[int, int]:
        """``(R, C)``; words are one row."""
        if self.layout == "words":
            return 1, prod(self.shape)
        return self.shape[-2], self.shape[-1]

    @property
    def padded_matrix(self) -> tuple[int, int]:
        """``(Rp, Cp)``."""
        if self.layout == "words" or not self.padded:
            return self.matrix
        return self.padded[0], self.padded[1]

    @property
    def batch(self) -> int:
        """Number of matrices."""
        return 1 if self.layout == "words" else prod(self.shape[:-2])

    @property
    def pitch(self) -> int:
        """Elements from one matrix to the next."""
        return self.batch_pitch or prod(self.padded_matrix)

    @property
    def elements(self) -> int:
        """Elements from the address to the end, padding included."""
        return (self.batch - 1) * self.pitch + prod(self.padded_matrix)

    def number_format(self, target: Target) -> NumberFormat:
        """The type of the elements in HBM, bf16 elsewhere.

        Raises:
            PlenaError: an unknown format name.
        """
        if self.format == "bf16":
            return PLAIN_BF16
        if self.format not in target.precision:
            raise PlenaError(f"unknown number format `{self.format}`", f"placement of {self.name}")
        return target.precision[self.format]

    def element_bytes(self, target: Target) -> int:
        """Bytes of HBM from the first element code to behind the last."""
        return self.number_format(target).element_bytes(self.elements)

    def hbm_range(self, target: Target) -> tuple[int, int]:
        """HBM bytes ``[start, end)`` of the element codes."""
        start = self.base + self.address
        return start, start + self.element_bytes(target)

    def scale_range(self, target: Target) -> tuple[int, int]:
        """HBM bytes ``[start, end)`` of the scale codes; for formats without nothing, where the elements end."""
        number_format = self.number_format(target)
        length = number_format.scale_bytes(self.elements)
        if not length:
            end = self.hbm_range(target)[1]
            return end, end
        start = self.base + self.scale_offset + self.address // number_format.ratio
        return start, start + length

    def hbm_ranges(self, target: Target) -> tuple[tuple[int, int], tuple[int, int]]:
        """HBM bytes ``[start, end)`` of the element codes, and of the scale codes."""
        return self.hbm_range(target), self.scale_range(target)

    def verify(self, target: Target) -> None:
        """Check that the parts fit each other and the machine.

        Raises:
            PlenaError: naming the placement and the part.
        """
        for problem in _problems(self, target):
            raise PlenaError(problem, f"placement of {self.name}")

    def to_json(self) -> dict[str, Any]:
        """Plain data; parts that have their default value are left out."""
        document: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if field.name == "view":
                value = views.to_json(self.view)
            elif field.name == "source":
                value = _source_to_json(self.source)
            elif isinstance(value, tuple):
                value = list(value)
            document[field.name] = value
        return document

    @staticmethod
    def from_json(document: Mapping[str, Any], where: str = "placement") -> TensorPlacement:
        """Inverse of ``to_json``.

        Raises:
            PlenaError: a part is missing, unknown or of the wrong type.
        """
        known = {field.name: str(field.type) for field in fields(TensorPlacement)}
        where = f"{where} {document.get('name', '')}".rstrip()
        values: dict[str, Any] = {}
        for key, value in document.items():
            if key not in known:
                raise PlenaError(f"unknown part `{key}`", where)
            values[key] = _part_from_json(key, known[key], value, where)
        try:
            return TensorPlacement(**values)
        except TypeError as error:
            raise PlenaError(f"incomplete: {str(error).partition(': ')[2] or error}", where) from None


def padded_matrix(shape: tuple[int, ...], rows: int, columns: int) -> tuple[int, int]:
    """``(Rp, Cp)``: the last two dimensions rounded up to multiples."""
    return -(-shape[-2] // rows) * rows, -(-shape[-1] // columns) * columns


def hbm_alignment(target: Target) -> int:
    """Bytes: rows at multiples of it have their scales inside one 64-byte word (plena_isa.md section 5.5)."""
    return max(64, 2 * target.mlen)


def scale_plane(element_bytes: int, target: Target) -> int:
    """SCALE for a plane of ``element_bytes`` element bytes from the base register: right behind it, aligned.

    A tile's worth of alignment keeps the scales of a row inside one 64-byte word (section 5.5) wherever rows
    start at multiples of their length.
    """
    unit = max(64, target.tile)
    return -(-element_bytes // unit) * unit


Chunk: TypeAlias = tuple[int, Array]
"""Offset in elements from the placement's address, and the elements from there on in memory order."""


def chunks(
    placement: TensorPlacement, matrices: Array | LazyTensor, target: Target, size: int = CHUNK
) -> Iterator[Chunk]:
    """The padded elements of ``matrices[*batch, R, C]`` in memory order, about ``size`` at a time.

    Every chunk is a whole number of rows of MLEN or VLEN elements, or of padded rows.
    """
    for offset, matrix in _matrices(placement, matrices):
        if placement.layout == "words":
            assert not isinstance(matrix, LazyTensor)
            yield offset, matrix.reshape(-1)
            continue
        unit, axis, length = _outer(placement, target)
        across = prod(placement.padded_matrix) // length
        step = max(1, size // (unit * across)) * unit
        for start in range(0, length, step):
            stop = min(start + step, length)
            part = matrix[start:stop] if axis == 0 else matrix[:, start:stop]
            want = (stop - start, placement.padded_matrix[1 - axis])
            if axis == 1:
                want = (want[1], want[0])
            block = np.zeros(want, matrix.dtype)
            block[: part.shape[0], : part.shape[1]] = part
            yield offset + start * across, _to_memory_order(placement, block, target)


def matrices_of(placement: TensorPlacement, elements: Array, target: Target) -> Array:
    """Inverse of ``chunks``: ``[*batch, R, C]`` from the ``placement.elements`` elements in memory order."""
    rows, columns = placement.matrix
    if placement.layout == "words":
        return elements.reshape(placement.shape)
    size = prod(placement.padded_matrix)
    found = [
        _from_memory_order(placement, elements[start : start + size], target)[:rows, :columns]
        for start in range(0, placement.batch * placement.pitch, placement.pitch)
    ]
    return np.stack(found).reshape(placement.shape)


def _matrices(
    placement: TensorPlacement, matrices: Array | LazyTensor
) -> Iterator[tuple[int, Array | LazyTensor]]:
    if isinstance(matrices, LazyTensor) or placement.layout == "words":
        yield 0, matrices
        return
    for number, index in enumerate(np.ndindex(*matrices.shape[:-2])):
        yield number * placement.pitch, matrices[index]


def _outer(placement: TensorPlacement, target: Target) -> tuple[int, int, int]:
    """Granule, matrix axis and padded length of the outermost dimension in memory."""
    rows, columns = placement.padded_matrix
    match placement.layout, placement.order:
        case "tiled", "rows":
            return target.mlen, 0, rows
        case "tiled", "columns":
            return target.mlen, 1, columns
        case "column_blocks", _:
            return target.vlen, 1, columns
        case _:
            return 1, 0, rows


def _to_memory_order(placement: TensorPlacement, block: Array, target: Target) -> Array:
    rows, columns = block.shape
    if placement.layout == "rows":
        return block.reshape(-1)
    if placement.layout == "column_blocks":
        return block.reshape(rows, columns // target.vlen, target.vlen).transpose(1, 0, 2).reshape(-1)
    m = target.mlen
    tiles = block.reshape(rows // m, m, columns // m, m)
    return tiles.transpose((0, 2, 1, 3) if placement.order == "rows" else (2, 0, 1, 3)).reshape(-1)


def _from_memory_order(placement: TensorPlacement, elements: Array, target: Target) -> Array:
    rows, columns = placement.padded_matrix
    if placement.layout == "rows":
        return elements.reshape(rows, columns)
    if placement.layout == "column_blocks":
        blocks = elements.reshape(columns // target.vlen, rows, target.vlen)
        return blocks.transpose(1, 0, 2).reshape(rows, columns)
    m = target.mlen
    if placement.order == "rows":
        tiles = elements.reshape(rows // m, columns // m, m, m).transpose(0, 2, 1, 3)
    else:
        tiles = elements.reshape(columns // m, rows // m, m, m).transpose(1, 2, 0, 3)
    return tiles.reshape(rows, columns)


def _problems(placement: TensorPlacement, target: Target) -> Iterator[str]:
    if min((placement.address, placement.base, placement.scale_offset, placement.batch_pitch)) < 0:
        yield "addresses and pitches must not be negative"
    if not placement.shape or min(placement.shape) < 1:
        yield f"empty shape {placement.shape}"
        return
    if placement.layout == "words":
        if placement.padded:
            yield "words have no padding"
    elif len(placement.shape) < 2:
        yield f"layout {placement.layout} needs at least two dimensions, not {placement.shape}"
        return
    elif len(placement.padded) not in (0, 2):
        yield "`padded` must have two dimensions"
        return
    (rows, columns), (padded_rows, padded_columns) = placement.matrix, placement.padded_matrix
    if padded_rows < rows or padded_columns < columns:
        yield f"{rows} x {columns} does not fit in the padded {padded_rows} x {padded_columns}"
    units = {"tiled": (target.mlen, target.mlen), "column_blocks": (1, target.vlen)}
    row_unit, column_unit = units.get(placement.layout, (1, 1))
    if padded_rows % row_unit or padded_columns % column_unit:
        yield (
            f"layout {placement.layout} needs multiples of {row_unit} x {column_unit}, "
            f"not {padded_rows} x {padded_columns}"
        )
    if placement.batch_pitch and placement.batch_pitch < padded_rows * padded_columns:
        yield "the batch pitch is smaller than a matrix"
    yield from _format_problems(placement, target)


def _format_problems(placement: TensorPlacement, target: Target) -> Iterator[str]:
    expected = {"vector": "bf16", "fp": "bf16", "int": "u32"}.get(placement.memory)
    if expected is not None:
        if placement.format != expected:
            yield f"memory {placement.memory} holds {expected}, not {placement.format}"
        return
    number_format = placement.number_format(target)
    boundary = number_format.element_bytes(1)
    if isinstance(number_format, Mx):
        boundary *= number_format.block
        pieces = {"row": placement.padded_matrix[1], "matrix": placement.pitch}
        for piece, length in pieces.items():
            if length % number_format.block:
                yield f"a {piece} of {length} elements is not a whole number of blocks of {number_format.block}"
    if placement.address % boundary:
        yield f"address {placement.address} is not a multiple of {boundary} bytes, where a block may start"


def _source_to_json(source: Source) -> Any:
    match source.kind:
        case "data" | "host" | "state":
            return {source.kind: source.symbol}
        case "scratch":
            return "scratch"
        case "input" | "output":
            return {source.kind: source.index}
        case _:
            assert_never(source.kind)


def _source_from_json(value: object, where: str) -> Source:
    match value:
        case "scratch":
            return Source("scratch")
        case {"data": str(symbol), **rest} if not rest:
            return Source("data", symbol=symbol)
        case {"host": str(symbol), **rest} if not rest:
            return Source("host", symbol=symbol)
        case {"state": str(symbol), **rest} if not rest:
            return Source("state", symbol=symbol)
        case {"input": int(index), **rest} if not rest:
            return Source("input", index)
        case {"output": int(index), **rest} if not rest:
            return Source("output", index)
        case _:
            raise PlenaError(f"unknown source {value!r}", where)


_WORDS = {"memory": Memory, "layout": Layout, "order": Order, "staging": Staging}


def _part_from_json(key: str, kind: str, value: Any, where: str) -> Any:
    if key == "view":
        return views.from_json(value, where)
    if key == "source":
        return _source_from_json(value, where)
    if key in _WORDS:
        if value not in get_args(_WORDS[key]):
            raise PlenaError(
                f"`{key}` must be one of {', '.join(get_args(_WORDS[key]))}, not {value!r}", where
            )
        return value
    if kind.startswith("tuple"):
        if isinstance(value, list) and all(isinstance(n, int) for n in value):
            return tuple(value)
        raise PlenaError(f"`{key}` must be a list of integers, not {value!r}", where)
    if kind == "bool" and value in (0, 1):
        return bool(value)
    wanted: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,)}
    if isinstance(value, bool) or not isinstance(value, wanted.get(kind, (int, float))):
        raise PlenaError(f"`{key}` must be {kind}, not {value!r}", where)
    return float(value) if kind not in wanted else value
