"""Weights rounded for inputs that were seen: what `plena.calibrate` finds and `staging="calibrated"` stages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from plena.errors import PlenaError
from plena.host.layout import TensorPlacement
from plena.host.staged_data import StagedData, is_weight
from plena.machine.formats import Formats, format_text
from plena.machine.scalar_codes import F32, bf16_bits, bf16_from_bits

if TYPE_CHECKING:
    import torch

_WHERE = "calibration"
_HEAD = "calibration"
_VERSION = 1


@dataclass(frozen=True)
class CalibratedLayer:
    """What became of one weight.

    Attributes:
        name: of the parameter, or the staging expression.
        key: of its values before rounding (`key_of`).
        shape: outputs, inputs.
        rank: of its inputs in the samples, at most.
        nearest, calibrated: mean squared error of its outputs for inputs that were held back, over theirs, when every
            element is rounded to the nearest, and with error feedback.
        seconds: that it took.
    """

    name: str
    key: str
    shape: tuple[int, int]
    rank: int
    nearest: float
    calibrated: float
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether the calibrated weight is staged: it is the better one."""
        return self.calibrated < self.nearest


@dataclass(frozen=True)
class Calibration:
    """Rounded weights of a model, for one set of formats.

    Attributes:
        formats: that they were rounded to.
        layers: all weights that were tried, in the order of the model.
        weights: bf16 bits [outputs, inputs] by the key of the weight before rounding, of those that became better.
    """

    formats: Formats
    layers: tuple[CalibratedLayer, ...] = ()
    weights: Mapping[str, NDArray[np.uint16]] = field(
        default_factory=dict[str, NDArray[np.uint16]], repr=False
    )

    def applied(
        self, data: StagedData, placements: Iterable[TensorPlacement], formats: Formats
    ) -> StagedData:
        """The data of a program with these weights.

        Raises:
            PlenaError: they were rounded to another format, or none of them is a weight of the program.
        """
        if formats.weights != self.formats.weights:
            raise PlenaError(
                f"the weights were calibrated for {format_text(self.formats.weights)}, the program has "
                f"{format_text(formats.weights)}",
                _WHERE,
                "Calibrate with the formats that the program is compiled for.",
            )
        symbols = {p.source.symbol for p in placements if is_weight(p)} & data.expressions.keys()
        found = {symbol: self.of(data(symbol)) for symbol in sorted(symbols)}
        known = {symbol: tensor for symbol, tensor in found.items() if tensor is not None}
        tried = {layer.key for layer in self.layers}
        if symbols and self.layers and not tried & {key_of(data(symbol)) for symbol in symbols}:
            raise PlenaError(
                "none of the program's weights has the values that were calibrated",
                _WHERE,
                "Calibrate the model again: its parameters have changed, or it is another one.",
            )
        return replace(data, calibrated=known)

    def of(self, weight: torch.Tensor) -> torch.Tensor | None:
        """What is staged instead of a weight; None if nothing better than the nearest is known."""
        import torch

        bits = self.weights.get(key_of(weight))
        return None if bits is None else torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)

    def save(self, path: str | Path) -> None:
        """Write it to one file, whole or not at all.

        Raises:
            PlenaError: it cannot be written.
        """
        head = {"version": _VERSION, "formats": str(self.formats), "layers": [asdict(n) for n in self.layers]}
        arrays: dict[str, Any] = {_HEAD: np.array(json.dumps(head)), **self.weights}
        path = Path(path)
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            part.replace(path)
        except OSError as error:
            raise PlenaError(f"cannot be written: {error.strerror}", str(path)) from None

    @staticmethod
    def load(path: str | Path) -> Calibration:
        """Read a file of `save`.

        Raises:
            PlenaError: there is none, or it is damaged.
        """
        try:
            with np.load(Path(path), allow_pickle=False) as arrays:
                head = json.loads(str(arrays[_HEAD]))
                weights = {name: arrays[name] for name in arrays.files if name != _HEAD}
            layers = tuple(_layer(n) for n in head["layers"])
            found = Calibration(Formats.of(head["formats"]), layers, weights)
            fits = head["version"] == _VERSION and found.fits
        except OSError as error:
            raise PlenaError(f"cannot be read: {error.strerror or error}", str(path)) from None
        except (BadZipFile, ValueError, KeyError, TypeError, AttributeError, EOFError, PlenaError):
            fits, found = False, None
        if not fits or found is None:
            raise PlenaError("is no calibration, or damaged", str(path), "`Calibration.save` writes one.")
        return found

    @property
    def fits(self) -> bool:
        """Whether the weights are those of the layers."""
        shapes = {layer.key: layer.shape for layer in self.layers if layer.kept}
        return {key: bits.shape for key, bits in self.weights.items()} == shapes and all(
            bits.dtype == np.uint16 for bits in self.weights.values()
        )

    def __str__(self) -> str:
        kept = [layer for layer in self.layers if layer.kept]
        lines = [
            f"{len(kept)} of {len(self.layers)} weights calibrated for {format_text(self.formats.weights)}"
        ]
        for layer in self.layers:
            ratio = layer.calibrated / layer.nearest if layer.nearest else 1.0
            lines.append(
                f"  {layer.name}: {layer.shape[0]} x {layer.shape[1]}, rank {layer.rank}, error {ratio:.2f} of the "
                f"nearest's{'' if layer.kept else ' (left as it was)'}, {layer.seconds:.2f} s"
            )
        return "\n".join(lines)


def _layer(document: dict[str, Any]) -> CalibratedLayer:
    """A layer of a file; errors as of what is not one."""
    rows, columns = document["shape"]
    return CalibratedLayer(
        str(document["name"]),
        str(document["key"]),
        (int(rows), int(columns)),
        int(document["rank"]),
        float(document["nearest"]),
        float(document["calibrated"]),
        float(document["seconds"]),
    )


def key_of(weight: torch.Tensor) -> str:
    """What a weight is known by: its shape and values."""
    values: F32 = np.ascontiguousarray(weight.detach().float().numpy())
    return hashlib.blake2b(repr(values.shape).encode() + values.tobytes(), digest_size=16).hexdigest()


def exact_bits(values: F32) -> NDArray[np.uint16] | None:
    """The bf16 bits of numbers that are bf16 numbers; None if one is not."""
    bits = bf16_bits(values)
    return bits if np.array_equal(bf16_from_bits(bits), values) else None


__all__ = ["CalibratedLayer", "Calibration", "exact_bits", "key_of"]
