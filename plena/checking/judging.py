"""How far results are from those of PyTorch: KL per row, top-1 agreement, perplexity, cosine, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

RESAMPLES = 2000
"""Bootstrap samples of an interval."""

CONFIDENCE = 0.95

FEW = 10
"""Calls from which on whole calls are resampled, below it their rows: rows of one call are alike."""

Sums: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean with the ends of its confidence interval (bootstrap, 95 %); NaN where there is nothing to estimate."""

    value: float
    low: float
    high: float

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "-"
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True)
class Judgement:
    """One kind of results against PyTorch in float32, over the rows (the last axis) of all outputs.

    Attributes:
        kl: mean Kullback-Leibler divergence of softmax(result) from softmax(reference), in nats.
        agreement: share of rows with the same largest element.
        perplexity_ratio: exp of what the mean loss of the labels grows by; NaN without labels.
        cosine: mean cosine.
        rows: how many.
    """

    kl: Estimate
    agreement: Estimate
    perplexity_ratio: Estimate
    cosine: Estimate
    rows: int


def kl_divergence(results: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Of softmax(results) from softmax(reference), for each row [..., n], in nats."""
    logs, wanted = (torch.log_softmax(x.reshape(-1, x.shape[-1]).double(), -1) for x in (results, reference))
    return (wanted.exp() * (wanted - logs)).sum(-1)


@dataclass
class Judge:
    """Collects the figures of one kind of results, call by call."""

    _figures: list[Sums] = field(default_factory=list[Sums])

    def see(self, results: torch.Tensor, reference: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        """Rows [..., n] of a call, and of every row the index that the label is, -1 for none."""
        size = reference.shape[-1]
        found, wanted = results.reshape(-1, size).double(), reference.reshape(-1, size).double()
        logs, wanted_logs = torch.log_softmax(found, -1), torch.log_softmax(wanted, -1)
        kl = kl_divergence(found, wanted)
        agreement = (found.argmax(-1) == wanted.argmax(-1)).double()
        cosine = torch.nn.functional.cosine_similarity(found, wanted, dim=-1)
        grown, known = torch.zeros_like(kl), torch.zeros_like(kl)
        if labels is not None:
            given = labels.reshape(-1)
            known = (given >= 0).double()
            index = given.clamp(min=0)[:, None]
            grown = (wanted_logs - logs).gather(1, index)[:, 0] * known
        rows = torch.stack([kl, agreement, cosine, grown, known, torch.ones_like(kl)], -1)
        self._figures.append(rows.numpy())

    def judgement(self) -> Judgement:
        """The figures of all calls."""
        whole = len(self._figures) >= FEW
        units = np.stack([f.sum(0) for f in self._figures]) if whole else np.concatenate(self._figures)
        total, drawn = units.sum(0), _resampled(units)

        def mean(column: int, over: int = 5, transform: Any = None) -> Estimate:
            with np.errstate(divide="ignore", invalid="ignore"):
                value, values = total[column] / total[over], drawn[:, column] / drawn[:, over]
            if transform is not None:
                value, values = transform(value), transform(values)
            if np.isnan(value):
                return Estimate(np.nan, np.nan, np.nan)
            low, high = np.nanquantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
            return Estimate(float(value), float(low), float(high))

        return Judgement(mean(0), mean(1), mean(3, 4, np.exp), mean(2), int(total[5]))


def _resampled(units: Sums) -> Sums:
    """Sums over bootstrap samples of the units, [resamples, figures]; equal units give equal samples."""
    generator = np.random.default_rng(0)
    count = len(units)
    step = max(1, (1 << 22) // count)
    parts = [
        generator.multinomial(count, np.full(count, 1 / count), min(step, RESAMPLES - start)) @ units
        for start in range(0, RESAMPLES, step)
    ]
    return np.concatenate(parts)


EMULATOR, QUANTIZED, BFLOAT16 = "emulator", "quantized", "bfloat16"


@dataclass(frozen=True)
class EvaluationReport:
    """What `plena.evaluate` says: each kind of results against PyTorch in float32.

    Attributes:
        judgements: of PyTorch in "bfloat16", the "quantized" reference and the "emulator"; what there is.
    """

    judgements: Mapping[str, Judgement]

    @property
    def _emulator(self) -> Judgement:
        return self.judgements[EMULATOR]

    @property
    def kl(self) -> Estimate:
        """Of the emulator, in nats for a row."""
        return self._emulator.kl

    @property
    def agreement(self) -> Estimate:
        """Share of rows in which the emulator's largest element is PyTorch's."""
        return self._emulator.agreement

    @property
    def perplexity_ratio(self) -> Estimate:
        """The emulator's perplexity of the labels over PyTorch's; NaN without labels."""
        return self._emulator.perplexity_ratio

    @property
    def cosine(self) -> Estimate:
        """Of the emulator's rows and PyTorch's."""
        return self._emulator.cosine

    def __str__(self) -> str:
        rows = [("against float32", "KL", "agreement", "perplexity ratio", "cosine")]
        rows += [
            (name, str(j.kl), str(j.agreement), str(j.perplexity_ratio), str(j.cosine))
            for name, j in self.judgements.items()
        ]
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        count = next(iter(self.judgements.values())).rows
        return "\n".join([*lines, f"{count} rows, 95 % confidence intervals"])


def judged(
    calls: Sequence[Mapping[str, torch.Tensor]] | Iterator[Mapping[str, torch.Tensor]],
) -> EvaluationReport:
    """The report of calls: results by kind, "float32" among them, and "labels" if there are any."""
    judges: dict[str, Judge] = {}
    for call in calls:
        for name, results in call.items():
            if name not in ("float32", "labels"):
                judges.setdefault(name, Judge()).see(results, call["float32"], call.get("labels"))
    return EvaluationReport({name: judge.judgement() for name, judge in judges.items()})
