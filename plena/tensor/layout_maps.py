"""The algebra of reshapes, permutations and repetitions: any chain of them as one map of axes.

A tensor seen through such a chain is its base, cut into factors, whose axes appear in another order, some of
them repeated: what the chain does to the data is in the factors and the order alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

REPEATED = -1
"""The source of an atom over which the base is repeated."""


@dataclass(frozen=True)
class Atom:
    """A piece of an axis: `size` steps along the base's factor number `source`, or REPEATED."""

    size: int
    source: int


@dataclass(frozen=True)
class LayoutMap:
    """A view of a base tensor of row-major elements.

    Attributes:
        factors: sizes whose product is the base's element count, most significant first.
        axes: for every axis of the view its atoms, most significant first; axes of size 1 have none.
    """

    factors: tuple[int, ...]
    axes: tuple[tuple[Atom, ...], ...]

    @staticmethod
    def of(shape: Sequence[int]) -> LayoutMap:
        """The tensor itself."""
        factors = tuple(size for size in shape if size != 1)
        atoms = iter(Atom(size, i) for i, size in enumerate(factors))
        return LayoutMap(factors, tuple(() if size == 1 else (next(atoms),) for size in shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the view."""
        return tuple(prod(atom.size for atom in axis) for axis in self.axes)

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """All atoms in the view's order."""
        return tuple(atom for axis in self.axes for atom in axis)

    @property
    def order(self) -> tuple[int, ...]:
        """The factors in the view's order; only for views that repeat nothing."""
        assert not self.repeats
        return tuple(atom.source for atom in self.atoms)

    @property
    def repeats(self) -> bool:
        """Whether elements of the base appear more than once."""
        return any(atom.source == REPEATED for atom in self.atoms)

    @property
    def is_reshape(self) -> bool:
        """Whether the elements keep their order."""
        return not self.repeats and self.order == tuple(range(len(self.factors)))

    def permuted(self, dims: Sequence[int]) -> LayoutMap:
        """The view with axis i taken from axis dims[i]."""
        return LayoutMap(self.factors, tuple(self.axes[d] for d in dims))

    def expanded(self, shape: Sequence[int]) -> LayoutMap:
        """The view with axes of size 1 repeated and new leading axes."""
        padded = ((),) * (len(shape) - len(self.axes)) + self.axes
        axes = tuple(
            (Atom(size, REPEATED),) if not axis and size != 1 else axis
            for axis, size in zip(padded, shape, strict=True)
        )
        return LayoutMap(self.factors, axes)

    def reshaped(self, shape: Sequence[int]) -> LayoutMap | None:
        """The view under another shape, None where an axis would be cut at no boundary of its atoms."""
        return self._cut(shape) or self.simplified()._cut(shape)

    def _cut(self, shape: Sequence[int]) -> LayoutMap | None:
        factors, pending = list(self.factors), list(self.atoms)
        axes: list[tuple[Atom, ...]] = []
        for extent in shape:
            axis: list[Atom] = []
            size = extent
            while size > 1:
                if not pending:
                    return None
                atom = pending.pop(0)
                if atom.size > size and atom.size % size == 0:
                    rest = Atom(atom.size // size, REPEATED)
                    if atom.source != REPEATED:
                        factors[atom.source : atom.source + 1] = [size, rest.size]
                        pending, axis, axes = _shifted(atom.source, pending, axis, axes)
                        rest = Atom(rest.size, atom.source + 1)
                    pending.insert(0, rest)
                    atom = Atom(size, atom.source)
                if size % atom.size != 0:
                    return None
                size //= atom.size
                axis.append(atom)
            axes.append(tuple(axis))
        return LayoutMap(tuple(factors), tuple(axes)) if not pending else None

    def simplified(self) -> LayoutMap:
        """The same view with neighbouring factors joined that stay neighbours within one axis of the view.

        Axis boundaries of the view do not matter to what moves, so the result's axes are one flat axis.
        """
        merged: list[list[Atom]] = []
        for atom in self.atoms:
            last = merged[-1][-1] if merged else None
            follows = last is not None and (
                (atom.source == REPEATED and last.source == REPEATED)
                or (last.source != REPEATED and atom.source == last.source + 1)
            )
            if follows:
                merged[-1].append(atom)
            else:
                merged.append([atom])
        sized = [(prod(a.size for a in run), run[0].source) for run in merged]
        sources = sorted(source for _, source in sized if source != REPEATED)
        factors = [0] * len(sources)
        atoms: list[Atom] = []
        for size, source in sized:
            index = REPEATED if source == REPEATED else sources.index(source)
            if index != REPEATED:
                factors[index] = size
            atoms.append(Atom(size, index))
        return LayoutMap(tuple(factors), (tuple(atoms),))


def _shifted(
    split: int, pending: list[Atom], axis: list[Atom], axes: list[tuple[Atom, ...]]
) -> tuple[list[Atom], list[Atom], list[tuple[Atom, ...]]]:
    """Sources behind a factor that was split count one more."""

    def shift(atom: Atom) -> Atom:
        return Atom(atom.size, atom.source + 1) if atom.source > split else atom

    return [shift(a) for a in pending], [shift(a) for a in axis], [tuple(shift(a) for a in x) for x in axes]
