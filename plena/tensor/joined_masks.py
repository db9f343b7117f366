"""Several masks and biases of one attention that the host can compute become one that it does.

An attention takes one mask that is neither a band nor one of keys. Masks that hide by one number are a conjunction;
a mask beside biases is what they add up to where it is true, and its number elsewhere. So is a mask of keys beside
biases that may lie far apart: they are staged relative to the largest of each row, which has to be one that is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isinf

import numpy as np
from xdsl.ir import BlockArgument, SSAValue

from plena.dialects import aten, plena
from plena.dialects.plena import BandAttr
from plena.host.mask_steps import ABSORBING
from plena.host.values import build
from plena.host.values.graph import HostValue
from plena.tensor.attention_hiding import is_moderate
from plena.tensor.attention_masks import Added, Allowed, Fill, Hides, Term
from plena.tensor.host_values import HostValues, host_op
from plena.tensor.layout_maps import LayoutMap
from plena.tensor.relative_biases import is_bias
from plena.tensor.staged_tests import BITS, Test
from plena.tensor.written_attention import is_computed


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
    values: HostValues = field(default_factory=lambda: HostValues(real=True))

    def joined(self, terms: Sequence[Term]) -> list[Term]:
        """The terms with at most one mask of keys and one other mask or bias, as far as the host can compute them."""
        found = self._conjunctions([self._hosted(term) for term in terms], keys=True)
        found = self._conjunctions(found, keys=False)
        biases = [term for term in found if isinstance(term, Added)]
        bands = [term for term in found if isinstance(term, Hides) and isinstance(term.mask, BandAttr)]
        hides = all(isinf(term.fill.number) for term in bands)
        general = [term for term in found if isinstance(term, Hides) and self._is_general(term, keys=False)]
        if not hides and biases and (general or not all(map(is_moderate, biases))):
            return self.summed(found)  # Numbers as low as a band's are seen beside it.
        if len(biases) + len(general) >= 2 and len(general) <= 1:
            found = self._sum(found, biases, general)
            biases = [term for term in found if isinstance(term, Added)]
        masks = [term for term in found if isinstance(term, Hides) and self._is_general(term, keys=True)]
        if (
            len(biases) == 1
            and masks
            and hides
            and (self._is_uneven(biases[0], masks) or any(map(_covers_biases, masks)))
        ):
            found = self._sum(found, biases, masks)
        return found

    def summed(self, terms: Sequence[Term]) -> list[Term]:
        """All terms as one bias, if the host can compute it, and scores that float32 rounds beside it do not matter."""
        biases = [term for term in terms if isinstance(term, Added)]
        hides = [term for term in terms if isinstance(term, Hides)]
        if any(rounds(term.fill) for term in hides):
            return list(terms)
        return self._sum(list(terms), biases, hides)

    def _hosted(self, term: Term) -> Term:
        """A bias that the model makes of inputs by a few operators as one that the host makes."""
        if not isinstance(term, Added) or not is_computed(term.base):
            return term
        value = self._viewed(self.values.of(term.base), term.layout) if is_bias(term.base) else None
        return term if value is None else Added(self._emitted(value), self._layout(value))

    def _is_uneven(self, bias: Added, masks: Sequence[Hides]) -> bool:
        """Whether numbers of a bias may lie far apart; what the host computes of integers is asked for only where masks
        make it no larger."""
        if not isinstance(bias.base.owner, plena.HostOp):
            return is_uneven(bias)
        value = self._viewed(self.values.of(bias.base), bias.layout)
        assert value is not None
        truths = [self._truth(term.mask) for term in masks if isinstance(term.mask, Allowed)]
        shapes = [truth.shape for truth in truths if truth is not None]
        return bool(value.real_inputs) or np.broadcast_shapes(value.shape, *shapes) == value.shape

    def _is_general(self, term: Term, *, keys: bool) -> bool:
        """Whether a term is a mask, of keys or not, that is no band."""
        if not isinstance(term, Hides) or not isinstance(term.mask, Allowed):
            return False
        return self.of_keys(term.mask) == keys

    def _conjunctions(self, terms: list[Term], *, keys: bool) -> list[Term]:
        """Masks that one number puts are joined: a key is hidden if one of them hides it."""
        groups: dict[tuple[SSAValue, int], list[Hides]] = {}
        for term in terms:
            if isinstance(term, Hides) and self._is_general(term, keys=keys):
                groups.setdefault(term.fill.place, []).append(term)
        for group in groups.values():
            truths = [self._truth(term.mask) for term in group if isinstance(term.mask, Allowed)]
            known = [truth for truth in truths if truth is not None]
            if len(group) < 2 or len(known) < len(group) or not any(truth.inputs for truth in known):
                continue
            whole = known[0]
            for truth in known[1:]:
                whole = build.binary("and", whole, truth)
            mask, last = self._emitted(whole), terms.index(group[-1])
            terms[last] = Hides(Allowed(mask, self._layout(whole)), group[0].fill)
            terms = [t for t in terms if t not in group]
        return terms

    def _sum(self, terms: list[Term], biases: list[Added], general: list[Hides]) -> list[Term]:
        """Biases, and masks that hide by numbers that absorb them or are added to them, as one bias."""
        total: HostValue | None = None
        for term in terms:  # From the inside outwards.
            if isinstance(term, Added):
                cheap = is_bias(term.base)
                bias = self._viewed(self.values.of(term.base), term.layout) if cheap else None
                if bias is None:
                    return terms
                total = bias if total is None else build.binary("add", total, bias, "float32")
            elif term in general:
                truth = self._truth(term.mask)
                if truth is None or not (term.fill.adds or absorbs(term.fill)):
                    return terms
                total = build.full(0.0, "float32") if total is None else total
                number = build.full(term.fill.number, "float32")
                if term.fill.adds and not term.fill.covers:
                    number = build.binary("add", total, number)
                total = build.where(truth, total, number, "float32")
        if total is None or not (total.inputs or any(isinstance(term.mask, BandAttr) for term in general)):
            return terms
        kept = [t for t in terms if t not in biases and t not in general]
        return [*kept, Added(self._emitted(total), self._layout(total))]

    def _truth(self, mask: BandAttr | Allowed) -> HostValue | None:
        if isinstance(mask, BandAttr):
            return inside(mask, *self.shape[-2:])
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


def is_uneven(bias: Added) -> bool:
    """Whether an input or a constant that is a bias may hold numbers far apart."""
    owner = bias.base.owner
    return (
        owner.uneven is not None
        if isinstance(owner, aten.ConstantOp)
        else isinstance(bias.base, BlockArgument)
    )


def inside(band: BandAttr, queries: int, keys: int) -> HostValue:
    """[queries, keys]: whether a band allows a key."""
    distance = build.binary("sub", build.iota(keys), build.reshape(build.iota(queries), (queries, 1)))
    bounds = (("ge", band.lower), ("le", band.upper))
    tests = [build.compared(kind, distance, bound) for kind, bound in bounds if bound is not None]
    return tests[0] if len(tests) == 1 else build.binary("and", tests[0], tests[1])


def absorbs(fill: Fill) -> bool:
    """Whether float32 has nothing left of a score beside a number."""
    return isinf(fill.number) or fill.number <= -64 * ABSORBING


def rounds(fill: Fill) -> bool:
    """Whether float32 keeps something of a score beside a number, but not its fraction."""
    return -64 * ABSORBING < fill.number <= -ABSORBING


def _covers_biases(term: Hides) -> bool:
    """Whether a mask takes the place of biases by a number that they are seen beside, or could be."""
    return term.fill.adds and term.fill.covers and term.fill.number > -(ABSORBING**2)


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
