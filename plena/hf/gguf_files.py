"""What a GGUF file says of a model and transformers does not read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plena.errors import PlenaError

DIVISORS = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")
"""Tensors by which the frequencies of the rotary embedding are divided; Llama 3.1 and later have the first."""


def check_rotary(path: Path, config: Any) -> None:
    """Refuse a file that scales the rotary frequencies if the configuration read from it does not.

    Args:
        path: a GGUF file; the package gguf must be there.
        config: what transformers made of the file.

    Raises:
        PlenaError: the model that was loaded turns queries and keys by other angles than the file says.
    """
    if not _kinds(getattr(config.get_text_config(), "rope_parameters", None)) <= {"default"}:
        return
    from gguf import GGUFReader  # pyright: ignore[reportMissingImports]

    reader: Any = GGUFReader(path)
    scaled = [t.name for t in reader.tensors if t.name in DIVISORS and (t.data != 1).any()]
    for name, field in reader.fields.items():
        if name.endswith(".rope.scaling.type"):
            kind = bytes(field.parts[field.data[0]]).decode("utf-8", "replace")
            scaled += [f"{name} = {kind}"] if kind != "none" else []
    if scaled:
        raise PlenaError(
            f"it scales its rotary frequencies ({', '.join(scaled)}), which transformers does not read: far "
            "positions would be wrong",
            str(path),
            "Load the model from safetensors, or with config= of the original (AutoModelForCausalLM."
            "from_pretrained(folder, gguf_file=..., config=...)), and give the model.",
        )


def _kinds(parameters: Any) -> set[str]:
    """The kinds of rotary embedding in a configuration, which may have one for each kind of layer."""
    if not isinstance(parameters, Mapping):
        return set()
    inner: list[Any] = list(parameters.values())
    own = {parameters["rope_type"]} if "rope_type" in parameters else set[str]()
    return own.union(*map(_kinds, inner))
