"""Folders of language models: programs that share one weight image, configurations, a tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plena.api.program import Program
from plena.errors import PlenaError
from plena.hf.gguf_files import check_file
from plena.hf.language_programs import DECODE, PREFILL

MANIFEST = "language_model.json"
FORMAT = 5
NAME = re.compile(rf"({DECODE}|{PREFILL})-[0-9]+")
"""Names of programs, which are those of their folders too."""


def save_folder(
    directory: Path,
    config: Any,
    generation_config: Any,
    programs: Mapping[str, Program],
    batch: int,
    skipped: int | None,
    tokenizer: Any,
) -> None:
    """Write a folder; the manifest comes last, so that one with it is whole.

    Raises:
        PlenaError: it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MANIFEST).unlink(missing_ok=True)
        config.save_pretrained(directory)
        generation_config.save_pretrained(directory)
        if tokenizer is not None:
            tokenizer.save_pretrained(directory)
        first: Path | None = None
        # The last one, with logits and the longest bucket, has the most in HBM: the others were placed beside it.
        for name, program in list(programs.items())[::-1]:
            program.save(directory / name, share=first)
            first = first or directory / name
        document = {"format": FORMAT, "batch": batch, "skipped": skipped, "programs": list(programs)}
        (directory / MANIFEST).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise PlenaError(
            f"cannot write the language model: {error.strerror or error}", str(directory)
        ) from None


def load_folder(directory: Path) -> tuple[Any, Any, dict[str, Program], int, int | None]:
    """Configuration, generation configuration, programs, batch and skipped padding of a folder.

    Raises:
        PlenaError: something is missing, or belongs to another compilation.
    """
    from transformers import AutoConfig, GenerationConfig

    path = directory / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PlenaError(f"cannot be read: {error}", str(path), "Compile the model again.") from None
    match document:
        case {
            "format": int(version),
            "batch": int(batch),
            "skipped": int() | None as skipped,
            "programs": [*names],
        } if version == FORMAT and batch > 0 and names:
            pass
        case _:
            raise PlenaError("not a manifest of this version", str(path), "Compile the model again.")
    if not all(isinstance(name, str) and NAME.fullmatch(name) for name in names):
        raise PlenaError("it names something else than programs", str(path), "Compile the model again.")
    programs = {name: Program.load(directory / name) for name in names}
    if not any(name.startswith(DECODE) for name in programs):
        raise PlenaError("it has no decode program", str(path), "Compile the model again.")
    for name, program in programs.items():
        shapes = [port.shape for port in program.inputs]
        sequences = batch if name.startswith(DECODE) else 1
        slot = [(1,)] if sequences < batch else []
        if program.kept is None or shapes != [*2 * [(sequences, _tokens(name))], *slot]:
            raise PlenaError(
                f"{name} is no step of a language model of {batch} sequences",
                str(path),
                "Compile the model again.",
            )
    try:
        config = AutoConfig.from_pretrained(directory), GenerationConfig.from_pretrained(directory)
        return *config, programs, batch, skipped
    except (OSError, ValueError) as error:
        raise PlenaError(
            f"its configuration cannot be read: {error}", str(directory), "Compile the model again."
        ) from None


def _tokens(name: str) -> int:
    """Tokens of each sequence that a program takes at a time."""
    return 1 if name.startswith(DECODE) else int(name.rpartition("-")[2])


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a folder or GGUF file, None if it has none.

    Where there are no files of one transformers makes an empty one of the model's type, which is none.

    Raises:
        PlenaError: it needs a package that is not installed.
    """
    from transformers import AutoTokenizer

    folder, options = _place(path)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, **options)
    except ImportError as error:
        if not options and not any(folder.glob("*token*")) and not any(folder.glob("*vocab*")):
            return None
        raise PlenaError(
            f"its tokenizer cannot be loaded: {_told_by(error)}", str(path), "Install the package."
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if _is_empty(tokenizer) else tokenizer


def _is_empty(tokenizer: Any) -> bool:
    """Whether it knows no words but those that are added to any tokenizer of its type, which reads them from a file."""
    if not tokenizer.vocab_files_names:
        return False  # as of bytes
    try:
        none: Any = type(tokenizer)()
    except Exception:  # a type that is nothing without a file says so as it likes
        return False
    return set(tokenizer.get_vocab()) <= {*none.get_vocab(), *tokenizer.get_added_vocab()}


def load_model(path: Path) -> Any:
    """A model of transformers from its folder, or from a GGUF file.

    Raises:
        PlenaError: there is none, it lacks weights, or a GGUF file says more of it than transformers reads.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if not path.exists():
        raise PlenaError("there is no such folder or file", str(path), "Give a model's folder or GGUF file.")
    folder, options = _place(path)
    loader: Any = AutoModelForCausalLM
    try:
        model, report = loader.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, **options
        )
    except Exception as error:  # readers of files from elsewhere raise whatever their code meets
        raise PlenaError(
            f"transformers cannot load it: {_told_by(error)}", str(path), _advice(error, path)
        ) from None
    if missing := sorted(report["missing_keys"]):
        some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise PlenaError(
            f"it has no weights for {some}, which transformers fills at random",
            str(path),
            "Give the folder or file of the whole model.",
        )
    if options:
        check_file(path, model)
    return model


def _told_by(error: Exception) -> str:
    """The first line of a message; the type as well where the message is not meant for users."""
    lines = str(error).strip().splitlines()
    if isinstance(error, OSError | ValueError | ImportError):
        return lines[0] if lines else type(error).__name__
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _advice(error: Exception, path: Path) -> str:
    if not path.is_file():
        return "Give a model's folder."
    if isinstance(error, ImportError):
        return "GGUF files need the packages gguf and accelerate."
    return "Load the model from safetensors and give the model; GGUF files need the packages gguf and accelerate."


def _place(path: Path) -> tuple[Path, dict[str, str]]:
    """The folder and the options by which transformers finds a folder or a GGUF file."""
    return (path.parent, {"gguf_file": path.name}) if path.is_file() else (path, {})
