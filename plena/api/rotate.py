"""`plena.rotate`: a module whose attentions have turned values, which number formats lose less of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from plena.api.compile import ImportedCall
from plena.calibrating.rotation import Rotation, rotated
from plena.errors import CompileError


def rotate(
    module: Any, example_inputs: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Rotation:
    """Turns the values of every attention by a Hadamard matrix, in its neighbours' weights (docs/formats.md).

    The module that comes out computes the same, with no instruction more; it can be compiled, calibrated and judged as
    any other. Attentions whose neighbours are no linear layers stay as they are; the result says why.

    Args:
        module: torch.nn.Module; it stays as it is.
        example_inputs, kwargs: as of `plena.compile`.

    Raises:
        PlenaError: it cannot be captured, or would not compute the same.
    """
    if not isinstance(module, nn.Module):
        raise CompileError(
            f"rotation takes a torch.nn.Module, not {type(module).__name__}",
            "rotation",
            "Give the module that was exported.",
        )
    call = ImportedCall.of(module, example_inputs, kwargs)
    return rotated(module, call.imported.exported, call.args, call.kwargs)
