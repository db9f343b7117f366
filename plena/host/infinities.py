"""What the host refuses to stage: NaN, and infinities where a program cannot compute with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from plena.errors import PlenaError
from plena.host import view as views
from plena.host.image import Float32, source_array
from plena.host.layout import TensorPlacement
from plena.host.mask_steps import Relative
from plena.host.view import Array, Infinite
from plena.machine.number_formats import Mx, bf16_from_bits, bf16_round
from plena.machine.scalar_codes import within_bf16
from plena.machine.target import Target

_HINT = (
    "Minus infinity may be added to scores before a softmax. Elsewhere hide by a finite "
    "number such as -1e4, or let the model hide by a boolean input: `x.masked_fill(mask, -1e4)`."
)


def require_finite(placement: TensorPlacement, values: Array, name: str) -> None:
    """Refuses computed infinities and NaN, which no number format of the machine holds, where they are no mask of
    attention.

    Raises:
        PlenaError: which number it is, and where.
    """
    if values.dtype.kind != "f":
        return
    numbers = values.astype(np.float32)
    if not all(step.minds_infinity for step in placement.view):
        numbers = np.where(np.isnan(numbers), numbers, np.float32(0))
    if not any(
        isinstance(step, Relative) for step in placement.view
    ):  # Which leaves the least float32 the least bf16.
        with np.errstate(over="ignore"):
            numbers = bf16_round(numbers)
    wrong = np.argwhere(~np.isfinite(numbers))
    if wrong.size:
        at = tuple(int(n) for n in wrong[0])
        raise PlenaError(
            f"{values[at]:g} at {list(at)} is held by no number format of the machine",
            name,
            "Give inputs for which it is finite, or choose a number such as -1e4 in the model.",
        )


def require_known_infinities(
    placements: Iterable[TensorPlacement], value: Callable[[TensorPlacement], tuple[Any, str]], target: Target
) -> None:
    """Refuses NaN and infinity in inputs, and biases made of them, but for minus infinity where the program computes
    with it as PyTorch does.

    Args:
        value: the tensor of a placement, and its name.

    Raises:
        PlenaError: which number it is, and where.
    """
    found: set[str] = set()
    for placement in placements:
        values, name = value(placement)
        if not _require_known(placement, values, target, name):
            found.add(name)
    if len(found) > 1:
        raise PlenaError(
            "together they may leave no number in a row, of which NaN comes that the program may lose",
            f"minus infinity in {' and '.join(sorted(found))}",
            "Add the masks outside, or hide by finite numbers such as -1e4.",
        )


def may_be_infinite(placement: TensorPlacement) -> bool:
    """Whether minus infinity is staged."""
    return any(isinstance(step, Infinite) for step in placement.view)


def _require_known(placement: TensorPlacement, values: Any, target: Target, name: str) -> bool:
    """Whether infinities in whole rows would matter to nobody, or there are none."""
    array, is_bits = source_array(values)
    if is_bits:
        array = bf16_from_bits(array)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return True
    allowed = next((step for step in placement.view if isinstance(step, Infinite)), None)
    if allowed is None and not all(step.minds_infinity for step in placement.view):
        return True
    wrong = np.argwhere(~np.isfinite(array) if allowed is None else ~np.isfinite(array) & ~np.isneginf(array))
    if allowed is None or wrong.size:
        at = tuple(int(n) for n in wrong[0])
        raise PlenaError(
            f"{array[at]:g} at {list(at)}: the program is right for "
            + ("finite numbers alone here" if allowed is None else "numbers and minus infinity alone here"),
            name,
            _HINT,
        )
    matrices = views.apply(placement.view, array).astype(np.float32)
    if not allowed.rows and (empty := np.argwhere(np.isneginf(matrices).all(-1))).size:
        raise PlenaError(
            f"row {[int(n) for n in empty[0]]} of {list(matrices.shape)} is minus infinity throughout, of which NaN "
            "comes that the program may lose",
            name,
            "Leave a number in every row, or hide by a finite number such as -1e4.",
        )
    _require_kept(placement, matrices, target, name)
    return bool(allowed.rows)


def _require_kept(placement: TensorPlacement, matrices: Float32, target: Target, name: str) -> None:
    """Numbers that share a scale with an infinity survive only if they are 0."""
    number_format = placement.number_format(target)
    if placement.memory != "hbm" or not isinstance(number_format, Mx):
        return
    columns = matrices.shape[-1]
    padded = np.pad(matrices, [*[(0, 0)] * (matrices.ndim - 1), (0, -columns % number_format.block)])
    kept = number_format.staged(within_bf16(padded), placement.staging)[..., :columns]
    lost = np.argwhere(np.where(np.isinf(matrices), kept != matrices, (kept == 0) & (matrices != 0)))
    if lost.size:
        at = tuple(int(n) for n in lost[0])
        raise PlenaError(
            f"{matrices[at]:g} becomes {kept[at]:g} beside minus infinity: {number_format.block} numbers in a "
            "row share a scale",
            name,
            "Give the mask and the numbers as two inputs, and add both.",
        )


__all__ = ["may_be_infinite", "require_finite", "require_known_infinities"]
