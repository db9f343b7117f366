"""Samples: the inputs of calls that a calibration or an error is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from plena.errors import PlenaError

if TYPE_CHECKING:
    import torch

    from plena.frontend.program import TensorSpec
    from plena.host.call_inputs import CallSignature

Call: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments."""


def sample_calls(samples: Any, where: str) -> list[Call]:
    """The arguments of every sample: tensors, sequences of positional arguments, dictionaries of keyword arguments.

    Raises:
        PlenaError: there are none.
    """
    given: Any = samples
    if not isinstance(given, list | tuple) or not given:
        raise PlenaError(
            "samples must be a list of inputs, one for every call",
            where,
            "For example [torch.randn(64, 384) for _ in range(8)]; better, inputs of the kind that will come.",
        )
    return [_call(sample, where) for sample in given]  # pyright: ignore[reportUnknownVariableType]


def _call(sample: Any, where: str) -> Call:
    import torch

    if isinstance(sample, Mapping):
        return (), {str(name): value for name, value in sample.items()}
    if isinstance(sample, Sequence) and not isinstance(sample, str):
        return tuple(sample), {}
    if isinstance(sample, torch.Tensor):
        return (sample,), {}
    raise PlenaError(
        f"a sample is a {type(sample).__name__}", where, "Give tensors, tuples of arguments or dictionaries."
    )


def sample_tensors(
    signature: CallSignature,
    call: Call,
    specs: Sequence[TensorSpec],
    where: str,
    first: str = "the first sample",
) -> list[torch.Tensor]:
    """The tensors of a call.

    Args:
        signature, specs: of the call that says what others are like.
        where: which call this is, for messages.
        first: what the other one is called.

    Raises:
        PlenaError: they have another shape than those of the first one, or NaN or infinity.
    """
    import torch

    found = signature.tensors(*call)
    if found is None or len(found) != len(specs) or not all(isinstance(x, torch.Tensor) for x in found):
        raise PlenaError(f"is no call like {first}", where, "Give the same arguments in every sample.")
    for tensor, spec in zip(found, specs, strict=True):
        if tuple(tensor.shape) != spec.shape or tensor.is_floating_point() != spec.dtype.is_floating_point:
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise PlenaError(
                f"{spec.name} is {dtype}{list(tensor.shape)}, in {first} it is "
                f"{str(spec.dtype).removeprefix('torch.')}{list(spec.shape)}",
                where,
                "Give samples of one shape: cut or pad them.",
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise PlenaError(f"{spec.name} contains NaN or infinity", where, "Give finite samples.")
    return [x.detach() for x in found]
