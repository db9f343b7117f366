"""`plena compile-lm` and `plena chat`: language models of transformers as folders of programs, and talking to them."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from plena.cli.commands.command import Command
from plena.cli.commands.sources import add_compile_options, compile_options
from plena.cli.settings import target_of
from plena.errors import PlenaError


def _compile_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="folder of a causal model of transformers, or a GGUF file")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--max-length",
        type=int,
        metavar="N",
        help="positions of the cache (default: 256, or the largest --bucket)",
    )
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="sequences at a time, one cache each (default: 1)"
    )
    parser.add_argument(
        "--prefill",
        type=int,
        action="append",
        metavar="N",
        help="tokens that a prefill program takes; may be repeated (default: 64, or --max-length if that is less)",
    )
    parser.add_argument(
        "--bucket",
        type=int,
        action="append",
        metavar="N",
        help="keys that a decode program attends to; may be repeated (default: 128, 256, ...); --max-length is always "
        "one",
    )
    add_compile_options(parser)


def _compile(args: Namespace) -> int:
    hf = _hf()
    from plena.hf.folder import load_model, load_tokenizer

    started = time.perf_counter()
    model, tokenizer = load_model(args.model), load_tokenizer(args.model)
    lm = hf.PlenaForCausalLM.from_pretrained(
        model,
        max_length=args.max_length,
        batch=args.batch,
        target=target_of(args),
        prefill=args.prefill,
        buckets=args.bucket,
        **compile_options(args),
    )
    lm.save_pretrained(args.output, tokenizer)
    for name, program in lm.programs.items():
        print(f"{name}: {program.stats().static:,} static instructions")
    print(f"compiled in {time.perf_counter() - started:.1f} s to {args.output}")
    if tokenizer is None:
        print(f"{args.model} has no tokenizer: plena chat needs one, lm.generate takes token ids")
    return 0


def _chat_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, help="folder of `plena compile-lm`; a model or GGUF file is compiled first"
    )
    parser.add_argument(
        "--ask", action="append", metavar="TEXT", help="ask this and leave; may be repeated for further turns"
    )
    parser.add_argument(
        "--max-new-tokens", type=int, default=100, metavar="N", help="of one answer (default: 100)"
    )
    parser.add_argument("--sample", action="store_true", help="sample instead of taking the likeliest token")
    parser.add_argument("--no-report", action="store_true", help="do not print what an answer cost")


def _chat(args: Namespace) -> int:
    hf = _hf()
    tokenizer = _tokenizer(args.folder)
    if not is_language_folder(args.folder):
        print("compiling the model, which `plena compile-lm` does once for all ...", file=sys.stderr)
    lm = hf.PlenaForCausalLM.from_pretrained(args.folder)
    asked = iter(args.ask) if args.ask else None
    turns: list[dict[str, str]] = []
    while (text := _next_question(asked)) is not None:
        turns.append({"role": "user", "content": text})
        try:
            turns.append({"role": "assistant", "content": _answer(lm, tokenizer, turns, args)})
        except KeyboardInterrupt:
            if asked is not None:
                raise
            print("\n(stopped; the question is forgotten)", file=sys.stderr)
            turns.pop()
    return 0


def _next_question(asked: Any) -> str | None:
    """The next one of --ask, or the next line of the user that says something; None at the end."""
    if asked is not None:
        text = next(asked, None)
        if text is not None:
            print(f"> {text}")
        return text
    try:
        while not (text := input("> ").strip()):
            pass
    except EOFError:
        print()
        return None
    return text


def _answer(lm: Any, tokenizer: Any, turns: list[dict[str, str]], args: Namespace) -> str:
    """Prints an answer as its tokens come, and what it cost."""
    from transformers import TextStreamer

    ids = prompt_ids(tokenizer, turns)
    room = lm.max_length - ids.shape[1] + 1  # The last new token need not be in the cache.
    if room < 1:
        raise PlenaError(
            f"the conversation has {ids.shape[1]} tokens, the cache {lm.max_length} positions",
            "chat",
            "Start a new one, or compile with a larger --max-length.",
        )
    streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    settings = {"max_new_tokens": min(room, args.max_new_tokens), "do_sample": args.sample}
    found = lm.generate(ids, streamer=streamer, **settings)
    if found.shape[1] > lm.max_length:
        print(f"(cut off: the cache of {lm.max_length} positions is full)", file=sys.stderr)
    if not args.no_report:
        print(lm.report(), file=sys.stderr)
    return tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)


def prompt_ids(tokenizer: Any, turns: list[dict[str, str]]) -> Any:
    """The tokens [1, n] of a conversation; the plain text of its last turn where there is no chat template."""
    if getattr(tokenizer, "chat_template", None) is None:
        return tokenizer(turns[-1]["content"], return_tensors="pt")["input_ids"]
    found = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
    return found if hasattr(found, "shape") else found["input_ids"]


def _tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder.

    Raises:
        PlenaError: it has none, or there is no such folder.
    """
    from plena.hf.folder import load_tokenizer

    if not folder.exists():
        raise PlenaError("there is no such folder", str(folder), "`plena compile-lm` makes one.")
    tokenizer = load_tokenizer(folder)
    if tokenizer is None:
        raise PlenaError(
            "it has no tokenizer",
            str(folder),
            "Save one: lm.save_pretrained(folder, tokenizer). In Python lm.generate and lm.check take token ids.",
        )
    return tokenizer


