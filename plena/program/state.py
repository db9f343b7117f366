"""What a program keeps from run to run: the bytes of its states, and the tensors that they stand for.

States of integers are counters: the host has them, and computes what they become from its inputs and themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from plena.errors import PlenaError
from plena.host import view as views
from plena.host.image import Preload, stage, unstage
from plena.host.layout import TensorPlacement
from plena.host.mapped_image import Bytes
from plena.host.ports import Port
from plena.host.values.program import plain_array
from plena.host.view import Array
from plena.machine.target import Target
from plena.program.pages import Numbers, Pages, pages_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Memory:
    """A memory that holds one tensor alone."""

    hbm: Bytes
    vram_bits: npt.NDArray[np.uint16]
    fp_sram_bits: npt.NDArray[np.uint16]
    int_sram: npt.NDArray[np.uint32]


class KeptState:
    """The states of a program as its memories hold them between runs.

    Args:
        ports: name, shape and dtype of every state, counters behind the others.
        placements: where they lie; of several of one state the values add up. Counters have none.
        initial: what they hold at first, zeros for names that are missing.
        target: the machine.
    """

    def __init__(
        self,
        ports: Sequence[Port],
        placements: Sequence[TensorPlacement],
        initial: Mapping[str, Any],
        target: Target,
    ) -> None:
        self.ports = {port.name: port for port in ports}
        self.counters = counters_of(self.ports.values())
        """The states of integers, in the order in which the program takes them behind its inputs."""
        self.target = target
        self.initial = dict(initial)
        self._placements: dict[str, list[TensorPlacement]] = {name: [] for name in self.ports}
        for placement in placements:
            self._placements[placement.source.symbol].append(placement)
        self._bytes: dict[str, tuple[Pages, ...]] = {}
        self._first: dict[str, tuple[Pages, ...]] = {}
        """What states hold after a reset, once it was asked for; copies have it in common."""
        self._numbers: dict[str, Array] = {}

    @cached_property
    def _ranges(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """The bytes of HBM that states have, elements and scales of one placement behind the other."""
        return {
            name: tuple(span for placement in placed for span in placement.hbm_ranges(self.target))
            for name, placed in self._placements.items()
        }

    @property
    def form(self) -> tuple[object, ...]:
        """What the states are and how their bytes lie, places apart: equal ones hold each other's."""
        placed = (
            (n, tuple(replace(p.at(0), name="") for p in found)) for n, found in self._placements.items()
        )
        return tuple(self.ports.values()), tuple(placed), self.target

    @property
    def counted(self) -> dict[str, Array]:
        """What the counters hold, in their order."""
        return {port.name: self.array(port.name) for port in self.counters}

    def count(self, values: Mapping[str, Array]) -> None:
        """Sets counters to what a run has made of them."""
        self._numbers.update(values)

    def copy(self) -> KeptState:
        """The same states, which change alone from now on."""
        placements = [p for placed in self._placements.values() for p in placed]
        other = KeptState(tuple(self.ports.values()), placements, self.initial, self.target)
        other._first = self._first
        other.hold(self)
        return other

    def hold(self, other: KeptState) -> None:
        """What other states of the same form hold; each changes alone afterwards."""
        self._bytes, self._numbers = dict(other._bytes), dict(other._numbers)

    def copy_rows(self, source: int, to: int, count: int) -> None:
        """Rows of every state to another place in it; those that are read do not reach into those that are written."""
        for name, placed in self._placements.items():
            rows = [p.padded_matrix[0] for p in placed for _ in range(2)]
            sizes = [pages.size // n for pages, n in zip(self._held(name), rows, strict=True)]
            self._bytes[name] = tuple(
                pages.moved(source * size, to * size, count * size)
                for pages, size in zip(self._held(name), sizes, strict=True)
            )

    def initial_arrays(self) -> dict[str, Array]:
        """What the states hold after a reset, in float32, counters in their integers."""
        found = {name: plain_array(value) for name, value in self.initial.items()}
        return {
            n: array.astype(np.float32) if array.dtype.kind == "f" else array for n, array in found.items()
        }

    def port(self, name: str) -> Port:
        """Shape and dtype of a state.

        Raises:
            PlenaError: there is none of that name.
        """
        if name not in self.ports:
            known = ", ".join(self.ports) or "none"
            raise PlenaError(f"the program has no state {name!r}", "state", f"Its states: {known}.")
        return self.ports[name]

    def checked(self, where: str) -> KeptState:
        """Itself, if the initial tensors and the places have the shapes of the states.

        Raises:
            PlenaError: one has not.
        """
        for name, array in self.initial_arrays().items():
            if name not in self.ports or array.shape != self.ports[name].shape:
                raise PlenaError(
                    f"the initial state {name} does not fit", where, "Compile the program again."
                )
        for name, placed in self._placements.items():
            for placement in placed:
                try:
                    fits = views.result_shape(placement.view, self.ports[name].shape) == placement.shape
                except ValueError:
                    fits = False
                if not fits or placement.memory != "hbm":
                    raise PlenaError(
                        f"the place of state {name} does not fit", where, "Compile the program again."
                    )
        return self

    def reset(self) -> None:
        """What they held at first."""
        self._bytes.clear()
        self._numbers.clear()

    def pages(self) -> Iterator[tuple[tuple[int, int], Pages]]:
        """The bytes from one address of HBM to another one, and what belongs there."""
        for name, ranges in self._ranges.items():
            yield from zip(ranges, self._held(name), strict=True)

    def write(self, hbm: Bytes) -> None:
        """Into an HBM image."""
        for (start, stop), pages in self.pages():
            pages.write(hbm[start:stop])

    def read(self, hbm: Bytes, written: Numbers | None = None) -> None:
        """What a run left in HBM.

        Args:
            written: the pages of HBM that can be others than the states before it; all of them by default.
        """
        for name, ranges in self._ranges.items():
            if written is None:
                self._bytes[name] = tuple(Pages.of(np.array(hbm[start:stop])) for start, stop in ranges)
                continue
            self._bytes[name] = tuple(
                pages.read(hbm[start:stop], pages_of(start, stop, written).tolist())
                for (start, stop), pages in zip(ranges, self._held(name), strict=True)
            )

    def _held(self, name: str) -> tuple[Pages, ...]:
        if name not in self._bytes:
            if name not in self._first:
                self._first[name] = self._staged(name, self._initial(name))
            self._bytes[name] = self._first[name]
        return self._bytes[name]

    def _initial(self, name: str) -> Any:
        first = self.initial.get(name)
        return np.zeros(self.ports[name].shape, np.float32) if first is None else first

    def _staged(self, name: str, values: Any) -> tuple[Pages, ...]:
        parts: list[Pages] = []
        for placement in self._placements[name]:
            alone = _alone(placement, self.target)
            (_, first), (second, end) = alone.hbm_ranges(self.target)
            preload = Preload.empty(max(first, end))
            stage(alone, values, preload, self.target)
            parts += [Pages.of(preload.hbm[:first]), Pages.of(preload.hbm[second:end])]
        return tuple(parts)

    def array(self, name: str) -> Array:
        """A state in the shape of the module."""
        port = self.ports[name]
        if port in self.counters:
            held = self._numbers[name] if name in self._numbers else plain_array(self._initial(name))
            return np.array(held).astype(port.dtype)
        parts = iter(self._held(name))
        total = np.zeros(port.shape, np.float32)
        for placement in self._placements[name]:
            into = np.zeros(port.shape, np.float32)
            total = total + views.scatter(
                placement.view, self._matrices(placement, next(parts), next(parts)), into
            )
        return total

    def matrices(self, placement: TensorPlacement) -> Array:
        """What one placement of a state holds."""
        placed = self._placements[placement.source.symbol]
        number = next(n for n, p in enumerate(placed) if p.name == placement.name)
        elements, scales = self._held(placement.source.symbol)[2 * number : 2 * number + 2]
        return self._matrices(placement, elements, scales)

    def _matrices(self, placement: TensorPlacement, elements: Pages, scales: Pages) -> Array:
        alone = _alone(placement, self.target)
        (_, first), (second, end) = alone.hbm_ranges(self.target)
        hbm = np.zeros(max(first, end), np.uint8)
        hbm[:first], hbm[second:end] = elements.array(), scales.array()
        nothing = np.zeros(0, np.uint16)
        return unstage(alone, _Memory(hbm, nothing, nothing, np.zeros(0, np.uint32)), self.target)

    def assign(self, values: Mapping[str, Any]) -> None:
        """Writes some states; all of them are checked before the first one is written.

        Raises:
            PlenaError: no such state, another shape, numbers that are not finite, or no integers for a counter.
        """
        checked = {name: self._checked(name, value) for name, value in values.items()}
        counted = {port.name for port in self.counters} & checked.keys()
        self._bytes.update(
            {name: self._staged(name, array) for name, array in checked.items() if name not in counted}
        )
        self._numbers.update({name: checked[name] for name in counted})

    def _checked(self, name: str, value: Any) -> Array:
        port, array = self.port(name), plain_array(value)
        if array.shape != port.shape:
            raise PlenaError(
                f"state {port} was given as {list(array.shape)}", "state", "Give it in its shape."
            )
        if port in self.counters:
            if array.dtype.kind not in "iub":
                raise PlenaError(f"state {port} was given as {array.dtype}", "state", "Give integers.")
            held = array.astype(port.dtype)
            if not np.array_equal(held.astype(object), array.astype(object)):
                raise PlenaError(
                    f"state {port} was given numbers that {port.dtype} does not hold",
                    "state",
                    "Give smaller ones.",
                )
            return held
        if array.dtype.kind not in "fiub":
            raise PlenaError(f"state {port} was given as {array.dtype}", "state", "Give real numbers.")
        numbers = array.astype(np.float32)
        if not np.isfinite(numbers).all():
            raise PlenaError(
                f"state {port} was given NaN or infinity", "state", "Give finite numbers, such as zeros."
            )
        return numbers


def counters_of(ports: Iterable[Port]) -> tuple[Port, ...]:
    """Those of integers."""
    return tuple(port for port in ports if not port.dtype.startswith(("float", "bfloat")))


class StateView(MutableMapping[str, "torch.Tensor"]):
    """The states of a program as tensors by the name of their buffer; what is assigned the next run finds."""

    def __init__(self, kept: KeptState) -> None:
        self._kept = kept

    def __getitem__(self, name: str) -> torch.Tensor:
        import torch

        port = self._kept.port(name)
        return torch.from_numpy(np.array(self._kept.array(name))).to(getattr(torch, port.dtype))

    def __setitem__(self, name: str, value: Any) -> None:
        self._kept.assign({name: value})

    def assign(self, values: object) -> None:
        """Writes the states that are named, all of them or none.

        Raises:
            PlenaError: as of ``Program.state``.
        """
        if not isinstance(values, Mapping):
            raise PlenaError(
                f"states are given as a dictionary, not as {type(values).__name__}", "state", "Name them."
            )
        named: Mapping[str, Any] = values
        self._kept.assign(named)

    def __delitem__(self, name: str) -> None:
        raise PlenaError(f"state {name!r} cannot be removed", "state", "Assign zeros, or call reset().")

    def __contains__(self, name: object) -> bool:
        return name in self._kept.ports

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept.ports)

    def __len__(self) -> int:
        return len(self._kept.ports)

    def __repr__(self) -> str:
        return f"<states {'; '.join(str(port) for port in self._kept.ports.values()) or 'none'}>"


def _alone(placement: TensorPlacement, target: Target) -> TensorPlacement:
    """The placement in a memory of its own."""
    return replace(placement, address=0, base=0, scale_offset=placement.element_bytes(target))
