"""Several programs on one HBM image: what a program has in common with others lies where they have it.

Programs of one model (a prefill, decode steps) read the same weights and the same caches. Each could place them for
itself; to run one after the other on a machine that holds them once, they must agree. A `CommonImage` says where the
programs made so far have their weights and states, and what else they take. One more program finds its own tensors
there by what they are, and puts the rest where nothing is yet, elements and scales.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, IntAttr, ModuleOp
from xdsl.ir import Attribute

from plena.dialects.tile import BufferOp
from plena.errors import CompileError
from plena.host.layout import TensorPlacement, hbm_alignment
from plena.host.placement_attributes import placement_of
from plena.host.ports import Region
from plena.integers import ceil_div, round_up
from plena.machine.target import Target

COMMON_IMAGE = "plena.common_image"
"""Attribute of a module that is compiled beside others."""

Span = tuple[int, int]
"""Bytes [first, end) of HBM."""

_SHARED = ("data", "state")
"""What programs have in common; inputs, outputs and intermediate values each has for itself."""


@dataclass(frozen=True)
class CommonImage:
    """An HBM image that programs share.

    Attributes:
        places: byte addresses by what lies there (`key_of`).
        taken: all bytes that some program uses.
        scale_plane: SCALE of all transfers.
    """

    places: Mapping[str, int]
    taken: tuple[Span, ...]
    scale_plane: int

    @staticmethod
    def of(
        placements: Iterable[TensorPlacement], regions: Iterable[Region], target: Target
    ) -> CommonImage | None:
        """What one program has in HBM; None if its weights lie in several segments, which others do not join.

        Args:
            regions: the program's memory map.
        """
        placed = [p for p in placements if p.memory == "hbm"]
        planes = {p.scale_offset for p in placed}
        if any(p.base for p in placed) or len(planes) > 1:
            return None
        plane = max(planes, default=0)
        places = {key_of(p): p.address for p in placed if p.source.kind in _SHARED}
        spans = [span for p in placed for span in p.hbm_ranges(target)]
        spans += [(r.address, r.address + r.size) for r in regions if r.memory == "hbm"]
        return CommonImage(places, _merged(spans), plane)

    def joined(self, other: CommonImage) -> CommonImage:
        """The image with that of one more program, which was compiled beside it.

        Raises:
            CompileError: it was not, and has something else in the same place.
        """
        there = {address: key for key, address in self.places.items()}
        apart = any(self.places.get(key, address) != address for key, address in other.places.items())
        over = any(there.get(address, key) != key for key, address in other.places.items())
        if apart or over or other.scale_plane != self.scale_plane:
            raise CompileError(
                "the programs have different tensors in the same place of HBM",
                "options",
                "Compile each of them beside those before it: beside=[first], then beside=[first, second].",
            )
        places = {**other.places, **self.places}
        return replace(self, places=places, taken=_merged([*self.taken, *other.taken]))

    @property
    def digest(self) -> str:
        """Of all that it says."""
        return _digest([sorted(self.places.items()), self.taken, self.scale_plane])

    def attach(self, module: ModuleOp) -> None:
        """Has `allocate-buffers` place what a module has in HBM beside what is there."""
        module.attributes[COMMON_IMAGE] = DictionaryAttr(
            {
                "places": DictionaryAttr({key: IntAttr(address) for key, address in self.places.items()}),
                "taken": ArrayAttr([IntAttr(n) for span in self.taken for n in span]),
                "scale_plane": IntAttr(self.scale_plane),
            }
        )

    @staticmethod
    def from_module(module: ModuleOp) -> CommonImage | None:
        """What was attached, None if the module is compiled alone."""
        held = module.attributes.get(COMMON_IMAGE)
        if not isinstance(held, DictionaryAttr):
            return None
        places, taken, plane = (held.data[name] for name in ("places", "taken", "scale_plane"))
        assert isinstance(places, DictionaryAttr) and isinstance(taken, ArrayAttr)
        ends = [_number(n) for n in taken]
        return CommonImage(
            {key: _number(address) for key, address in places.data.items()},
            tuple(zip(ends[::2], ends[1::2], strict=True)),
            _number(plane),
        )

    def address_of(self, buffer: BufferOp) -> int | None:
        """Where the others have a buffer, None unless they have everything in it side by side as it has."""
        found: set[int | None] = set()
        for attribute in buffer.placements or ():
            placement = placement_of(attribute, buffer.space)
            known = self.places.get(key_of(placement)) if placement.source.kind in _SHARED else None
            found.add(None if known is None else known - placement.address)
        return found.pop() if len(found) == 1 else None

    def free_start(self, size: int, ratios: Sequence[int], target: Target) -> int:
        """The lowest address from which on `size` element bytes and their scales meet nothing that is there.

        Args:
            ratios: element bytes per scale byte of what comes to lie there.
        """
        alignment, plane = hbm_alignment(target), self.scale_plane
        low, high = max(ratios, default=1), min(ratios, default=1)
        start = alignment
        while True:
            start = round_up(start, alignment)
            scales = (plane + start // low, plane + ceil_div(start + size, high)) if ratios else (0, 0)
            beyond = [end for first, end in self.taken if first < start + size and start < end]
            if ratios and scales[0] < start + size and start < scales[1]:
                beyond.append(max(start + 1, ceil_div(high * plane + size, high - 1)))
            # Scales move by one byte for several of elements.
            beyond += [
                max(start + 1, (end - plane) * low)
                for first, end in self.taken
                if first < scales[1] and scales[0] < end
            ]
            if not beyond:
                return start
            start = max(beyond)


def key_of(placement: TensorPlacement) -> str:
    """What a placement stands for and how it lies, wherever that is: equal ones have equal bytes in all programs."""
    alone = replace(placement, name="", address=0, base=0, scale_offset=0)
    return _digest(alone.to_json())


def _digest(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:20]


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    found: list[Span] = []
    for first, end in sorted(span for span in spans if span[0] < span[1]):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((first, end))
    return tuple(found)


def _number(attribute: Attribute) -> int:
    assert isinstance(attribute, IntAttr)
    return attribute.data


__all__ = ["COMMON_IMAGE", "CommonImage", "key_of"]