def is_language_folder(folder: Path) -> bool:
    """Whether a folder is one of `plena compile-lm`."""
    return (folder / "language_model.json").is_file()


def check_language(folder: Path, model: str | None, prompts: Path | None) -> int:
    """Compare a compiled language model with the one it was made of; exit code 1 if it chooses otherwise where sure.

    Raises:
        PlenaError: no model, no tokenizer, no prompts, or one that is too long.
    """
    hf = _hf()
    from plena.hf.folder import load_model, load_tokenizer

    if model is None:
        raise PlenaError(
            "the folder does not hold the model it was made of",
            str(folder),
            "Name it: --module FOLDER_OR_GGUF.",
        )
    source = prompts or Path(hf.__file__).with_name("prompts.txt")
    try:
        lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise PlenaError(f"the prompts cannot be read: {error.strerror or error}", str(source)) from None
    except UnicodeDecodeError as error:
        raise PlenaError(f"the prompts cannot be read: {error}", str(source), "Save them as UTF-8.") from None
    if not lines:
        raise PlenaError("there is no text in it", str(source), "Write one a line.")
    own = load_tokenizer(folder)
    tokenizer = _tokenizer(Path(model)) if own is None else own
    texts = [tokenizer(line.replace("\\n", "\n"))["input_ids"] for line in lines]
    lm = hf.PlenaForCausalLM.from_pretrained(folder)
    report = lm.check(texts, load_model(Path(model)))
    print(f"{len(texts)} texts\n{report}")
    for choice in report.otherwise:
        before = tokenizer.decode(texts[choice.text][: choice.position + 1])
        ours, theirs = (tokenizer.decode([token]) for token in (choice.found, choice.wanted))
        print(f"  behind {before[-40:]!r}: {ours!r}, the reference {theirs!r}")
    return 0 if report.passed else 1


def _hf() -> Any:
    try:
        import plena.hf
    except ModuleNotFoundError as error:
        raise PlenaError(
            f"language models need {error.name}", "plena", "Install the extra: pip install plena[hf]."
        ) from None
    return plena.hf


COMPILE = Command(
    "compile-lm",
    "compile a language model of transformers to a folder that `plena chat` opens",
    """\
plena compile-lm models/SmolLM2-135M-Instruct -o out/smollm2
plena compile-lm SmolLM2-135M-Instruct.Q4_1.gguf -o out/smollm2 --max-length 512 --staging nearest""",
    _compile_arguments,
    _compile,
)

CHAT = Command(
    "chat",
    "talk to a language model on the emulator",
    """\
plena chat out/smollm2
plena chat out/smollm2 --ask "What is the capital of France?\"""",
    _chat_arguments,
    _chat,
)
