"""`plena.calibrate`: weights rounded so that layers give what they gave, for samples of their inputs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plena.api.samples import sample_calls, sample_tensors
from plena.driver import run_pipeline
from plena.errors import PlenaError
from plena.gc_pause import without_collection
from plena.host.calibration import CalibratedLayer, Calibration
from plena.machine.formats import Formats, FormatsLike
from plena.passes.pipelines import TENSOR_PIPELINE
from plena.progress import counting

if TYPE_CHECKING:
    import torch

    from plena.calibrating.walk import Seen

_WHERE = "calibrate"


def calibrate(
    module: Any,
    samples: Sequence[Any],
    formats: FormatsLike = "shipped",
    *,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
) -> Calibration:
    """Rounds the weights of a module's linear layers so that their outputs change least for the samples.

    Second-order error feedback, layer by layer: each sees what the layers before it, already rounded, make of the
    samples, with keys, values and inputs rounded as they will be (docs/formats.md). Equal arguments give equal weights.

    Args:
        module: torch.nn.Module or torch.export.ExportedProgram, as for ``plena.compile``.
        samples: inputs of calls, all of one shape: tensors, sequences of the positional arguments, or dictionaries of
            the keyword arguments.
        formats: that the program will have.
        checkpoint: a folder that keeps finished layers; a call that was interrupted goes on there.
        progress: whether to show a bar; None means on a terminal.

    Raises:
        PlenaError: no samples, samples of other shapes or with NaN or infinity, a module that cannot be imported, a
            checkpoint of another model.

    Warns:
        CalibrationWarning: layers whose inputs have a lower rank than they have features.
    """
    from plena.calibrating.grid import Grid, is_coarse
    from plena.calibrating.solving import Solver
    from plena.calibrating.walk import layers_of, walk
    from plena.frontend import import_module
    from plena.host.call_inputs import CallSignature, example_call
    from plena.host.staged_data import symbol_of
    from plena.machine.number_formats import Mx

    formats = Formats.of(formats)
    calls = sample_calls(samples, _WHERE)
    if not is_coarse(formats.weights):
        return Calibration(formats)
    assert isinstance(formats.weights, Mx)
    with without_collection():
        args, keywords = example_call(module, *calls[0])
        signature = CallSignature.of(args, keywords, module)
        imported = import_module(module, args, keywords)
        run_pipeline(imported.module, TENSOR_PIPELINE)
        tensors = [
            sample_tensors(signature, call, imported.inputs, f"{_WHERE}, sample {n}")
            for n, call in enumerate(calls)
        ]
        counts = Counter(symbol_of(expression) for _, expression in layers_of(imported.module))
        store = _Store(None if checkpoint is None else Path(checkpoint), _fingerprint(formats, tensors))
        solver = Solver(
            Grid(formats.weights),
            frozenset(symbol for symbol, count in counts.items() if count == 1),
            store.read(),
            store.write,
        )
        with counting(len(counts), "calibrating", progress) as advance:

            def solve(expression: Any, weight: torch.Tensor, inputs: Sequence[Seen]) -> torch.Tensor:
                found = solver(expression, weight, inputs)
                advance(len(solver.layers))
                return found

            given = [imported.arguments(x, imported.initial_states) for x in tensors]
            walk(imported, given, formats, solve)
    solver.warn()
    return Calibration(formats, tuple(solver.layers), solver.weights)


def _fingerprint(formats: Formats, samples: Sequence[Sequence[torch.Tensor]]) -> str:
    """Of what decides the result beside the module, whose weights have keys of their own."""
    digest = hashlib.blake2b(str(formats).encode(), digest_size=16)
    for sample in samples:
        for tensor in sample:
            digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


class _Store:
    """A folder with a file for every layer that is done; none without a path."""

    def __init__(self, path: Path | None, fingerprint: str) -> None:
        self.path, self.fingerprint, self._count = path, fingerprint, 0
        self._formats = Formats()

    def read(self) -> dict[str, tuple[CalibratedLayer, NDArray[np.uint16] | None]]:
        """The layers that are done.

        Raises:
            PlenaError: of other samples or formats, or damaged.
        """
        found: dict[str, tuple[CalibratedLayer, NDArray[np.uint16] | None]] = {}
        if self.path is None or not self.path.exists():
            return found
        for file in sorted(self.path.glob("*.npz")):
            if not file.name.startswith(self.fingerprint):
                raise PlenaError(
                    "holds layers that were calibrated for other samples or formats",
                    str(self.path),
                    "Give another folder, or delete it.",
                )
            part = Calibration.load(file)
            for layer in part.layers:
                found[layer.key] = layer, part.weights.get(layer.key)
        return found

    def write(self, layer: CalibratedLayer, bits: NDArray[np.uint16] | None) -> None:
        """Keeps a layer."""
        if self.path is None:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlenaError(f"cannot be written: {error.strerror}", str(self.path)) from None
        weights = {} if bits is None else {layer.key: bits}
        Calibration(self._formats, (layer,), weights).save(self.path / f"{self.fingerprint}-{layer.key}.npz")
