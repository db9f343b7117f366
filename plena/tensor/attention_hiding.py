"""By what number the masks of an attention hide keys, and what becomes of queries that see none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf

from plena.dialects import aten
from plena.dialects.plena import BandAttr
from plena.host.mask_steps import ABSORBING
from plena.tensor.attention_masks import Added, Allowed, Fill, Hides, Term
from plena.tensor.layout_maps import LayoutMap

_LOWEST = -3.4028234663852886e38
"""The lowest float32; twice as much is minus infinity."""

_VANISHES = -64 * ABSORBING
"""Added to any score of a sane size, numbers from here down make it vanish in float32."""


@dataclass(frozen=True)
class Hiding:
    """The properties `fill`, `masked`, `empty` and `moderate` of `plena.attention`."""

    fill: float | None = None
    masked: str | None = None
    empty: str | None = None
    moderate: bool = False


class Unclear(Exception):
    """Masks whose numbers together mean something that the machine does not do."""


@dataclass(frozen=True)
class Masks:
    """The terms of an attention, and its sizes; `empty` is what its softmax makes of rows of minus infinity."""

    terms: Sequence[Term]
    queries: int
    keys: int
    empty: str

    def hiding(self, sinks: bool) -> Hiding:
        """How they hide.

        Raises:
            Unclear: see there.
        """
        moderate = all(is_moderate(term) for term in self.terms if isinstance(term, Added))
        if sinks:
            return Hiding(moderate=moderate)
        if not self._may_be_blind():
            return Hiding(moderate=moderate)
        finite = [h for h in self._hides if not isinf(h.fill.number)]
        if not finite:
            return Hiding(empty=self.empty, moderate=moderate)
        band = self._all_finite([h for h in self._hides if isinstance(h.mask, BandAttr)])
        masks = self._all_finite([h for h in self._hides if isinstance(h.mask, Allowed)])
        number = self._number([h.fill for h in finite], band is not None)
        together = self._together([h.fill for h in finite])
        if band is False or masks is False:
            masked = "within_band" if masks else "beyond_band"
            if sum(isinstance(h.mask, Allowed) for h in finite) > 1:
                raise Unclear
            blind = masked == "beyond_band" or not self._band_leaves_keys()
            return Hiding(number, masked, self.empty if blind or not moderate else None, moderate)
        if together == "added" and len({h.fill.place for h in finite if isinstance(h.mask, BandAttr)}) > 1:
            raise Unclear
        if together == "added" and 2 * number < _LOWEST and not self._band_leaves_keys():
            raise Unclear
        return Hiding(number, together, None if moderate else self.empty, moderate)

    @property
    def _hides(self) -> list[Hides]:
        return [term for term in self.terms if isinstance(term, Hides)]

    @property
    def band(self) -> BandAttr | None:
        """What all bands leave."""
        found: BandAttr | None = None
        for term in self._hides:
            if isinstance(term.mask, BandAttr):
                found = term.mask if found is None else found.intersect(term.mask)
        return found

    def _may_be_blind(self) -> bool:
        """Whether some query may see no key, or only such as a bias hides."""
        unknown = [h.mask for h in self._hides if isinstance(h.mask, Allowed)]
        added = [term for term in self.terms if isinstance(term, Added)]
        wide = [term for term in added if not is_moderate(term)]
        if not unknown and not wide:
            return not self._band_leaves_keys()
        alone = len(unknown) + len(wide) == 1 and self.band is None
        return not (alone and _leaves_keys((unknown + wide)[0]))

    def _band_leaves_keys(self) -> bool:
        band = self.band
        if band is None:
            return True
        low = 0 if band.lower is None else band.lower
        high = self.keys - 1 if band.upper is None else band.upper
        return all(
            max(0, q + low if band.lower is not None else 0)
            <= min(self.keys - 1, q + high if band.upper is not None else self.keys - 1)
            for q in (0, self.queries - 1)
        )

    def _all_finite(self, hides: list[Hides]) -> bool | None:
        """Whether all hide by a number, or none does; None if there are none."""
        kinds = {not isinf(h.fill.number) for h in hides}
        if len(kinds) > 1:
            raise Unclear
        return kinds.pop() if kinds else None

    def _number(self, fills: list[Fill], banded: bool) -> float:
        """The one number that all of them put or add."""
        numbers = {fill.number if fill.adds else _LOWEST for fill in fills}
        if len(numbers) > 1:
            raise Unclear
        number = numbers.pop()
        if _VANISHES < number <= -ABSORBING:
            raise Unclear
        if number > -ABSORBING and (
            (banded and self._bands_are_finite()) or len({f.place for f in fills}) > 1
        ):
            raise Unclear
        return number

    def _bands_are_finite(self) -> bool:
        return any(isinstance(h.mask, BandAttr) and not isinf(h.fill.number) for h in self._hides)

    def _together(self, fills: list[Fill]) -> str:
        """Whether keys that several masks hide are hidden once or several times."""
        later = [fill for fill in fills if fill.place != fills[0].place]
        if not later or all(fill.covers for fill in later):
            return "alike"
        if any(fill.covers for fill in later):
            raise Unclear
        return "added"


def _constant(term: Allowed | Added) -> aten.ConstantOp | None:
    """The constant that a term is, with its keys where the scores have them."""
    owner = term.base.owner
    if not isinstance(owner, aten.ConstantOp):
        return None
    start = LayoutMap.of(tuple(term.base.type.get_shape()))  # type: ignore[attr-defined]
    return owner if term.layout.axes[-1] == start.axes[-1] else None


def is_moderate(term: Added) -> bool:
    """Whether the numbers of a row are near each other, and finite. Those of parameters are."""
    if isinstance(term.base.owner, aten.ParameterOp):
        return True
    constant = _constant(term)
    return constant is not None and constant.wide is None


def _leaves_keys(term: Allowed | Added) -> bool:
    constant = _constant(term)
    if isinstance(term, Allowed) and term.tests:
        return False
    return constant is not None and constant.blind is None
