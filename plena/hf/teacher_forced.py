"""A compiled language model against its quantised reference and PyTorch, all on the same texts, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plena.checking.judging import kl_divergence
from plena.checking.reference import ModuleReferences, Step
from plena.errors import PlenaError
from plena.hf.cached_texts import CachedTexts
from plena.hf.language_programs import DECODE, LanguagePrograms
from plena.hf.step_module import CachedStep
from plena.hf.step_references import step_references
from plena.program.state import KeptState

SURE = 0.25
"""Where the first two logits of the quantised reference are further apart, the program must choose alike."""


@dataclass(frozen=True)
class Agreement:
    """Logits of a program against others, over some tokens.

    Attributes:
        tokens, alike: how many, and where the largest logit is the same one.
        kl: nats per token, of the distribution of the others to the program's.
    """

    tokens: int
    alike: int
    kl: float

    @staticmethod
    def of(found: Tensor, wanted: Tensor) -> Agreement:
        """Compare logits [tokens, vocabulary]."""
        alike = int((found.argmax(-1) == wanted.argmax(-1)).sum())
        kl = float(kl_divergence(found, wanted).mean()) if len(found) else 0.0
        return Agreement(len(found), alike, kl)

    def __str__(self) -> str:
        return f"{self.alike} of {self.tokens} first choices, KL {self.kl:.4f} a token"


@dataclass(frozen=True)
class OtherChoice:
    """A token that the program chooses otherwise although the quantised reference is sure.

    Attributes:
        text, position: behind which token of which text, both from 0 on.
        found, wanted: the first choices of the program and of the reference.
        margin: by how much the reference's logit of `wanted` is above that of `found`.
        own: the program's difference of the same two, 0 or below.
    """

    text: int
    position: int
    found: int
    wanted: int
    margin: float
    own: float

    def __str__(self) -> str:
        return (
            f"text {self.text}, behind token {self.position}: token {self.found} for {self.wanted}, "
            f"{self.margin:.2f} apart in the reference, {self.own:.2f} in the program"
        )


@dataclass(frozen=True)
class LanguageCheck:
    """What a check of a language model says.

    Attributes:
        quantized: against the model on what the machine sees, in float32.
        sure: the same where that one's first two logits are more than `SURE` apart; all of them must be alike.
        exact: against the model in PyTorch.
        formats: the quantised reference against PyTorch, what the number formats alone cost.
        otherwise: the choices of `sure` that are not alike.
    """

    quantized: Agreement
    sure: Agreement
    exact: Agreement
    formats: Agreement
    otherwise: tuple[OtherChoice, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the program chooses as the quantised reference wherever that one is sure, which it must be once."""
        return 0 < self.sure.tokens == self.sure.alike

    def __str__(self) -> str:
        lines = (
            ("against the quantised reference", self.quantized),
            (f"where its logits are {SURE} apart", self.sure),
            ("against PyTorch", self.exact),
            ("the number formats alone", self.formats),
        )
        told = [f"{what + ':':<34} {agreement}" for what, agreement in lines]
        verdict = (
            "passed" if self.passed else "FAILED" if self.sure.tokens else "FAILED: no token to judge by"
        )
        return "\n".join([*told, verdict, *map(str, self.otherwise)])


def check_texts(programs: LanguagePrograms, model: Any, texts: Sequence[Sequence[int]]) -> LanguageCheck:
    """Run all texts token by token through the program on the emulator, the quantised reference, and PyTorch.

    Args:
        model: of transformers, from which the programs were compiled.
        texts: token ids; the logits behind each of their tokens are compared.

    Raises:
        PlenaError: no texts, one longer than the cache, a model that is another one.
    """
    length = programs.length
    if not texts or not all(texts):
        raise PlenaError(
            "there is no text, or one without tokens", "check", "Give texts of at least one token."
        )
    longest = max(range(len(texts)), key=lambda n: len(texts[n]))
    if len(texts[longest]) > length:
        raise PlenaError(
            f"text {longest} of {len(texts[longest])} tokens does not fit the cache of {length} positions",
            "check",
            "Give shorter texts, or compile with a larger max_length.",
        )
    program = programs.programs[f"{DECODE}-{length}"]
    assert program.kept is not None
    step = CachedStep(model, length, programs.batch).eval()
    kept = {name: tuple(buffer.shape) for name, buffer in step.named_buffers() if name in program.kept.ports}
    words = len(model.get_input_embeddings().weight)
    if kept != {n: p.shape for n, p in program.kept.ports.items()} or program.outputs[0].shape[-1] != words:
        raise PlenaError(
            "the model has another cache or vocabulary than the programs",
            "check",
            "Give the one they were made of.",
        )
    references = program.source
    if not isinstance(references, ModuleReferences):
        references = step_references(program, step)
    found, rounded = (list[Tensor]() for _ in range(2))
    for first in range(0, len(texts), programs.batch):
        together = texts[first : first + programs.batch]
        found += _by_programs(programs, together)
        rounded += _by_steps(references.quantized_steps(), program.kept, programs.batch, together)
    with torch.no_grad():
        exact = [model(torch.tensor([list(ids)]), use_cache=False).logits[0] for ids in texts]
    ours, theirs, plain = (torch.cat(rows) for rows in (found, rounded, exact))
    first, second = theirs.topk(2, -1).values.T
    sure = first - second > SURE
    return LanguageCheck(
        Agreement.of(ours, theirs),
        Agreement.of(ours[sure], theirs[sure]),
        Agreement.of(ours, plain),
        Agreement.of(theirs, plain),
        tuple(_other_choices(ours, theirs, sure, texts)),
    )


def _other_choices(
    ours: Tensor, theirs: Tensor, sure: Tensor, texts: Sequence[Sequence[int]]
) -> Iterator[OtherChoice]:
    places = [(number, position) for number, ids in enumerate(texts) for position in range(len(ids))]
    for row in (sure & (ours.argmax(-1) != theirs.argmax(-1))).nonzero()[:, 0].tolist():
        found, wanted = int(ours[row].argmax()), int(theirs[row].argmax())
        margin, own = (float(logits[row, wanted] - logits[row, found]) for logits in (theirs, ours))
        text, position = places[row]
        yield OtherChoice(text, position, found, wanted, margin, own)


def _by_programs(programs: LanguagePrograms, texts: Sequence[Sequence[int]]) -> list[Tensor]:
    """The programs' logits [n, vocabulary] of some texts, side by side."""
    cached, rows = CachedTexts(programs), [list[Tensor]() for _ in texts]
    for end in range(1, max(map(len, texts)) + 1):
        asked = [ids[:end] if end <= len(ids) else None for ids in texts]
        for logits, kept in zip(cached.logits(asked), rows, strict=True):
            if logits is not None:
                kept.append(logits)
    return [torch.stack(kept) for kept in rows]


def _by_steps(step: Step, kept: KeptState, batch: int, texts: Sequence[Sequence[int]]) -> list[Tensor]:
    """The logits [n, vocabulary] of a step with empty caches, side by side; a text that is over loses its first row."""
    states = {port.name: torch.zeros(port.shape) for port in kept.ports.values()}
    rows = [list[Tensor]() for _ in texts]
    for position in range(max(map(len, texts))):
        ids, positions = torch.zeros(2, batch, 1, dtype=torch.int64)
        for number, text in enumerate(texts):
            if position < len(text):
                ids[number], positions[number] = text[position], position
        (logits,) = step((ids, positions), states)
        for number, text in enumerate(texts):
            if position < len(text):
                rows[number].append(logits[number])
    return [torch.stack(kept) for kept in rows]
