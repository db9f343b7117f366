"""Values into memories and back: staging tensors where their placements say, reading results.

Work is done in chunks, so the memory needed beyond the image itself is bounded whatever the size of a tensor.
Encoding is what a placement's ``staging`` says (``plena.machine.number_formats``).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from plena.errors import PlenaError
from plena.host import view as views
from plena.host.layout import TensorPlacement, chunks, matrices_of
from plena.host.lazy_tensor import LazyTensor
from plena.host.view import Array, Infinite
from plena.machine.number_formats import Mx, Plain, bf16_bits, bf16_from_bits, bf16_round
from plena.machine.scalar_codes import scalar_bf16_round, within_bf16
from plena.machine.target import Target

Float32: TypeAlias = npt.NDArray[np.float32]


POSITIONS = "positions"
"""How placements of run-time positions in a state are called."""

POSITIONS_HINT = (
    " The state is full then: start over with reset(), or compile the model with a longer buffer."
)


class StagingWarning(UserWarning):
    """A tensor that does not survive its number format: NaN, infinity, or everything rounded to zero."""


@dataclass
class Preload:
    """What the memories hold when a program starts; everything behind the arrays is zero.

    ``hbm`` bytes, ``vector`` bf16 bits by element, ``fp`` fp16 values (the machine widens them and rounds to
    bf16, section 2.6), ``integers`` u32. If it ``is_memory``, ``hbm`` is all of HBM, states included, and a run changes
    it.
    """

    hbm: npt.NDArray[np.uint8]
    vector: npt.NDArray[np.uint16]
    fp: npt.NDArray[np.float16]
    integers: npt.NDArray[np.uint32]
    is_memory: bool = False

    @staticmethod
    def empty(hbm: int = 0, vector: int = 0, fp: int = 0, integers: int = 0) -> Preload:
        """Zeros of these sizes."""
        return Preload(
            np.zeros(hbm, np.uint8),
            np.zeros(vector, np.uint16),
            np.zeros(fp, np.float16),
            np.zeros(integers, np.uint32),
        )


class Memories(Protocol):
    """The memories after a run, as the emulator reports them."""

    @property
    def vram_bits(self) -> npt.NDArray[np.uint16]: ...
    @property
    def fp_sram_bits(self) -> npt.NDArray[np.uint16]: ...
    @property
    def int_sram(self) -> npt.NDArray[np.uint32]: ...
    @property
    def hbm(self) -> Any: ...


@dataclass(frozen=True)
class ImageMemory:
    """HBM alone, as an image has it."""

    hbm: npt.NDArray[np.uint8]
    vram_bits: npt.NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))
    fp_sram_bits: npt.NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))
    int_sram: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))


def stage(
    placement: TensorPlacement, values: Any, preload: Preload, target: Target, name: str | None = None
) -> None:
    """Write a tensor (numpy, torch or lazy) to its place; errors call it `name`.

    Raises:
        PlenaError: its shape does not fit the view, integers are out of range, or the place lies outside
            ``preload``.

    Warns:
        StagingWarning: it does not survive the number format.
    """
    if isinstance(values, LazyTensor) and (
        values.shape != placement.shape or placement.view or placement.layout == "words"
    ):
        values = values.whole()
    if isinstance(values, LazyTensor):
        matrices, is_bf16_bits, array = values, False, None
    else:
        array, is_bf16_bits = source_array(values)
        if is_bf16_bits and any(step.reads_numbers for step in placement.view):
            array, is_bf16_bits = bf16_from_bits(array), False
        matrices = _apply(placement, array)
    loss = _Loss(str(placement.source), any(isinstance(step, Infinite) for step in placement.view))
    for offset, part in chunks(placement, matrices, target):
        if placement.memory == "int":
            _write(
                preload.integers,
                placement,
                placement.address + offset,
                _integers(placement, part, array, name),
            )
            continue
        given = bf16_from_bits(part) if is_bf16_bits else part.astype(np.float32, copy=False)
        stored = _scaled(placement, within_bf16(given))
        if placement.memory == "hbm":
            _stage_hbm(placement, offset, stored, preload, target, loss)
        elif placement.memory == "vector":
            _write(preload.vector, placement, placement.address + offset, bf16_bits(stored))
        else:
            _write(preload.fp, placement, placement.address + offset, stored.astype(np.float16))
    loss.report()


def unstage(placement: TensorPlacement, memories: Memories, target: Target) -> Array:
    """The matrices ``placement.shape`` of a tensor as a run left it: float32, or int32 from INT SRAM.

    Raises:
        PlenaError: the place lies outside the memory.
    """
    stop = placement.address + placement.elements
    match placement.memory:
        case "vector":
            elements = _read(memories.vram_bits.reshape(-1), placement, placement.address, stop)
            values = bf16_from_bits(elements)
        case "fp":
            values = bf16_from_bits(_read(memories.fp_sram_bits, placement, placement.address, stop))
        case "int":
            words = _read(memories.int_sram, placement, placement.address, stop).view(np.int32)
            return matrices_of(placement, words, target)
        case "hbm":
            values = _decode_hbm(placement, np.frombuffer(memories.hbm, np.uint8), target)
    return matrices_of(placement, values, target) / np.float32(placement.scale)


def quantized(placement: TensorPlacement, values: Any, target: Target, *, with_rest: bool = False) -> Float32:
    """What the machine sees of a tensor: the source tensor with the elements of the view after staging.

    Blocks of an MX format lie along the rows of the matrices, whatever the layout. The factor ``scale`` is
    taken out again. With `with_rest` what the format loses is staged, too, and added.
    """
    array, is_bf16_bits = source_array(values)
    whole = bf16_from_bits(array) if is_bf16_bits else array.astype(np.float32)
    matrices = _scaled(placement, within_bf16(_apply(placement, whole)))
    if placement.memory == "hbm":
        number_format = placement.number_format(target)
        columns = matrices.shape[-1]
        block = number_format.block if isinstance(number_format, Mx) else 1
        padded = np.pad(matrices, [*[(0, 0)] * (matrices.ndim - 1), (0, -columns % block)])
        seen = number_format.staged(padded, placement.staging)
        if with_rest:
            seen = seen + number_format.staged(padded - seen, placement.staging)
        seen = seen[..., :columns]
    elif placement.memory == "vector":
        seen = bf16_round(matrices)
    elif placement.memory == "fp":
        with np.errstate(over="ignore"):
            seen = scalar_bf16_round(matrices.astype(np.float16).astype(np.float32))
    else:
        seen = matrices
    return views.scatter(placement.view, seen / np.float32(placement.scale), whole)


def source_array(values: Any) -> tuple[Array, bool]:
    """A numpy array that shares the memory of a tensor where possible, and whether it holds bf16 bits."""
    if not hasattr(values, "detach"):
        return np.asarray(values), False
    tensor = values.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        import torch

        return tensor.view(torch.uint16).numpy(), True
    return tensor.numpy(), False


def _apply(placement: TensorPlacement, array: Array) -> Array:
    try:
        shape = views.result_shape(placement.view, array.shape)
    except ValueError as error:
        raise PlenaError(f"a tensor of shape {array.shape}: {error}", f"staging {placement.name}") from None
    if shape != placement.shape:
        raise PlenaError(f"its view gives {shape}, not {placement.shape}", f"staging {placement.name}")
    try:
        return views.apply(placement.view, array)
    except ValueError as error:
        hint = (
            "The program takes it for a mask: compare it in the model, as in `mask != 0`, or give booleans."
        )
        raise PlenaError(str(error), f"staging {placement.source}", hint) from None


def _scaled(placement: TensorPlacement, values: Float32) -> Float32:
    return values if placement.scale == 1.0 else values * np.float32(placement.scale)


def _integers(
    placement: TensorPlacement, values: Array, source: Array | None, name: str | None
) -> npt.NDArray[np.uint32]:
    # Constants of the model that are one number throughout are real numbers here, those that say a place too.
    may_be_real = not placement.limit or placement.source.kind == "data"
    if values.dtype.kind == "f" and may_be_real and bool((values == np.floor(values)).all()):
        values = values.astype(np.int64)
    if values.dtype.kind not in "iub":
        raise PlenaError(f"needs integers, not {values.dtype}", f"staging {placement.source}")
    low, high = int(values.min()), int(values.max())
    least, limit = (0, placement.limit) if placement.limit else (-(1 << 31), 1 << 31)
    if low < least or high >= limit:
        source = values if source is None else source
        outside = np.argwhere((source < least) | (source >= limit))
        wrong = f"{low if low < least else high}"
        if outside.size:
            at = tuple(int(n) for n in outside[0])
            wrong = f"{int(source[at])} at {list(at)}"
        raise PlenaError(
            f"{wrong} is out of range",
            name or str(placement.source),
            f"Values lie in {least}..{limit - 1}."
            + (POSITIONS_HINT if placement.name.startswith(POSITIONS) and low >= 0 else ""),
        )
    return (values.astype(np.int64) * int(placement.scale)).astype(np.uint32)


def _stage_hbm(
    placement: TensorPlacement, offset: int, values: Float32, preload: Preload, target: Target, loss: _Loss
) -> None:
    number_format = placement.number_format(target)
    if placement.residual:
        with np.errstate(invalid="ignore"):
            rest = values - number_format.staged(values, placement.staging)
        rest = np.where(np.isinf(values), np.float32(0), rest)
        values = np.where(values == 0, values, rest)  # Two zeros add up to minus zero if both are.
    elements, scales = number_format.stage(values, placement.staging)
    byte = placement.address + number_format.element_bytes(offset)
    _write(preload.hbm, placement, placement.base + byte, elements)
    if scales.size:
        start = placement.base + placement.scale_offset + byte // number_format.ratio
        _write(preload.hbm, placement, start, scales)
    loss.see(values, elements)


def _decode_hbm(placement: TensorPlacement, hbm: npt.NDArray[np.uint8], target: Target) -> Float32:
    number_format = placement.number_format(target)
    elements = _read(hbm, placement, *placement.hbm_range(target))
    if isinstance(number_format, Plain):
        return number_format.decode(elements)
    return number_format.decode(elements, _read(hbm, placement, *placement.scale_range(target)))


def _write(memory: Array, placement: TensorPlacement, start: int, values: Array) -> None:
    _require_inside(memory, placement, start, start + values.size)
    memory[start : start + values.size] = values


def _read(memory: Array, placement: TensorPlacement, start: int, stop: int) -> Array:
    _require_inside(memory, placement, start, stop)
    return memory[start:stop]


def _require_inside(memory: Array, placement: TensorPlacement, start: int, stop: int) -> None:
    if start < 0 or stop > memory.size:
        raise PlenaError(
            f"{start}..{stop} lies outside the {placement.memory} memory of {memory.size} units",
            f"placement of {placement.name}",
        )


class _Loss:
    """Collects over the chunks of one tensor what its number format loses."""

    def __init__(self, name: str, infinite: bool) -> None:
        self._name = name
        self._infinite = infinite
        self._finite = True
        self._anything = False
        self._survives = False

    def see(self, values: Float32, codes: npt.NDArray[np.uint8]) -> None:
        self._finite = self._finite and bool(np.isfinite(values).all())
        if not self._survives:
            self._anything = self._anything or bool(values.any())
            self._survives = bool((codes & 0x7F).any())

    def report(self) -> None:
        if not (self._finite or self._infinite):
            message = f"{self._name} contains NaN or infinity, which the machine's number format cannot hold"
            warnings.warn(message, StagingWarning, stacklevel=3)
        if self._anything and not self._survives:
            message = f"every element of {self._name} becomes zero in the machine's number format"
            warnings.warn(message, StagingWarning, stacklevel=3)
