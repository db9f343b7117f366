"""Which steps a random module is made of: ordinary ones, and some of one or two special kinds between them."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.hunt import boundary, infinities, integers, repetition, scores, selection, sharing
from tests.hunt.modules import STEPS, Step
from tests.hunt.writer import LENGTHS, WIDTHS, Draw, Source, Writer

KINDS: dict[str, tuple[Step, ...]] = {
    "integers": (
        integers.masked_rows,
        integers.masked_embedding,
        integers.ids_of_ids,
        integers.numbers,
        integers.integral_result,
    ),
    "scores": (
        scores.masked_attention,
        scores.masked_attention,
        scores.multihead,
        scores.encoder_layer,
        scores.masked_softmax,
    ),
    "infinities": (infinities.infinite,),
    "selection": (selection.guarded, selection.infinite_side),
    "sharing": (
        sharing.tied,
        sharing.shared_linear,
        sharing.low_rank,
        sharing.parametrized,
        sharing.of_parameter,
    ),
    "repetition": (repetition.powers, repetition.layers, repetition.pairs, repetition.one_operand),
    "boundary": (
        boundary.scalar_result,
        boundary.plain_result,
        boundary.scalar_input,
        boundary.constant_result,
    ),
}
"""Steps beside the ordinary ones, some of which the compiler refuses: it may, but must not compute them wrongly."""


@st.composite
def sources(draw: Draw, most: int = 6, steps: tuple[Step, ...] = STEPS) -> Source:
    """Modules of up to `most` steps."""
    return _written(draw, draw(st.lists(st.sampled_from(steps), min_size=1, max_size=most)))


@st.composite
def special_sources(draw: Draw, most: int = 4, kind: str | None = None) -> Source:
    """Modules of one or two steps of a special kind with up to `most` ordinary ones before, between and behind."""
    kind = kind or draw(st.sampled_from(sorted(KINDS)))
    steps: list[Step] = draw(st.lists(st.sampled_from(STEPS), max_size=most))
    for _ in range(draw(st.integers(1, 2))):
        steps.insert(draw(st.integers(0, len(steps))), draw(st.sampled_from(KINDS[kind])))
    return _written(draw, steps)


def _written(draw: Draw, steps: list[Step]) -> Source:
    w = Writer(draw)
    lead = draw(st.lists(st.integers(1, 3), max_size=2))
    w.input((*lead, draw(st.sampled_from(LENGTHS)), draw(st.sampled_from(WIDTHS))))
    for step in steps:
        before = len(w.values)
        step(w)
        if step not in STEPS:
            w.special += list(w.values)[before:]
    return w.finish()
