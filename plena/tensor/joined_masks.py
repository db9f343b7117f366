"""Several masks and biases of one attention that the host can compute become one that it does.

An attention takes one mask that is neither a band nor one of keys. Masks that hide by one number are a conjunction;
a mask beside biases is what they add up to where it is true, and its number elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isinf

from xdsl.ir import SSAValue

from plena.dialects import plena
from plena.host.mask_steps import ABSORBING
from plena.host.values import build
from plena.host.values.graph import HostValue
from plena.tensor.attention_masks import Added, Allowed, Hides, Term
from plena.tensor.host_values import HostValues, host_op
from plena.tensor.layout_maps import LayoutMap
from plena.tensor.staged_tests import BITS, Test


@dataclass
class MaskJoiner:
    """Joins the masks of scores of a shape.

    Attributes:
        shape: of the scores.
        arguments: of the program.
        emit: inserts an operation.
        of_keys: whether a mask is the same for all heads and queries.
    """

    shape: tuple[int, ...]
    arguments: Sequence[SSAValue]
    emit: Callable[[plena.HostOp], SSAValue]
    of_keys: Callable[[Allowed], bool]
    values: HostValues = field(default_factory=HostValues)

    def joined(self, terms: Sequence[Term]) -> list[Term]:
        """The terms with at most one mask of keys and one other mask or bias, as far as the host can compute them."""
        found = self._conjunctions(list(terms), keys=True)
        found = self._conjunctions(found, keys=False)
        biases = [term for term in found if isinstance(term, Added)]
        general = [term for term in found if isinstance(term, Hides) and self._is_general(term, keys=False)]
        if len(biases) + len(general) < 2 or len(general) > 1:
            return found
        return self._sum(found, biases, general)

    def _is_general(self, term: Term, *, keys: bool) -> bool:
        """Whether a term is a mask, of keys or not, that is no band."""
        if not isinstance(term, Hides) or not isinstance(term.mask, Allowed):
            return False
        return self.of_keys(term.mask) == keys

    def _conjunctions(self, terms: list[Term], *, keys: bool) -> list[Term]:
        """Masks that one number puts are joined: a key is hidden if one of them hides it."""
        groups: dict[SSAValue, list[Hides]] = {}
        for term in terms:
            if isinstance(term, Hides) and self._is_general(term, keys=keys):
                groups.setdefault(term.fill.at, []).append(term)
        for group in groups.values():
            truths = [self._truth(term.mask) for term in group if isinstance(term.mask, Allowed)]
            known = [truth for truth in truths if truth is not None]
            if len(group) < 2 or len(known) < len(group) or not any(truth.inputs for truth in known):
                continue
            whole = known[0]
            for truth in known[1:]:
                whole = build.binary("and", whole, truth)
            mask = self._emitted(whole)
            terms = [t for t in terms if t not in group]
            terms.append(Hides(Allowed(mask, self._layout(whole)), group[0].fill))
        return terms

    def _sum(self, terms: list[Term], biases: list[Added], general: list[Hides]) -> list[Term]:
        """Biases, and a mask that hides by a number that absorbs them, as one bias."""
        parts = [self._viewed(self.values.of(bias.base), bias.layout) for bias in biases]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return terms
        total = known[0]
        for part in known[1:]:
            total = build.binary("add", total, part, "float32")
        for term in general:
            assert isinstance(term.mask, Allowed)
            truth = self._truth(term.mask)
            if truth is None or not (isinf(term.fill.number) or term.fill.number <= -(ABSORBING**4)):
                return terms
            total = build.where(truth, total, build.full(term.fill.number, "float32"), "float32")
        if not total.inputs:
            return terms
        kept = [t for t in terms if t not in biases and t not in general]
        return [*kept, Added(self._emitted(total), self._layout(total))]

    def _truth(self, mask: Allowed) -> HostValue | None:
        value = self.values.of(mask.base)
        for test in mask.tests if value is not None else ():
            assert value is not None
            value = tested(value, test)
        if value is None:
            return None
        return self._viewed(build.cast(value, "bool"), mask.layout)

    def _viewed(self, value: HostValue | None, layout: LayoutMap) -> HostValue | None:
        return None if value is None else viewed(value, layout)

    def _emitted(self, value: HostValue) -> SSAValue:
        return self.emit(host_op(value, self.arguments))

    def _layout(self, value: HostValue) -> LayoutMap:
        layout = LayoutMap.of(value.shape).expanded(self.shape)
        assert layout is not None
        return layout


def tested(value: HostValue, test: Test) -> HostValue:
    """Whether elements pass a test."""
    return build.bits(value) if test == BITS else build.compared(test.predicate, value, test.number)


def viewed(value: HostValue, layout: LayoutMap) -> HostValue:
    """A value as a layout views it; axes that only repeat have size 1."""
    kept = [atom for atom in layout.atoms if atom.source >= 0]
    moved = build.permute(build.reshape(value, layout.factors), [atom.source for atom in kept])
    ones = tuple(atom.size if atom.source >= 0 else 1 for atom in layout.atoms)
    repeats = [any(a.source >= 0 for a in axis) for axis in layout.axes]
    full = tuple(
        atom.size if atom.source >= 0 or mixed else 1
        for axis, mixed in zip(layout.axes, repeats, strict=True)
        for atom in axis
    )
    sizes = tuple(n if mixed else 1 for n, mixed in zip(layout.shape, repeats, strict=True))
    return build.reshape(build.expand(build.reshape(moved, ones), full), sizes)
